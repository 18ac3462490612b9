"""The pages that people work in: who may see and do what, and what each page shows."""

from __future__ import annotations

import hashlib
import io
import re
import tomllib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import openpyxl
import pytest
from sqlalchemy import update

from core.clock import utcnow
from core.roles import Role
from core.settings import Settings
from db.models import FieldHold, Person, SignInLink, WebSession
from db.models_exports import Export
from db.transitions.people import ensure_person
from db.transitions.tenants import ensure_tenant
from pipeline.placing.template import bundled_template
from tests.api_under_test import Api, api_under_test, png
from tests.samples import ROOT


@pytest.fixture
def api(sqlite_url: str, tmp_path: Path) -> Iterator[Api]:
    with api_under_test(Settings(home=tmp_path, database_url=sqlite_url)) as api:
        yield api


@pytest.fixture
def batch(api: Api) -> dict[str, Any]:
    """Two pages of three fields: on each, the first two wait for a person."""
    files = [("<script>alert(1)</script>.png", png(1)), ("second.png", png(2))]
    made: dict[str, Any] = api.upload(files, name="Monday", release_threshold="0.925").json()
    api.read(made, fields=3)
    return made


def next_fields(browser: httpx.Client, batch: dict[str, Any], *have: str) -> list[dict[str, Any]]:
    answer = browser.post(f"/batches/{batch['id']}/next", data={"have": list(have)})
    assert answer.status_code == 200, answer.text
    fields: list[dict[str, Any]] = answer.json()["fields"]
    return fields


def decide(browser: httpx.Client, field: dict[str, Any], value: str | None) -> httpx.Response:
    said = {"version": field["version"]} | ({} if value is None else {"value": value})
    headers = {"Accept": "application/json"}
    return browser.post(f"/fields/{field['id']}/decide", json=said, headers=headers)


# --- signing in ---


def test_a_link_signs_in_once(api: Api) -> None:
    browser = api.sign_in("Ada")
    assert "Ada" in browser.get("/").text
    (cookie,) = browser.cookies.jar
    assert cookie.has_nonstandard_attr("HttpOnly")
    assert cookie.get_nonstandard_attr("SameSite") == "Lax"
    browser.post("/sign-out")
    assert browser.get("/").headers["Location"] == "/sign-in"


def test_a_link_that_is_used_old_or_unknown_signs_nobody_in(api: Api) -> None:
    used, old, disabled = (api.sign_in_link("Ada") for _ in range(3))
    assert api.get(used).status_code == 302
    assert "used already" in api.get(used).text
    with api.db.transaction() as s:
        s.execute(update(SignInLink).values(expires_at=utcnow() - timedelta(seconds=1)))
    assert api.get(old).status_code == 403
    with api.db.transaction() as s:
        s.execute(update(SignInLink).values(expires_at=utcnow() + timedelta(minutes=1)))
        s.execute(update(Person).values(disabled_at=utcnow()))
    assert api.get(disabled).status_code == 403
    assert api.get("/sign-in/nonsense").status_code == 403


@pytest.mark.parametrize("ended", ["expired", "disabled"])
def test_a_session_ends(api: Api, ended: str) -> None:
    browser = api.sign_in("Ada")
    past = utcnow() - timedelta(seconds=1)
    with api.db.transaction() as s:
        if ended == "expired":
            s.execute(update(WebSession).values(expires_at=past))
        else:
            s.execute(update(Person).values(disabled_at=past))
    assert browser.get("/").headers["Location"] == "/sign-in"
    refused = browser.post("/samples", headers={"Accept": "application/json"})
    assert (refused.status_code, refused.json()["code"]) == (401, "not-signed-in")


def test_the_name_of_a_person_is_unique(api: Api) -> None:
    api.sign_in("Ada")
    with pytest.raises(Exception, match="is taken"):
        api.sign_in("Ada", tenant="theirs")


# --- who may do what ---


# Pages of whatever is of one's own tenant; of another's nothing can be asked for.
OF_ONES_OWN = {"/people", "/audit", "/audit.csv", "/me/keys", "/work"}


