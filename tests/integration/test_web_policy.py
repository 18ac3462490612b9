"""The page of the release policy: what it shows, who sets it, and the alarm on every page."""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import b64decode, b64encode
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import select, update

from core.clock import utcnow
from core.errors import ConfigError
from core.release import missing, points_of
from core.roles import Role
from core.settings import Settings, load_settings
from db.models import Page, ReleasePolicy
from db.transitions.policies import alarms_to_send
from tests.api_under_test import Api, api_under_test, png
from tests.keyed import keyed_batch
from web.policy_chart import draw
from worker.alarms import watch_releases

ENOUGH = missing(points_of([]), 100)
SECRET = b64encode(b"s" * 24).decode()


@pytest.fixture
def api(sqlite_url: str, tmp_path: Path) -> Iterator[Api]:
    with api_under_test(Settings(home=tmp_path, database_url=sqlite_url)) as api:
        yield api


@pytest.fixture
def tenant_id(api: Api) -> str:
    """A site with enough evidence for one wrong in 100, and too little for one in 200."""
    with api.db.reading() as s:
        from db.models import Tenant

        found = s.scalars(select(Tenant.id).where(Tenant.name == "ours")).one()
    keyed_batch(api.db, found, [0.4] * 20 + [0.99995] * ENOUGH, wrong=20)
    return found


def set_policy(
    browser: httpx.Client, one_in: str = "100", why: str = "Measured."
) -> httpx.Response:
    return browser.post("/policy", data={"one_in": one_in, "why": why})


def raise_alarm(api: Api) -> None:
    with api.db.transaction() as s:
        found = {"audited": 412, "wrong": 9}
        s.execute(update(ReleasePolicy).values(alarm_at=utcnow(), alarm=found))


def test_without_evidence_the_page_says_what_is_missing(api: Api) -> None:
    text = api.sign_in("Ada", Role.SUPERVISOR).get("/policy").text
    assert "Nothing can be released yet." in text
    assert "<strong>6,897 more fields</strong>" in text
    assert "Release at most" not in text


def test_the_slider_shows_what_a_budget_would_bring(api: Api, tenant_id: str) -> None:
    browser = api.sign_in("Ada", Role.SUPERVISOR)
    browser.headers["HX-Request"] = "true"
    some = browser.get("/policy?step=1").text
    assert "<html" not in some
    assert "At most one wrong in 100" in some
    assert "Release at most one wrong in 100" in some
    assert f"0 of {ENOUGH:,} were" in some
    assert "97.1 %" in some, "687 of 707 fields"
    more = browser.get("/policy?step=2").text
    assert "<strong>7" in more.split("At least")[1][:12]
    for odd in ("x", "-1", "99", "%00"):
        assert browser.get(f"/policy?step={odd}").status_code == 200


def test_setting_a_policy_needs_a_reason_and_is_kept(api: Api, tenant_id: str) -> None:
    browser = api.sign_in("Ada", Role.SUPERVISOR)
    assert set_policy(browser, why=" ").status_code == 422
    assert set_policy(browser, one_in="150").status_code == 422
    assert "does not yet show" in set_policy(browser, one_in="200").text
    assert set_policy(browser, why="<script>alert(1)</script>").status_code == 302
    text = browser.get("/policy").text
    assert "In force: at most one wrong in 100" in text
    assert "Ada" in text
    assert "&lt;script&gt;alert(1)" in text
    assert "<script>alert" not in text
    assert set_policy(browser, one_in="").status_code == 302
    text = browser.get("/policy").text
    assert "Nothing is released by policy" in text
    assert "1. At most one wrong in 100" in text, "the history stays"
    other = api.sign_in("Eve", tenant="theirs").get("/policy").text
    assert "Nothing can be released yet." in other
    assert "1. At most" not in other


