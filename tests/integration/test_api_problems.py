"""Every refusal is a problem in words without internals, and tenants see nothing of each other."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from api.app import create_app
from api.problems import MEDIA_TYPE
from core.errors import TransientError
from core.settings import Settings
from storage.base import StorageFullError, StorageUnavailableError
from storage.directory import DirectoryStore
from tests.api_under_test import Api, api_under_test, png
from tests.http_client import FlaskTransport, HttpClient

PUBLIC = {"/healthz", "/readyz", "/metrics", "/openapi.json", "/docs", "/static/<path:filename>"}


@pytest.fixture
def api(sqlite_url: str, tmp_path: Path) -> Iterator[Api]:
    with api_under_test(Settings(home=tmp_path, database_url=sqlite_url)) as api:
        yield api


def is_problem(answer: Any, status: int, code: str) -> str:
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, MEDIA_TYPE), answer.text
    body = answer.json()
    assert (body["status"], body["code"], body["type"]) == (status, code, f"/problems/{code}")
    assert body["title"]
    assert body["request_id"] == answer.headers["X-Request-ID"]
    detail: str = body["detail"]
    assert detail.endswith((".", "?"))
    return detail


def _addresses(api: Api) -> list[tuple[str, str]]:
    return [
        (method, rule.rule)
        for rule in api.app.url_map.iter_rules()
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})
        if rule.rule not in PUBLIC and not rule.endpoint.startswith("web.")
    ]


def test_every_address_asks_for_a_key(api: Api) -> None:
    assert len(_addresses(api)) > 15
    for method, rule in _addresses(api):
        path = rule
        for name in ("batch_id", "page_id", "field_id"):
            path = path.replace(f"<id:{name}>", "0" * 32)
        for header in ({}, {"Authorization": "Basic x"}, {"Authorization": "Bearer "}):
            answer = api.call(method, path, key="", headers=header)
            is_problem(answer, 401, "key-missing")
        for key in ("x", "cf_", "cf_a_b", "cf_" + "a" * 300, api.key[:-1], "cf_é_x"):
            answer = api.call(method, path, key=key)
            is_problem(answer, 401, "key-refused")
            assert answer.headers["WWW-Authenticate"].startswith("Bearer realm=")


def test_nothing_of_one_tenant_is_seen_by_another(api: Api) -> None:
    """Every address that takes an id answers 404 to another tenant's key, as for an unknown id."""
    batch = api.upload([("a.png", png(1))], keep_open="true").json()
    api.read(batch)
    (page,) = api.items(f"/v1/batches/{batch['id']}/pages")
    ids = {"batch_id": batch["id"], "page_id": page["id"], "field_id": page["fields"][0]["id"]}
    before = api.get(f"/v1/batches/{batch['id']}").json()
    walked = 0
    for method, rule in _addresses(api):
        if "<" not in rule:
            continue
        path = rule
        for name, value in ids.items():
            path = path.replace(f"<id:{name}>", value)
        foreign = api.call(method, path, key=api.other_key, **_body(rule))
        unknown_path = path
        for value in ids.values():
            unknown_path = unknown_path.replace(value, "f" * 32)
        unknown = api.call(method, unknown_path, key=api.other_key, **_body(rule))
        assert is_problem(foreign, 404, foreign.json()["code"]) == is_problem(
            unknown, 404, foreign.json()["code"]
        )
        walked += 1
    assert walked >= 15
    assert api.get("/v1/batches", key=api.other_key).json() == {"items": [], "next": None}
    assert api.get(f"/v1/batches/{batch['id']}").json() == before
    # Cursors of another tenant lead nowhere either.
    theirs = api.post("/v1/batches", json={}, key=api.other_key).json()["id"]
    for below, cursor in (("pages", page["id"]), ("fields", ids["field_id"])):
        listed = api.get(f"/v1/batches/{theirs}/{below}?after={cursor}", key=api.other_key)
        assert listed.status_code == 404


