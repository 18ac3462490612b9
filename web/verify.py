"""Verifying: one field at a time, its ink large, its value typed or confirmed by keyboard.

The page is a shell; its script asks for the next few fields ahead, so that the next crop is there
when Enter is pressed. A person who sees a field holds it: nobody else is given it meanwhile.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, TypeVar

from flask import Blueprint, Response, jsonify, render_template, request, url_for
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from api.context import services
from api.fields import check_value
from api.problems import ProblemError
from core.ids import is_id
from core.limits import MAX_VALUE
from core.roles import Role
from db import queries
from db.models import FieldState
from db.transitions import keying, reviewing
from db.views import FieldView
from pipeline.grammar.parse import parse_grammar
from web import words
from web.signing_in import needs, person

blueprint = Blueprint("verify", __name__)

_Body = TypeVar("_Body", bound=BaseModel)

AHEAD = 6  # fields that a browser has in hand
MAX_JSON_BYTES = 16 * 1024
_ALTERNATIVES = 4
_DAY_MS = 86_400_000


class _Decision(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    version: int = Field(ge=1)
    value: str | None = Field(None, max_length=MAX_VALUE)  # None: nobody can read it
    took_ms: int | None = Field(None, ge=0, le=_DAY_MS)  # from when the field was shown
    keystrokes: int | None = Field(None, ge=0, le=10_000)


class _Reopening(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    version: int = Field(ge=1)


@blueprint.get("/batches/<id:batch_id>/verify")
@needs(Role.VERIFIER)
def verify(batch_id: str) -> str:
    """Show the page; its script fills it."""
    with services().db.reading() as session:
        batch = queries.batch_progress(session, person().tenant_id, batch_id)
    return render_template("verify.html", batch=batch)


@blueprint.post("/batches/<id:batch_id>/next")
@needs(Role.VERIFIER)
def hold_next(batch_id: str) -> Response:
    """Return the next fields for this person, besides those that her browser has (`have`)."""
    have = [one for one in request.form.getlist("have") if is_id(one)][: 2 * AHEAD]
    with services().db.transaction() as session:
        chosen = reviewing.hold_next(
            session,
            tenant_id=person().tenant_id,
            batch_id=batch_id,
            person_id=person().id,
            count=max(0, AHEAD - len(have)),
            besides=have,
        )
    with services().db.reading() as session:
        fields = queries.get_fields(session, person().tenant_id, chosen)
        waiting = queries.count_fields(session, person().tenant_id, batch_id, FieldState.REVIEW)
    # Her own decision about a field may have come in between.
    cards = [_card(field) for field in fields if field.state == FieldState.REVIEW]
    return jsonify(fields=cards, waiting=waiting)


@blueprint.post("/fields/<id:field_id>/decide")
@needs(Role.VERIFIER)
def decide(field_id: str) -> Response:
    """Record what a person read, or that nobody can read it."""
    said = _body(_Decision)
    with services().db.transaction() as session:
        field = keying.decide_field(
            session,
            tenant_id=person().tenant_id,
            field_id=field_id,
            person=person(),
            keyed=keying.Keyed(said.value, took_ms=said.took_ms, keystrokes=said.keystrokes),
            check=check_value,
            version=said.version,
        )
        reviewing.release_hold(session, field_id)
        return jsonify(version=field.version, value=field.value, state=field.state)


@blueprint.post("/fields/<id:field_id>/postpone")
@needs(Role.VERIFIER)
def postpone(field_id: str) -> Response:
    """Leave a field for later."""
    with services().db.transaction() as session:
        reviewing.postpone_field(
            session, tenant_id=person().tenant_id, field_id=field_id, who=person().name
        )
    return Response(status=HTTPStatus.NO_CONTENT)


@blueprint.post("/fields/<id:field_id>/reopen")
@needs(Role.VERIFIER)
def reopen(field_id: str) -> Response:
    """Take the last decision about a field back; return the field as it is then."""
    said = _body(_Reopening)
    with services().db.transaction() as session:
        reviewing.reopen_field(
            session,
            tenant_id=person().tenant_id,
            field_id=field_id,
            who=person().name,
            seen={said.version},
        )
    with services().db.reading() as session:
        field = queries.get_field(session, person().tenant_id, field_id)
    return jsonify(_card(field))


def _card(field: FieldView) -> dict[str, Any]:
    """Return what the page shows of a field."""
    alternatives = [one["value"] for one in field.alternatives if one["value"] != field.value]
    return {
        "id": field.id,
        "version": field.version,
        "name": words.label(field.name),
        "expects": _expects(field),
        "value": field.value,
        "confidence": words.percent(field.confidence) if field.value is not None else "",
        "alternatives": alternatives[:_ALTERNATIVES],
        "reason": " ".join(
            [words.reason(field.reason), *map(words.contradiction, field.contradicted_by)]
        ).strip(),
        "postponed": field.postponed_at is not None,
        "crop": url_for("web.images.field", field_id=field.id) if field.box else None,
        "page": url_for("web.pages.page", page_id=field.page_id, _anchor=field.name),
    }


def _expects(field: FieldView) -> str:
    """Return what the field may hold, in words, with an example; "" if that is not known."""
    if field.grammar is None:
        return ""
    form = parse_grammar(field.grammar).form
    return "" if form is None else form.takes()


def _body(model: type[_Body]) -> _Body:
    request.max_content_length = MAX_JSON_BYTES
    try:
        return model.model_validate_json(request.get_data(cache=False))
    except ValidationError as exc:
        raise ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-request", "This is no decision."
        ) from exc