def routes(
    batch: dict[str, Any], page: str, field: str, person: str, export: str
) -> dict[tuple[str, str], Role]:
    """Return the least role for each route."""
    path, somebody = f"/batches/{batch['id']}", f"/people/{person}"
    return {
        ("GET", "/people"): Role.ADMIN,
        ("POST", "/people"): Role.ADMIN,
        ("POST", f"{somebody}/link"): Role.ADMIN,
        ("POST", f"{somebody}/role"): Role.ADMIN,
        ("POST", f"{somebody}/disable"): Role.ADMIN,
        ("POST", f"{somebody}/enable"): Role.ADMIN,
        ("GET", "/audit"): Role.ADMIN,
        ("GET", "/audit.csv"): Role.ADMIN,
        ("GET", path): Role.OPERATOR,
        ("GET", f"{path}/files"): Role.OPERATOR,
        ("GET", "/live/mark"): Role.OPERATOR,
        ("GET", f"/pages/{page}"): Role.OPERATOR,
        ("GET", f"/pages/{page}/image?width=320"): Role.OPERATOR,
        ("GET", f"/fields/{field}/crop"): Role.OPERATOR,
        ("POST", f"{path}/have"): Role.OPERATOR,
        ("POST", f"{path}/close"): Role.OPERATOR,
        ("GET", f"{path}/verify"): Role.VERIFIER,
        ("POST", f"{path}/next"): Role.VERIFIER,
        ("POST", "/me/keys"): Role.VERIFIER,
        ("GET", "/work"): Role.VERIFIER,
        ("POST", f"/fields/{field}/decide"): Role.VERIFIER,
        ("POST", f"/fields/{field}/postpone"): Role.VERIFIER,
        ("POST", f"/fields/{field}/reopen"): Role.VERIFIER,
        ("GET", f"/pages/{page}/template"): Role.OPERATOR,
        ("POST", f"/pages/{page}/keep"): Role.VERIFIER,
        ("GET", f"{path}/carpet"): Role.VERIFIER,
        ("GET", f"{path}/carpet/cells"): Role.VERIFIER,
        ("GET", f"{path}/carpet/tiles?of={field}.0"): Role.VERIFIER,
        ("POST", f"{path}/carpet/confirm"): Role.VERIFIER,
        ("POST", f"{path}/carpet/undo"): Role.VERIFIER,
        ("GET", f"{path}/balance"): Role.OPERATOR,
        ("POST", f"{path}/balance"): Role.VERIFIER,
        ("POST", f"/fields/{field}/again"): Role.VERIFIER,
        ("GET", f"{path}/export?format=csv"): Role.SUPERVISOR,
        ("GET", f"{path}/exports"): Role.SUPERVISOR,
        ("POST", f"{path}/exports"): Role.SUPERVISOR,
        ("GET", f"/exports/{export}"): Role.SUPERVISOR,
        ("GET", f"{path}/delete"): Role.SUPERVISOR,
        ("POST", f"{path}/retry"): Role.SUPERVISOR,
        ("POST", f"{path}/cancel"): Role.SUPERVISOR,
        ("POST", f"{path}/delete"): Role.SUPERVISOR,
    } | dict.fromkeys(
        [
            ("GET", "/policy"),
            ("POST", "/policy"),
            ("POST", "/policy/acknowledge"),
            ("GET", "/templates"),
            ("GET", "/templates/new"),
            ("POST", "/templates/new"),
            ("POST", "/templates/import"),
            ("POST", "/templates/check"),
            ("GET", "/templates/grammar?text=digits"),
            ("GET", "/templates/ours"),
            ("GET", "/templates/ours/yaml"),
            ("POST", "/templates/ours"),
            ("POST", "/templates/ours/page"),
            ("POST", "/templates/ours/try"),
            ("POST", "/templates/ours/back"),
            ("POST", "/templates/ours/remove"),
        ],
        Role.SUPERVISOR,
    )


# They name nothing that could belong to another tenant.
OF_NOBODY = (
    "/live/mark",
    "/templates",
    "/templates/new",
    "/templates/import",
    "/templates/check",
    "/policy",
    "/policy/acknowledge",
)


def export_of(api: Api, batch: dict[str, Any]) -> str:
    """Return an export that is done."""
    with api.db.transaction() as s:
        tenant_id = ensure_tenant(s, api.tenant).id
        about = {"who": "Ada", "format": "csv", "columns": [], "base_url": "", "state": "done"}
        stored = api.store.put("e" * 32, io.BytesIO(b"x"))
        about |= {"sha256": stored.sha256, "size": 1, "expires_at": utcnow(), "id": "e" * 32}
        s.add(Export(tenant_id=tenant_id, batch_id=batch["id"], **about))
    return "e" * 32


