"""People verify fields over HTTP: what is taken, what is refused, and two of them at once."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openpyxl
import pytest
from sqlalchemy import update

from core.settings import Settings
from db.models import Field
from tests.api_under_test import Api, api_under_test, png

FORMULA = '=HYPERLINK("http://example.com","0042")'
TEMPLATE = """\
name: slip
page: [100, 50]
fields:
  - {name: field-1, box: [0.1, 0.1, 0.3, 0.3], grammar: "amount(INR)"}
  - {name: field-2, box: [0.5, 0.1, 0.3, 0.3], grammar: "digits(3)", required: false}
"""


@pytest.fixture
def api(sqlite_url: str, tmp_path: Path) -> Iterator[Api]:
    with api_under_test(Settings(home=tmp_path, database_url=sqlite_url)) as api:
        yield api


@pytest.fixture
def fields(api: Api) -> list[dict[str, Any]]:
    """Two fields of one page that wait for a person: `digits`, required."""
    batch = api.upload([("=first.png", png(1))]).json()
    api.read(batch)
    return api.items(f"/v1/batches/{batch['id']}/fields")


def verify(
    api: Api, field: dict[str, Any], version: int | str | None = None, **body: Any
) -> httpx.Response:
    headers = {} if version is None else {"If-Match": f'"{version}"' if version != "*" else "*"}
    return api.post(field["links"]["verify"], json=body, headers=headers)


@pytest.mark.parametrize(
    ("typed", "value"), [("42", "42"), (" 0042\n", "0042"), ("００４２", "0042"), ("٤٢", "42")]
)
def test_a_value_is_trimmed_and_normalised(
    api: Api, fields: list[dict[str, Any]], typed: str, value: str
) -> None:
    done = verify(api, fields[0], value=typed)
    assert (done.status_code, done.json()["value"], done.json()["forced"]) == (200, value, False)
    assert api.get(f"/v1/fields/{fields[0]['id']}").json() == done.json()


@pytest.mark.parametrize("typed", ["abc", "=cmd|calc", "1 2", "-5", "", "4²", "1\0", "٤٢x"])
def test_an_illegal_value_is_refused_in_words(
    api: Api, fields: list[dict[str, Any]], typed: str
) -> None:
    refused = verify(api, fields[0], value=typed)
    assert (refused.status_code, refused.json()["code"]) == (422, "illegal-value")
    said = refused.json()["detail"]
    assert "It takes digits and nothing else, for example 123456." in said
    assert said.endswith("To record it all the same, force it and say why in a note.")
    assert api.get(f"/v1/fields/{fields[0]['id']}").json()["state"] == "review"
    alone = verify(api, fields[0], value=typed, force=True)
    assert (alone.status_code, alone.json()["code"]) == (422, "note-required")


def test_a_forced_value_is_marked_wherever_it_goes(api: Api, fields: list[dict[str, Any]]) -> None:
    batch_id = api.get("/v1/batches").json()["items"][0]["id"]
    note = "=it is printed so"
    done = verify(api, fields[0], value=FORMULA, force=True, note=note).json()
    assert (done["value"], done["forced"], done["note"], done["version"]) == (
        FORMULA,
        True,
        note,
        2,
    )
    path = f"/v1/batches/{batch_id}/export"
    first, second = csv.DictReader(io.StringIO(api.get(path).text))
    assert (first["value"], first["forced"], first["note"]) == (f"'{FORMULA}", "true", f"'{note}")
    assert (second["value"], second["forced"], second["note"]) == ("0027", "false", "")
    page = json.loads(api.get(f"{path}?format=jsonl").text)
    assert [(one["forced"], one["note"]) for one in page["fields"]] == [(True, note), (False, None)]
    sheet = openpyxl.load_workbook(io.BytesIO(api.get(f"{path}?format=xlsx").content)).active
    assert sheet is not None
    head, cells, _ = ([cell.value for cell in row] for row in sheet.iter_rows())
    row = dict(zip(head, cells, strict=True))
    assert (row["value"], row["forced"], row["note"]) == (FORMULA, "true", note)
    assert {cell.data_type for cells in sheet.iter_rows() for cell in cells} <= {"s", "n"}


def test_what_is_allowed_is_what_the_template_says(api: Api) -> None:
    """Also where an older version read the field, which kept no grammar in it."""
    template = ("slip.yaml", TEMPLATE.encode())
    batch = api.upload([("a.png", png(1))], template_file=template).json()
    api.read(batch)
    with api.db.transaction() as s:
        s.execute(update(Field).values(grammar=None, required=None))
    amount, number = api.items(f"/v1/batches/{batch['id']}/fields")
    assert (amount["grammar"], amount["required"]) == (None, None)
    assert verify(api, amount, value="₹ 1,00,000.5").json()["value"] == "100000.50"
    assert verify(api, number, value="").json()["value"] == ""
    for field, typed in ((amount, ""), (number, "12")):
        assert verify(api, field, "*", value=typed).json()["code"] == "illegal-value"


def test_two_people_and_one_field(api: Api, fields: list[dict[str, Any]]) -> None:
    field = fields[0]
    seen = api.get(f"/v1/fields/{field['id']}")
    assert (seen.headers["ETag"], seen.json()["version"]) == ('"1"', 1)
    first = verify(api, field, 1, value="42")
    assert (first.status_code, first.headers["ETag"]) == (200, '"2"')
    late = verify(api, field, 1, value="43")
    assert (late.status_code, late.json()["code"]) == (412, "field-changed")
    assert late.headers["ETag"] == '"2"'
    assert late.json()["field"] == first.json()
    assert "ours-key has verified this field as '42'. Nothing was changed." in late.json()["detail"]
    unsaid = verify(api, field, value="43")
    assert (unsaid.status_code, unsaid.json()["code"]) == (428, "version-required")
    assert unsaid.json()["field"] == first.json()
    again = verify(api, field, 1, value=" 42")  # its answer was lost
    assert (again.status_code, again.json()) == (200, first.json())
    corrected = verify(api, field, 2, value="43", note="a 3 after all")
    assert (corrected.json()["value"], corrected.json()["version"]) == ("43", 3)
    for odd in ('"x"', f'"{"9" * 30}"', '"-1"', '"3.0"', 'W/"3"', "", " ", ",", '"'):
        header = {"If-Match": odd}
        refused = api.post(field["links"]["verify"], json={"value": "44"}, headers=header)
        assert refused.status_code == 412, odd
    several = api.post(
        field["links"]["verify"], json={"value": "44"}, headers={"If-Match": '"1", "3"'}
    )
    assert several.json()["version"] == 4
    assert verify(api, field, "*", unreadable=True, note="torn").json()["state"] == "unreadable"
    kinds = [
        json.loads(line.removeprefix("data: "))
        for line in api.get(f"/v1/batches/{_batch_of(api)}/events").text.splitlines()
        if line.startswith("data: ") and '"state_before"' in line
    ]
    assert [(one["value"], one["note"]) for one in kinds] == [
        ("42", None),
        ("43", "a 3 after all"),
        ("44", None),
        (None, "torn"),
    ]


def _batch_of(api: Api) -> str:
    batch: str = api.get("/v1/batches").json()["items"][0]["id"]
    return batch


def test_bodies_that_say_nothing(api: Api, fields: list[dict[str, Any]]) -> None:
    for body in (
        {},
        {"value": 5},
        {"value": "1" * 201},
        {"value": "1", "unreadable": True},
        {"unreadable": False},
        {"unreadable": True, "force": True, "note": "x"},
        {"value": "1", "force": "yes"},
        {"value": "1", "note": "n" * 501},
        {"value": None},
    ):
        refused = verify(api, fields[0], **body)
        assert (refused.status_code, refused.json()["code"]) == (422, "invalid-request"), body
        assert "at most 200 characters" in refused.json()["detail"]
    odd = verify(api, fields[0], value="1", note="two\nlines")
    assert (odd.status_code, odd.json()["code"]) == (422, "bad-text")


@pytest.mark.parametrize("name", ["a\nb", "\x1b[31mred", "\u202egnp.exe", "\0"])
def test_names_are_one_line_of_text(api: Api, name: str) -> None:
    refused = api.post("/v1/batches", json={"name": name})
    assert (refused.status_code, refused.json()["code"]) == (422, "bad-text")
    assert "The name must be one line of text" in refused.json()["detail"]
    form = api.upload([("a.png", png(1))], name=name)
    assert (form.status_code, form.json()["code"]) == (422, "bad-text")
    assert api.post("/v1/batches", json={"name": " July "}).json()["name"] == "July"
