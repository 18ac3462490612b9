"""Exports with chosen columns: asked for on a page, made by the task, downloaded."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import httpx
import openpyxl
import pytest
from openpyxl.cell import Cell as ExcelCell
from pyarrow import parquet
from sqlalchemy import select, update

from core.clock import utcnow
from core.roles import Role
from core.settings import Settings
from db.models import Field, Outbox
from db.models_exports import Export
from db.transitions import exporting
from db.transitions.outbox import OutboxKind
from db.transitions.pages import claim_pages, complete_pages
from db.transitions.results import PageResult
from storage.base import ObjectMissingError
from tests.api_under_test import LEASE, Api, api_under_test, field_result, png

VALUES = {
    "account": ("007", "digits"),
    "amount": ("1234.50", "amount(INR)"),
    "date": ("28022026", "date(DDMMYYYY)"),
}
ALL = ["file", "page", "value account", "value amount", "value date"]


@pytest.fixture
def api(sqlite_url: str, tmp_path: Path) -> Iterator[Api]:
    with api_under_test(Settings(home=tmp_path, database_url=sqlite_url)) as api:
        yield api


@pytest.fixture
def boss(api: Api) -> httpx.Client:
    return api.sign_in("Boss", Role.SUPERVISOR)


def read(api: Api, page_id: str, sure: float = 0.99, **values: str) -> None:
    """Do a worker's part: a page with the fields of VALUES, `values` in place of theirs."""
    with api.db.transaction() as s:
        (page,) = claim_pages(s, [page_id], worker="test", **LEASE)
        results = tuple(
            replace(
                field_result(n, sure, page.release_threshold),
                name=name,
                value=values.get(name, value),
                grammar=grammar,
                required=False,
            )
            for n, (name, (value, grammar)) in enumerate(VALUES.items(), 1)
        )
        assert complete_pages(s, [(page.page_id, page.attempt, PageResult(320, 160, 0.9, results))])


def batch_of(api: Api, *pages: dict[str, Any], name: str = "Monday") -> dict[str, Any]:
    files = [(f"=cmd|{n}.png", png(n)) for n in range(len(pages))]
    made: dict[str, Any] = api.upload(files, name=name, release_threshold="0.95").json()
    for document, values in zip(
        api.items(f"/v1/batches/{made['id']}/documents"), pages, strict=True
    ):
        api.open_document(document["id"])
        (page,) = [
            page
            for page in api.items(f"/v1/batches/{made['id']}/pages")
            if page["document_id"] == document["id"]
        ]
        read(api, page["id"], **values)
    return made


def export(
    api: Api, boss: httpx.Client, batch: dict[str, Any], form: str, *use: str, **more: Any
) -> tuple[str, bytes]:
    """Ask for an export, make it, and return the name and the content of its file."""
    path = f"/batches/{batch['id']}/exports"
    asked = boss.post(path, data={"format": form, "use": use or ALL} | more)
    assert asked.status_code == 302, asked.text
    api.make_exports()
    links = re.findall(r'href="(/exports/[0-9a-f]{32})"', boss.get(path).text)
    answer = boss.get(links[0])
    assert answer.status_code == 200
    (name,) = re.findall(r"filename=\"?([^\";]+)", answer.headers["Content-Disposition"])
    return name, answer.content


def sheet(content: bytes) -> list[tuple[ExcelCell, ...]]:
    return list(openpyxl.load_workbook(io.BytesIO(content)).active)


def test_in_excel_text_stays_text_and_numbers_and_dates_are_what_they_are(
    api: Api, boss: httpx.Client
) -> None:
    batch = batch_of(api, {}, {"account": "", "amount": "12", "date": ""})
    name, content = export(api, boss, batch, "xlsx")
    head, first, second = sheet(content)
    assert name == "Monday.xlsx"
    assert [cell.value for cell in head] == [*ALL[:2], "account", "amount", "date", "Not released"]
    file, page, account, amount, day, missing = first
    assert (file.value, file.data_type) == ("=cmd|0.png", "s"), "no formula"
    assert (page.value, page.data_type) == (1, "n")
    assert (account.value, account.data_type) == ("007", "s")
    assert (amount.value, amount.data_type, amount.number_format) == (1234.5, "n", "0.00")
    assert (day.value.date(), day.is_date) == (date(2026, 2, 28), True)
    assert missing.value is None or missing.value == ""
    assert [cell.value for cell in second[3:5]] == [12, None]