def send(browser: httpx.Client, method: str, path: str, **more: Any) -> httpx.Response:
    body = {"json": {"version": 1, "value": "17"}} if path.startswith("/fields") else {}
    if path.endswith("/have"):
        body = {"json": []}
    if path.endswith("/back"):
        body = {"data": {"version": "1"}}
    return browser.request(method, path, **(body if method == "POST" else {}), **more)


def test_each_route_asks_for_its_role_and_hides_from_others(
    api: Api, batch: dict[str, Any]
) -> None:
    page = api.items(f"/v1/batches/{batch['id']}/pages")[0]
    with api.db.transaction() as s:
        somebody = ensure_person(s, ensure_tenant(s, api.tenant).id, "Somebody", Role.OPERATOR)
    asked = routes(batch, page["id"], page["fields"][0]["id"], somebody.id, export_of(api, batch))
    known = {rule.endpoint for rule in api.app.url_map.iter_rules() if rule.endpoint[:4] == "web."}
    adapter = api.app.url_map.bind("localhost")
    covered = {adapter.match(path.split("?")[0], method=method)[0] for method, path in asked}
    open_to_all = {"ask", "use_link", "leave", "overview", "form", "send", "read_samples"}
    open_to_all |= {"give_password", "begin", "arrive"}  # to sign in
    open_to_all |= {"account", "change_password", "leave_everywhere"}  # one's own
    rest = {name for name in known - covered if name.split(".")[-1] not in open_to_all}
    assert rest == {
        "web.static",
        "web.upload.send_more",
        "web.upload.outline",
        "web.live.listen",
        "web.template_list.picture",
    }
    made = {"as": "ours", "text": bundled_template("demo-form").text}
    assert api.sign_in("Ada").post("/templates/demo-form", data=made).status_code == 302
    stranger = api.sign_in("Eve", tenant="theirs")
    people = {role: api.sign_in(role, role) for role in Role}
    for (method, path), least in asked.items():
        if path.partition("?")[0] not in (*OF_NOBODY, *OF_ONES_OWN, "/templates/grammar"):
            assert send(stranger, method, path).status_code in (404, 412, 422), path
        assert send(people[Role.ADMIN], method, path, headers={"Cookie": ""}).status_code in (
            302,
            401,
        )
        foreign = {"Sec-Fetch-Site": "cross-site"}
        if method == "POST":
            assert send(people[Role.ADMIN], method, path, headers=foreign).status_code == 403, path
        for role in Role:
            if list(Role).index(role) < list(Role).index(least):
                refused = send(people[role], method, path)
                assert refused.status_code == 403, (role, path)
                assert f"Only a {least}" in refused.text
    for (method, path), least in asked.items():
        answer = send(people[least], method, path)
        assert answer.status_code in (200, 204, 302, 409, 422), (path, answer.text)


def test_a_form_of_another_site_changes_nothing(api: Api) -> None:
    browser = api.sign_in("Ada")
    for headers in ({"Sec-Fetch-Site": "same-site"}, {"Origin": "http://evil.example"}):
        assert browser.post("/samples", headers=headers).status_code == 403
    assert api.items("/v1/batches") == []


# --- what the pages show ---


def test_the_pages_show_what_came_in_and_names_as_text(api: Api, batch: dict[str, Any]) -> None:
    browser = api.sign_in("Ada")
    page = api.items(f"/v1/batches/{batch['id']}/pages")[0]["id"]
    texts = {}
    for path in ("/", "/upload", f"/batches/{batch['id']}", f"/batches/{batch['id']}/files"):
        texts[path] = browser.get(path)
    texts["page"] = browser.get(f"/pages/{page}")
    for path, answer in texts.items():
        assert answer.status_code == 200, path
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert "<script>alert" not in answer.text
        assert not re.search(r"\son\w+=|style=|javascript:", answer.text), "no inline script"
        assert len(answer.content) < 100_000
    assert "Monday" in texts["/"].text
    assert "4 fields" in texts["/"].text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;.png" in texts[f"/batches/{batch['id']}"].text
    assert "The machine is not sure enough." in texts["page"].text


def test_scripts_get_rows_and_progress_alone(api: Api, batch: dict[str, Any]) -> None:
    browser = api.sign_in("Ada")
    browser.headers["HX-Request"] = "true"
    rows = browser.get("/").text
    assert "Monday" in rows
    assert "<html" not in rows
    progress = browser.get(f"/batches/{batch['id']}").text
    assert "Verify 4 fields" in progress
    assert "<html" not in progress


