"""Control totals and counts: what an upload takes, and what the page says if they do not fit."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.roles import Role
from core.settings import Settings
from tests.api_under_test import Api, api_under_test, png

TEMPLATE = """\
name: slip
page: [320, 160]
fields:
  - {name: amount, box: [0.1, 0.1, 0.2, 0.2], grammar: amount}
"""


@pytest.fixture
def api(sqlite_url: str, tmp_path: Path) -> Iterator[Api]:
    with api_under_test(Settings(home=tmp_path, database_url=sqlite_url)) as api:
        yield api


def upload(api: Api, *amounts: str | None, **form: Any) -> dict[str, Any]:
    files = [(f"slip-{n}.png", png(n)) for n in range(len(amounts))]
    options: dict[str, Any] = {"template_text": TEMPLATE, "release_threshold": "0.9"} | form
    batch: dict[str, Any] = api.upload(files, **options).json()
    api.read_values(batch, "slip", [{"amount": amount} for amount in amounts])
    return batch


def shown(api: Api, batch: dict[str, Any], role: Role = Role.VERIFIER) -> str:
    text = api.sign_in(f"{role} of {batch['id']}", role).get(f"/batches/{batch['id']}/balance").text
    return re.sub(r"\s+", " ", re.sub("<[^>]*>", " ", text))


def test_an_upload_takes_what_the_batch_should_come_to(api: Api) -> None:
    form = {"control_total": " 1,234.50 ", "control_field": "amount"}
    batch = upload(api, "1234.50", **form, expected_pages="1", expected_documents="2")
    kept = api.get(f"/v1/batches/{batch['id']}").json()
    names = ("control_total", "control_field", "expected_pages", "expected_documents")
    assert [kept[name] for name in names] == ["1234.50", "amount", 1, 2]
    text = shown(api, batch)
    assert "none, it balances" in text
    assert "1 of 1 expected" in text
    assert "1 of 2 expected, 1 file too few" in text


@pytest.mark.parametrize(
    ("form", "says"),
    [
        ({"control_total": "12,50", "control_field": "amount"}, "'12,50' is no control total"),
        ({"control_total": "12.50"}, "belong together"),
        ({"control_field": "amount"}, "belong together"),
        ({"control_total": "1", "control_field": "sum"}, "has a field 'sum' to add up. There are"),
        ({"expected_pages": "-1"}, "expected_pages"),
    ],
)
def test_a_total_that_cannot_be_meant_is_refused(api: Api, form: dict[str, Any], says: str) -> None:
    answer = api.upload([("a.png", png(1))], template_text=TEMPLATE, **form)
    assert answer.status_code == 422
    assert says in str(answer.json())
    assert api.items("/v1/batches") == []


def test_a_repeated_request_has_the_same_total(api: Api) -> None:
    headers = {"Idempotency-Key": "monday"}
    form = {"template_text": TEMPLATE, "control_field": "amount"}
    files = [("a.png", png(1))]
    first = api.upload(files, headers=headers, control_total="1", **form)
    assert first.status_code == 202
    again = api.upload(files, headers=headers, control_total="1", **form)
    assert again.json()["id"] == first.json()["id"]
    assert api.upload(files, headers=headers, control_total="2", **form).status_code == 409


def test_the_value_that_is_probably_wrong_comes_first(api: Api) -> None:
    """A 1 is read as a 7 more often than a 2 as an 8."""
    batch = upload(
        api, "85.00", "58.00", "37.00", "12.00", control_total="186", control_field="amount"
    )
    text = shown(api, batch)
    assert "Difference 6.00 too much" in text
    suspects = re.findall(r"(\S+) may be (\S+) : (.*?)\.", text)
    assert suspects[0] == ("37.00", "31.00", "a 1 read as a 7")
    assert ("58.00", "52.00", "a 2 read as an 8") in suspects


def test_a_suspect_is_looked_at_again_and_then_the_batch_balances(api: Api) -> None:
    batch = upload(api, "10", "27", "30", control_total="61", control_field="amount")
    browser = api.sign_in("Ada", Role.VERIFIER)
    text = browser.get(f"/batches/{batch['id']}/balance").text
    assert "a 1 read as a 7" in text
    field = api.items(f"/v1/batches/{batch['id']}/fields")[1]
    path = f"/fields/{field['id']}/again"
    assert f'action="{path}"' in text
    assert browser.post(path).status_code == 422
    assert browser.post(path, data={"version": "7"}).status_code == 409
    there = browser.post(path, data={"version": "1"}).headers["Location"]
    assert there == f"/batches/{batch['id']}/balance"
    waits = api.get(f"/v1/fields/{field['id']}").json()
    assert (waits["state"], waits["reason"], waits["value"]) == ("review", "asked-again", "27")
    assert api.get(f"/v1/batches/{batch['id']}").json()["state"] == "reviewing"
    assert "1 value waits for a person" in shown(api, batch)
    said = api.post(f"/v1/fields/{field['id']}/verify", json={"value": "21"})
    assert said.status_code == 200
    assert "none, it balances" in shown(api, batch)
    assert "Ada asked to look at it again" in browser.get(f"/pages/{field['page_id']}").text


def test_missing_values_are_named(api: Api) -> None:
    batch = upload(api, "10", None, control_total="30", control_field="amount")
    text = shown(api, batch, Role.OPERATOR)
    assert "1 value is missing: slip-1.png" in text
    assert "What the batch should come to" not in text, "an operator does not change it"


def test_the_total_may_come_later(api: Api) -> None:
    batch = upload(api, "10", "20")
    assert "Say what the batch should come to" in shown(api, batch)
    browser = api.sign_in("Ada", Role.VERIFIER)
    path = f"/batches/{batch['id']}/balance"
    form = {"control_total": "1,030", "control_field": "amount", "expected_pages": "3"}
    assert browser.post(path, data=form).status_code == 302
    text = shown(api, batch)
    assert "Difference 1,000 too little" in text
    assert "2 of 3 expected, 1 page too few" in text
    assert browser.post(path, data=form | {"control_total": "x"}).status_code == 422
    assert browser.post(path, data={}).status_code == 302
    assert "Say what the batch should come to" in shown(api, batch)
