"""Templates in the browser: versions, names, who may, and what is looked at in a child."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import httpx
import pytest

from core.roles import Role
from core.settings import Settings
from pipeline.placing.template import bundled_template
from storage.site_templates import SiteTemplates
from tests.api_under_test import Api, api_under_test, png
from tests.drawing_pages import draw_tally
from tests.samples import DEMO

TEXT = bundled_template("demo-cheque").text
SCRIPT = {"Accept": "application/json"}


@pytest.fixture
def api(sqlite_url: str, tmp_path: Path) -> Iterator[Api]:
    with api_under_test(Settings(home=tmp_path, database_url=sqlite_url)) as api:
        yield api


@pytest.fixture
def browser(api: Api) -> httpx.Client:
    return api.sign_in("Ada", Role.SUPERVISOR)


def save(browser: httpx.Client, name: str, text: str, **form: str) -> httpx.Response:
    return browser.post(f"/templates/{name}", data={"text": text} | form, headers=SCRIPT)


def ours(browser: httpx.Client, text: str = TEXT) -> httpx.Response:
    return save(browser, "demo-cheque", text, **{"as": "ours"})


def texts(api: Api) -> dict[str, str]:
    return {one["set"]: one["text"] for one in api.get("/v1/templates").json()["items"]}


def test_each_save_is_a_version_and_one_can_go_back(api: Api, browser: httpx.Client) -> None:
    assert ours(browser).json()["number"] == 1
    first = TEXT.replace("name: demo-cheque", "name: ours")
    assert texts(api)["ours"] == first
    second = first.replace("digits(10)", "digits(8)")
    assert save(browser, "ours", second, seen="1").json()["number"] == 2
    assert save(browser, "ours", second, seen="2").json()["number"] == 2, "nothing changed"
    assert texts(api)["ours"] == second
    late = save(browser, "ours", first, seen="1")
    assert late.status_code == 422
    assert "changed by Ada" in late.json()["detail"]
    assert browser.post("/templates/ours/back", data={"version": "1"}).status_code == 302
    assert texts(api)["ours"] == first
    page = browser.get("/templates/ours").text
    assert "Go back to version 2" in page
    assert browser.get("/templates/ours/yaml").text == first
    assert browser.get("/templates/ours/yaml?version=2").text == second
    assert browser.get("/templates/ours/yaml?version=9").status_code == 400


def test_a_page_shows_the_version_that_it_was_read_with(api: Api, browser: httpx.Client) -> None:
    ours(browser)
    both = {"template": ["ours", "demo-form"]}
    browser.post("/upload", data=both, files=[("files", ("a.png", png(1)))])
    (batch,) = api.items("/v1/batches")
    api.read(batch)
    save(browser, "ours", TEXT.replace("digits(10)", "digits(8)"), seen="1")
    page = api.items(f"/v1/batches/{batch['id']}/pages")[0]["id"]
    assert "demo-form" in browser.get(f"/pages/{page}").text
    used = browser.get(f"/pages/{page}/template").text
    assert "digits(10)" in used
    alone = api.upload([("b.png", png(2))], template="ours").json()
    api.read(alone)
    page = api.items(f"/v1/batches/{alone['id']}/pages")[0]["id"]
    assert "version 2" in browser.get(f"/pages/{page}").text
    assert "version 2, saved by Ada" in browser.get(f"/pages/{page}/template").text
    without = api.upload([("c.png", png(3))]).json()
    api.read(without)
    page = api.items(f"/v1/batches/{without['id']}/pages")[0]["id"]
    assert "without a template" in browser.get(f"/pages/{page}").text
    assert "Every line of digits" in browser.get(f"/pages/{page}/template").text


def test_a_name_means_one_template(api: Api, browser: httpx.Client) -> None:
    SiteTemplates(api.settings.home).store("on-disk", TEXT)
    for name in ("demo-form", "on-disk", "new", "a b", "x.yaml", "../x", "Demo-Form"):
        refused = save(browser, "demo-cheque", TEXT, **{"as": name})
        assert refused.status_code == 422, name
    assert "came with Counterfoil" in save(browser, "demo-cheque", TEXT).json()["detail"]
    assert "a file on the server" in save(browser, "on-disk", TEXT).json()["detail"]
    ours(browser)
    assert "already a template" in ours(browser).json()["detail"]
    # A file of that name that comes later may mean something else: nothing is read with it.
    SiteTemplates(api.settings.home).store("ours", TEXT)
    refused = api.upload([("a.png", png(1))], template="ours")
    assert refused.json()["code"] == "ambiguous-template"


def test_a_removed_template_is_offered_no_more(api: Api, browser: httpx.Client) -> None:
    ours(browser)
    batch = api.upload([("a.png", png(1))], template="ours").json()
    assert browser.post("/templates/ours/remove").status_code == 302
    assert "ours" not in texts(api)
    assert browser.get("/templates/ours").status_code == 404
    assert browser.post("/templates/ours/remove").status_code == 404
    api.read(batch)
    assert ours(browser).json()["number"] == 2, "a new one of that name goes on counting"


def test_boxes_are_worked_into_the_text(browser: httpx.Client) -> None:
    fields = [
        {"was": "date", "name": "date", "box": None, "grammar": "date(DDMMYY)", "required": True},
        {"was": None, "name": "no", "box": [0.1, 0.1, 0.2, 0.1], "grammar": "digits(4)"},
    ]
    drawn = json.dumps({"part": 0, "fields": fields, "title": "Ours & <theirs>"})
    checked = browser.post("/templates/check", data={"text": TEXT, "edits": drawn}).json()
    assert [field["name"] for field in checked["parts"][0]["fields"]] == ["date", "no"]
    assert checked["text"].startswith(TEXT.splitlines()[0])
    answer = save(browser, "demo-cheque", TEXT, edits=drawn, **{"as": "ours"})
    assert answer.json()["parts"][0]["title"] == "Ours & <theirs>"
    assert "<theirs>" not in browser.get("/templates").text
    for wrong in ("[]", '{"part": 7, "fields": []}', '{"fields": [{"was": "date"}]}'):
        assert save(browser, "ours", TEXT, edits=wrong, seen="1").status_code == 422


def test_what_is_wrong_in_a_text_is_said_with_its_line(browser: httpx.Client) -> None:
    wrong = TEXT.replace("digits(10)", "digit(10)")
    page = browser.post("/templates/demo-cheque", data={"text": wrong, "as": "x"})
    assert page.status_code == 422
    assert "Line 15: field" in page.text
    assert "digit(10)" in page.text, "what was written is not lost"
    assert "grammar" in browser.get("/templates/grammar?text=digit(10)").json()["error"]
    assert browser.get("/templates/grammar?text=digits(2)").json()["takes"].startswith("2 digits")


def test_a_file_is_taken_in_and_given_out(api: Api, browser: httpx.Client) -> None:
    text = "# Ours\n" + TEXT.replace("name: demo-cheque", "name: travel")
    sent = browser.post("/templates/import", files={"yaml": ("t.yaml", text)})
    assert sent.headers["Location"] == "/templates/travel"
    given = browser.get("/templates/travel/yaml")
    assert given.text == text
    assert given.headers["Content-Disposition"] == 'attachment; filename="travel.yaml"'
    again = browser.post("/templates/import", files={"yaml": ("t.yaml", text)})
    assert "already a template" in again.text
    for bad in ("a: &x [1]\nb: *x", "\x00", "name: x", ""):
        refused = browser.post("/templates/import", files={"yaml": ("t.yaml", bad)})
        assert refused.status_code == 422, bad


def test_a_page_becomes_a_draft(api: Api, browser: httpx.Client) -> None:
    page = cv2.imencode(".png", draw_tally())[1].tobytes()
    sent = browser.post("/templates/new", data={"name": ""}, files={"page": ("My form.png", page)})
    assert sent.headers["Location"] == "/templates/My-form", sent.text
    assert "My-form" not in texts(api)
    editor = browser.get("/templates/My-form").text
    assert "a draft" in editor
    (address,) = {part for part in editor.split('"') if part.startswith("/templates/pictures/")}
    assert browser.get(address).headers["Content-Type"] == "image/jpeg"
    assert len(browser.get(f"{address}?width=100").content) < 10_000
    stranger = api.sign_in("Eve", Role.SUPERVISOR, tenant="theirs")
    assert stranger.get(address).status_code == 404
    assert stranger.get("/templates/My-form").status_code == 404
    assert "My-form" not in stranger.get("/templates").text
    stolen = save(stranger, "demo-cheque", TEXT, **{"as": "x", "picture": address[-32:]})
    assert "no such picture" in stolen.json()["detail"]
    for content in (b"no image", png(1), b""):
        bad = browser.post("/templates/new", files={"page": ("x.png", content)})
        assert bad.status_code == 422
        assert 'role="alert"' in bad.text


def test_pages_are_tried_and_not_kept(api: Api, browser: httpx.Client) -> None:
    def tried(**form: Any) -> Any:
        return browser.post("/templates/demo-cheque/try", headers=SCRIPT, **form)

    cheque = (DEMO / "cheque-1.jpg").read_bytes()
    files = [("page", ("a.jpg", cheque)), ("page", ("b.jpg", cheque[:5000]))]
    read, cut = tried(data={"text": TEXT}, files=files).json()["pages"]
    assert [field["name"] for field in read["fields"]] == ["date", "amount", "account"]
    assert read["fields"][0]["value"] == "08022021"
    assert read["fields"][0]["doubt"] == ""
    assert read["picture"]["width"] == 1600
    assert cut["said"]
    assert api.items("/v1/batches") == []
    assert not list(api.settings.home.rglob("*/objects/*/*"))
    assert tried(data={"text": TEXT}).status_code == 422
    assert "Line 1" in tried(data={"text": "x"}, files=files).json()["detail"]
    batch = api.upload([("c.jpg", cheque)], name="Monday").json()
    api.open_document(api.items(f"/v1/batches/{batch['id']}/documents")[0]["id"])
    (page,) = tried(data={"text": TEXT, "batch": batch["id"]}).json()["pages"]
    assert (page["file"], len(page["fields"])) == ("c.jpg", 3)
    stranger = api.sign_in("Eve", Role.SUPERVISOR, tenant="theirs")
    data = {"text": TEXT, "batch": batch["id"]}
    refused = stranger.post("/templates/demo-cheque/try", data=data, headers=SCRIPT)
    assert refused.status_code == 404
    laid = browser.post("/templates/demo-cheque/page", data=data, headers=SCRIPT).json()
    assert browser.get(laid["address"]).status_code == 200
