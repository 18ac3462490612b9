"""A page whose fields contradict each other: what is shown, and who has the last word."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from core.roles import Role
from core.settings import Settings
from tests.api_under_test import Api, api_under_test, png

TEMPLATE = """\
name: slip
page: [320, 160]
fields:
  - {name: amount, box: [0.1, 0.1, 0.2, 0.2], grammar: amount}
  - {name: in-words, box: [0.1, 0.4, 0.2, 0.2], grammar: "digits(1,9)"}
  - {name: number, box: [0.1, 0.7, 0.2, 0.2], grammar: "digits(1,9)"}
checks:
  - {name: "figures & words", equal: [amount, in-words]}
  - {name: counted once, unique: number}
"""


@pytest.fixture
def api(sqlite_url: str, tmp_path: Path) -> Iterator[Api]:
    with api_under_test(Settings(home=tmp_path, database_url=sqlite_url)) as api:
        yield api


def upload(api: Api, *pages: Mapping[str, str | None], name: str = "Slips") -> list[str]:
    """Upload a batch of pages with these values, and return the ids of its pages."""
    files = [(f"{name}-{n}.png", png(n)) for n in range(len(pages))]
    form: dict[str, Any] = {"name": name, "template_text": TEMPLATE, "release_threshold": "0.9"}
    batch = api.upload(files, **form).json()
    return api.read_values(batch, "slip", pages)


def form_of(browser: httpx.Client, page: str) -> dict[str, str]:
    """Return the hidden members of the form that keeps values."""
    text = browser.get(f"/pages/{page}").text.replace("&amp;", "&")
    return dict(re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', text))


def test_both_inks_are_shown_and_a_note_keeps_both_values(api: Api) -> None:
    (page,) = upload(api, {"amount": "12", "in-words": "21", "number": "1"})
    browser = api.sign_in("Ada", Role.VERIFIER)
    text = browser.get(f"/pages/{page}").text
    assert "The check “figures &amp; words” fails" in text
    assert "amount is 12 and in-words is 21." in text
    assert text.count('<img alt="The writing in ') == 2
    assert "counted once (number) holds." in text
    assert 'name="note"' not in api.sign_in("Otto", Role.OPERATOR).get(f"/pages/{page}").text
    form = form_of(browser, page)
    assert len(form) == 3
    without = browser.post(f"/pages/{page}/keep", data=form)
    assert (without.status_code, "Say in a note" in without.text) == (422, True)
    unseen = {key: value for key, value in form.items() if not key.startswith("version")}
    assert browser.post(f"/pages/{page}/keep", data=unseen | {"note": "so"}).status_code == 409
    fields = api.get(f"/v1/pages/{page}").json()["fields"]
    assert [field["state"] for field in fields] == ["review", "review", "accepted"]
    kept = browser.post(f"/pages/{page}/keep", data=form | {"note": "They differ."})
    assert kept.headers["Location"] == f"/pages/{page}"
    shown = browser.get(f"/pages/{page}").text
    assert "Ada read “21”" in shown
    fields = api.get(f"/v1/pages/{page}").json()["fields"]
    assert [(one["state"], one["forced"]) for one in fields[:2]] == [("verified", True)] * 2
    assert 'name="note"' not in browser.get(f"/pages/{page}").text


def test_a_cheque_that_came_before_is_linked_both_ways(api: Api) -> None:
    same = {"amount": "5", "in-words": "5", "number": "77"}
    (first,) = upload(api, same, name="Monday")
    (second,) = upload(api, same, name="Tuesday")
    browser = api.sign_in("Ada")
    for page, other in ((first, second), (second, first)):
        assert f'href="/pages/{other}"' in browser.get(f"/pages/{page}").text
    checks = api.get(f"/v1/pages/{second}").json()["checks"]
    assert (checks[1]["state"], checks[1]["pages"]) == ("fails", [first])
    assert checks[1]["message"] == "Monday-0.png of batch Monday has the same number 77."


def test_who_verifies_a_field_is_told_which_check_fails(api: Api) -> None:
    upload(api, {"amount": "12", "in-words": "21", "number": "1"})
    batch = api.items("/v1/batches")[0]["id"]
    browser = api.sign_in("Ada", Role.VERIFIER)
    cards = browser.post(f"/batches/{batch}/next").json()["fields"]
    assert len(cards) == 2
    for card in cards:
        assert card["reason"].endswith("figures & words: amount is 12 and in-words is 21.")