def _body(rule: str) -> dict[str, Any]:
    """Return the body of a request that is right but for the id in its address."""
    if rule.endswith("/documents"):
        return {"data": {"files": (io.BytesIO(png(9)), "x.png")}}
    if rule.endswith("/verify"):
        return {"json": {"value": "1"}}
    return {"json": {"target": "x", "table": "x"}} if rule.endswith("/exports") else {}


def test_one_key_of_idempotency_for_two_tenants(api: Api) -> None:
    headers = {"Idempotency-Key": "same"}
    ours = api.post("/v1/batches", json={}, headers=headers)
    theirs = api.post("/v1/batches", json={"name": "x"}, headers=headers, key=api.other_key)
    assert (ours.status_code, theirs.status_code) == (202, 202)
    assert ours.json()["id"] != theirs.json()["id"]


def test_addresses_and_methods_that_are_not(api: Api) -> None:
    for path in ("/v1", "/v1/nothing", "/v1/batches/x", "/v1/batches/" + "A" * 32, "/v1/pages/%00"):
        assert "nothing at this address" in is_problem(api.get(path), 404, "not-found")
    answer = api.call("PUT", "/v1/batches")
    assert "GET, HEAD, OPTIONS, POST" in is_problem(answer, 405, "method-not-allowed")
    assert answer.headers["Allow"] == "GET, HEAD, OPTIONS, POST"


def test_a_request_keeps_its_id(api: Api) -> None:
    assert api.get("/healthz", headers={"X-Request-ID": "abc-1"}).headers["X-Request-ID"] == "abc-1"
    for odd in ("x" * 65, "a b", "<script>"):
        assert api.get("/healthz", headers={"X-Request-ID": odd}).headers["X-Request-ID"] != odd


def test_every_answer_carries_security_headers(api: Api) -> None:
    for path in ("/v1/batches", "/v1/nothing", "/docs", "/healthz"):
        headers = api.get(path).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert "Access-Control-Allow-Origin" not in headers
    assert api.get("/v1/batches").headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (StorageFullError("There is no room left."), 507, "storage-full"),
        (StorageUnavailableError("The store does not answer."), 503, "storage-unavailable"),
        (TransientError("The database is away."), 503, "temporarily-unavailable"),
        (RuntimeError("secret /etc/path"), 500, "internal-error"),
    ],
)
def test_a_fault_of_ours_keeps_nothing_and_tells_no_secret(
    api: Api, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int, code: str
) -> None:
    real = DirectoryStore.put
    calls: list[int] = []

    def fails_at_the_second(*args: Any, **more: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise error
        return real(*args, **more)

    monkeypatch.setattr(DirectoryStore, "put", fails_at_the_second)
    answer = api.upload([("a.png", png(1)), ("b.png", png(2))])
    detail = is_problem(answer, status, code)
    assert "secret" not in detail
    if isinstance(error, TransientError):
        assert int(answer.headers["Retry-After"]) > 0
    assert api.get("/v1/batches").json()["items"] == []
    folder = api.settings.home / "objects"
    assert [path for path in folder.rglob("*") if path.is_file()] == []


def test_a_database_without_tables(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "other", database_url=f"sqlite:///{tmp_path / 'new.db'}")
    with pytest.raises(Exception, match="tables"), api_under_test(settings):
        pass


def test_not_ready_is_said_for_each_service(api: Api, tmp_path: Path) -> None:
    with api.db.transaction() as s:
        s.execute(text("ALTER TABLE tenant RENAME TO gone"))
    answer = api.get("/readyz", key="")
    assert (answer.status_code, answer.json()["ready"]) == (503, False)
    assert answer.json()["database"]["state"] == "away"
    assert answer.json()["backlog_seconds"] is None
    assert answer.json()["store"]["state"] == "ok"
    assert str(tmp_path) not in answer.text
    settings = api.settings.model_copy(update={"redis_url": "redis://:pw@127.0.0.1:1/0"})
    with api.db.transaction() as s:
        s.execute(text("ALTER TABLE gone RENAME TO tenant"))
    other = HttpClient("http://localhost", "", FlaskTransport(create_app(settings))).get("/readyz")
    assert (other.status_code, other.json()["broker"]["state"]) == (503, "away")
    assert "pw" not in other.text
