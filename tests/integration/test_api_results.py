"""Batches, pages, fields, images and exports over HTTP, embedded and with real servers."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import openpyxl
import pytest
from sqlalchemy import create_engine, text, update

from core.clock import utcnow
from core.settings import Settings
from db.models import Outbox, Page
from storage.base import ObjectStore
from tests.api_under_test import Api, api_under_test, png


@pytest.fixture(params=["embedded", "servers"])
def api(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Api]:
    targets = {"warehouse": f"sqlite:///{tmp_path / 'warehouse.sqlite3'}"}
    if request.param == "embedded":
        settings = Settings(
            home=tmp_path,
            database_url=request.getfixturevalue("sqlite_url"),
            export_targets=targets,
        )
    else:
        s3 = request.getfixturevalue("s3_server")
        url = request.getfixturevalue("postgres_url")
        settings = Settings(
            home=tmp_path,
            database_url=url,
            redis_url=request.getfixturevalue("valkey_url"),
            s3_endpoint=s3.endpoint,
            s3_bucket=s3.make_bucket(),
            s3_access_key=s3.access_key,
            s3_secret_key=s3.secret_key,
            export_targets=targets | {"own": url},
        )
    with api_under_test(settings) as api:
        yield api


@pytest.fixture
def batch(api: Api) -> dict[str, Any]:
    """Three files: one read with two fields, one page failed, one file that cannot be opened."""
    files = [("=first.png", png(1)), ("second.png", png(2)), ("third.pdf", b"%PDF-no")]
    made: dict[str, Any] = api.upload(files, release_threshold="0.915").json()
    first, second, third = made["uploaded"]
    api.read_document(first["id"])
    api.open_document(second["id"])
    pages = api.items(f"/v1/batches/{made['id']}/pages")
    api.fail_page(pages[1]["id"], "The picture ends in the middle.")
    api.fail_document(third["id"], "This PDF cannot be opened.")
    return made


def test_the_batch_and_its_lists(api: Api, batch: dict[str, Any]) -> None:
    path = f"/v1/batches/{batch['id']}"
    seen = api.get(path).json()
    assert seen["state"] == "reviewing"
    assert seen["percent"] == 100
    assert seen["documents"] == {"total": 3, "stored": 0, "opened": 2, "failed": 1, "copies": 0}
    assert (seen["pages"]["read"], seen["pages"]["failed"], seen["pages"]["total"]) == (1, 1, 2)
    assert (seen["fields"]["accepted"], seen["fields"]["review"]) == (1, 1)
    documents = api.items(f"{path}/documents")
    assert [item["filename"] for item in documents] == ["=first.png", "second.png", "third.pdf"]
    assert documents[2]["error"] == {"code": "bad-file", "message": "This PDF cannot be opened."}
    read, failed = api.items(f"{path}/pages")
    assert (read["file"], read["page"], read["state"], read["error"]) == (
        "=first.png",
        1,
        "read",
        None,
    )
    assert failed["error"]["message"] == "The picture ends in the middle."
    first, second = read["fields"]
    assert (first["name"], first["value"], first["decision"]) == ("field-1", "0017", "review")
    assert first["reason"] == "below-threshold"
    assert (second["decision"], second["released_by"]) == ("accepted", "policy")
    assert second["reason"] is None
    assert first["box"] == [20.0, 30.0, 40.0, 25.0]
    assert [item["value"] for item in first["alternatives"]] == ["0017", "0011"]
    assert [item["text"] for item in first["characters"]] == ["0", "0", "1", "7"]
    assert first["characters"][3]["box"] == [50.0, 30.0, 10.0, 25.0]
    assert first["characters"][3]["alternatives"][0]["value"] == "1"
    assert api.get(f"/v1/pages/{read['id']}").json() == read
    (waiting,) = api.get(f"{path}/fields?state=review").json()["items"]
    assert waiting["id"] == first["id"]
    (page,) = api.get(f"{path}/pages?state=failed").json()["items"]
    assert page["id"] == failed["id"]


def test_cursors_walk_a_list_to_its_end(api: Api) -> None:
    made = [api.post("/v1/batches", json={"name": str(n)}).json()["id"] for n in range(5)]
    seen, after = [], ""
    while True:
        answer = api.get(f"/v1/batches?limit=2{after}").json()
        seen += [item["id"] for item in answer["items"]]
        if answer["next"] is None:
            break
        after = f"&after={answer['next']}"
    assert seen == made[::-1]
    for wrong in ("limit=0", "limit=1001", "limit=x", "after=x", "colour=red"):
        refused = api.get(f"/v1/batches?{wrong}")
        assert (refused.status_code, refused.json()["code"]) == (422, "invalid-request")


def test_a_person_decides(api: Api, batch: dict[str, Any]) -> None:
    path = f"/v1/batches/{batch['id']}"
    first, second = api.items(f"{path}/fields")
    done = api.post(first["links"]["verify"], json={"value": "0042"})
    assert done.status_code == 200
    assert (done.json()["state"], done.json()["value"], done.json()["raw"]) == (
        "verified",
        "0042",
        "0017",
    )
    assert done.json()["released_by"] == "ours-key"
    assert api.get(path).json()["state"] == "complete_with_errors"
    nobody = api.post(second["links"]["verify"], json={"unreadable": True}).json()
    assert (nobody["state"], nobody["value"]) == ("unreadable", None)
    bodies: list[Any] = [
        {},
        {"value": ""},
        {"value": "1", "unreadable": True},
        {"unreadable": False},
    ]
    for body in [*bodies, {"value": 5}, {"value": "1\0"}, {"value": "1" * 1001}]:
        assert api.post(first["links"]["verify"], json=body).status_code == 422


def test_cancel_and_delete(api: Api) -> None:
    batch = api.upload([("a.png", png(1)), ("b.png", png(2))]).json()
    path = f"/v1/batches/{batch['id']}"
    for _ in range(2):
        cancelled = api.post(f"{path}/cancel")
        assert (cancelled.status_code, cancelled.json()["state"]) == (200, "cancelled")
    refused = api.upload([("c.png", png(3))], f"{path}/documents")
    assert refused.status_code == 409
    gone = api.call("DELETE", path)
    assert (gone.status_code, gone.content) == (204, b"")
    for method, below in (("GET", ""), ("DELETE", ""), ("GET", "/pages"), ("POST", "/close")):
        missing = api.call(method, path + below)
        assert (missing.status_code, missing.json()["code"]) == (404, "batch-not-found")


def test_images(api: Api, batch: dict[str, Any]) -> None:
    (page, failed) = api.items(f"/v1/batches/{batch['id']}/pages")
    path = f"/v1/pages/{page['id']}/image"
    image = api.get(path)
    assert (image.status_code, image.headers["Content-Type"]) == (200, "image/png")
    assert image.content == png(1)
    assert image.headers["Cache-Control"] == "private, max-age=31536000, immutable"
    assert image.headers["X-Content-Type-Options"] == "nosniff"
    head = api.call("HEAD", path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["Content-Length"] == str(len(png(1)))
    cached = api.get(path, headers={"If-None-Match": image.headers["ETag"]})
    assert (cached.status_code, cached.content) == (304, b"")
    small = api.get(f"{path}?width=100")
    assert small.headers["Content-Type"] == "image/jpeg"
    assert _decoded(small.content).shape == (50, 100)
    assert small.headers["ETag"] != image.headers["ETag"]
    assert api.get(f"{path}?width=5000").status_code == 422
    # Bytes that could not be read are shown as they are, and never decoded here.
    assert api.get(f"/v1/pages/{failed['id']}/image?width=100").content == png(2)


def test_a_crop_is_the_field_with_a_margin(api: Api, batch: dict[str, Any]) -> None:
    field, _ = api.items(f"/v1/batches/{batch['id']}/fields")
    crop = api.get(field["links"]["crop"])
    assert (crop.status_code, crop.headers["Content-Type"]) == (200, "image/png")
    assert field["box"] == [20.0, 30.0, 40.0, 25.0]
    expected = _decoded(png(1))[30 - 13 : 30 + 25 + 12, 20 - 13 : 20 + 40 + 12]
    assert np.array_equal(_decoded(crop.content), expected)
    again = api.get(field["links"]["crop"], headers={"If-None-Match": crop.headers["ETag"]})
    assert again.status_code == 304


def test_a_page_is_decoded_once_for_all_its_crops_and_small_copies(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def counted(store: ObjectStore, key: str) -> bytes:
        read.append(key)
        return real(store, key)

    real = type(api.store).read
    monkeypatch.setattr(type(api.store), "read", counted)
    data = png(5, width=640)
    batch = api.upload([("a.png", data)]).json()
    api.read(batch, fields=24)
    (page,) = api.items(f"/v1/batches/{batch['id']}/pages")
    links = [field["links"]["crop"] for field in api.items(f"/v1/batches/{batch['id']}/fields")]
    links += [f"/v1/pages/{page['id']}/image?width={width}" for width in (100, 200)]
    with ThreadPoolExecutor(6) as browser:  # as many requests as a browser sends at once
        answers = list(browser.map(api.get, links))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 26
    assert read == [f"{batch['id']}/{hashlib.sha256(data).hexdigest()}"]


@pytest.mark.parametrize("turn", [1, 2, 3])
def test_crops_are_upright_however_the_page_lay(api: Api, batch: dict[str, Any], turn: int) -> None:
    page = api.items(f"/v1/batches/{batch['id']}/pages")[0]
    assert page["turn"] == 0
    with api.db.transaction() as session:
        session.execute(update(Page).where(Page.id == page["id"]).values(turn=turn))
    assert api.get(f"/v1/pages/{page['id']}").json()["turn"] == turn
    field, _ = api.items(f"/v1/batches/{batch['id']}/fields")
    crop = _decoded(api.get(field["links"]["crop"]).content)
    # The margin goes by the height of the field, which is the width of its box on a page that lies.
    sides = (slice(17, 67), slice(7, 72)) if turn == 2 else (slice(12, 73), slice(2, 78))
    cut = _decoded(png(1))[sides]
    assert np.array_equal(crop, np.rot90(cut, -turn))


def test_csv_and_json_lines(api: Api, batch: dict[str, Any]) -> None:
    path = f"/v1/batches/{batch['id']}/export"
    answer = api.get(path)
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert batch["id"] in answer.headers["Content-Disposition"]
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["field"] for row in rows] == ["field-1", "field-2", "", ""]
    assert rows[0]["value"] == "0017"
    assert rows[0]["file"] == "'=first.png"
    assert [row["page_state"] for row in rows] == ["read", "read", "failed", "failed"]
    assert rows[2]["error"] == "The picture ends in the middle."
    assert (rows[3]["file"], rows[3]["error"]) == ("third.pdf", "This PDF cannot be opened.")
    assert api.get(f"{path}?format=csv&bom=true").content == b"\xef\xbb\xbf" + answer.content
    lines = [json.loads(line) for line in api.get(f"{path}?format=jsonl").text.splitlines()]
    pages = api.items(f"/v1/batches/{batch['id']}/pages")
    assert lines[:2] == pages
    assert (lines[2]["file"], lines[2]["page"], lines[2]["error"]["code"]) == (
        "third.pdf",
        None,
        "bad-file",
    )
    assert api.get(f"{path}?format=xml").status_code == 422


def test_xlsx_holds_text_only(api: Api, batch: dict[str, Any]) -> None:
    (field, _) = api.items(f"/v1/batches/{batch['id']}/fields")
    formula = '=HYPERLINK("http://example.com","0042")'
    said = {"value": formula, "force": True, "note": "a test"}
    assert api.post(field["links"]["verify"], json=said).status_code == 200
    answer = api.get(f"/v1/batches/{batch['id']}/export?format=xlsx")
    assert int(answer.headers["Content-Length"]) == len(answer.content)
    sheet = openpyxl.load_workbook(io.BytesIO(answer.content)).active
    assert sheet is not None
    cells = [[cell.value for cell in row] for row in sheet.iter_rows()]
    column = {name: index for index, name in enumerate(cells[0])}
    assert cells[1][column["value"]] == formula
    assert cells[2][column["value"]] == "0027"
    assert {cell.data_type for row in sheet.iter_rows() for cell in row} <= {"s", "n", "inlineStr"}
    assert all(
        cell.value is None or isinstance(cell.value, str)
        for row in sheet.iter_rows()
        for cell in row
    )
    text_row = api.get(f"/v1/batches/{batch['id']}/export").text.splitlines()[1]
    assert "'=HYPERLINK" in text_row


def test_export_into_a_table(api: Api, batch: dict[str, Any], tmp_path: Path) -> None:
    path = f"/v1/batches/{batch['id']}/exports"
    order = {"target": "warehouse", "table": "numbers"}
    for _ in range(2):
        done = api.post(path, json=order)
        assert (done.status_code, done.json()) == (200, order | {"rows": 4})
    with sqlite3.connect(tmp_path / "warehouse.sqlite3") as warehouse:
        rows = warehouse.execute(
            "SELECT field, value, error FROM numbers ORDER BY row_id"
        ).fetchall()
        warehouse.execute("CREATE TABLE taken (x)")
    warehouse.close()
    assert len(rows) == 4
    assert ("field-1", "0017", None) in rows
    other = api.upload([("x.png", png(7))]).json()
    api.read(other)
    assert api.post(f"/v1/batches/{other['id']}/exports", json=order).json()["rows"] == 2
    unknown = api.post(path, json=order | {"target": "elsewhere"})
    assert unknown.status_code == 422
    assert "warehouse" in unknown.json()["detail"]
    taken = api.post(path, json=order | {"table": "taken"})
    assert (taken.status_code, taken.json()["code"]) == (409, "table-differs")
    for table in ("a b", "x;drop table y", "1x", "", "t" * 64, 'q"q'):
        assert api.post(path, json=order | {"table": table}).status_code == 422


def test_export_into_postgresql_and_never_over_our_own_tables(
    api: Api, batch: dict[str, Any]
) -> None:
    if "own" not in api.settings.export_targets:
        return
    path = f"/v1/batches/{batch['id']}/exports"
    for _ in range(2):
        assert api.post(path, json={"target": "own", "table": "numbers"}).json()["rows"] == 4
    engine = create_engine(api.settings.resolved_database_url())
    with engine.connect() as connection:
        count = connection.execute(text("SELECT count(*) FROM numbers")).scalar_one()
    engine.dispose()
    assert count == 4
    for table in ("field", "batch", "page"):
        refused = api.post(path, json={"target": "own", "table": table})
        assert (refused.status_code, refused.json()["code"]) == (409, "table-differs")
    assert len(api.items(f"/v1/batches/{batch['id']}/fields")) == 2


def test_an_export_target_that_is_away(api: Api, batch: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "warehouse.sqlite3").mkdir()
    order = {"target": "warehouse", "table": "numbers"}
    away = api.post(f"/v1/batches/{batch['id']}/exports", json=order)
    assert (away.status_code, away.json()["code"]) == (503, "export-target-unavailable")
    assert str(tmp_path) not in away.text


def test_events_tell_the_history_and_end(api: Api, batch: dict[str, Any]) -> None:
    path = f"/v1/batches/{batch['id']}/events"
    answer = api.get(path)
    assert answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    events = _events(answer.text)
    kinds = [event["event"] for event in events]
    assert kinds[0] == "batch.created"
    assert {"document.added", "page.read", "page.failed", "document.failed"} <= set(kinds)
    assert kinds[-2:] == ["progress", "end"]
    assert json.loads(events[-1]["data"])["state"] == "reviewing"
    ids = [int(event["id"]) for event in events if "id" in event]
    assert ids == sorted(ids)
    rest = _events(api.get(path, headers={"Last-Event-ID": str(ids[-2])}).text)
    assert [int(event["id"]) for event in rest if "id" in event] == ids[-1:]
    # Every stream has given its place back.
    for _ in range(api.settings.api_threads):
        assert "event: end" in api.get(path).text


def test_readiness(api: Api) -> None:
    assert api.get("/healthz", key="").json() == {"status": "ok"}
    answer = api.get("/readyz", key="")
    assert (answer.status_code, answer.json()["ready"]) == (200, True)
    broker = "ok" if api.settings.redis_url else "not configured"
    assert answer.json()["broker"]["state"] == broker
    assert answer.json()["backlog_seconds"] == 0
    api.upload([("a.png", png(1))])  # and no dispatcher runs
    sent = utcnow() - timedelta(minutes=5)
    with api.db.transaction() as s:
        s.execute(update(Outbox).values(created_at=sent))
    waiting = api.get("/readyz", key="")
    now = utcnow()
    assert waiting.status_code == 200
    assert (
        300 <= waiting.json()["backlog_seconds"] <= (now - sent).total_seconds() + 0.05
    )  # rounded


def _decoded(data: bytes) -> Any:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)


def _events(stream: str) -> list[dict[str, str]]:
    blocks = [block for block in stream.split("\n\n") if "event:" in block]
    return [dict(line.split(": ", 1) for line in block.splitlines()) for block in blocks]


def test_what_was_set_aside_is_tried_again(api: Api) -> None:
    batch = api.upload([("a.png", png(1)), ("b.png", png(2))]).json()
    path = f"/v1/batches/{batch['id']}"
    first, second = api.items(f"{path}/documents")
    for document in (first, second):
        api.open_document(document["id"])
    pages = {page["document_id"]: page["id"] for page in api.items(f"{path}/pages")}
    api.set_aside(pages[first["id"]])
    api.fail_page(pages[second["id"]], "This is no image.")
    assert api.get(path).json()["state"] == "complete_with_errors"
    assert api.post(f"{path}/retry", key=api.other_key).status_code == 404
    retried = api.post(f"{path}/retry")
    assert (retried.status_code, retried.headers["Retry-After"]) == (202, "1")
    assert retried.json()["retried"] == {"documents": 0, "pages": 1}
    assert (retried.json()["state"], retried.json()["finished_at"]) == ("processing", None)
    assert (retried.json()["pages"]["queued"], retried.json()["pages"]["failed"]) == (1, 1)
    api.read_page(pages[first["id"]])
    again = api.post(f"{path}/retry").json()
    assert again["retried"] == {"documents": 0, "pages": 0}
    assert again["pages"]["read"] == 1
    cancelled = api.post("/v1/batches", json={}).json()["id"]
    api.post(f"/v1/batches/{cancelled}/cancel")
    assert api.post(f"/v1/batches/{cancelled}/retry").status_code == 409