def test_csv_and_json_lines_say_the_same(api: Api, boss: httpx.Client) -> None:
    batch = batch_of(api, {"amount": "-5"}, {})
    _, content = export(api, boss, batch, "csv")
    assert content.startswith(b"\xef\xbb\xbf")
    first, second = csv.DictReader(io.StringIO(content.decode("utf-8-sig")))
    assert first["file"] == "'=cmd|0.png"
    assert (first["account"], first["amount"], first["date"]) == ("007", "-5.00", "2026-02-28")
    assert second["amount"] == "1234.50"
    _, content = export(api, boss, batch, "jsonl")
    lines = [json.loads(line) for line in content.decode().splitlines()]
    assert lines[1] == {
        "file": "=cmd|1.png",
        "page": 1,
        "account": "007",
        "amount": "1234.50",
        "date": "2026-02-28",
        "Not released": "",
    }


def test_parquet_has_types(api: Api, boss: httpx.Client) -> None:
    batch = batch_of(api, {}, {"date": ""})
    _, content = export(api, boss, batch, "parquet")
    table = parquet.read_table(io.BytesIO(content))
    assert [str(field.type) for field in table.schema] == [
        "string",
        "int64",
        "string",
        "decimal128(18, 2)",
        "date32[day]",
        "string",
    ]
    assert table.column("account").to_pylist() == ["007", "007"]
    assert str(table.column("amount")[0].as_py()) == "1234.50"
    assert table.column("date").to_pylist() == [date(2026, 2, 28), None]


def test_what_is_not_released_is_left_out_and_named(api: Api, boss: httpx.Client) -> None:
    batch = batch_of(api, {}, {"sure": 0.5})
    fields = api.items(f"/v1/batches/{batch['id']}/fields")
    (account,) = (one for one in fields if (one["name"], one["state"]) == ("account", "review"))
    api.post(f"/v1/fields/{account['id']}/verify", json={"value": "42"})
    page = boss.get(f"/batches/{batch['id']}/exports").text
    assert "2 fields wait for a person" in page
    name, content = export(api, boss, batch, "csv", detail=["state", "released_by"])
    assert name == "Monday INCOMPLETE.csv"
    first, second = csv.DictReader(io.StringIO(content.decode("utf-8-sig")))
    assert first["Not released"] == ""
    assert second["account"] == "42"
    assert second["account released by"] == "ours-key"
    assert (second["amount"], second["date"]) == ("", "")
    assert (second["amount state"], first["amount state"]) == ("review", "accepted")
    assert second["Not released"] == "amount: waits for a person; date: waits for a person"
    assert "On 1 row something is not released" in boss.get(f"/batches/{batch['id']}/exports").text


def test_what_has_no_page_is_a_row_too(api: Api, boss: httpx.Client) -> None:
    data = png(1)
    files = [("a.png", data), ("b.png", data), ("bad.png", png(2)), ("new.png", png(3))]
    batch = api.upload(files, name="x/y: z", release_threshold="0.5").json()
    documents = api.items(f"/v1/batches/{batch['id']}/documents")
    api.read_document(documents[0]["id"])
    api.fail_document(documents[2]["id"], "It is cut off.")
    use = ("file", "page_state")
    name, content = export(api, boss, batch, "csv", *use)
    rows = [tuple(row.values()) for row in csv.DictReader(io.StringIO(content.decode("utf-8-sig")))]
    assert name == "x_y_ z INCOMPLETE.csv"
    assert rows == [
        ("a.png", "read", ""),
        ("b.png", "a copy of a.png", ""),
        ("bad.png", "failed", "It is cut off."),
        ("new.png", "stored", "this file is not opened yet"),
    ]


def test_columns_are_chosen_ordered_renamed_and_remembered(api: Api, boss: httpx.Client) -> None:
    batch = batch_of(api, {})
    form = {
        "place value amount": "1",
        "name value amount": "Betrag",
        "place file": "2",
        "name file": "Datei",
        "detail": ["confidence", "crop"],
    }
    _, content = export(api, boss, batch, "csv", "value amount", "file", **form)
    (row,) = csv.DictReader(io.StringIO(content.decode("utf-8-sig")))
    heads = ["Betrag", "Betrag confidence", "Betrag picture", "Datei", "Not released"]
    assert list(row) == heads
    assert row["Betrag confidence"] == "0.99"
    assert boss.get(row["Betrag picture"].removeprefix("http://localhost")).status_code == 200
    page = boss.get(f"/batches/{batch['id']}/exports").text
    assert page.index('value="Betrag"') < page.index('value="Datei"') < page.index('value="Page"')
    assert page.count(" checked") == 2 + 2 + 1


