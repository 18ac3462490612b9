"""Checks across fields that fail: a person who has looked at all of the ink may keep the values."""

from __future__ import annotations

from http import HTTPStatus

from flask import Blueprint, redirect, request, url_for
from werkzeug.wrappers import Response

from api.context import services
from api.fields import check_value
from api.problems import ProblemError
from core.errors import ConflictError
from core.limits import MAX_NOTE
from core.roles import Role
from db import queries
from db.models import FieldState
from db.transitions.deciding import decide_field
from db.transitions.fields import verify_field
from db.transitions.keyings import Keyed
from db.views import FieldView, PageView
from web.signing_in import needs, person

blueprint = Blueprint("findings", __name__)

_MAX_FORM_BYTES = 16 * 1024


@blueprint.post("/pages/<id:page_id>/keep")
@needs(Role.VERIFIER)
def keep(page_id: str) -> Response:
    """Verify the fields of a check that wait, as they stand, although the check fails.

    The form has the name of the check, a note that says why, and the version of each field that
    was shown, so that nothing is kept that nobody has seen.
    """
    request.max_content_length = _MAX_FORM_BYTES
    note = request.form.get("note", "").strip()
    if not note or len(note) > MAX_NOTE:
        raise ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "note-required",
            f"Say in a note of at most {MAX_NOTE} characters why the values are kept.",
        )
    tenant_id = person().tenant_id
    with services().db.reading() as session:
        page = queries.page_with_fields(session, tenant_id, page_id)
    waiting = _waiting(page, request.form.get("check", ""))
    if any(field.is_secret for field in waiting) and not person().may(Role.SUPERVISOR):
        raise ProblemError(
            HTTPStatus.FORBIDDEN,
            "role-missing",
            "Only a supervisor may keep what people key without seeing what was read.",
        )
    with services().db.transaction() as session:
        for field in waiting:
            if field.is_secret:  # she has seen it: this is her direct word
                verify_field(
                    session,
                    tenant_id=tenant_id,
                    field_id=field.id,
                    who=person().name,
                    value=field.value or "",
                    check=check_value,
                    note=note,
                    force=True,
                    seen={_seen(field)},
                )
                continue
            decide_field(
                session,
                tenant_id=tenant_id,
                field_id=field.id,
                person=person(),
                keyed=Keyed(field.value, note=note, force=True),
                check=check_value,
                version=_seen(field),
            )
    return redirect(url_for("web.pages.page", page_id=page_id))


def _waiting(page: PageView, check: str) -> list[FieldView]:
    """Return the fields of a check that fails which wait for a person and have a value."""
    named = {
        name for one in page.findings if one.fails and one.name == check for name in one.fields
    }
    return [
        field
        for field in page.fields
        if field.name in named and field.state == FieldState.REVIEW and field.value is not None
    ]


def _seen(field: FieldView) -> int:
    version = request.form.get(f"version-{field.id}", "")
    if not (version.isascii() and version.isdigit() and len(version) < 10):
        raise ConflictError(
            "This field waits only since you opened the page. Nothing was changed.",
            hint="Look at it, and try again.",
            code="field-changed",
        )
    return int(version)
