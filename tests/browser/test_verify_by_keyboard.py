"""Each way of verifying in Chromium, by keyboard alone, and what a browser never gets."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, Response, expect
from sqlalchemy import select, update

from core.keying import VerifyMode
from core.roles import Role
from db.models import Field, Reading
from tests.api_under_test import Api, png
from tests.browser.pages import SignIn, check_page

READ = "7350017"  # by the machine, in every field: no id, date or size has it in it


@pytest.fixture
def work(api: Api, sign_in: SignIn, request: pytest.FixtureRequest) -> Work:
    return Work(api, sign_in, request.param)


class Work:
    """A batch of three pages with one field each, and people who verify it in a mode."""

    def __init__(self, api: Api, sign_in: SignIn, mode: VerifyMode) -> None:
        self.api, self.sign_in = api, sign_in
        files = [(f"scan-{n}.png", png(n)) for n in range(3)]
        self.batch: dict[str, Any] = api.upload(files, name="Monday").json()
        api.read(self.batch, fields=1)
        with api.db.transaction() as s:
            of_batch = update(Field).where(Field.batch_id == self.batch["id"])
            s.execute(of_batch.values(verify=mode, value=READ))
            alternatives = [{"value": one, "probability": 0.5} for one in (READ, "7350011")]
            fields = select(Field.id).where(Field.batch_id == self.batch["id"])
            s.execute(
                update(Reading)
                .where(Reading.field_id.in_(fields))
                .values(value=READ, raw=READ, alternatives=alternatives)
            )
        self.ids = [one["id"] for one in api.items(f"/v1/batches/{self.batch['id']}/fields")]

    def knows(self, name: str, role: Role = Role.VERIFIER) -> None:
        self.api.sign_in_link(f"{name} {self.api.tenant}", role)

    def person(self, name: str, role: Role = Role.VERIFIER, **options: Any) -> Page:
        self.knows(name, role)
        page = self.sign_in(name, **options)
        self.seen = b""
        page.on("response", self._keep)
        self.open(page)
        return page

    def _keep(self, response: Response) -> None:
        if response.status == 200 and "image" not in response.headers.get("content-type", ""):
            self.seen += response.body() + str(response.headers).encode()

    def open(self, page: Page) -> None:
        page.goto(f"/batches/{self.batch['id']}/verify")
        expect(page.locator("#value:focus, #done:not([hidden])")).to_be_visible()

    def keys(self, page: Page, *values: str) -> None:
        """Key the value of each field as it comes, until nothing is left to do.

        A person may also be asked for what is known: then the first one keyed it before.
        """
        for _ in range(len(self.ids) + 2):
            expect(
                page.locator("#desk:not([hidden]) #value:focus, #done:not([hidden])")
            ).to_be_visible()
            if page.locator("#done").is_visible():
                break
            crop = page.locator("#crop").get_attribute("src") or ""
            page.keyboard.type(values[self.ids.index(crop.split("/")[2])])
            page.keyboard.press("Enter")
        expect(page.locator("#done")).to_be_visible()

    def values(self) -> list[str | None]:
        fields = self.api.items(f"/v1/batches/{self.batch['id']}/fields")
        return sorted(one["value"] for one in fields if one["state"] == "verified")


@pytest.mark.parametrize("work", [VerifyMode.BLIND], indirect=True)
def test_blind(work: Work) -> None:
    work.knows("Bob")
    ada = work.person("Ada")
    expect(ada.locator("#value")).to_have_value("")
    check_page(ada, 1280)
    work.keys(ada, READ, "7350471", "7350018")
    assert work.values() == [READ]
    assert READ.encode() not in work.seen
    expect(ada.locator("#others")).to_contain_text("2 fields wait for another person")
    expect(ada.locator("#others")).to_contain_text(f"(Bob {work.api.tenant})")
    bob = work.person("Bob")
    expect(bob.locator("#value")).to_have_value("")
    work.keys(bob, "", "7350471", READ)
    assert work.values() == [READ, READ, "7350471"]
    assert READ.encode() not in work.seen
    assert b"7350471" not in work.seen


@pytest.mark.parametrize("work", [VerifyMode.CONFIRM], indirect=True)
def test_confirm(work: Work) -> None:
    ada = work.person("Ada")
    value = ada.locator("#value")
    for key, shown in (("Down", "7350011"), ("Down", "7350011"), ("Up", READ), ("Up", READ)):
        ada.keyboard.press(f"Arrow{key}")
        expect(value).to_have_value(shown)
    for _ in range(2):  # an empty field that must hold a value
        ada.keyboard.press("Backspace")
        ada.keyboard.press("Enter")
        ada.keyboard.press("Enter")
    ada.keyboard.press("Alt+u")
    expect(ada.locator("#reasons")).to_contain_text("Why can nobody read it?")
    check_page(ada, 1280)
    ada.keyboard.press("ArrowRight")
    ada.keyboard.press("Enter")
    expect(ada.locator("#faults li")).to_have_count(2)
    ada.keyboard.press("Tab")
    for note in ("The payer left it out", "Not filled in"):
        ada.locator("#faults button").first.focus()
        ada.keyboard.press("Enter")
        expect(ada.locator("#fault")).to_have_text("This field must not be empty.")
        ada.locator("#note").focus()
        check_page(ada, 1280)
        ada.keyboard.type(note)
        ada.keyboard.press("Enter")
    expect(ada.locator("#done-text")).to_have_text("Done. You decided 3 fields.")
    fields = work.api.items(f"/v1/batches/{work.batch['id']}/fields")
    assert sorted((one["state"], one["forced"], one["note"]) for one in fields) == [
        ("unreadable", False, "Struck out"),
        ("verified", True, "Not filled in"),
        ("verified", True, "The payer left it out"),
    ]


@pytest.mark.parametrize("work", [VerifyMode.CONFIRM], indirect=True)
def test_keys_of_ones_own(work: Work) -> None:
    ada = work.person("Ada")
    ada.get_by_text("Change the keys").click()
    ada.locator("#key-later").press("+")
    ada.locator("#key-undo").press("Alt+9")
    ada.get_by_role("button", name="Keep these keys").click()
    expect(ada.locator("#later kbd")).to_have_text("+")
    expect(ada.locator("#undo kbd")).to_have_text("Alt+9")
    expect(ada.locator("#value")).to_be_focused()
    ada.keyboard.press(" ")
    expect(ada.locator("#value")).to_have_value(" ")
    ada.keyboard.press("+")
    expect(ada.locator("#value")).to_have_value(READ)
    ada.keyboard.press("Enter")
    expect(ada.locator("#undo")).to_be_enabled()
    ada.keyboard.press("Alt+9")
    expect(ada.locator("#undo")).to_be_disabled()