def test_a_value_that_does_not_fit_makes_its_column_text(api: Api, boss: httpx.Client) -> None:
    batch = batch_of(api, {}, {})
    with api.db.transaction() as s:
        field = s.scalars(select(Field).where(Field.name == "amount")).first()
        assert field is not None
        field.value, field.forced = "12/-", True
    _, content = export(api, boss, batch, "xlsx")
    values = {(row[3].value, row[3].data_type) for row in sheet(content)[1:]}
    assert values == {("12/-", "s"), ("1234.50", "s")}


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"format": "csv"}, "at least one column"),
        ({"format": "pdf", "use": "file"}, "no such format"),
        ({"format": "csv", "use": ["file", "page"], "name file": "A", "name page": "A"}, "Two"),
        ({"format": "csv", "use": "file", "name file": "a\x00b"}, "one line"),
        ({"format": "csv", "use": "nothing"}, "at least one column"),
    ],
)
def test_what_cannot_be_exported_is_said(
    api: Api, boss: httpx.Client, form: dict[str, Any], said: str
) -> None:
    batch = batch_of(api, {})
    answer = boss.post(f"/batches/{batch['id']}/exports", data=form)
    assert (answer.status_code, said in answer.text) == (422, True)


def test_an_export_is_made_once_and_its_file_deleted_in_the_end(
    api: Api, boss: httpx.Client
) -> None:
    batch = batch_of(api, {})
    export(api, boss, batch, "csv")
    with api.db.reading() as s:
        made = s.scalars(select(Export)).one()
    api.make_exports()  # the message came twice
    with api.db.transaction() as s:
        assert s.scalars(select(Export.attempt)).one() == 1
        exporting.expire_exports(s)
        s.execute(update(Export).values(expires_at=utcnow() - timedelta(seconds=1)))
    with api.db.transaction() as s:
        exporting.expire_exports(s)
    assert boss.get(f"/exports/{made.id}").status_code == 404
    assert "deleted; export it again" in boss.get(f"/batches/{batch['id']}/exports").text
    with api.db.reading() as s:
        names = [
            row.payload["namespace"]
            for row in s.scalars(select(Outbox).where(Outbox.kind == OutboxKind.DELETE_OBJECTS))
        ]
    assert names == [made.id]
    api.store.delete_namespace(made.id)
    with pytest.raises(ObjectMissingError):
        api.store.read(f"{made.id}/{made.sha256}")


def test_what_a_dead_worker_left_is_made_by_another(api: Api, boss: httpx.Client) -> None:
    batch = batch_of(api, {})
    boss.post(f"/batches/{batch['id']}/exports", data={"format": "csv", "use": ALL})
    claim_of = {"lease_seconds": -1.0, "max_attempts": 3}
    with api.db.transaction() as s:
        export_id = s.scalars(select(Export.id)).one()
        dead = exporting.claim_export(s, export_id, **claim_of)
    assert dead is not None
    with api.db.transaction() as s:
        assert exporting.exports_to_hint(s, older_than_seconds=60, limit=9) == [export_id]
    api.make_exports()
    with api.db.transaction() as s:
        assert s.scalars(select(Export.state)).one() == "done"
        late = {"rows": 0, "open_rows": 0, "filename": "late", "sha256": "0" * 64, "size": 0}
        assert not exporting.finish_export(s, dead, **late), "the dead one has nothing to say"
        assert exporting.exports_to_hint(s, older_than_seconds=60, limit=9) == []


def test_an_export_that_kills_its_worker_fails_in_the_end(api: Api, boss: httpx.Client) -> None:
    batch = batch_of(api, {})
    boss.post(f"/batches/{batch['id']}/exports", data={"format": "csv", "use": ALL})
    for _ in range(4):
        with api.db.transaction() as s:
            export_id = s.scalars(select(Export.id)).one()
            exporting.claim_export(s, export_id, lease_seconds=-1, max_attempts=3)
    assert "failed several times" in boss.get(f"/batches/{batch['id']}/exports").text


def test_the_files_of_a_deleted_batch_are_deleted(api: Api, boss: httpx.Client) -> None:
    batch = batch_of(api, {})
    export(api, boss, batch, "csv")
    with api.db.reading() as s:
        export_id = s.scalars(select(Export.id)).one()
    boss.post(f"/batches/{batch['id']}/delete")
    with api.db.reading() as s:
        assert s.scalars(select(Export.id)).all() == []
        names = {
            row.payload["namespace"]
            for row in s.scalars(select(Outbox).where(Outbox.kind == OutboxKind.DELETE_OBJECTS))
        }
    assert names == {batch["id"], export_id}
