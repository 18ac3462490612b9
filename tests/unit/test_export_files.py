"""Numbers leave Counterfoil as they are, whatever reads them; no text becomes a formula."""

from __future__ import annotations

import csv
import io
import sqlite3
import zipfile
from dataclasses import fields, replace
from pathlib import Path

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.exports.files import COLUMNS, csv_chunks, write_xlsx
from core.clock import utcnow
from core.text import formula_safe
from db.export_table import export_table
from db.views import ExportRow

# Spreadsheets and readers of CSV like to change each of these.
VALUES = [
    "0042",
    "000123456789012345678901234567890",
    "12345678901234567",  # one digit more than a double holds
    "05072020",
    "20240431",
    "1234.50",
    "100000.00",
    "0",
    "1e5",
    "2024-01",
    "N/A",
    "TRUE",
    "",
]
FORMULAS = [
    "=cmd|' /C calc'!A0",
    "@SUM(1+1)",
    "+1+cmd|x",
    "-2+3",
    "\t=1",
    "\uff1d1+1",
    " =1",
    "a;=1+1",
    "a\n=1",
]


def rows(values: list[str]) -> list[ExportRow]:
    row = ExportRow(batch="b", file="=scan.png", field="number", released_at=utcnow(), note="é; ok")
    numbered = enumerate(values, 1)
    return [
        replace(row, row_id=f"{n}", value=value, page=n, field_id=f"{n}") for n, value in numbered
    ]


def test_csv_keeps_every_number() -> None:
    text = "".join(csv_chunks(rows(VALUES), bom=True))
    assert text.startswith("\ufeff")
    read = list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline="")))
    assert [row["value"] for row in read] == VALUES
    assert {row["file"] for row in read} == {"'=scan.png"}


def test_xlsx_keeps_every_number_as_text(tmp_path: Path) -> None:
    path = tmp_path / "x.xlsx"
    write_xlsx(path, rows(VALUES + FORMULAS))
    sheet = openpyxl.load_workbook(path).active
    assert sheet is not None
    at = COLUMNS.index("value") + 1
    cells = [sheet.cell(row, at) for row in range(2, len(VALUES + FORMULAS) + 2)]
    assert [cell.value or "" for cell in cells] == VALUES + FORMULAS
    assert {cell.data_type for cell in cells} <= {"s", "n"}  # "n" is an empty cell
    assert all(cell.value is None for cell in cells if cell.data_type == "n")
    with zipfile.ZipFile(path) as book:
        sheet_xml = book.read("xl/worksheets/sheet1.xml").decode()
    assert "<f>" not in sheet_xml
    # Excel does not offer to make numbers of the cells.
    assert 'numberStoredAsText="1"' in sheet_xml


def test_a_table_keeps_every_number(tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite3"
    assert export_table(f"sqlite:///{path}", "numbers", "b", rows(VALUES)) == len(VALUES)
    with sqlite3.connect(path) as connection:
        found = connection.execute("SELECT value, typeof(value) FROM numbers ORDER BY page")
        assert found.fetchall() == [(value, "text") for value in VALUES]
    connection.close()


def test_a_table_has_a_column_for_each_of_a_csv_file(tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite3"
    export_table(f"sqlite:///{path}", "numbers", "b", [])
    with sqlite3.connect(path) as connection:
        columns = {row[1] for row in connection.execute("PRAGMA table_info(numbers)")}
    connection.close()
    assert columns == {*COLUMNS, "row_id", "exported_at"}
    assert [column.name for column in fields(ExportRow)] == list(COLUMNS)


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_is_made_text_in_csv(text: str) -> None:
    safe = formula_safe(text)
    assert safe.replace("'", "") == text.replace("'", "")
    assert safe != text


@given(st.text("=+-@;\t\r\n '019.,aé\uff1d", max_size=12))
def test_no_cell_of_csv_begins_a_formula(text: str) -> None:
    safe = formula_safe(text)
    for piece in safe.replace("\r", ";").replace("\n", ";").replace("\t", ";").split(";"):
        begins = piece.strip()[:1] in set("=+-@\uff1d")
        number = piece == text and set(piece[1:]) <= set("0123456789.,")
        assert not begins or piece == "" or number, (text, safe)


@given(st.from_regex(r"[+-]?[0-9]{1,40}(\.[0-9]{1,4})?", fullmatch=True))
def test_a_number_is_never_altered(number: str) -> None:
    assert formula_safe(number) == number
