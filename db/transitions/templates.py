"""Transitions of the templates that people save in the browser: each save is a version."""

from __future__ import annotations

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from core.errors import ChangedError, NotFoundError
from db.models import TemplatePicture, TemplateVersion
from db.session import database_now
from db.transitions.batches import add_template
from db.transitions.upsert import insert_or_ignore


def add_picture(
    s: Session, *, tenant_id: str, picture_id: str, sha256: str, width: int, height: int
) -> str:
    """Record a picture whose bytes are in the store, in the namespace `picture_id`."""
    s.add(
        TemplatePicture(
            id=picture_id, tenant_id=tenant_id, sha256=sha256, width=width, height=height
        )
    )
    s.flush()
    return picture_id


def save_version(
    s: Session,
    *,
    tenant_id: str,
    name: str,
    text: str,
    who: str,
    picture_id: str | None,
    seen: int | None,
    draft: bool = False,
) -> int:
    """Save a version of a template and return its number, the next one of this name.

    `seen` is the number of the version that the person had before her, None for a new name. The
    same text as that of the current version saves nothing, unless that is a draft. Raises
    ChangedError if somebody else saved a version since, NotFoundError for a picture of others.
    """
    if picture_id is not None:
        owner = s.scalar(select(TemplatePicture.tenant_id).where(TemplatePicture.id == picture_id))
        if owner != tenant_id:
            raise NotFoundError("There is no such picture.", code="picture-not-found")
    current = _current(s, tenant_id, name)
    number = None if current is None else current.number
    if number != seen:
        who_else = "somebody" if current is None else current.saved_by
        raise ChangedError(
            f"'{name}' was changed by {who_else} meanwhile."
            if current is not None
            else f"'{name}' was removed meanwhile.",
            hint="Copy your text, and look at the newest version first.",
        )
    template = add_template(s, tenant_id=tenant_id, name=name, text=text)
    same = current is not None and current.template_id == template.id
    if current is not None and same and current.draft == draft:
        current.picture_id = picture_id or current.picture_id
        return current.number
    last = s.scalar(
        select(func.max(TemplateVersion.number)).where(
            TemplateVersion.tenant_id == tenant_id, TemplateVersion.name == name
        )
    )
    made = insert_or_ignore(
        s,
        TemplateVersion,
        ["tenant_id", "name", "number"],
        tenant_id=tenant_id,
        name=name,
        number=(last or 0) + 1,
        template_id=template.id,
        picture_id=picture_id,
        draft=draft,
        saved_by=who,
        created_at=database_now(s),
    )
    if made is None:  # two people saved in the same moment
        raise ChangedError(
            f"'{name}' was changed by somebody meanwhile.",
            hint="Copy your text, and look at the newest version first.",
        )
    return (last or 0) + 1


def remove_template(s: Session, *, tenant_id: str, name: str) -> None:
    """Take a template out of use. Its versions stay, as results refer to them."""
    done = s.execute(
        update(TemplateVersion)
        .where(
            TemplateVersion.tenant_id == tenant_id,
            TemplateVersion.name == name,
            TemplateVersion.removed_at.is_(None),
        )
        .values(removed_at=database_now(s))
        .returning(TemplateVersion.id)
    ).all()
    if not done:
        raise NotFoundError("There is no such template.", code="template-not-found")


def _current(s: Session, tenant_id: str, name: str) -> TemplateVersion | None:
    return s.scalar(
        select(TemplateVersion)
        .where(
            TemplateVersion.tenant_id == tenant_id,
            TemplateVersion.name == name,
            TemplateVersion.removed_at.is_(None),
        )
        .order_by(TemplateVersion.number.desc())
        .limit(1)
    )
