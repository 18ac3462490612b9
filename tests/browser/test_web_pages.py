"""The pages in Chromium: a person's way from the samples to the export, keys, and accessibility."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from db.models import FieldState
from tests.api_under_test import Api, png
from tests.browser.pages import PHONE, SignIn, check_page


@pytest.fixture
def batch(api: Api) -> dict[str, Any]:
    """Three pages of three fields, of which two wait for a person."""
    files = [(f"scan-{n}.png", png(n)) for n in range(3)]
    made: dict[str, Any] = api.upload(files, name="Monday", release_threshold="0.925").json()
    api.read(made, fields=3)
    return made


def value(page: Page) -> Locator:
    return page.get_by_label("Value")


def fields_of(api: Api, batch: dict[str, Any], state: FieldState) -> list[dict[str, Any]]:
    fields = api.items(f"/v1/batches/{batch['id']}/fields")
    return [field for field in fields if field["state"] == state]


def test_the_samples_are_two_clicks_from_nothing(api: Api, sign_in: SignIn) -> None:
    page = sign_in()
    page.get_by_role("button", name="Or look at it with the samples").click()
    expect(page.get_by_role("heading", name="Samples")).to_be_visible()
    (made,) = api.items("/v1/batches")
    api.read(made)
    page.get_by_role("link", name=re.compile("Verify .* fields")).click()  # without a reload
    expect(value(page)).to_be_focused()


def test_verifying_by_keyboard(api: Api, sign_in: SignIn, batch: dict[str, Any]) -> None:
    page = sign_in()
    page.goto(f"/batches/{batch['id']}/verify")
    expect(value(page)).to_be_focused()
    expect(value(page)).to_have_value("0017")
    assert page.evaluate("getSelection().toString()") == "0017", "typing replaces it"
    page.keyboard.type("471")
    page.keyboard.press("Enter")  # the first
    expect(value(page)).to_have_value("0017")
    page.keyboard.press("Enter")  # the second, as it was read
    page.keyboard.press(" ")  # the third comes again at the end
    expect(page.locator("#name")).to_have_text("Field 2")
    page.keyboard.type("4x")
    page.keyboard.press("Enter")  # the fourth is refused, and waits below
    page.keyboard.press("Alt+u")  # the fifth
    page.keyboard.press("2")
    expect(page.get_by_role("button", name="Field 2: 4x")).to_be_visible()
    page.keyboard.press("Backspace")
    page.keyboard.press("Enter")
    expect(page.locator("#fault")).to_have_text("Empty? Press Enter again.")
    page.keyboard.type("12")
    page.keyboard.press("Enter")  # the sixth
    expect(page.locator("#name")).to_have_text("Field 1 (left for later)")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Field 2: 4x").click()
    expect(page.locator("#fault")).to_have_text("It contains 'x'.")
    page.keyboard.type("44")
    page.keyboard.press("Enter")
    expect(page.locator("#done-text")).to_have_text("Done. You decided 6 fields.")
    decided = fields_of(api, batch, FieldState.VERIFIED)
    assert sorted(field["value"] for field in decided) == ["0017", "0017", "12", "44", "471"]
    assert len(fields_of(api, batch, FieldState.UNREADABLE)) == 1
    assert api.get(f"/v1/batches/{batch['id']}").json()["state"] == "complete"


def test_the_last_decision_is_taken_back(api: Api, sign_in: SignIn, batch: dict[str, Any]) -> None:
    page = sign_in()
    page.goto(f"/batches/{batch['id']}/verify")
    expect(value(page)).to_have_value("0017")
    page.keyboard.type("8")
    page.keyboard.press("Enter")
    expect(page.locator("#undo")).to_be_enabled()
    page.keyboard.press("Alt+z")
    expect(value(page)).to_have_value("8")
    assert len(fields_of(api, batch, FieldState.REVIEW)) == 6


def test_two_people_never_see_the_same_field(api: Api, sign_in: SignIn) -> None:
    files = [(f"scan-{n}.png", png(n)) for n in range(12)]
    batch = api.upload(files, release_threshold="0.925").json()
    api.read(batch, fields=2)
    pages = [sign_in(name) for name in ("Ada", "Bob")]
    for page in pages:
        page.goto(f"/batches/{batch['id']}/verify")
    typed = 100
    working = list(pages)
    while working:
        for page in list(working):
            expect(page.locator("#value:focus, #done:not([hidden])")).to_be_visible()
            if page.locator("#done").is_visible():
                working.remove(page)
            else:
                page.keyboard.type(f"{typed}")
                page.keyboard.press("Enter")
                typed += 1
    for page in pages:
        expect(page.locator("#faults")).to_be_hidden()
    decided = fields_of(api, batch, FieldState.VERIFIED)
    assert sorted(int(field["value"]) for field in decided) == list(range(100, typed))
    assert len(decided) == 24
    assert {field["released_by"] for field in decided} == {
        f"{name} {api.tenant}" for name in ("Ada", "Bob")
    }


def test_many_files_go_in_groups(api: Api, sign_in: SignIn, tmp_path: Path) -> None:
    folder = tmp_path / "scans"
    folder.mkdir()
    for number in range(120):
        (folder / f"{number:03d}.png").write_bytes(png(number, width=40, height=20))
    page = sign_in()
    page.goto("/upload")
    page.get_by_label("Or a whole folder").set_input_files(folder)
    expect(page.locator("#chosen")).to_contain_text("120 files")
    page.get_by_label("Name of the batch").fill("A folder")
    page.get_by_text("Choose templates").click()
    page.get_by_label("demo-form").check()
    expect(page.get_by_label("Only those that I choose")).to_be_checked()
    page.get_by_role("button", name="Upload").click()
    expect(page.get_by_role("heading", name="A folder")).to_be_visible()
    (made,) = api.items("/v1/batches")
    assert (made["documents"]["total"], made["closed"]) == (120, True)


def test_what_is_refused_is_said(api: Api, sign_in: SignIn, tmp_path: Path) -> None:
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "good.png").write_bytes(png(1))
    page = sign_in()
    page.goto("/upload")
    page.locator("#files").set_input_files([tmp_path / "empty.png", tmp_path / "good.png"])
    page.get_by_role("button", name="Upload").click()
    expect(page.get_by_role("alert")).to_contain_text("empty.png (The file is empty.)")
    page.get_by_role("link", name="To the batch").click()
    expect(page.get_by_role("heading", name="Without a name")).to_be_visible()


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_the_pages_are_accessible_and_fit_a_phone(
    api: Api, sign_in: SignIn, batch: dict[str, Any], colours: Any
) -> None:
    page = sign_in(color_scheme=colours, viewport=PHONE)
    one = api.items(f"/v1/batches/{batch['id']}/pages")[0]["id"]
    path = f"/batches/{batch['id']}"
    for place in (
        "/people",
        "/account",
        "/audit",
        f"{path}/exports",
        "/",
        "/upload",
        path,
        f"{path}/files",
        f"{path}/delete",
        f"/pages/{one}",
    ):
        page.goto(place)
        check_page(page)
    page.goto(f"{path}/verify")
    expect(value(page)).to_be_focused()
    check_page(page)
    page.goto(f"{path}/carpet?text=7")
    expect(page.locator("#cells[aria-busy=false]")).to_be_focused()
    page.keyboard.type("1")
    check_page(page)
    page.goto(f"{path}/carpet?sample=100")
    expect(page.locator("#cells[aria-busy=false]")).to_be_focused()
    check_page(page)
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    check_page(page)


def test_upload_and_status_without_scripts(api: Api, sign_in: SignIn, tmp_path: Path) -> None:
    (tmp_path / "scan.png").write_bytes(png(1))
    page = sign_in(java_script_enabled=False)
    page.goto("/upload")
    page.locator("#files").set_input_files(tmp_path / "scan.png")
    page.get_by_role("button", name="Upload").click()
    expect(page.get_by_role("heading", name="Without a name")).to_be_visible()
    (made,) = api.items("/v1/batches")
    api.read(made)
    page.reload()
    expect(page.get_by_text("1 of 1")).to_be_visible()


def test_a_digit_carpet_by_keyboard(api: Api, sign_in: SignIn, batch: dict[str, Any]) -> None:
    page = sign_in()
    page.goto(f"/batches/{batch['id']}/carpet?text=7")
    cells = page.get_by_role("option")
    ready = page.locator("#cells[aria-busy=false]")
    expect(ready).to_be_focused()
    expect(cells).to_have_count(6)
    page.keyboard.press("+")  # the whole field
    expect(page.get_by_alt_text("The writing in the whole field")).to_be_visible()
    page.keyboard.press("ArrowRight")
    page.keyboard.type("1")  # the second is a 1
    page.keyboard.press("End")
    page.keyboard.press(" ")  # the last seems odd
    page.keyboard.press("ArrowUp")  # there is no row above
    page.keyboard.press("ArrowLeft")
    page.keyboard.type("4")
    page.keyboard.press("Backspace")  # or not
    selected = cells.and_(page.locator("[aria-selected=true]"))
    assert selected.evaluate_all("them => them.map((one) => one.dataset.said)") == ["1", "?"]
    page.keyboard.press("Enter")
    expect(page.locator("#said")).to_have_text(
        "5 digits confirmed, 1 left for a look at the whole field, 1 value corrected."
    )
    expect(page.locator("#done-text")).to_have_text("No 7 is left. Choose another digit above.")
    page.keyboard.press("Alt+z")
    expect(page.locator("#said")).to_have_text("The last screen is taken back.")
    expect(cells).to_have_count(6)
    expect(ready).to_be_focused()
    page.keyboard.press("Enter")
    for text in ("0", "1", "2"):
        page.locator(f".digits a[data-text='{text}']").click()
        expect(ready).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.locator("#done")).to_be_visible()
    assert len(fields_of(api, batch, FieldState.VERIFIED)) == 6
    assert api.get(f"/v1/batches/{batch['id']}").json()["state"] == "complete"


def test_digits_that_were_not_in_view_are_not_confirmed(api: Api, sign_in: SignIn) -> None:
    files = [(f"scan-{n}.png", png(n)) for n in range(40)]
    batch = api.upload(files, release_threshold="0.925").json()
    api.read(batch, fields=2)
    page = sign_in(viewport=PHONE | {"height": 520})
    page.goto(f"/batches/{batch['id']}/carpet?text=7")
    expect(page.locator("#cells[aria-busy=false]")).to_be_focused()
    presses = 0
    while not page.locator("#done").is_visible():
        page.keyboard.press("Enter")
        page.wait_for_timeout(100)
        presses += 1
        if presses == 1:
            expect(page.locator("#said")).to_contain_text("There are more below.")
            assert len(fields_of(api, batch, FieldState.VERIFIED)) == 0
    assert presses > 2
    found = api.items(f"/v1/batches/{batch['id']}/fields")
    assert len(found) == 80


def test_the_digits_of_a_field_are_shown_on_its_page(
    api: Api, sign_in: SignIn, batch: dict[str, Any]
) -> None:
    one = api.items(f"/v1/batches/{batch['id']}/pages")[0]["id"]
    page = sign_in()
    page.goto(f"/pages/{one}")
    scan = page.locator("#scan")
    expect(scan.locator(".characters:visible")).to_have_count(0)
    scan.get_by_role("link", name="Field 1").focus()
    page.keyboard.press("Enter")
    expect(scan.locator(".characters:visible rect")).to_have_count(4)
    digits = page.locator("#field-1").get_by_label("Each character as the machine saw it")
    expect(digits).to_contain_text("91 %, or 1")
    page.locator("#field-1 summary").click()
    history = page.locator("#field-1 details")
    expect(history).to_contain_text("It was 91 % sure; the batch releases from 92.5 %.")
    expect(history).to_contain_text("So it went to a person. The machine is not sure enough.")
    scan.focus()
    page.keyboard.press("f")
    assert scan.get_attribute("viewBox") != "0 0 320 160"
    page.keyboard.press("0")
    expect(scan).to_have_attribute("viewBox", "0 0 320 160")
    page.keyboard.press("r")
    expect(scan).to_have_attribute("viewBox", "0 0 160 320")
    page.keyboard.press("+")
    page.keyboard.press("ArrowDown")
    assert scan.get_attribute("viewBox") != "0 0 160 320"


def test_an_export_with_chosen_columns(
    api: Api, sign_in: SignIn, batch: dict[str, Any], tmp_path: Path
) -> None:
    page = sign_in()
    page.goto(f"/batches/{batch['id']}")
    page.get_by_role("link", name="Choose columns").click()
    page.get_by_label("Page", exact=True).uncheck()
    page.get_by_label("Heading of Field 3").fill("Total")
    page.get_by_label("Place of Field 3").fill("0")
    page.get_by_label("CSV").check()
    page.get_by_role("button", name="Export").click()
    expect(page.get_by_role("progressbar", name="Written")).to_be_visible()
    api.make_exports()
    with page.expect_download() as started:
        page.get_by_role("link", name="Monday INCOMPLETE.csv").click()  # without a reload
    started.value.save_as(tmp_path / "export.csv")
    text = (tmp_path / "export.csv").read_text("utf-8-sig")
    assert text.splitlines()[0] == "Total,File,Field 1,Field 2,Not released"


SLIPS = """\
name: slip
page: [320, 160]
fields:
  - {name: amount, box: [0.1, 0.1, 0.2, 0.2], grammar: amount}
  - {name: in-words, box: [0.1, 0.4, 0.2, 0.2], grammar: "digits(1,9)"}
