"""Exporting a batch: columns chosen, ordered and renamed; made in the background; downloaded."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from http import HTTPStatus
from importlib.util import find_spec
from typing import Final

from flask import Blueprint, Response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from api import audit
from api.context import services
from core.errors import InputError, NotFoundError
from core.exporting import OF_FIELD, OF_PAGE, ExportColumn, ExportFormat
from core.limits import MAX_NAME
from core.roles import Role
from core.text import checked_line
from db import queries, queries_exports
from db.session import Session
from db.transitions import exporting
from web import words
from web.signing_in import needs, person

blueprint = Blueprint("export", __name__)

CHUNK: Final = 256 * 1024
_STOP_ASKING: Final = 286  # htmx shows such an answer, and asks no more
_LAST: Final = 10_000  # the place of a column that was not placed
_FIRST_CHOICE: Final = ("file", "page")
FORMATS: Final = {
    ExportFormat.XLSX: "Excel (XLSX)",
    ExportFormat.CSV: "CSV",
    ExportFormat.JSONL: "JSON Lines",
    ExportFormat.PARQUET: "Parquet",
}


@dataclass(frozen=True, slots=True)
class Choice:
    """A column that may be chosen, as the form shows it."""

    id: str  # of its inputs
    about: str
    heading: str
    chosen: bool


@blueprint.get("/batches/<id:batch_id>/exports")
@needs(Role.SUPERVISOR)
def exports(batch_id: str) -> str | tuple[str, int]:
    """Show the last exports, and the form for a new one. Scripts ask for the exports alone."""
    if not request.headers.get("HX-Request"):
        return _page(batch_id)
    with services().db.reading() as session:
        found = queries_exports.list_exports(session, person().tenant_id, batch_id)
    busy = queries_exports.exports_are_waiting(found)
    return render_template("export_rows.html", exports=found), 200 if busy else _STOP_ASKING


@blueprint.post("/batches/<id:batch_id>/exports")
@needs(Role.SUPERVISOR)
def order(batch_id: str) -> BaseResponse | tuple[str, int]:
    """Ask for an export."""
    tenant_id = person().tenant_id
    try:
        with services().db.transaction() as session:
            names = queries_exports.fields_of_batch(session, tenant_id, batch_id)
            export_format = _format()
            exporting.create_export(
                session,
                tenant_id=tenant_id,
                batch_id=batch_id,
                who=person().name,
                export_format=export_format,
                columns=_asked_columns(list(names)),
                base_url=request.host_url,
            )
            audit.note(format=export_format)
    except InputError as exc:
        return _page(batch_id, refused=str(exc)), HTTPStatus.UNPROCESSABLE_ENTITY
    return redirect(url_for("web.export.exports", batch_id=batch_id))


@blueprint.get("/exports/<id:export_id>")
@needs(Role.SUPERVISOR)
def download(export_id: str) -> Response:
    """Download the file of an export."""
    with services().db.reading() as session:
        export = queries_exports.get_export(session, person().tenant_id, export_id)
    if export.object_key is None:
        raise NotFoundError("The file of this export is not there.", code="export-not-found")
    audit.record_now(name=export.filename, batch_id=export.batch_id)
    stack = ExitStack()
    stream = stack.enter_context(services().store.open(export.object_key))  # else a 404 or 503
    chunks = iter(lambda: stream.read(CHUNK), b"")
    response = Response(chunks, content_type="application/octet-stream")
    response.call_on_close(stack.close)
    response.headers.set("Content-Disposition", "attachment", filename=export.filename or "export")
    if export.size is not None:
        response.content_length = export.size
    return response


def _page(batch_id: str, *, refused: str = "") -> str:
    tenant_id = person().tenant_id
    with services().db.reading() as session:
        batch = queries.batch_progress(session, tenant_id, batch_id)
        found = queries_exports.list_exports(session, tenant_id, batch_id)
        busy = queries_exports.exports_are_waiting(found)
        last = queries_exports.last_columns(session, tenant_id)
        choices = _choices(session, tenant_id, batch_id, last)
    return render_template(
        "export.html",
        batch=batch,
        exports=found,
        busy=busy,
        choices=choices,
        details={key: name for key, (name, _) in OF_FIELD.items()},
        chosen_details={column.key for column in last if column.field and column.key != "value"},
        formats=FORMATS,
        without=() if find_spec("pyarrow") else (ExportFormat.PARQUET,),
        refused=refused,
    )


def _choices(
    session: Session, tenant_id: str, batch_id: str, last: list[ExportColumn]
) -> list[Choice]:
    """Return the columns of a batch in the order of the last export, the others behind them."""
    names = queries_exports.fields_of_batch(session, tenant_id, batch_id)
    before = {_id(column): (place, column) for place, column in enumerate(last)}
    plain = [*(ExportColumn(key, OF_PAGE[key][0]) for key in _FIRST_CHOICE)]
    plain += [ExportColumn("value", words.label(name), name) for name in names]
    plain += [
        ExportColumn(key, name) for key, (name, _) in OF_PAGE.items() if key not in _FIRST_CHOICE
    ]
    known_fields = any(column.field in names for column in last if column.key == "value")
    made = []
    for column in plain:
        place, known = before.get(_id(column), (_LAST, None))
        usual = column.field is not None or column.key in _FIRST_CHOICE
        chosen = known is not None or (usual and not known_fields)
        heading = column.heading if known is None else known.heading
        about = OF_PAGE[column.key][0] if column.field is None else words.label(column.field)
        made.append((place, Choice(_id(column), about, heading, chosen)))
    return [choice for _, choice in sorted(made, key=lambda one: one[0])]


def _asked_columns(names: list[str]) -> list[ExportColumn]:
    """Return the columns that the form asks for, in their order. Raises InputError."""
    form = request.form
    possible = [ExportColumn(key, "") for key in OF_PAGE]
    possible += [ExportColumn("value", "", name) for name in names]
    details = [key for key in OF_FIELD if key in form.getlist("detail")]
    asked = []
    for column in possible:
        name = _id(column)
        if name not in form.getlist("use"):
            continue
        heading = checked_line(form.get(f"name {name}", ""), "The name", longest=MAX_NAME)
        place = form.get(f"place {name}", "")
        made = ExportColumn(column.key, heading or column.field or column.key, column.field)
        asked.append((int(place) if place.isdecimal() and len(place) < 6 else _LAST, made))
    columns = []
    for _, column in sorted(asked, key=lambda one: one[0]):
        columns.append(column)
        if column.field is not None:
            columns += [
                ExportColumn(key, f"{column.heading} {OF_FIELD[key][0]}", column.field)
                for key in details
            ]
    return columns


def _id(column: ExportColumn) -> str:
    return column.key if column.field is None else f"{column.key} {column.field}"


def _format() -> ExportFormat:
    try:
        return ExportFormat(request.form.get("format", ""))
    except ValueError as exc:
        raise InputError("There is no such format.", code="bad-format") from exc
