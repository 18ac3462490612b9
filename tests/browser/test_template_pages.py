"""The editor of templates in Chromium: by keyboard alone, with the mouse, as text, on a phone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import pytest
from playwright.sync_api import Page, expect

from core.roles import Role
from pipeline.placing.template import Template, bundled_template, parse_template
from tests.api_under_test import Api
from tests.browser.pages import PHONE, SignIn, check_page
from tests.drawing_pages import draw_tally
from tests.samples import DEMO


@pytest.fixture(scope="module")
def tally(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pages") / "tally.png"
    path.write_bytes(cv2.imencode(".png", draw_tally())[1].tobytes())
    return path


def texts(api: Api) -> dict[str, str]:
    """Return the text of each template that pages can be read with, by its name."""
    return {one["set"]: one["text"] for one in api.get("/v1/templates").json()["items"]}


def saved(api: Api, name: str) -> Template:
    return parse_template(texts(api)[name])


def box(page: Page, index: int) -> dict[str, float]:
    place = page.locator(f"#page .field[data-index='{index}'] rect").bounding_box()
    assert place is not None
    return dict(place)


def test_a_template_by_keyboard_alone(api: Api, sign_in: SignIn, tally: Path) -> None:
    page = sign_in()
    page.goto("/templates/new")
    page.locator("#page").set_input_files(tally)
    page.get_by_label("Name of the template").fill("tally")
    page.keyboard.press("Enter")
    boxes = page.locator("#page .field")
    expect(boxes).to_have_count(10)
    assert "tally" not in texts(api), "a draft is not used"
    check_page(page, 1280)

    # A new box, moved and resized, named, and told what it holds.
    page.get_by_role("button", name="New box").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#page .field:focus")).to_have_attribute(
        "aria-label", "field 11, box 11 of 11"
    )
    before = box(page, 10)
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Alt+Shift+ArrowRight")
    after = box(page, 10)
    assert after["x"] > before["x"] + 2
    assert after["y"] > before["y"]
    assert after["width"] > before["width"] + 2
    page.keyboard.press("Shift+Tab")
    expect(page.locator("#page .field:focus")).to_have_attribute("data-index", "9")
    page.keyboard.press("Delete")
    expect(boxes).to_have_count(10)
    page.keyboard.press("Enter")
    expect(page.get_by_label("Name", exact=True)).to_be_focused()
    page.keyboard.type("total")
    page.keyboard.press("Tab")
    page.keyboard.type("Money, in one")
    expect(page.get_by_label("Exactly")).to_have_value("amount(USD)")
    expect(page.locator("#f-takes")).to_contain_text("an amount in USD")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")  # it may be empty
    page.get_by_role("button", name="Save", exact=True).focus()
    page.keyboard.press("Enter")
    expect(page.locator("#told")).to_have_text("Saved as version 2.")
    template = saved(api, "tally")
    assert [field.name for field in template.fields][-2:] == ["field-9", "total"]
    assert (template.fields[-1].grammar.name, template.fields[-1].required) == (
        "amount(USD)",
        False,
    )
    assert len(template.frames) == 10, "what is printed still places the page"

    # Tried at once on a page.
    page.locator("#try input[type=file]").set_input_files([tally, DEMO / "cheque-1.jpg"])
    page.get_by_role("button", name="Read them").focus()
    page.keyboard.press("Enter")
    tried = page.locator("article.tried")
    expect(tried).to_have_count(2)
    expect(tried.first.locator("li")).to_have_count(10)
    expect(tried.first.locator("svg text")).to_have_count(10)
    expect(tried.last).to_contain_text("does not look like a 'tally'")
    check_page(page, 1280)


def test_boxes_are_drawn_with_the_mouse(api: Api, sign_in: SignIn) -> None:
    page = sign_in()
    page.goto("/templates/demo-cheque")
    boxes = page.locator("#page .field")
    expect(boxes).to_have_count(3)
    paper = page.locator("#page").bounding_box()
    assert paper is not None
    x, y = paper["x"] + 60, paper["y"] + 40
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 90, y + 30, steps=3)
    page.mouse.up()
    expect(boxes).to_have_count(4)
    drawn = box(page, 3)
    assert drawn["width"] == pytest.approx(90, abs=6)
    page.mouse.move(x + 40, y + 15)
    page.mouse.down()
    page.mouse.move(x + 70, y + 15, steps=3)
    page.mouse.up()
    assert box(page, 3)["x"] == pytest.approx(drawn["x"] + 30, abs=6)
    corner = page.locator(".handle.se").bounding_box()
    assert corner is not None
    page.mouse.move(corner["x"] + 4, corner["y"] + 4)
    page.mouse.down()
    page.mouse.move(corner["x"] + 24, corner["y"] + 14, steps=3)
    page.mouse.up()
    assert box(page, 3)["width"] == pytest.approx(drawn["width"] + 20, abs=6)
    page.get_by_role("button", name="Undo").click()
    assert box(page, 3)["width"] == pytest.approx(drawn["width"], abs=6)
    # The text, with what was drawn; a mistake in it is said with its line, and nothing is lost.
    page.get_by_role("button", name="As text").click()
    text = page.get_by_label("The template as text")
    expect(text).to_be_visible()
    written = text.input_value()
    assert "name: field-4" in written
    text.fill(written.replace("grammar: digits(10)", "grammar: digit(10)"))
    page.get_by_role("button", name="As a drawing").click()
    expect(page.get_by_role("alert").first).to_contain_text("Did you mean 'digits(10)'?")
    expect(page.get_by_role("alert").first).to_contain_text("Line ")
    text.fill(written)
    page.get_by_label("as", exact=True).fill("ours")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("heading", name="ours")).to_be_visible()
    template = saved(api, "ours")
    assert [field.name for field in template.fields] == ["date", "amount", "account", "field-4"]
    assert template.frames == bundled_template("demo-cheque").frames


def test_two_people_do_not_overwrite_each_other(api: Api, sign_in: SignIn) -> None:
    ada, bob = sign_in("Ada"), sign_in("Bob")
    ada.goto("/templates/demo-form")
    ada.get_by_label("as", exact=True).fill("shared")
    ada.get_by_role("button", name="Save", exact=True).click()
    expect(ada.get_by_role("heading", name="shared")).to_be_visible()
    bob.goto("/templates/shared")
    for page, name in ((bob, "clinic-number"), (ada, "number-of-clinic")):
        page.get_by_label("Name", exact=True).fill(name)
        page.get_by_role("button", name="Save", exact=True).click()
    expect(bob.locator("#told")).to_have_text("Saved as version 2.")
    expect(ada.get_by_role("alert").first).to_contain_text("changed by Bob")
    assert saved(api, "shared").fields[0].name == "clinic-number"


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_the_editor_is_accessible_on_a_phone(sign_in: SignIn, colours: Any) -> None:
    page = sign_in(color_scheme=colours, viewport=PHONE)
    for path in ("/templates", "/templates/new", "/templates/demo-form"):
        page.goto(path)
        check_page(page)
    page.get_by_role("button", name="As text").click()
    expect(page.get_by_label("The template as text")).to_be_focused()
    check_page(page)


def test_without_scripts_the_text_is_edited(api: Api, sign_in: SignIn) -> None:
    page = sign_in(java_script_enabled=False)
    page.goto("/templates/demo-cheque")
    text = page.get_by_label("The template as text")
    written = text.input_value()
    text.fill(written.replace("digits(10)", "digit(10)"))
    page.get_by_label("as", exact=True).fill("plain")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("alert").first).to_contain_text("Line 15: field 'account'")
    assert "digit(10)" in page.get_by_label("The template as text").input_value()
    page.get_by_label("The template as text").fill(written.replace("digits(10)", "digits(8)"))
    page.get_by_label("as", exact=True).fill("plain")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("heading", name="plain")).to_be_visible()
    assert saved(api, "plain").fields[2].grammar.name == "digits(8)"


def test_only_supervisors_see_templates(api: Api, sign_in: SignIn) -> None:
    page = sign_in()
    page.goto(api.sign_in_link(f"Vera {api.tenant}", Role.VERIFIER))
    expect(page.get_by_role("link", name="Batches")).to_be_visible()
    expect(page.get_by_role("link", name="Templates")).to_have_count(0)
