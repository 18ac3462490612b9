"""Verifying: one field at a time, its ink large, its value typed or confirmed by keyboard.

The page is a shell; its script asks for the next few fields ahead, so that the next crop is there
when Enter is pressed. A person who sees a field holds it: nobody else is given it meanwhile.
"""

from __future__ import annotations

from dataclasses import asdict
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, jsonify, render_template, request, url_for
from pydantic import BaseModel, ConfigDict, Field

from api.context import services
from api.fields import check_value
from api.json_body import read_body
from api.problems import ProblemError
from core.errors import ChangedError, InputError
from core.ids import is_id
from core.keying import KeyingMode, VerifyMode
from core.limits import MAX_NOTE, MAX_VALUE
from core.roles import Role
from db import keyings, queries
from db.models import FieldState
from db.session import Session
from db.transitions import deciding, reviewing
from db.transitions.keyings import Keyed
from db.views import FieldView
from pipeline.grammar.parse import parse_grammar
from web import keys, words
from web.signing_in import needs, person

blueprint = Blueprint("verify", __name__)

AHEAD = 6  # fields that a browser has in hand
MAX_JSON_BYTES = 16 * 1024
_ALTERNATIVES = 4
# Why nobody can read a field. The words become the note of the decision.
UNREADABLE = ("Blotted or smudged", "Struck out", "Cut off", "Too faint", "Not a number")
_DAY_MS = 86_400_000


class _Decision(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    version: int = Field(ge=1)
    value: str | None = Field(None, max_length=MAX_VALUE)  # None: nobody can read it
    took_ms: int | None = Field(None, ge=0, le=_DAY_MS)  # from when the field was shown
    keystrokes: int | None = Field(None, ge=0, le=10_000)
    note: str | None = Field(None, max_length=MAX_NOTE)
    force: bool = False  # record a value that the field may not hold; needs a note


class _Reopening(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    version: int = Field(ge=1)


@blueprint.get("/batches/<id:batch_id>/verify")
@needs(Role.VERIFIER)
def verify(batch_id: str) -> str:
    """Show the page; its script fills it."""
    with services().db.reading() as session:
        batch = queries.batch_progress(session, person().tenant_id, batch_id)
        waiting = reviewing.count_questions(session, person(), batch_id)
    return render_template(
        "verify.html",
        batch=batch,
        waiting=waiting,
        actions=keys.ACTIONS,
        keys=keys.keys_of(person()),
        reasons=UNREADABLE,
    )


@blueprint.post("/batches/<id:batch_id>/next")
@needs(Role.VERIFIER)
def hold_next(batch_id: str) -> Response:
    """Return the next questions for this person, besides those that her browser has (`have`)."""
    have = [one for one in request.form.getlist("have") if is_id(one)][: 2 * AHEAD]
    with services().db.transaction() as session:
        asked = reviewing.hold_next(
            session,
            tenant_id=person().tenant_id,
            batch_id=batch_id,
            person=person(),
            count=max(0, AHEAD - len(have)),
            besides=have,
        )
    with services().db.reading() as session:
        cards = [card for question in asked if (card := _card(session, question))]
        waiting = reviewing.count_questions(session, person(), batch_id)
        others = keyings.waiting_for_others(session, person(), batch_id)
    return jsonify(fields=cards, waiting=waiting, others=words.others(others))


@blueprint.post("/fields/<id:field_id>/decide")
@needs(Role.VERIFIER)
def decide(field_id: str) -> Response:
    """Record what a person read, or that nobody can read it."""
    said = read_body(_Decision, MAX_JSON_BYTES)
    keyed = Keyed(said.value, said.note, said.force, said.took_ms, said.keystrokes)
    try:
        with services().db.transaction() as session:
            decided = deciding.decide_field(
                session,
                tenant_id=person().tenant_id,
                field_id=field_id,
                person=person(),
                keyed=keyed,
                check=check_value,
                version=said.version,
            )
    except (InputError, ChangedError) as exc:
        raise _in_short(exc) from exc
    return jsonify(asdict(decided))


@blueprint.post("/fields/<id:field_id>/postpone")
@needs(Role.VERIFIER)
def postpone(field_id: str) -> Response:
    """Leave a field for later."""
    with services().db.transaction() as session:
        reviewing.postpone_field(
            session, tenant_id=person().tenant_id, field_id=field_id, person=person()
        )
    return Response(status=HTTPStatus.NO_CONTENT)


@blueprint.post("/fields/<id:field_id>/reopen")
@needs(Role.VERIFIER)
def reopen(field_id: str) -> Response:
    """Take the last decision about a field back; return the question as it is then."""
    said = read_body(_Reopening, MAX_JSON_BYTES)
    with services().db.transaction() as session:
        question = reviewing.take_back(
            session,
            tenant_id=person().tenant_id,
            field_id=field_id,
            person=person(),
            version=said.version,
        )
    with services().db.reading() as session:
        return jsonify(_card(session, question))


def _card(session: Session, question: reviewing.Question) -> dict[str, Any] | None:
    """Return what the page shows of a field; None if it was decided meanwhile.

    Of a question that is asked blindly it has nothing that the machine or anybody else read, not
    even why the field waits, and a link to the scan alone.
    """
    (field,) = queries.get_fields(session, person().tenant_id, [question.field_id])
    card = {
        "id": field.id,
        "version": field.version,
        "name": words.label(field.name),
        "expects": _expects(field),
        "postponed": field.postponed_at is not None and field.state == FieldState.REVIEW,
        "crop": url_for("web.images.field", field_id=field.id) if field.box else None,
        "blind": question.mode != KeyingMode.CONFIRM,
    }
    if question.mode != KeyingMode.CONFIRM:
        return card | {
            "page": url_for("web.images.page", page_id=field.page_id),
            "value": "",
            "sure": "",
            "alternatives": [],
            "reason": "",
        }
    if field.state != FieldState.REVIEW:
        return None
    card["page"] = url_for("web.pages.page", page_id=field.page_id, _anchor=field.name)
    alternatives = [one["value"] for one in field.alternatives]
    if field.verify == VerifyMode.CONFIRM:
        return card | {
            "value": field.value,
            "sure": words.percent(field.confidence) if field.value is not None else "",
            "alternatives": [one for one in alternatives if one != field.value][:_ALTERNATIVES],
            "reason": _reason(field, words.reason(field.reason)),
        }
    # People differ; whoever settles it sees what each of them read, and the machine.
    keyed = keyings.values_keyed(session, person().tenant_id, field.id)
    read = [one for one in [*keyed, field.value] if one is not None]
    return card | {
        "value": "",
        "sure": "",
        "alternatives": list(dict.fromkeys(read)),
        "reason": _reason(field, words.disputed(keyed, field.value)),
    }


def _reason(field: FieldView, why: str) -> str:
    return " ".join([why, *map(words.contradiction, field.contradicted_by)]).strip()


def _expects(field: FieldView) -> str:
    """Return what the field may hold, in words, with an example; "" if that is not known."""
    if field.grammar is None:
        return ""
    form = parse_grammar(field.grammar).form
    return "" if form is None else form.takes()


def _in_short(error: InputError | ChangedError) -> ProblemError:
    """Return the problem with `short`, what the page says beside the field in about five words."""
    status = HTTPStatus.UNPROCESSABLE_ENTITY
    if isinstance(error, ChangedError):
        status = HTTPStatus.CONFLICT
    short = words.fault(error.code, error.message)
    return ProblemError(status, error.code, error.message, hint=error.hint, short=short)