def test_pages_can_be_filtered(api: Api, batch: dict[str, Any]) -> None:
    browser = api.sign_in("Ada")
    path = f"/batches/{batch['id']}"
    assert browser.get(path, params={"show": "review"}).text.count("<li>") == 2
    assert "No page is like that." in browser.get(path, params={"show": "failed"}).text
    assert browser.get(path, params={"show": "' OR 1=1"}).text.count("<li>") == 2


def test_pages_can_be_filtered_by_what_is_on_them(api: Api, batch: dict[str, Any]) -> None:
    browser = api.sign_in("Ada")
    path = f"/batches/{batch['id']}"
    field = next_fields(browser, batch)[0]
    decide(browser, field, "17")

    def pages(**asked: str) -> int:
        return browser.get(path, params=asked).text.count("<li>\n    <a")

    assert pages(field="field-1", field_state="verified") == 1
    assert pages(field="field-1", field_state="review") == 1
    assert pages(field="field-3", field_state="review") == 0
    assert pages(reason="below-threshold") == 2
    assert pages(reason="below-threshold", field="field-1") == 1
    assert pages(reason="struck-out") == 0
    assert pages(unsure="0.9") == 0
    assert pages(unsure="0.99") == 2
    assert pages(unsure="0.99", field="field-1", field_state="verified") == 1
    assert pages(person="Ada") == 1
    assert pages(person="policy", show="review") == 0
    assert pages(template="nothing") == 0
    assert pages(field_state="' OR 1=1", reason="x", unsure="9") == 2
    assert "<option>Ada</option>" in browser.get(path, params={"filters": "1"}).text


def test_the_mark_changes_with_what_happens(
    api: Api, batch: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("web.live.LOOK_SECONDS", 0)
    browser, stranger = api.sign_in("Ada"), api.sign_in("Eve", tenant="theirs")

    def mark(of: httpx.Client = browser) -> str:
        return str(of.get("/live/mark").json()["mark"])

    before, theirs = mark(), mark(stranger)
    assert mark() == before
    rows = browser.get("/", headers={"HX-Request": "true"}).text
    assert "4 fields" in rows
    decide(browser, next_fields(browser, batch)[0], "17")
    assert mark() != before
    assert "3 fields" in browser.get("/", headers={"HX-Request": "true"}).text
    before = mark()
    browser.post(f"/batches/{batch['id']}/delete")
    assert mark() != before
    assert "Monday" not in browser.get("/", headers={"HX-Request": "true"}).text
    assert mark(stranger) == theirs


def test_an_upload_without_scripts(api: Api) -> None:
    browser = api.sign_in("Ada", Role.OPERATOR)
    form = {"name": "By hand", "template": ["demo-form", "demo-cheque"], "release_threshold": ""}
    sent = browser.post("/upload", data=form, files=[("files", ("a.png", png(3)))])
    assert sent.status_code == 302
    (made,) = api.items("/v1/batches")
    assert sent.headers["Location"] == f"/batches/{made['id']}"
    assert (made["name"], made["template"]) == ("By hand", "demo-form, demo-cheque")
    assert made["release_threshold"] is None
    empty = browser.post("/upload", data=form, files=[("files", ("", b""))])
    assert empty.status_code == 422
    assert "no file in it" in empty.text


def test_the_samples_are_two_clicks_away(api: Api) -> None:
    browser = api.sign_in("Ada")
    assert "/samples" in browser.get("/").text
    there = browser.post("/samples").headers["Location"]
    (made,) = api.items("/v1/batches")
    assert there == f"/batches/{made['id']}"
    assert made["documents"]["total"] == 4


def test_the_samples_wait_where_too_many_pages_do(sqlite_url: str, tmp_path: Path) -> None:
    with api_under_test(
        Settings(home=tmp_path, database_url=sqlite_url, max_queued_pages=1)
    ) as api:
        browser = api.sign_in("Ada")
        batch = api.upload([("a.png", png(1)), ("b.png", png(2))]).json()
        for document in api.items(f"/v1/batches/{batch['id']}/documents"):
            api.open_document(document["id"])
        refused = browser.post("/samples")
        assert refused.status_code == 429
        assert "pages are waiting to be read" in refused.text


def test_an_installation_has_the_samples() -> None:
    web = ROOT / "web"
    data = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"][
        "package-data"
    ]
    packed = {path for pattern in data["web"] for path in web.glob(pattern)}
    samples = sorted((web / "samples").iterdir())
    assert len(samples) == 4
    assert packed.issuperset(samples)
    assert sum(path.stat().st_size for path in samples) < 1_000_000


