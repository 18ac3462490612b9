"""A field, and the decision of a person about it."""

from __future__ import annotations

from collections.abc import Container
from functools import lru_cache
from http import HTTPStatus

from flask import Blueprint, Response, request
from pydantic import ValidationError

from api import serializers
from api.answers import BatchField
from api.context import caller, services
from api.json_body import read_body
from api.openapi import Header, operation
from api.problems import ProblemError
from api.requests import Unreadable, Verification
from core.errors import ChangedError
from core.limits import MAX_NOTE, MAX_VALUE
from db import queries
from db.transitions import fields as transitions
from db.views import FieldRules, FieldView
from pipeline.grammar.base import ANY_DIGITS, Grammar
from pipeline.grammar.parse import parse_grammar
from pipeline.grammar.typed import normalise_typed
from pipeline.placing.template import Template, parse_template

blueprint = Blueprint("fields", __name__)

MAX_JSON_BYTES = 64 * 1024

IF_MATCH = Header(
    "If-Match",
    "The ETag of the field as the person saw it, its `version` in quotes. If the field has changed"
    " since, nothing is recorded (412). Needed to replace the decision of a person (428 without"
    " it). `*` replaces whatever is there.",
)


@blueprint.get("/fields/<id:field_id>")
@operation("results", {200: BatchField})
def get_field(field_id: str) -> Response:
    """Return a field with its current reading. The ETag is its version."""
    return _answer(_field(field_id))


@blueprint.post("/fields/<id:field_id>/verify")
@operation(
    "results",
    {200: BatchField},
    body=Verification,
    problems=(409, 412, 413, 428),
    headers=(IF_MATCH,),
)
def verify_field(field_id: str) -> Response:
    """Release a value as a person reads it, or mark the field as unreadable.

    The value is what the field's grammar allows, as it stands on the paper or as the field shows
    it. It is trimmed and normalised: digits of every script become ASCII, `₹ 1,234.5` becomes
    `1234.50`, and `5/7/2020` becomes `05072020`. The empty text says that the field is empty. Any
    other text is refused (422) with the reason and an example, unless `force` and a `note` come
    with it.

    A decision of a person is replaced only by a request whose `If-Match` names its version. Without
    it the answer is 428, with another version 412; both carry the field as it is now in `field`.
    The batch's events keep every decision. The same decision again changes nothing. The person is
    recorded under the name of the API key.
    """
    try:
        said = read_body(Verification, MAX_JSON_BYTES).root
    except ValidationError as exc:
        raise ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "invalid-request",
            f"Send either 'value', a text of at most {MAX_VALUE} characters, or 'unreadable': true."
            f" A 'note' has at most {MAX_NOTE} characters; 'force' is true or false and belongs to"
            " a value.",
        ) from exc
    tenant_id, who, seen = caller().tenant_id, caller().key_name, _seen()
    try:
        with services().db.transaction() as session:
            if isinstance(said, Unreadable):
                transitions.mark_unreadable(
                    session,
                    tenant_id=tenant_id,
                    field_id=field_id,
                    who=who,
                    note=said.note,
                    seen=seen,
                )
            else:
                transitions.verify_field(
                    session,
                    tenant_id=tenant_id,
                    field_id=field_id,
                    who=who,
                    value=said.value,
                    check=check_value,
                    note=said.note,
                    force=said.force,
                    seen=seen,
                )
    except ChangedError as exc:
        raise _not_current(exc, field_id) from exc
    return _answer(_field(field_id))


def check_value(rules: FieldRules, text: str) -> str:
    """Return the value that a person means by a text. Raises InputError where there is none."""
    if rules.grammar is not None:
        return normalise_typed(text, _grammar(rules.grammar), required=bool(rules.required))
    template = None if rules.template_text is None else _template(rules.template_text)
    for field in () if template is None else template.fields:
        if field.name == rules.name:
            return normalise_typed(text, field.grammar, required=field.required)
    return normalise_typed(text, ANY_DIGITS, required=False)


# Grammars of amounts and dates take milliseconds to build.
@lru_cache(maxsize=256)
def _grammar(name: str) -> Grammar:
    return parse_grammar(name)


@lru_cache(maxsize=16)
def _template(text: str) -> Template:
    return parse_template(text)


def _seen() -> Container[int] | None:
    """Return the versions that If-Match names, None without that header (RFC 9110, 13.1.1)."""
    if "If-Match" not in request.headers:
        return None
    if request.if_match.star_tag:
        return transitions.ANY_VERSION
    # Strong ETags only: weak ones never match. What is no ETag at all comes as None.
    tags = filter(None, request.if_match.as_set())
    return {int(tag) for tag in tags if tag.isascii() and tag.isdigit() and len(tag) < 19}


def _not_current(error: ChangedError, field_id: str) -> ProblemError:
    field = _field(field_id)
    status = HTTPStatus.PRECONDITION_FAILED
    if error.code == "version-required":
        status = HTTPStatus.PRECONDITION_REQUIRED
    return ProblemError(
        status,
        error.code,
        error.message,
        hint=error.hint,
        headers={"ETag": _etag(field)},
        field=serializers.batch_field(field).model_dump(mode="json"),
    )


def _field(field_id: str) -> FieldView:
    with services().db.reading() as session:
        return queries.get_field(session, caller().tenant_id, field_id)


def _answer(field: FieldView) -> Response:
    response = serializers.json_response(serializers.batch_field(field))
    response.headers["ETag"] = _etag(field)
    return response


def _etag(field: FieldView) -> str:
    return f'"{field.version}"'
