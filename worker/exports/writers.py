"""Rows as XLSX, CSV, JSON Lines and Parquet, in bounded memory.

Text stays text: a number with leading zeros keeps them, and nothing becomes a formula. In XLSX and
Parquet amounts are numbers and dates are dates; CSV and JSON Lines write amounts with two decimals
and dates as 2026-11-28.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any, Final

import xlsxwriter

from core.errors import ConfigError, InputError
from core.exporting import Cell, ExportFormat, Kind
from core.text import formula_safe

_BOM: Final = "\ufeff"  # by it Excel knows UTF-8
_SHEET_ROWS: Final = 1_048_576  # the limits of Excel's format
_CELL_CHARACTERS: Final = 32_767
_FIRST_DAY: Final = date(1900, 3, 1)  # before it, Excel's count of days is off by one
_ROWS_AT_ONCE: Final = 1000
_FORMATS: Final = {
    Kind.AMOUNT: "0.00",
    Kind.DATE: "yyyy-mm-dd",
    Kind.TIME: "yyyy-mm-dd hh:mm:ss",
    Kind.SHARE: "0.0000",
}
_WIDTHS: Final = {Kind.TEXT: 18, Kind.TIME: 20, Kind.AMOUNT: 14, Kind.DATE: 12}

Cells = Sequence[Cell]


def write_table(
    path: Path,
    export_format: ExportFormat,
    headings: Sequence[str],
    kinds: Sequence[Kind],
    rows: Iterable[Cells],
) -> None:
    """Write a table into a file. Raises ConfigError where a library is missing, InputError for a
    value that the format cannot hold in its column."""
    _WRITERS[export_format](path, headings, kinds, rows)


def _csv(path: Path, headings: Sequence[str], kinds: Sequence[Kind], rows: Iterable[Cells]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(_BOM)
        writer = csv.writer(file)
        writer.writerow([formula_safe(heading) for heading in headings])
        for cells in rows:
            writer.writerow([formula_safe(_text(cell)) for cell in cells])


def _json_lines(
    path: Path, headings: Sequence[str], kinds: Sequence[Kind], rows: Iterable[Cells]
) -> None:
    with path.open("w", encoding="utf-8") as file:
        for cells in rows:
            plain = [
                cell if cell is None or isinstance(cell, int | float | str) else _text(cell)
                for cell in cells
            ]
            line = dict(zip(headings, plain, strict=True))
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


def _xlsx(
    path: Path, headings: Sequence[str], kinds: Sequence[Kind], rows: Iterable[Cells]
) -> None:
    options = {
        "constant_memory": True,
        "tmpdir": str(path.parent),
        "strings_to_numbers": False,
        "strings_to_formulas": False,
        "strings_to_urls": False,
    }
    left = iter(rows)
    with xlsxwriter.Workbook(str(path), options) as book:
        head = book.add_format({"bold": True})
        formats = {kind: book.add_format({"num_format": form}) for kind, form in _FORMATS.items()}
        more = True
        while more:
            sheet = book.add_worksheet()
            sheet.freeze_panes(1, 0)
            # Else Excel offers to turn text into numbers, which would lose its leading zeros.
            sheet.ignore_errors({"number_stored_as_text": f"A1:XFD{_SHEET_ROWS}"})
            for column, kind in enumerate(kinds):
                sheet.set_column(column, column, _WIDTHS.get(kind, 12))
                sheet.write_string(0, column, headings[column], head)
            line = 0
            for line, cells in enumerate(islice(left, _SHEET_ROWS - 1), 1):
                for column, cell in enumerate(cells):
                    _write_cell(sheet, line, column, cell, formats.get(kinds[column]))
            more = line == _SHEET_ROWS - 1


def _write_cell(sheet: Any, line: int, column: int, cell: Cell, form: Any) -> None:
    if cell is None:
        return
    if isinstance(cell, datetime):
        sheet.write_datetime(line, column, cell.replace(tzinfo=None), form)
    elif isinstance(cell, date) and cell >= _FIRST_DAY:
        sheet.write_datetime(line, column, cell, form)
    elif isinstance(cell, int | float | Decimal):
        sheet.write_number(line, column, cell, form)
    else:
        sheet.write_string(line, column, _text(cell)[:_CELL_CHARACTERS])


def _parquet(
    path: Path, headings: Sequence[str], kinds: Sequence[Kind], rows: Iterable[Cells]
) -> None:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as exc:
        raise ConfigError(
            "Parquet files need another package on the server.",
            hint="Install counterfoil[parquet] there.",
            code="no-parquet",
        ) from exc
    types = {
        Kind.TEXT: pa.string(),
        Kind.AMOUNT: pa.decimal128(18, 2),
        Kind.DATE: pa.date32(),
        Kind.COUNT: pa.int64(),
        Kind.SHARE: pa.float64(),
        Kind.TIME: pa.timestamp("us", tz="UTC"),
    }
    schema = pa.schema(
        [pa.field(name, types[kind]) for name, kind in zip(headings, kinds, strict=True)]
    )
    left = iter(rows)
    with parquet.ParquetWriter(path, schema) as writer:
        while chunk := list(islice(left, _ROWS_AT_ONCE)):
            columns = []
            for index, kind in enumerate(kinds):
                cells = [cells[index] for cells in chunk]
                try:
                    columns.append(pa.array(cells, type=types[kind]))
                except (pa.ArrowInvalid, pa.ArrowTypeError) as exc:
                    raise InputError(
                        f"A value of the column “{headings[index]}” is no {kind}.",
                        hint="Choose another format.",
                        code="cell-differs",
                    ) from exc
            writer.write_table(pa.table(columns, schema=schema))


_WRITERS: Final[
    dict[ExportFormat, Callable[[Path, Sequence[str], Sequence[Kind], Iterable[Cells]], None]]
] = {
    ExportFormat.CSV: _csv,
    ExportFormat.JSONL: _json_lines,
    ExportFormat.XLSX: _xlsx,
    ExportFormat.PARQUET: _parquet,
}


def _text(cell: Cell) -> str:
    match cell:
        case None:
            return ""
        case datetime():
            return cell.isoformat(timespec="seconds")
        case date():
            return cell.isoformat()
        case Decimal():
            return f"{cell:.2f}"
    return str(cell)