checks:
  - {name: figures and words, equal: [amount, in-words]}
"""


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_a_batch_is_balanced_on_a_phone(api: Api, sign_in: SignIn, colours: Any) -> None:
    """A suspect is looked at again and corrected; a check that fails is kept with a note."""
    files = [(f"slip-{n}.png", png(n)) for n in range(3)]
    form: dict[str, Any] = {"template_text": SLIPS, "release_threshold": "0.9", "name": "Slips"}
    batch = api.upload(files, **form).json()
    values = [("10", None), ("27", None), ("30", "31")]
    pages = api.read_values(
        batch, "slip", [{"amount": amount, "in-words": words} for amount, words in values]
    )
    page = sign_in(color_scheme=colours, viewport=PHONE)
    page.goto(f"/batches/{batch['id']}")
    page.get_by_role("link", name="Balance").click()
    page.get_by_label("Control total").fill("61.00")
    page.get_by_label("Pages expected").fill("3")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("27.00 may be 21.00: a 1 read as a 7.")).to_be_visible()
    check_page(page)
    page.get_by_role("button", name="Look at 27.00 on slip-1.png again").first.click()
    expect(page.get_by_text("2 values wait for a person")).to_be_visible()
    page.goto(f"/pages/{pages[2]}")
    expect(page.get_by_role("heading", name="The check “figures and words” fails")).to_be_visible()
    check_page(page)
    page.get_by_label("Why").fill("They differ on the paper.")
    page.get_by_role("button", name="Keep").click()
    expect(page.get_by_text("They differ on the paper.").first).to_be_visible()
    assert {field["name"] for field in fields_of(api, batch, FieldState.VERIFIED)} == {
        "amount",
        "in-words",
    }
