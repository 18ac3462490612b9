"""Queries of the templates that people saved in the browser. Each is limited to one tenant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from core.errors import NotFoundError
from core.ids import is_id, object_key
from db.models import Document, Page, TemplatePicture, TemplateText, TemplateVersion


@dataclass(frozen=True, slots=True)
class SavedTemplate:
    """A version of a template, with its text."""

    name: str
    number: int
    text: str
    picture_id: str | None
    draft: bool
    saved_by: str
    created_at: datetime
    template_id: str  # of the text, as batches and documents name it


@dataclass(frozen=True, slots=True)
class PictureView:
    """The page that a template was drawn on. `key` is that of its JPEG in the store."""

    key: str
    sha256: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class UsedTemplate:
    """The text that a page was read with, and the saved versions of that text or a part of it."""

    name: str
    text: str
    kept_at: datetime
    versions: tuple[SavedTemplate, ...]


def current_templates(s: Session, tenant_id: str, *, drafts: bool = False) -> list[SavedTemplate]:
    """Return the newest version of each name, by name; with `drafts` also what is one still."""
    newest = select(TemplateVersion.name, func.max(TemplateVersion.number).label("number")).where(
        TemplateVersion.tenant_id == tenant_id, TemplateVersion.removed_at.is_(None)
    )
    if not drafts:
        newest = newest.where(TemplateVersion.draft.is_(False))
    last = newest.group_by(TemplateVersion.name).subquery()
    query = _versions(tenant_id).join(
        last,
        (last.c.name == TemplateVersion.name) & (last.c.number == TemplateVersion.number),
    )
    return [SavedTemplate(*row) for row in s.execute(query.order_by(TemplateVersion.name))]


def current_texts(s: Session, tenant_id: str) -> Mapping[str, str]:
    """Return the text of each name that pages can be read with."""
    return {one.name: one.text for one in current_templates(s, tenant_id)}


def versions_of(s: Session, tenant_id: str, name: str) -> list[SavedTemplate]:
    """Return the versions of a name that is in use, newest first."""
    query = _versions(tenant_id).where(
        TemplateVersion.name == name, TemplateVersion.removed_at.is_(None)
    )
    return [SavedTemplate(*row) for row in s.execute(query.order_by(TemplateVersion.number.desc()))]


def get_picture(s: Session, tenant_id: str, picture_id: str) -> PictureView:
    """Return a picture. Raises NotFoundError."""
    row = s.scalar(
        select(TemplatePicture).where(
            TemplatePicture.id == picture_id, TemplatePicture.tenant_id == tenant_id
        )
    )
    if row is None:
        raise NotFoundError("There is no such picture.", code="picture-not-found")
    return PictureView(object_key(row.id, row.sha256), row.sha256, row.width, row.height)


def template_of_page(s: Session, tenant_id: str, page_id: str) -> UsedTemplate | None:
    """Return what a page was read with, or is to be; None without a template.

    Raises NotFoundError for an unknown page.
    """
    row = s.execute(
        select(TemplateText, Page.template)
        .select_from(Page)
        .join(Document, Page.document_id == Document.id)
        .join(TemplateText, Document.template_id == TemplateText.id, isouter=True)
        .where(Page.id == (page_id if is_id(page_id) else ""), Page.tenant_id == tenant_id)
    ).first()
    if row is None:
        raise NotFoundError("There is no such page.", code="page-not-found")
    used: TemplateText | None = row[0]  # an outer join
    named: str | None = row[1]
    if used is None:
        return None
    name = (named or used.name).partition("/")[0]
    # A set is the texts of its templates one after the other.
    query = _versions(tenant_id).where(TemplateVersion.name == name)
    found = [SavedTemplate(*one) for one in s.execute(query.order_by(TemplateVersion.number))]
    matching = tuple(one for one in found if one.text.strip() in used.text)
    return UsedTemplate(name, used.text, used.created_at, matching)


def _versions(
    tenant_id: str,
) -> Select[str, int, str, str | None, bool, str, datetime, str]:
    return (
        select(
            TemplateVersion.name,
            TemplateVersion.number,
            TemplateText.text,
            TemplateVersion.picture_id,
            TemplateVersion.draft,
            TemplateVersion.saved_by,
            TemplateVersion.created_at,
            TemplateVersion.template_id,
        )
        .join(TemplateText, TemplateVersion.template_id == TemplateText.id)
        .where(TemplateVersion.tenant_id == tenant_id)
    )
