"""The editor of a template: boxes on the page, names, what each field holds; tried at once."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, jsonify, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from api.context import services
from core.errors import CounterfoilError, InputError, TemplateError
from core.ids import is_id
from core.policy import ReviewReason
from core.roles import Role
from db import queries
from db.transitions import templates as transitions
from pipeline.placing.edit import rename_template
from web import looking, words
from web.signing_in import needs, person
from web.template_list import keep_picture
from web.template_texts import (
    MAX_FORM_BYTES,
    asked_text,
    check_free_name,
    described,
    find_template,
    grammar_choices,
    plain,
    takes,
)
from worker.preview.protocol import Task

blueprint = Blueprint("template_edit", __name__)

_BATCHES = 20  # to choose pages from
_DOUBTFUL = 0.99  # below this, a person should look at what was read


@blueprint.get("/templates/<name>")
@needs(Role.SUPERVISOR)
def edit(name: str) -> str:
    """Show the editor."""
    return _editor(name)


@blueprint.post("/templates/<name>")
@needs(Role.SUPERVISOR)
def save(name: str) -> BaseResponse | tuple[BaseResponse | str, int]:
    """Save a version, under this name or a new one (`as`)."""
    request.max_content_length = MAX_FORM_BYTES
    known = find_template(name)
    wanted = request.form.get("as", "").strip() or name
    seen = request.form.get("seen", "")
    try:
        if known.kind != "saved" or wanted != name:
            check_free_name(wanted)
            seen = ""
        text = rename_template(asked_text(), wanted)
        with services().db.transaction() as session:
            number = transitions.save_version(
                session,
                tenant_id=person().tenant_id,
                name=wanted,
                text=text,
                who=person().name,
                picture_id=_picture_id(),
                seen=int(seen) if seen.isascii() and seen.isdigit() else None,
            )
    except CounterfoilError as exc:
        said = plain(exc)
        if _for_script():
            return jsonify(detail=said), 422
        return _editor(name, text=request.form.get("text", ""), error=said), 422
    address = url_for("web.template_edit.edit", name=wanted)
    if _for_script():
        return jsonify(number=number, text=text, address=address, parts=described(text))
    return redirect(address)


@blueprint.post("/templates/check")
@needs(Role.SUPERVISOR)
def check() -> Response | tuple[Response, int]:
    """Return what a text states, after what was drawn is worked into it."""
    request.max_content_length = MAX_FORM_BYTES
    try:
        text = asked_text()
        return jsonify(text=text, parts=described(text))
    except TemplateError as exc:
        return jsonify(detail=plain(exc)), 422


@blueprint.get("/templates/grammar")
@needs(Role.SUPERVISOR)
def grammar() -> Response:
    """Say in words what a grammar allows, or what is wrong with it."""
    try:
        return jsonify(takes=takes(request.args.get("text", "")[:20_000]))
    except TemplateError as exc:
        return jsonify(error=plain(exc))


@blueprint.post("/templates/<name>/page")
@needs(Role.SUPERVISOR)
def lay_page(name: str) -> Response | tuple[Response, int]:
    """Take a page to draw on, laid out as the template says."""
    find_template(name)
    try:
        text, part = asked_text(), request.form.get("part", "0")
        number = int(part) if part.isascii() and part.isdigit() else 0
        with _chosen(1) as files:
            found = looking.look(Task.PLACE, files, text=text, part=number)
    except InputError as exc:
        return jsonify(detail=plain(exc)), 422
    picture_id = keep_picture(found["picture"])
    return jsonify(picture=picture_id, score=found["score"], address=_picture_address(picture_id))


@blueprint.post("/templates/<name>/try")
@needs(Role.SUPERVISOR)
def try_pages(name: str) -> Response | tuple[Response, int]:
    """Read pages with the template as it is drawn now; nothing is kept."""
    find_template(name)
    try:
        text = asked_text()
        with _chosen(looking.MOST_FILES) as files:
            found = looking.look(Task.READ, files, text=text)
            names = [file.filename for file in files]
    except InputError as exc:
        return jsonify(detail=plain(exc)), 422
    pages = [_tried(page, filename) for page, filename in zip(found["pages"], names, strict=True)]
    return jsonify(pages=pages)


def _chosen(count: int) -> Any:
    """Return the uploaded files, or the first pages of a batch."""
    batch_id = request.form.get("batch", "")
    if is_id(batch_id):
        return looking.of_batch(batch_id, count)
    if not any(file.filename for file in request.files.getlist("page")):
        raise InputError("Choose a page, or a batch.", code="no-file")
    return looking.uploaded("page")


def _tried(page: dict[str, Any], filename: str) -> dict[str, Any]:
    """Return what was read on a page, in words."""
    fields = [_tried_field(field) for field in page.get("fields", [])]
    said = ""
    if "error" in page:
        said = f"{page['error']['message']} {page['error']['hint']}".strip()
        said = said[:1].upper() + said[1:]
    elif page.get("passed_over"):
        said = page["passed_over"]
    return {
        "file": filename,
        "said": said,
        "score": words.percent(page.get("score")),
        "picture": page.get("picture"),
        "fields": fields,
    }


def _tried_field(field: dict[str, Any]) -> dict[str, Any]:
    value, blocked = field["value"], field["blocked"]
    if blocked is not None:
        doubt = words.REASON[ReviewReason(blocked)]
    elif value is None:
        doubt = words.REASON[ReviewReason.NO_VALUE]
    elif value == "" and field["required"]:
        doubt = words.REASON[ReviewReason.REQUIRED_EMPTY]
    elif field["confidence"] < _DOUBTFUL:
        doubt = words.REASON[ReviewReason.BELOW_THRESHOLD]
    else:
        doubt = ""
    return {
        "name": field["name"],
        "box": field["box"],
        "value": value,
        "sure": words.percent(field["confidence"]) if value is not None else "",
        "doubt": doubt,
    }


def _editor(name: str, *, text: str | None = None, error: str = "") -> str:
    known = find_template(name)
    current = known.current
    with services().db.reading() as session:
        batches = queries.list_batches(session, person().tenant_id, limit=_BATCHES)
    try:
        parts = described(known.text)
    except TemplateError as exc:
        parts, error = [], error or plain(exc)
    picture_id = None if current is None else current.picture_id
    return render_template(
        "template_edit.html",
        known=known,
        current=current,
        text=known.text if text is None else text,
        error=error,
        parts=parts,
        choices=grammar_choices(),
        batches=batches,
        picture_id=picture_id,
        picture=_picture_address(picture_id) if picture_id else "",
    )


def _picture_address(picture_id: str) -> str:
    return url_for("web.template_list.picture", picture_id=picture_id)


def _picture_id() -> str | None:
    given = request.form.get("picture", "")
    return given if is_id(given) else None


def _for_script() -> bool:
    return "application/json" in request.headers.get("Accept", "")