def test_the_right_template_is_found_among_all(api: Api) -> None:
    browser = api.sign_in("Ada")
    text = bundled_template("demo-form").text
    by_shape = text.replace("anchors: frames", "anchors: page").replace("demo-form", "by-shape")
    for name in ("by-shape", "ours"):
        made = {"as": name, "text": by_shape if name == "by-shape" else text}
        assert browser.post("/templates/demo-form", data=made).status_code == 302
    browser.post("/upload", data={"template": "*"}, files=[("files", ("a.png", png(3)))])
    only = {"template": ["*", "demo-cheque"]}
    browser.post("/upload", data=only, files=[("files", ("a.png", png(3)))])
    second, first = api.items("/v1/batches")
    names = set(first["template"].split(", "))
    assert {"ours", "demo-cheque", "demo-form", "cheque-in"} <= names
    assert "by-shape" not in names, "nothing tells its pages from others"
    assert second["template"] == "demo-cheque"


def test_a_browser_is_told_which_files_are_there(api: Api) -> None:
    browser = api.sign_in("Ada")
    batch = api.upload([("a.png", png(1)), ("b.png", png(2))], keep_open="true").json()
    size, sha256 = len(png(1)), hashlib.sha256(png(1)).hexdigest()
    offered = [
        {"name": "a.png", "size": size, "sha256": sha256},
        {"name": "b.png", "size": size, "sha256": sha256},
        {"name": "a.png", "size": size},
        {"name": "a.png", "size": size + 1},
        {"name": "c.png", "size": size},
    ]
    path = f"/batches/{batch['id']}/have"
    assert browser.post(path, json=offered).json() == [True, False, True, False, False]
    refused = browser.post(path, json=[{"name": "a", "size": -1}], headers={"Accept": "*/*"})
    assert refused.status_code == 422


def test_what_is_not_there_is_said_in_words(api: Api) -> None:
    browser = api.sign_in("Ada")
    answer = browser.get(f"/batches/{'0' * 32}")
    assert answer.status_code == 404
    assert "Nothing is here" in answer.text
    assert "Nothing is here" in browser.get("/nothing-at-this-address").text
    assert browser.get("/nothing", headers={"Accept": "*/*"}).json()["code"] == "not-found"


def test_a_deleted_batch_is_gone(api: Api, batch: dict[str, Any]) -> None:
    browser = api.sign_in("Ada")
    path = f"/batches/{batch['id']}/delete"
    assert "2 files with 2 pages and 6 values will be gone" in browser.get(path).text
    assert browser.post(path).headers["Location"] == "/"
    assert api.items("/v1/batches") == []


# --- verifying ---


def test_fields_come_by_name_and_close_when_decided(api: Api, batch: dict[str, Any]) -> None:
    browser = api.sign_in("Ada", Role.VERIFIER)
    fields = next_fields(browser, batch)
    assert [field["name"] for field in fields] == ["Field 1", "Field 1", "Field 2", "Field 2"]
    assert fields[0]["value"] == "0017"
    assert fields[0]["reason"] == "The machine is not sure enough."
    assert browser.get(fields[0]["crop"]).headers["Content-Type"] == "image/png"
    assert decide(browser, fields[0], " 471 ").json()["value"] == "471"
    assert decide(browser, fields[1], None).json()["state"] == "unreadable"
    assert next_fields(browser, batch, fields[2]["id"], fields[3]["id"]) == []
    refused = decide(browser, fields[2], "").json()["detail"]
    assert "must hold a value" in refused or "empty" in refused
    for field in fields[2:]:
        assert decide(browser, field, "17").status_code == 200
    made = api.get(f"/v1/batches/{batch['id']}").json()
    assert made["state"] == "complete"
    page = browser.get(re.sub("#.*", "", fields[0]["page"])).text
    assert "Ada read “471”, instead of “0017”" in page
    workbook = api.sign_in("Boss").get(f"/batches/{batch['id']}/export?format=xlsx")
    values = list(openpyxl.load_workbook(io.BytesIO(workbook.content)).active.values)
    assert any("471" in row for row in values)


