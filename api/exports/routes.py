"""Exports of a batch: a file to download, or rows in a database table."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from flask import Blueprint, Response, request, stream_with_context

from api import audit, serializers
from api.answers import ExportReceipt
from api.context import caller, services
from api.exports.files import csv_chunks, json_lines, write_xlsx
from api.exports.rows import iter_pages, iter_rows
from api.json_body import read_body
from api.openapi import operation, parse_query
from api.requests import ExportOrder, ExportQuery
from core.errors import InputError
from db import queries
from db.export_table import export_table

blueprint = Blueprint("exports", __name__)

CHUNK = 256 * 1024
MAX_JSON_BYTES = 64 * 1024

_TYPES = {
    "csv": "text/csv; charset=utf-8",
    "jsonl": "application/jsonl",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}


@blueprint.get("/batches/<id:batch_id>/export")
@operation("exports", {200: ("text/csv", _TYPES["jsonl"], _TYPES["xlsx"])}, query=ExportQuery)
def export_file(batch_id: str) -> Response:
    """Download a batch as CSV, JSON Lines or XLSX.

    CSV and XLSX have one row for each field, JSON Lines has one object for each page. Pages and
    files that could not be read are included, with the reason. In XLSX every cell is text. In CSV
    a cell that a spreadsheet would take for a formula begins with an apostrophe.
    """
    query = parse_query(ExportQuery)
    with services().db.reading() as session:  # an unknown batch is a 404, not a broken stream
        queries.get_batch(session, caller().tenant_id, batch_id)
    if request.method != "HEAD":
        audit.record_now(format=query.format)
    if request.method == "HEAD":
        response = Response(content_type=_TYPES[query.format])
    elif query.format == "xlsx":
        response = _workbook(batch_id)
    else:
        text = _lines(batch_id) if query.format == "jsonl" else _csv(batch_id, bom=query.bom)
        response = Response(stream_with_context(text), content_type=_TYPES[query.format])
    name = f"counterfoil-{batch_id}.{query.format}"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


@blueprint.post("/batches/<id:batch_id>/exports")
@operation("exports", {200: ExportReceipt}, body=ExportOrder, problems=(409, 413))
def export_to_table(batch_id: str) -> Response:
    """Write a batch into a table of a database that the server's settings name.

    Rows of the same batch that are in the table already are replaced, in one transaction.
    """
    order = read_body(ExportOrder, MAX_JSON_BYTES)
    tenant_id = caller().tenant_id
    with services().db.reading() as session:
        queries.get_batch(session, tenant_id, batch_id)
        targets = services().settings.export_targets
        if order.target not in targets:
            known = ", ".join(sorted(targets))
            raise InputError(
                f"There is no export target '{order.target}'.",
                hint=f"There are: {known}."
                if known
                else "There are none: the server's setting COUNTERFOIL_EXPORT_TARGETS names them.",
                code="unknown-export-target",
            )
        rows = export_table(
            targets[order.target].get_secret_value(),
            order.table,
            batch_id,
            iter_rows(session, tenant_id, batch_id),
        )
    return serializers.json_response(
        ExportReceipt(target=order.target, table=order.table, rows=rows)
    )


def _csv(batch_id: str, *, bom: bool) -> Iterator[str]:
    with services().db.reading() as session:
        yield from csv_chunks(iter_rows(session, caller().tenant_id, batch_id), bom=bom)


def _lines(batch_id: str) -> Iterator[str]:
    with services().db.reading() as session:
        yield from json_lines(iter_pages(session, caller().tenant_id, batch_id))


def _workbook(batch_id: str) -> Response:
    with tempfile.TemporaryDirectory(prefix="counterfoil-export-") as folder:
        path = Path(folder) / "export.xlsx"
        with services().db.reading() as session:
            write_xlsx(path, iter_rows(session, caller().tenant_id, batch_id))
        stream = path.open("rb")  # stays readable; no crash leaves the deleted file behind
    response = Response(_chunks(stream), content_type=_TYPES["xlsx"])
    response.content_length = os.fstat(stream.fileno()).st_size
    response.call_on_close(stream.close)
    return response


def _chunks(stream: BinaryIO) -> Iterator[bytes]:
    with stream:
        while chunk := stream.read(CHUNK):
            yield chunk
