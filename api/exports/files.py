"""Rows as CSV, JSON Lines and XLSX. No text of a scan or a file name becomes a formula."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import astuple, fields
from datetime import datetime
from pathlib import Path

import xlsxwriter

from api.answers import ExportedPage
from core.text import formula_safe
from db.views import ExportRow

COLUMNS = tuple(column.name for column in fields(ExportRow))

CHUNK = 64 * 1024  # characters written at once
BOM = "\ufeff"

_SHEET_ROWS = 1_048_576  # the limits of Excel's format
_CELL_CHARACTERS = 32_767
_WIDTHS = {"batch": 34, "file": 36, "label": 20, "value": 18, "raw": 18, "error": 48}


def csv_chunks(rows: Iterable[ExportRow], *, bom: bool) -> Iterator[str]:
    """Yield CSV (RFC 4180). Numbers are as they were read, with their leading zeros."""
    buffer = io.StringIO()
    if bom:
        buffer.write(BOM)
    writer = csv.writer(buffer)
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow([formula_safe(cell) for cell in _cells(row)])
        if buffer.tell() >= CHUNK:
            yield _taken(buffer)
    yield _taken(buffer)


def json_lines(pages: Iterable[ExportedPage]) -> Iterator[str]:
    """Yield one JSON object for each page."""
    for page in pages:
        yield page.model_dump_json() + "\n"


def write_xlsx(path: Path, rows: Iterable[ExportRow]) -> None:
    """Write a workbook in which every cell is text, in bounded memory."""
    options = {
        "constant_memory": True,
        "tmpdir": str(path.parent),
        "strings_to_numbers": False,
        "strings_to_formulas": False,
        "strings_to_urls": False,
    }
    with xlsxwriter.Workbook(str(path), options) as book:
        head = book.add_format({"bold": True})
        sheet, line = _sheet(book, head), 1
        for row in rows:
            if line == _SHEET_ROWS:
                sheet, line = _sheet(book, head), 1
            for column, cell in enumerate(_cells(row)):
                sheet.write_string(line, column, cell[:_CELL_CHARACTERS])
            line += 1


def _sheet(book: xlsxwriter.Workbook, head: object) -> xlsxwriter.worksheet.Worksheet:
    sheet = book.add_worksheet()
    sheet.freeze_panes(1, 0)
    # Else Excel offers to turn every value into a number, which would lose its leading zeros.
    sheet.ignore_errors({"number_stored_as_text": f"A1:XFD{_SHEET_ROWS}"})
    for column, name in enumerate(COLUMNS):
        sheet.set_column(column, column, _WIDTHS.get(name, 12))
    for column, name in enumerate(COLUMNS):
        sheet.write_string(0, column, name, head)
    return sheet


def _cells(row: ExportRow) -> tuple[str, ...]:
    """Return a row as text, so that no leading zero is ever lost."""
    return tuple(_text(value) for value in astuple(row))


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _taken(buffer: io.StringIO) -> str:
    text = buffer.getvalue()
    buffer.seek(0)
    buffer.truncate()
    return text