def test_a_value_that_the_field_cannot_have_comes_back(api: Api, batch: dict[str, Any]) -> None:
    browser = api.sign_in("Ada", Role.VERIFIER)
    field = next_fields(browser, batch)[0]
    refused = decide(browser, field, "=cmd|calc")
    assert refused.status_code == 422
    assert "digits" in refused.json()["detail"]
    assert decide(browser, field, "17").status_code == 200


def test_nobody_is_given_what_another_holds(api: Api, batch: dict[str, Any]) -> None:
    ada, bob = api.sign_in("Ada"), api.sign_in("Bob")
    hers = {field["id"] for field in next_fields(ada, batch)}
    assert len(hers) == 4
    assert next_fields(bob, batch) == []
    with api.db.transaction() as s:
        s.execute(update(FieldHold).values(until=utcnow() - timedelta(seconds=1)))
    assert {field["id"] for field in next_fields(bob, batch)} == hers
    assert next_fields(ada, batch, *hers) == [], "what expired is his now"


def test_what_was_postponed_comes_last(api: Api, batch: dict[str, Any]) -> None:
    browser = api.sign_in("Ada")
    first = next_fields(browser, batch)[0]
    assert browser.post(f"/fields/{first['id']}/postpone").status_code == 204
    again = next_fields(browser, batch)
    assert [field["id"] for field in again].index(first["id"]) == 3
    assert again[3]["postponed"]
    assert api.get(f"/v1/batches/{batch['id']}").json()["fields"]["review"] == 4


def test_a_decision_can_be_taken_back(api: Api, batch: dict[str, Any]) -> None:
    browser = api.sign_in("Ada")
    fields = next_fields(browser, batch)
    versions = [decide(browser, field, "17").json()["version"] for field in fields]
    assert api.get(f"/v1/batches/{batch['id']}").json()["state"] == "complete"
    path = f"/fields/{fields[0]['id']}/reopen"
    card = browser.post(path, json={"version": versions[0]}).json()
    assert (card["value"], card["version"]) == ("0017", versions[0] + 1)
    assert api.get(f"/v1/batches/{batch['id']}").json()["state"] == "reviewing"
    assert decide(browser, card, "18").json()["value"] == "18"
    stale = browser.post(path, json={"version": versions[0]}, headers={"Accept": "text/json"})
    assert stale.status_code == 409
    assert api.get(f"/v1/fields/{fields[0]['id']}").json()["value"] == "18"


def test_a_field_that_changed_meanwhile_is_not_overwritten(api: Api, batch: dict[str, Any]) -> None:
    browser = api.sign_in("Ada")
    field = next_fields(browser, batch)[0]
    api.post(f"/v1/fields/{field['id']}/verify", json={"value": "99"})
    refused = decide(browser, field, "17")
    assert refused.status_code == 409
    assert "99" in refused.json()["detail"]
    assert api.get(f"/v1/fields/{field['id']}").json()["value"] == "99"


# --- digit carpets ---


def carpet(browser: httpx.Client, batch: dict[str, Any], **asked: Any) -> dict[str, Any]:
    answer = browser.get(f"/batches/{batch['id']}/carpet/cells", params=asked)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def say(
    browser: httpx.Client, batch: dict[str, Any], cells: list[dict[str, Any]], audit: bool = False
) -> dict[str, Any]:
    said = [
        {key: cell[key] for key in ("field", "version", "place", "shown")}
        | {"said": cell.get("said", cell["shown"])}
        for cell in cells
    ]
    path = f"/batches/{batch['id']}/carpet/confirm"
    answer = browser.post(path, json={"audit": audit, "cells": said})
    assert answer.status_code == 200, answer.text
    done: dict[str, Any] = answer.json()
    return done


def test_digits_of_fields_that_wait_are_confirmed(api: Api, batch: dict[str, Any]) -> None:
    browser = api.sign_in("Ada", Role.VERIFIER)
    page = browser.get(f"/batches/{batch['id']}/carpet").text
    assert 'data-text="0" aria-current="true"' in page, "the most frequent one first"
    found = carpet(browser, batch, text="7")
    assert found["left"] == {"0": 8, "1": 2, "2": 2, "7": 4}
    assert [cell["sure"] for cell in found["cells"]] == ["91 %", "91 %", "92 %", "92 %"]
    (sprite,) = found["sprites"]
    picture = browser.get(sprite["path"])
    assert picture.headers["Content-Type"] == "image/jpeg"
    assert "immutable" in picture.headers["Cache-Control"]
    for text in "0712":
        done = say(browser, batch, carpet(browser, batch, text=text)["cells"])
    assert done["said"] == "2 digits confirmed, 2 fields verified."
    made = api.get(f"/v1/batches/{batch['id']}").json()
    assert (made["state"], made["fields"]["verified"]) == ("complete", 4)
    assert "No field waits" in browser.get(f"/batches/{batch['id']}/carpet").text
    path = f"/batches/{batch['id']}/carpet/undo"
    assert browser.post(path, json={"screen": done["screen"]}).json() == {"refused": []}
    assert api.get(f"/v1/batches/{batch['id']}").json()["fields"]["review"] == 2


