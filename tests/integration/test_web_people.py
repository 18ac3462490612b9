"""Who may come in: passwords, throttling, people and their roles, and what the audit log tells."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import delete, select, update
from sqlalchemy.exc import DBAPIError

from core.clock import utcnow
from core.errors import ConflictError, InputError
from core.passwords import checked_password, hash_password, verify_password
from core.roles import Role
from core.settings import Settings
from db.models import Person, SignInLink, WebSession
from db.models_people import AuditEvent, SignInAttempt
from db.session import Database
from db.transitions import attempts, people, sessions
from db.transitions.tenants import ensure_tenant
from tests.api_under_test import Api, api_under_test, png
from tests.http_client import FlaskTransport

GOOD = "four small grey horses"
OTHER = "another good long one"


@pytest.fixture
def api(sqlite_url: str, tmp_path: Path) -> Iterator[Api]:
    with api_under_test(Settings(home=tmp_path, database_url=sqlite_url, proxies=1)) as api:
        yield api


def browser(api: Api, **headers: str) -> httpx.Client:
    return httpx.Client(
        base_url="http://localhost",
        headers={"Accept": "text/html"} | headers,
        transport=FlaskTransport(api.app),
        trust_env=False,
    )


def give(who: httpx.Client, name: str, password: str, **headers: str) -> httpx.Response:
    form = {"name": name, "password": password}
    return who.post("/sign-in", data=form, headers=headers)


def with_password(api: Api, name: str = "Ada", role: Role = Role.ADMIN) -> httpx.Client:
    """Return a browser in which a person has signed in and chosen the password GOOD."""
    signed_in = api.sign_in(name, role)
    answer = signed_in.post("/account/password", data={"new": GOOD, "again": GOOD})
    assert answer.status_code == 302, answer.text
    return signed_in


def inside(who: httpx.Client) -> bool:
    return who.get("/").status_code == 200


# --- passwords ---


def test_a_person_chooses_a_password_and_signs_in_with_it(api: Api) -> None:
    with_password(api)
    new = browser(api)
    assert give(new, "Ada", GOOD).headers["Location"] == "/"
    assert inside(new)
    with api.db.reading() as s:
        kept = s.scalars(select(Person.password_hash)).one()
        assert [row.method for row in s.scalars(select(WebSession))] == ["link", "password"]
    assert kept is not None
    assert kept.startswith("$argon2id$")
    assert GOOD not in kept


def test_an_unknown_name_and_a_wrong_password_are_answered_alike(api: Api) -> None:
    with_password(api)
    api.sign_in("Bob")  # who has no password
    with api.db.transaction() as s:
        gone = people.ensure_person(s, ensure_tenant(s, "ours").id, "Gone", Role.ADMIN)
        sessions.set_password(s, gone.id, hash_password(GOOD), session_id="")
        people.disable_person(s, tenant_id=gone.tenant_id, person_id=gone.id)
    answers = set()
    for name, password in (("Ada", OTHER), ("Nobody", OTHER), ("Bob", ""), ("Gone", GOOD)):
        answer = give(browser(api), name, password)
        assert "The name or the password is wrong." in answer.text
        answers.add((answer.status_code, answer.text.replace(f'value="{name}"', "")))
    assert len(answers) == 1
    assert answers.pop()[0] == 403


def test_only_the_right_password_fits() -> None:
    hashed = hash_password(GOOD)
    assert verify_password(GOOD, hashed)
    assert not verify_password(OTHER, hashed)
    assert not verify_password("", None)
    assert not verify_password(GOOD, "no hash")


@pytest.mark.parametrize(
    "weak", ["", "short", "aaaaaaaaaaaaaaa", "Ada Lovelace!", "Counterfoil password", "x" * 201]
)
def test_a_weak_password_is_refused(weak: str) -> None:
    with pytest.raises(InputError):
        checked_password(weak, "Ada Lovelace")


def test_a_password_is_the_same_however_its_letters_are_coded() -> None:
    hashed = hash_password("u\N{COMBINING DIAERESIS}ber alle Berge")
    assert verify_password("\N{LATIN SMALL LETTER U WITH DIAERESIS}ber alle Berge", hashed)


def test_a_change_needs_the_present_password_and_ends_other_sessions(api: Api) -> None:
    first = with_password(api)
    second = browser(api)
    give(second, "Ada", GOOD)
    unused = api.sign_in_link("Ada")
    for form in (
        {"new": OTHER, "again": OTHER},
        {"current": "wrong", "new": OTHER, "again": OTHER},
        {"current": GOOD, "new": OTHER, "again": GOOD},
        {"current": GOOD, "new": "Ada", "again": "Ada"},
    ):
        assert second.post("/account/password", data=form).status_code == 422
    assert inside(first)
    form = {"current": GOOD, "new": OTHER, "again": OTHER}
    assert second.post("/account/password", data=form).status_code == 302
    assert "is changed" in second.get("/account?changed=").text
    assert (inside(first), inside(second)) == (False, True)
    assert browser(api).get(unused).status_code == 403, "a link from before"
    assert give(browser(api), "Ada", GOOD).status_code == 403
    assert give(browser(api), "Ada", OTHER).status_code == 302


def test_who_forgot_a_password_comes_by_a_link_and_chooses_another(api: Api) -> None:
    with_password(api)
    again = api.sign_in("Ada")
    assert "The present password" not in again.get("/account").text
    with api.db.transaction() as s:
        s.execute(update(WebSession).values(created_at=utcnow() - timedelta(hours=1)))
    assert "The present password" in again.get("/account").text, "who finds it open cannot"
    assert again.post("/account/password", data={"new": OTHER, "again": OTHER}).status_code == 422


def test_signing_out_everywhere(api: Api) -> None:
    first, second, bob = with_password(api), api.sign_in("Ada"), api.sign_in("Bob")
    second.post("/account/sign-out")
    assert [inside(one) for one in (first, second, bob)] == [False, False, True]


# --- sessions ---


def test_each_sign_in_makes_a_new_token_and_ends_the_old_one(api: Api) -> None:
    with_password(api)
    who = browser(api)
    who.cookies.set("counterfoil", "chosen-by-somebody-else")
    tokens = []
    for _ in range(2):
        answer = give(who, "Ada", GOOD)
        (cookie,) = (text for text in answer.headers.get_list("set-cookie"))
        tokens.append(re.sub(r"counterfoil=([^;]+);.*", r"\1", cookie))
        assert "HttpOnly" in cookie
        assert "SameSite=Lax" in cookie
        assert "Secure" not in cookie
        who.cookies.clear()
        who.cookies.set("counterfoil", tokens[-1])
    assert len({*tokens, "chosen-by-somebody-else"}) == 3
    old = browser(api)
    old.cookies.set("counterfoil", tokens[0])
    assert (inside(old), inside(who)) == (False, True)


def test_by_https_the_cookie_is_secure(api: Api) -> None:
    with_password(api)
    answer = give(browser(api), "Ada", GOOD, **{"X-Forwarded-Proto": "https"})
    assert "; Secure" in answer.headers["set-cookie"]


def test_a_form_of_another_site_signs_nobody_in(api: Api) -> None:
    with_password(api)
    assert give(browser(api), "Ada", GOOD, **{"Sec-Fetch-Site": "cross-site"}).status_code == 403
    signed_in = api.sign_in("Ada")
    foreign = {"Sec-Fetch-Site": "cross-site"}
    for path in ("/account/password", "/account/sign-out"):
        form = {"current": GOOD, "new": OTHER, "again": OTHER}
        assert signed_in.post(path, data=form, headers=foreign).status_code == 403
    assert inside(signed_in)


# --- guessing ---


def test_passwords_cannot_be_guessed(api: Api) -> None:
    with_password(api)
    thief = browser(api, **{"X-Forwarded-For": "198.51.100.7"})
    for _ in range(attempts.FOR_NAME_AND_ADDRESS):
        assert give(thief, "Ada", OTHER).status_code == 403
    refused = give(thief, "Ada", GOOD)
    assert refused.status_code == 429, "even the right one is not looked at"
    assert "Try again in 15 minutes" in refused.text
    assert 0 < int(refused.headers["Retry-After"]) <= 900
    elsewhere = {"X-Forwarded-For": "203.0.113.9"}
    assert give(browser(api), "Ada", GOOD, **elsewhere).status_code == 302, "she is not locked out"
    with api.db.transaction() as s:
        s.execute(update(SignInAttempt).values(at=utcnow() - timedelta(minutes=16)))
    assert give(thief, "Ada", OTHER).status_code == 403, "a limit ends by itself"


def test_many_addresses_do_not_lock_a_person_out_where_she_signed_in(database: Database) -> None:
    def tried(name: str, address: str, *, right: bool = False) -> bool:
        with database.transaction() as s:
            attempt_id = attempts.begin_attempt(s, name, address)
        with database.transaction() as s:
            refused = attempts.refused_for(s, attempt_id)
            if right and refused is None:
                attempts.attempt_succeeded(s, attempt_id)
        return refused is None

    assert tried("Ada", "192.0.2.1", right=True)
    for number in range(attempts.FOR_NAME):
        assert tried("Ada", f"198.51.100.{number}")
    assert not tried("Ada", "203.0.113.9"), "no more guesses from anywhere"
    assert tried("Ada", "192.0.2.1", right=True), "but she is known here"
    assert tried("Bob", "203.0.113.9")
    for number in range(attempts.FOR_ADDRESS):
        assert tried(f"name {number}", "2001:db8::1")
    assert not tried("Ada", "2001:db8::2"), "the same network"
    assert tried("Bob", "2001:db8:0:1::1")


def test_guesses_that_are_sent_at_once_are_all_counted(database: Database) -> None:
    def tried(_: int) -> bool:
        with database.transaction() as s:
            attempt_id = attempts.begin_attempt(s, "Ada", "198.51.100.7")
        with database.transaction() as s:
            return attempts.refused_for(s, attempt_id) is None

    with ThreadPoolExecutor(8) as pool:
        let_through = sum(pool.map(tried, range(24)))
    assert let_through <= attempts.FOR_NAME_AND_ADDRESS


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", "unknown"),
        ("nonsense", "unknown"),
    ],
)
def test_what_is_counted_together(address: str, network: str) -> None:
    assert attempts.network_of(address) == network


def test_what_ended_long_ago_is_deleted(database: Database) -> None:
    with database.transaction() as s:
        ada = people.ensure_person(s, ensure_tenant(s, "ours").id, "Ada", Role.ADMIN)
        for _ in range(2):
            assert sessions.sign_in(s, sessions.create_sign_in_link(s, ada.id))
            attempts.begin_attempt(s, "Ada", "192.0.2.1")
        attempts.attempt_succeeded(s, attempts.begin_attempt(s, "Ada", "192.0.2.2"))
        old = utcnow() - sessions.KEPT_AFTER_END - timedelta(days=1)
        for table in (SignInLink, WebSession):
            first = select(table.id).order_by(table.id).limit(1).scalar_subquery()
            s.execute(update(table).where(table.id == first).values(expires_at=old))
        wrong = s.scalars(select(SignInAttempt).order_by(SignInAttempt.id)).first()
        assert wrong is not None
        wrong.at = utcnow() - timedelta(hours=1)
    with database.transaction() as s:
        sessions.delete_ended(s)
        left = [len(s.scalars(select(table.id)).all()) for table in (SignInLink, WebSession)]
        assert left == [1, 1]
        assert len(s.scalars(select(SignInAttempt.id)).all()) == 2


# --- people ---


def ids(api: Api) -> dict[str, str]:
    with api.db.reading() as s:
        return {row.name: row.id for row in s.scalars(select(Person))}


def link_on(page: httpx.Response) -> str:
    (link,) = re.findall(r"http://localhost(/sign-in/[\w-]+)", page.text)
    return str(link)


def test_an_admin_adds_a_person_who_comes_in_by_her_link(api: Api) -> None:
    admin = api.sign_in("Ada")
    added = admin.post("/people", data={"name": " <b>Bob</b> ", "role": "verifier"})
    assert "&lt;b&gt;Bob&lt;/b&gt; is added as a verifier" in added.text
    bob = browser(api)
    assert bob.get(link_on(added)).status_code == 302
    assert "Role: verifier" in bob.get("/account").text
    assert bob.get("/people").status_code == 403
    listed = admin.get("/people").text
    assert "&lt;b&gt;Bob&lt;/b&gt;" in listed
    assert "by a link" in listed
    again = admin.post("/people", data={"name": "<b>Bob</b>", "role": "verifier"})
    assert (again.status_code, "is taken" in again.text) == (422, True)
    assert admin.post("/people", data={"name": "Eve", "role": "king"}).status_code == 422
    assert admin.post("/people", data={"name": "Policy", "role": "admin"}).status_code == 422


def test_a_role_is_changed_and_a_person_disabled_at_once(api: Api) -> None:
    admin, bob = api.sign_in("Ada"), api.sign_in("Bob", Role.OPERATOR)
    path = f"/people/{ids(api)['Bob']}"
    admin.post(f"{path}/role", data={"role": "admin"})
    assert bob.get("/people").status_code == 200
    link = link_on(admin.post(f"{path}/link"))
    admin.post(f"{path}/disable")
    assert not inside(bob)
    assert browser(api).get(link).status_code == 403
    assert admin.post(f"{path}/link").status_code == 409
    admin.post(f"{path}/enable")
    assert not inside(bob), "the session has ended for good"
    assert browser(api).get(link).status_code == 403
    assert browser(api).get(link_on(admin.post(f"{path}/link"))).status_code == 302


def test_the_last_admin_stays(api: Api) -> None:
    admin = api.sign_in("Ada")
    api.sign_in("Bob", Role.SUPERVISOR)
    path = f"/people/{ids(api)['Ada']}"
    for answer in (
        admin.post(f"{path}/disable"),
        admin.post(f"{path}/role", data={"role": "operator"}),
    ):
        assert answer.status_code == 409
        assert "the last admin" in answer.text
    assert inside(admin)
    assert admin.post(f"{path}/role", data={"role": "admin"}).status_code == 302
    admin.post(f"/people/{ids(api)['Bob']}/role", data={"role": "admin"})
    assert admin.post(f"{path}/disable").status_code == 302


def test_two_admins_who_demote_each_other_leave_one(database: Database) -> None:
    with database.transaction() as s:
        tenant_id = ensure_tenant(s, "ours").id
        both = [people.ensure_person(s, tenant_id, name, Role.ADMIN).id for name in ("A", "B")]

    def demote(person_id: str) -> bool:
        try:
            with database.transaction() as s:
                people.set_role(s, tenant_id=tenant_id, person_id=person_id, role=Role.OPERATOR)
        except ConflictError:
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(demote, both)) == [False, True]


def test_people_of_another_tenant_are_not_there(api: Api) -> None:
    api.sign_in("Bob", Role.OPERATOR)
    eve = api.sign_in("Eve", tenant="theirs")
    assert "Bob" not in eve.get("/people").text
    path = f"/people/{ids(api)['Bob']}"
    for act in ("link", "role", "disable", "enable"):
        assert eve.post(f"{path}/{act}", data={"role": "admin"}).status_code == 404
    assert "Bob" not in eve.get("/audit").text


# --- the audit log ---


def entries(admin: httpx.Client, **filters: str) -> list[dict[str, str]]:
    answer = admin.get("/audit.csv", params=filters)
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    return list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))


def test_what_people_and_keys_do_is_in_the_audit_log(api: Api) -> None:
    made = api.upload([("a.png", png(1))], name="Monday", release_threshold="0.999").json()
    api.read(made)
    admin = with_password(api, "Ada")
    admin.headers["X-Forwarded-For"] = "192.0.2.8"
    give(browser(api), "Ada", OTHER)
    give(browser(api), OTHER, OTHER)
    field = api.items(f"/v1/batches/{made['id']}/fields")[0]
    decision: dict[str, Any] = {"version": field["version"], "value": "17"}
    admin.post(f"/fields/{field['id']}/decide", json=decision)
    admin.post(f"/fields/{field['id']}/decide", json=decision | {"value": "x"})  # refused
    admin.get(f"/batches/{made['id']}/export?format=csv")
    admin.post("/people", data={"name": "=cmd", "role": "operator"})
    admin.post(f"/batches/{made['id']}/delete")
    found = entries(admin)
    assert [(one["who"], one["action"]) for one in found] == [
        ("ours-key", "v1.uploads.create_batch"),
        ("Ada", "signed-in"),
        ("Ada", "account.change_password"),
        ("Ada", "password-wrong"),
        ("Ada", "verify.decide"),
        ("Ada", "batches.export"),
        ("Ada", "people.add"),
        ("Ada", "batches.delete"),
        ("Ada", "audit_log.export"),
    ]
    assert found[4]["address"] == "192.0.2.8"
    assert field["id"] in found[4]["about"]
    assert '"name": "Monday"' in found[7]["about"]
    page = admin.get("/audit").text
    assert "decided a field" in page
    assert "deleted a batch" in page
    with api.db.reading() as s:
        kept = " ".join(str(vars(row)) for row in s.scalars(select(AuditEvent)))
    assert GOOD not in kept
    assert OTHER not in kept, "also not where the name belongs"


def test_the_audit_log_is_filtered(api: Api) -> None:
    admin, bob = api.sign_in("Ada"), api.sign_in("Bob", Role.OPERATOR)
    bob.post("/sign-out")
    assert [one["who"] for one in entries(admin, who="Bob")] == ["Bob", "Bob"]
    only = entries(admin, action="signing_in.leave")
    assert [one["who"] for one in only] == ["Bob"]
    today, tomorrow = (str((utcnow() + timedelta(days=days)).date()) for days in (0, 1))
    assert len(entries(admin, since=today, until=today, who="Bob")) == 2
    assert entries(admin, since=tomorrow) == []
    page = admin.get("/audit", params={"who": "Nobody"})
    assert "Nothing like that was done." in page.text
    for wrong in ({"since": "soon"}, {"until": "9999-12-31"}):
        assert admin.get("/audit", params=wrong).status_code == 422
    assert admin.get("/audit", params={"before": "x"}).status_code == 200


@pytest.mark.parametrize("change", [update(AuditEvent).values(who="Eve"), delete(AuditEvent)])
def test_the_database_refuses_to_change_an_entry(database: Database, change: Any) -> None:
    with database.transaction() as s:
        ada = people.ensure_person(s, ensure_tenant(s, "ours").id, "Ada", Role.ADMIN)
        assert sessions.sign_in(s, sessions.create_sign_in_link(s, ada.id))
    with pytest.raises(DBAPIError, match="only added"), database.transaction() as s:
        s.execute(change)


def test_what_was_not_done_is_not_in_the_audit_log(api: Api) -> None:
    admin = api.sign_in("Ada")
    admin.post(f"/people/{ids(api)['Ada']}/disable")
    admin.post("/people", data={"name": "", "role": "admin"})
    assert [one["action"] for one in entries(admin)][:-1] == ["signed-in"]