def test_a_batch_may_ask_for_the_policy(api: Api, tenant_id: str) -> None:
    set_policy(api.sign_in("Ada", Role.SUPERVISOR))
    made = api.upload([("a.png", png(1))], release_threshold="policy").json()
    assert made["release_threshold"] == "policy"
    api.read(made)
    with api.db.reading() as s:
        page = s.scalars(select(Page).where(Page.batch_id == made["id"])).one()
        assert page.policy_id == s.scalars(select(ReleasePolicy.id)).one()
    body = {"name": "b", "release_threshold": "policy"}
    assert api.post("/v1/batches", json=body).json()["release_threshold"] == "policy"
    assert api.post("/v1/batches", json={"release_threshold": "x"}).status_code == 422
    form = {"name": "By hand", "release_threshold": "policy"}
    sent = api.sign_in("Bob", Role.OPERATOR).post(
        "/upload", data=form, files=[("files", ("a.png", png(3)))]
    )
    there = sent.headers["Location"].rsplit("/", 1)[1]
    assert api.get(f"/v1/batches/{there}").json()["release_threshold"] == "policy"


def test_an_alarm_is_on_every_page_of_a_supervisor(api: Api, tenant_id: str) -> None:
    ada, bob = api.sign_in("Ada", Role.SUPERVISOR), api.sign_in("Bob", Role.VERIFIER)
    set_policy(ada)
    assert "Too many released" not in ada.get("/").text
    assert "counterfoil_policy_alarms 0" in api.get("/metrics", key="").text
    raise_alarm(api)
    for path in ("/", "/upload", "/policy"):
        assert "Too many released values are wrong" in ada.get(path).text
    assert "Too many released" not in bob.get("/").text
    assert "Too many released" not in api.sign_in("Eve", tenant="theirs").get("/").text
    assert "counterfoil_policy_alarms 1" in api.get("/metrics", key="").text
    assert set_policy(ada).status_code == 409
    assert ada.post("/policy/acknowledge", data={"why": ""}).status_code == 422
    assert ada.post("/policy/acknowledge", data={"why": "A new pen."}).status_code == 302
    assert "Too many released" not in ada.get("/").text
    page = ada.get("/policy").text
    assert "9 of 412 wrong. Ada: “A new pen.”" in page
    assert "Nothing can be released yet." in page, "what was keyed before counts no longer"
    assert ada.post("/policy/acknowledge", data={"why": "Again."}).status_code == 409


class _Hook(BaseHTTPRequestHandler):
    status = 500
    taken: ClassVar[list[tuple[dict[str, str], bytes]]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.taken.append(({name.lower(): text for name, text in self.headers.items()}, body))
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


def test_a_webhook_is_told_until_it_has_taken_the_alarm(api: Api, tenant_id: str) -> None:
    set_policy(api.sign_in("Ada", Role.SUPERVISOR))
    raise_alarm(api)
    with HTTPServer(("127.0.0.1", 0), _Hook) as hook:
        Thread(target=hook.serve_forever, daemon=True).start()
        settings = api.settings.model_copy(
            update={
                "alarm_webhook_url": f"http://127.0.0.1:{hook.server_port}/x",
                "alarm_webhook_secret": SecretStr(f"whsec_{SECRET}"),
            }
        )
        watch_releases(api.db, settings)
        _Hook.status = 204
        watch_releases(api.db, settings)
        watch_releases(api.db, settings)
        hook.shutdown()
    assert len(_Hook.taken) == 2, "refused once, taken once"
    headers, body = _Hook.taken[1]
    said = json.loads(body)
    assert said["type"] == "policy.alarm"
    expected = {"tenant": "ours", "policy": 1, "one_in": 100, "audited": 412, "wrong": 9}
    assert said["data"] == expected
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    signature = b64encode(hmac.digest(b64decode(SECRET), content, hashlib.sha256)).decode()
    assert headers["webhook-signature"] == f"v1,{signature}"
    with api.db.reading() as s:
        assert alarms_to_send(s) == []


def test_settings_of_the_webhook_are_checked_at_the_start() -> None:
    for name, value in (("URL", "ftp://x"), ("SECRET", "whsec_no base64")):
        with pytest.raises(ConfigError):
            load_settings({f"COUNTERFOIL_ALARM_WEBHOOK_{name}": value})


def test_the_curve_is_drawn_within_its_frame() -> None:
    chart = draw(points_of([]), [], 1000, [0.999])
    assert chart.errors == ""
    assert chart.chosen[0] == pytest.approx(chart.left + 0.6 * (chart.right - chart.left), abs=0.2)
    for pair in chart.shares.split():
        x, y = map(float, pair.split(","))
        assert chart.left <= x <= chart.right
        assert chart.top <= y <= chart.bottom