def test_a_digit_is_typed_over_another(api: Api, batch: dict[str, Any]) -> None:
    browser = api.sign_in("Ada", Role.VERIFIER)
    cells = carpet(browser, batch, text="7")["cells"]
    done = say(browser, batch, [cells[0] | {"said": "1"}, cells[1] | {"said": None}])
    assert done["said"] == (
        "1 digit confirmed, 1 left for a look at the whole field, 1 value corrected."
    )
    field = api.get(f"/v1/fields/{cells[0]['field']}").json()
    assert (field["state"], field["value"], field["raw"]) == ("review", "0011", "0017")
    page = browser.get(f"/pages/{field['page_id']}").text
    assert "Ada typed over a digit: “0011”, instead of “0017”" in page
    late = say(browser, batch, [cells[0]])
    assert [one["name"] for one in late["refused"]] == ["Field 1"]


def test_an_audit_counts_what_it_finds(api: Api, batch: dict[str, Any]) -> None:
    browser = api.sign_in("Ada", Role.VERIFIER)
    found = carpet(browser, batch, text="3", sample=100)
    assert found["audit"] == (
        "2 fields drawn of 2 that the machine released: 0 looked at whole, 0 were wrong."
    )
    say(browser, batch, [found["cells"][0] | {"said": "8"}], audit=True)
    assert "1 was wrong" in browser.get(f"/batches/{batch['id']}/carpet?sample=100").text
    field = api.get(f"/v1/fields/{found['cells'][0]['field']}").json()
    assert (field["state"], field["reason"], field["value"]) == ("review", "failed-audit", "0087")


def test_pictures_of_what_is_not_there(api: Api, batch: dict[str, Any]) -> None:
    browser = api.sign_in("Ada", Role.VERIFIER)
    field = carpet(browser, batch, text="7")["cells"][0]["field"]
    path = f"/batches/{batch['id']}/carpet/tiles"
    for wrong in ("", f"{field}.4", f"{field}.-1", f"{field}.٣", "x.0", "0" * 32 + ".0"):
        assert browser.get(path, params={"of": wrong}).status_code == 404, wrong
    other = api.upload([("other.png", png(9))]).json()
    elsewhere = f"/batches/{other['id']}/carpet/tiles"
    assert browser.get(elsewhere, params={"of": f"{field}.0"}).status_code == 404


# --- my work ---


def test_a_person_sees_her_own_figures_and_a_supervisor_those_of_all(
    api: Api, batch: dict[str, Any]
) -> None:
    ada, bob = api.sign_in("Ada", Role.VERIFIER), api.sign_in("Bob", Role.VERIFIER)
    assert "You have verified no field yet." in ada.get("/work").text
    first, second, *_ = next_fields(ada, batch)
    cost = {"took_ms": 1800, "keystrokes": 5}
    for field in (first, second):
        said = {"version": field["version"], "value": "17"} | cost
        assert ada.post(f"/fields/{field['id']}/decide", json=said).status_code == 200
    page = ada.get("/work").text
    assert "2,000" in page  # fields an hour
    assert "10,000" in page  # keystrokes an hour
    assert "not known yet" in page
    api.post(f"/v1/fields/{first['id']}/verify", json={"value": "18"}, headers={"If-Match": "*"})
    page = ada.get("/work").text
    assert "1000.0 in 1,000" in page
    assert "1 of 1 field whose value is known; between 25.0 and 1000.0 in 1,000" in page
    assert "Ada" not in bob.get("/work").text
    assert "Ada" in api.sign_in("Boss", Role.SUPERVISOR).get("/work").text
    assert "Ada" not in api.sign_in("Eve", Role.SUPERVISOR, tenant="theirs").get("/work").text
