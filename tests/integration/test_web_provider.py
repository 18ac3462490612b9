"""Signing in by an identity provider, against a real one in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from sqlalchemy import select, update

from core.clock import utcnow
from core.errors import ConfigError
from core.roles import Role
from core.settings import Settings, load_settings
from db.models import Person
from tests.api_under_test import Api, api_under_test
from tests.http_client import FlaskTransport
from tests.samples import ROOT
from web.provider import names_of, role_of

USERS: dict[str, dict[str, Any]] = {
    "1": {"name": "Ada", "groups": ["clerks", "chiefs"], "email": "ada@example.com"},
    "2": {"name": "Ada", "groups": ["clerks"], "email": "other@example.com"},
    "3": {"name": "Stranger", "groups": ["visitors"]},
    "4": {"name": "<script>", "groups": "clerks"},
    "forged": {"name": "Ada", "groups": ["chiefs"]},
}
ROLES = {"clerks": Role.VERIFIER, "chiefs": Role.ADMIN}


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    command = [sys.executable, "-m", "tests.oidc_provider", json.dumps(USERS)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT, text=True
    ) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.terminate()


@pytest.fixture
def api(sqlite_url: str, tmp_path: Path, issuer: str) -> Iterator[Api]:
    settings = Settings(
        home=tmp_path,
        database_url=sqlite_url,
        oidc_issuer=issuer,
        oidc_client_id="counterfoil",
        oidc_client_secret="of this test",
        oidc_name="the bank",
        oidc_tenant="ours",
        oidc_roles=ROLES,
    )
    with api_under_test(settings) as api:
        yield api


@pytest.fixture
def browser(api: Api) -> httpx.Client:
    return httpx.Client(
        base_url="http://localhost",
        headers={"Accept": "text/html"},
        transport=FlaskTransport(api.app),
        trust_env=False,
    )


def to_provider(browser: httpx.Client) -> str:
    """Begin, and return the address at the provider."""
    assert "Sign in with the bank" in browser.get("/sign-in").text
    there = browser.get("/sign-in/provider").headers["Location"]
    asked = parse_qs(urlsplit(there).query)
    assert asked["code_challenge_method"] == ["S256"]
    assert len(asked["state"][0]) >= 32
    assert len(asked["nonce"][0]) >= 32
    return there


def back(there: str, sub: str, **form: str) -> str:
    """Sign in at the provider, and return the path by which it sends the browser back."""
    answer = httpx.post(there, data={"sub": sub} | form, trust_env=False)
    assert answer.status_code == 302, answer.text
    path = urlsplit(answer.headers["Location"])
    return f"{path.path}?{path.query}"


def arrive(browser: httpx.Client, sub: str) -> httpx.Response:
    return browser.get(back(to_provider(browser), sub))


def test_a_person_comes_in_with_the_highest_of_her_roles(api: Api, browser: httpx.Client) -> None:
    assert arrive(browser, "1").headers["Location"] == "/"
    assert browser.get("/people").status_code == 200
    assert "Your organisation keeps your password." in browser.get("/account").text
    refused = browser.post("/account/password", data={"new": "x" * 20, "again": "x" * 20})
    assert refused.status_code == 422
    (cookie,) = browser.cookies.jar
    assert cookie.name == "counterfoil", "that of the flow is gone"
    with api.db.reading() as s:
        (ada,) = s.scalars(select(Person))
    assert ada.subject == f"{api.settings.oidc_issuer} 1"
    assert arrive(browser, "1").status_code == 302
    with api.db.reading() as s:
        assert len(s.scalars(select(Person)).all()) == 1, "she is known again"


@pytest.mark.parametrize("sub", ["3", "forged"])
def test_who_has_no_role_or_a_forged_token_stays_outside(
    api: Api, browser: httpx.Client, sub: str
) -> None:
    refused = arrive(browser, sub)
    assert refused.status_code == 403
    assert "did not work" in refused.text
    with api.db.reading() as s:
        assert s.scalars(select(Person)).all() == []


def test_a_name_that_somebody_has_is_not_taken_over(api: Api, browser: httpx.Client) -> None:
    ours = api.sign_in("Ada", Role.ADMIN)
    assert arrive(browser, "2").status_code == 302
    assert browser.get("/people").status_code == 403
    assert "Ada (other@example.com)" in browser.get("/account").text
    assert "<h1>Ada</h1>" in ours.get("/account").text


def test_a_role_is_what_the_provider_says_now(api: Api, browser: httpx.Client) -> None:
    arrive(browser, "4")
    assert "&lt;script&gt;" in browser.get("/account").text
    with api.db.transaction() as s:
        s.execute(update(Person).values(role=Role.ADMIN))
    assert browser.get("/people").status_code == 200
    with api.db.reading() as s:
        person_id = s.scalars(select(Person.id)).one()
    kept = browser.post(f"/people/{person_id}/role", data={"role": "operator"})
    assert (kept.status_code, "identity provider" in kept.text) == (409, True)
    arrive(browser, "4")
    assert browser.get("/people").status_code == 403
    with api.db.transaction() as s:
        s.execute(update(Person).values(disabled_at=utcnow()))
    assert arrive(browser, "4").status_code == 403


def test_what_was_not_begun_here_is_refused(api: Api, browser: httpx.Client) -> None:
    there = to_provider(browser)
    path = back(there, "1")
    state = parse_qs(urlsplit(there).query)["state"][0]
    stranger = httpx.Client(
        base_url="http://localhost", transport=FlaskTransport(api.app), trust_env=False
    )
    assert stranger.get(path).status_code == 403, "without the cookie"
    assert browser.get(path.replace(state, "x" * 43)).status_code == 403
    assert browser.get(f"/sign-in/provider/back?code=unknown&state={state}").status_code == 403
    assert browser.get(f"/sign-in/provider/back?state={state}").status_code == 403
    assert browser.get(f"/sign-in/provider/back?state=%ff&code={state}").status_code == 403
    denied = back(to_provider(browser), "1", action="deny")
    assert browser.get(denied).status_code == 403


@pytest.mark.parametrize("which", [1, 2])
def test_nonce_and_verifier_are_looked_at(browser: httpx.Client, which: int) -> None:
    path = back(to_provider(browser), "1")
    parts = browser.cookies["counterfoil-provider"].split(".")
    parts[which] = "x" * 43
    browser.cookies.clear()
    browser.cookies.set("counterfoil-provider", ".".join(parts))
    assert browser.get(path).status_code == 403


def test_a_code_works_once(browser: httpx.Client) -> None:
    path = back(to_provider(browser), "1")
    flow = browser.cookies["counterfoil-provider"]
    assert browser.get(path).status_code == 302
    browser.cookies.clear()
    browser.cookies.set("counterfoil-provider", flow)
    assert browser.get(path).status_code == 403


def test_a_provider_that_is_away_is_said(sqlite_url: str, tmp_path: Path) -> None:
    settings = Settings(
        home=tmp_path,
        database_url=sqlite_url,
        oidc_issuer="http://127.0.0.1:1",
        oidc_client_id="counterfoil",
        oidc_roles=ROLES,
    )
    with api_under_test(settings) as api:
        answer = api.get("/sign-in/provider", headers={"Accept": "text/html"})
    assert answer.status_code == 503
    assert "does not answer" in answer.text


@pytest.mark.parametrize(
    ("claims", "role"),
    [
        ({"groups": ["clerks"]}, Role.VERIFIER),
        ({"groups": ["clerks", "chiefs"]}, Role.ADMIN),
        ({"groups": "chiefs"}, Role.ADMIN),
        ({"groups": ["Clerks"]}, None),
        ({"groups": [["clerks"], 7, None]}, None),
        ({"groups": {"clerks": True}}, None),
        ({}, None),
    ],
)
def test_the_settings_say_who_comes_in(claims: dict[str, Any], role: Role | None) -> None:
    assert role_of(claims, Settings(oidc_roles=ROLES)) == role


def test_an_address_that_nobody_verified_opens_no_door() -> None:
    settings = Settings(oidc_claim="email", oidc_roles={"ada@example.com": Role.ADMIN})
    assert role_of({"email": "ada@example.com", "email_verified": True}, settings) == Role.ADMIN
    for unsure in ({}, {"email_verified": False}, {"email_verified": "true"}):
        assert role_of({"email": "ada@example.com"} | unsure, settings) is None
    everybody = Settings(oidc_roles={"*": Role.OPERATOR})
    assert role_of({}, everybody) == Role.OPERATOR


def test_a_name_is_found_for_everybody() -> None:
    assert names_of({"sub": "7"}) == ["7", "7 (7)"]
    assert names_of({"sub": "7", "name": " A\nB ", "email": "a@b"}) == [
        "A B",
        "A B (a@b)",
        "A B (7)",
    ]
    assert names_of({"sub": "7", "name": ["x"], "email": "a@b"}) == ["a@b", "a@b (7)"]


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"ISSUER": "http://example.com", "CLIENT_ID": "x", "ROLES": '{"*": "admin"}'}, "https"),
        ({"ISSUER": "https://example.com", "CLIENT_ID": "x"}, "oidc_roles"),
        ({"ISSUER": "https://example.com", "ROLES": '{"*": "admin"}'}, "oidc_client_id"),
        ({"ROLES": '{"*": "king"}'}, "OIDC_ROLES"),
    ],
)
def test_settings_that_would_let_the_wrong_people_in(variables: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load_settings({f"COUNTERFOIL_OIDC_{name}": value for name, value in variables.items()})
