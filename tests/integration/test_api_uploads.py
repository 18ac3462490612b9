"""Uploads: which files are taken, how others are refused, and that nothing is stored twice."""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from core.settings import Settings
from db.models import Batch, Document, Outbox, TemplateText
from db.transitions.documents import NewPage, claim_document, open_document
from db.transitions.outbox import delete_outbox, take_outbox
from pipeline.placing.template import bundled_names, bundled_template
from pipeline.placing.template_set import TemplateSet, parse_templates
from storage.directory import DirectoryStore
from storage.site_templates import SiteTemplates
from tests.api_under_test import Api, api_under_test, png
from tests.hostile import NAUGHTY_NAMES

NIST = bundled_template("nist-hsf").text
MULTIPART = {"Content-Type": "multipart/form-data; boundary=B"}


@pytest.fixture
def settings(sqlite_url: str, tmp_path: Path) -> Settings:
    return Settings(
        home=tmp_path,
        database_url=sqlite_url,
        max_file_bytes=200_000,
        max_request_bytes=50_000_000,
        max_queued_pages=3,
    )


@pytest.fixture
def api(settings: Settings) -> Iterator[Api]:
    with api_under_test(settings) as api:
        yield api


def count(api: Api, model: type[Any]) -> int:
    with api.db.reading() as s:
        return s.scalar(select(func.count()).select_from(model)) or 0


def objects(api: Api) -> list[Path]:
    folder = api.settings.home / "objects"
    return [path for path in folder.rglob("*") if path.is_file() and len(path.name) == 64]


def raw_upload(api: Api, names: list[bytes], path: str = "/v1/batches", **more: Any) -> Any:
    """Post files with names that are sent byte for byte. The content of a file is its number."""
    body = b"".join(
        b'--B\r\nContent-Disposition: form-data; name="files"; filename="%s"\r\n\r\n%d\r\n'
        % (name, number)
        for number, name in enumerate(names, 1)
    )
    return api.post(
        path,
        content=body + b"--B--\r\n",
        headers=MULTIPART,
        **more,
    )


def test_a_batch_with_files(api: Api) -> None:
    files = [("a.png", png(1)), ("b.png", png(2))]
    response = api.upload(files, name="July", template="nist-hsf", release_threshold="0.99")
    assert response.status_code == 202
    batch = response.json()
    assert response.headers["Location"] == f"/v1/batches/{batch['id']}"
    assert response.headers["Retry-After"] == "1"
    assert batch["name"] == "July"
    assert batch["template"] == "nist-hsf"
    assert batch["release_threshold"] == 0.99
    assert (batch["state"], batch["closed"]) == ("processing", True)
    assert batch["documents"] == {"total": 2, "stored": 2, "opened": 0, "failed": 0, "copies": 0}
    for (name, data), uploaded in zip(files, batch["uploaded"], strict=True):
        digest = hashlib.sha256(data).hexdigest()
        assert (uploaded["filename"], uploaded["sha256"]) == (name, digest)
        assert (uploaded["size"], uploaded["duplicate"]) == (len(data), False)
        assert api.store.read(f"{batch['id']}/{digest}") == data
    assert batch["rejected"] == []
    assert count(api, Outbox) == 2
    with api.db.reading() as s:
        assert s.scalars(select(TemplateText.text)).one() == bundled_template("nist-hsf").text


def test_the_same_bytes_under_two_names_are_a_document_and_its_copy(api: Api) -> None:
    files = [("a.png", png(1)), ("again.png", png(1))]
    batch = api.upload(files, keep_open="true", name="").json()
    first = batch["uploaded"][0]["id"]
    assert [(file["duplicate"], file["copy_of"]) for file in batch["uploaded"]] == [
        (False, None),
        (False, first),
    ]
    more = api.upload([*files, ("d.png", png(2))], f"/v1/batches/{batch['id']}/documents")
    assert more.status_code == 202
    assert [file["duplicate"] for file in more.json()["documents"]] == [True, True, False]
    assert count(api, Document) == 3
    listed = api.items(f"/v1/batches/{batch['id']}/documents")
    assert [(item["state"], item["copy_of_file"]) for item in listed] == [
        ("stored", None),
        ("copy", "a.png"),
        ("stored", None),
    ]


def test_an_open_batch_takes_files_until_it_is_closed(api: Api) -> None:
    created = api.post("/v1/batches", json={"name": "later"})
    assert created.status_code == 202
    path = f"/v1/batches/{created.json()['id']}"
    assert (created.json()["state"], created.json()["closed"]) == ("receiving", False)
    assert api.upload([("a.png", png(1))], f"{path}/documents").status_code == 202
    for _ in range(2):
        assert api.post(f"{path}/close").json()["closed"] is True
    refused = api.upload([("b.png", png(2))], f"{path}/documents")
    assert (refused.status_code, refused.json()["code"]) == (409, "batch-closed")


def test_a_request_of_its_own_template(api: Api) -> None:
    text = bundled_template(bundled_names()[0]).text
    made = api.post("/v1/batches", json={"template_text": text})
    assert made.json()["template"] == bundled_names()[0]
    path = f"/v1/batches/{made.json()['id']}/documents"
    added = api.upload([("a.png", png(1))], path, template_file=("t", text.encode()))
    assert added.status_code == 202
    (document,) = api.items(path)
    assert document["template"] == bundled_names()[0]


def test_a_batch_of_several_templates(api: Api) -> None:
    """Named and sent ones together; they are stored as one text, in which each can be found."""
    cheque = bundled_template("demo-cheque").text
    body = "".join(
        _part(*part)
        for part in (
            ("template", None, "nist-hsf"),
            ("template", None, "demo-form"),
            ("template_file", "a.yaml", cheque),
            ("files", "a.png", png(1).decode("latin-1")),
        )
    )
    in_form = api.post(
        "/v1/batches", content=f"{body}--B--\r\n".encode("latin-1"), headers=MULTIPART
    )
    named = ["nist-hsf", "demo-form"]
    in_json = api.post("/v1/batches", json={"template": named, "template_text": [cheque]})
    for made in (in_form, in_json):
        assert made.status_code == 202, made.text
        assert made.json()["template"] == "nist-hsf, demo-form, demo-cheque"
    with api.db.reading() as s:
        (text,) = s.scalars(select(TemplateText.text)).all()
    names = [template.name for template in parse_templates(text).templates]
    assert names == [*named, "demo-cheque"]


def test_a_stored_set_is_resolved_once(api: Api) -> None:
    """What is stored under a name may change: a batch keeps what it was created with."""
    stored = SiteTemplates(api.settings.home)
    ours = bundled_template("demo-cheque").text.replace("name: demo-cheque", "name: ours")
    stored.store("office", f"{ours}---\n{NIST}")
    headers = {"Idempotency-Key": "k"}
    made = api.post("/v1/batches", json={"template": "office"}, headers=headers)
    assert (made.status_code, made.json()["template"]) == (202, "ours, nist-hsf")
    stored.store("office", bundled_template("demo-form").text, replace=True)
    again = api.post("/v1/batches", json={"template": "office"}, headers=headers)
    assert (again.status_code, again.json()["id"]) == (202, made.json()["id"])
    in_form = api.upload([("a.png", png(1))], template="office")
    assert in_form.json()["template"] == "demo-form"
    assert api.get(f"/v1/batches/{made.json()['id']}").json()["template"] == "ours, nist-hsf"
    with api.db.reading() as s:
        assert f"{ours}---\n{NIST}" in s.scalars(select(TemplateText.text)).all()


def test_stored_templates_are_listed(api: Api) -> None:
    stored = SiteTemplates(api.settings.home)
    ours = bundled_template("demo-cheque").text.replace("name: demo-cheque", "name: ours")
    stored.store("office", f"{ours}---\n{NIST}")
    stored.store("broken", "name: [")
    stored.store("cheque-in", ours)
    items = api.get("/v1/templates").json()["items"]
    assert [item["set"] for item in items if not item["stored"]] == [
        name for name in bundled_names() if name != "cheque-in"
    ]
    assert [(item["set"], item["name"]) for item in items if item["stored"]] == [
        ("broken", "broken"),
        ("cheque-in", "cheque-in"),
        ("office", "ours"),
        ("office", "nist-hsf"),
    ]
    broken, shadow, *_ = (item for item in items if item["stored"])
    assert "this is not YAML" in broken["error"]
    assert "both a bundled and a stored" in shadow["error"]
    refused = api.post("/v1/batches", json={"template": "cheque-in"})
    assert (refused.status_code, refused.json()["code"]) == (422, "ambiguous-template")
    refused = api.post("/v1/batches", json={"template": "../api-key"})
    assert (refused.status_code, refused.json()["code"]) == (422, "unknown-template")


def test_a_byte_order_mark_before_a_template_is_ignored(api: Api) -> None:
    """The commands ignore it too. The template is stored without it, so that there is only one."""
    text = bundled_template("nist-hsf").text
    in_json = api.post("/v1/batches", json={"template_text": f"\ufeff{text}"})
    file = ("own.yaml", text.encode("utf-8-sig"))
    in_form = api.upload([("a.png", png(1))], template_file=file)
    for made in (in_json, in_form):
        assert (made.status_code, made.json()["template"]) == (202, "nist-hsf")
    with api.db.reading() as s:
        assert s.scalars(select(TemplateText.text)).all() == [text]


@pytest.mark.parametrize("template_comes", ["first", "last", "between"])
def test_a_template_of_a_request_is_parsed_once(
    api: Api, monkeypatch: pytest.MonkeyPatch, template_comes: str
) -> None:
    parsed: list[str] = []

    def counted(text: str) -> TemplateSet:
        parsed.append(text)
        return parse_templates(text)

    monkeypatch.setattr("api.templates.parse_templates", counted)
    text = bundled_template("nist-hsf").text.replace("name: nist-hsf", "name: own")
    template, file = ("template_file", None, text), ("files", "a.png", png(1).decode("latin-1"))
    name = ("name", None, "July")
    order = {
        "first": [template, file, name],
        "last": [name, file, template],
        "between": [name, template, file],
    }
    body = "".join(_part(*part) for part in order[template_comes]) + "--B--\r\n"
    made = api.post(
        "/v1/batches",
        content=body.encode("latin-1"),
        headers=MULTIPART,
    )
    assert (made.status_code, made.json()["template"], made.json()["name"]) == (202, "own", "July")
    assert parsed == [text]


def _part(name: str, filename: str | None, text: str) -> str:
    file = f'; filename="{filename}"' if filename else ""
    return f'--B\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n{text}\r\n'


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"template": "no-such"}, "There is no template 'no-such'. There are: "),
        ({"template_file": "name: ["}, "Line 1: "),
        ({"template_file": "\ufeff"}, "The template is empty."),
        ({"template": "nist-hsf", "template_file": "x: y"}, "the key 'x' is unknown"),
        ({"template": "nist-hsf", "template_file": NIST}, "Two templates are named 'nist-hsf'"),
        ({"release_threshold": "0"}, "release_threshold: Input should be greater than 0"),
        ({"release_threshold": "1.01"}, "release_threshold: Input should be less than or equal"),
        ({"release_threshold": "nan"}, "release_threshold"),
        ({"release_threshold": "sure"}, "release_threshold"),
        ({"name": "n" * 201}, "name: "),
        ({"colour": "red"}, "colour: "),
    ],
)
def test_a_wrong_form_is_refused_in_words(api: Api, form: dict[str, str], words: str) -> None:
    response = api.upload([("a.png", png(1))], **form)
    assert response.status_code == 422, response.text
    assert response.headers["Content-Type"] == "application/problem+json"
    assert words in response.json()["detail"]
    assert count(api, Batch) == 0
    assert objects(api) == []


def test_a_file_too_large_or_empty_is_refused_alone(api: Api) -> None:
    large = bytes(api.settings.max_file_bytes + 1)
    batch = api.upload([("large.tif", large), ("empty.png", b""), ("good.png", png(1))]).json()
    assert [file["filename"] for file in batch["uploaded"]] == ["good.png"]
    assert [(file["filename"], file["code"]) for file in batch["rejected"]] == [
        ("large.tif", "file-too-large"),
        ("empty.png", "empty-file"),
    ]
    assert "larger than 200,000 bytes" in batch["rejected"][0]["message"]
    assert len(objects(api)) == 1


def test_no_usable_file_makes_no_batch(api: Api) -> None:
    nothing = api.upload([], name="nothing")
    assert (nothing.status_code, nothing.json()["code"]) == (422, "no-usable-file")
    assert "keep_open=true" in nothing.json()["detail"]
    empty = api.upload([("empty.png", b"")])
    assert (empty.status_code, empty.json()["rejected"][0]["code"]) == (422, "empty-file")
    assert count(api, Batch) == 0


def test_idempotency_key(api: Api) -> None:
    headers = {"Idempotency-Key": "monday-1"}
    files = [("a.png", png(1)), ("b.png", png(2))]
    first = api.upload(files, headers=headers, name="x", template="nist-hsf")
    again = api.upload(files, headers=headers, name="x", template="nist-hsf")
    assert (again.status_code, again.json()["id"]) == (202, first.json()["id"])
    assert [file["id"] for file in again.json()["uploaded"]] == [
        file["id"] for file in first.json()["uploaded"]
    ]
    assert (count(api, Batch), count(api, Document), len(objects(api))) == (1, 2, 2)
    for changed in (
        api.upload(files[:1], headers=headers, name="x", template="nist-hsf"),
        api.upload([*files[:1], ("b.png", png(3))], headers=headers, name="x", template="nist-hsf"),
        api.upload(files, headers=headers, name="y", template="nist-hsf"),
        api.upload(files, headers=headers, name="x"),
    ):
        assert (changed.status_code, changed.json()["code"]) == (409, "idempotency-key-reused")
    assert (count(api, Batch), len(objects(api))) == (1, 2)
    refused = api.upload(files, headers={"Idempotency-Key": "k" * 201})
    assert (refused.status_code, refused.json()["code"]) == (422, "bad-idempotency-key")


@pytest.mark.parametrize("limit", [60, pytest.param(1000, marks=pytest.mark.slow)])
def test_as_many_files_as_the_limit_are_taken_and_more_are_refused_whole(
    settings: Settings, limit: int
) -> None:
    assert settings.max_files_per_request == 1000
    with api_under_test(settings.model_copy(update={"max_files_per_request": limit})) as api:
        taken = raw_upload(api, [b"%d.png" % n for n in range(limit)])
        assert taken.status_code == 202
        assert taken.json()["documents"]["total"] == limit
        refused = raw_upload(api, [b"%d.png" % n for n in range(limit + 1)])
        assert (refused.status_code, refused.json()["code"]) == (413, "too-many-files")
        assert f"more than {limit:,} files" in refused.json()["detail"]
        assert "keep_open=true" in refused.json()["detail"]
        assert (count(api, Batch), count(api, Document), len(objects(api))) == (1, limit, limit)


def test_a_request_too_large(api: Api) -> None:
    response = api.post(
        "/v1/batches",
        content=b"",
        headers=MULTIPART | {"Content-Length": "50000001"},
    )
    assert (response.status_code, response.json()["code"]) == (413, "request-too-large")
    assert "50,000,000 bytes" in response.json()["detail"]


@pytest.mark.parametrize("field", ["file", "upload", "files[]", "scan-1"])
def test_a_file_in_a_field_of_another_name_is_taken(api: Api, field: str) -> None:
    body = b'--B\r\nContent-Disposition: form-data; name="%s"; filename="a.png"\r\n\r\n%s\r\n--B--'
    response = api.post("/v1/batches", content=body % (field.encode(), png(1)), headers=MULTIPART)
    assert [file["filename"] for file in response.json()["uploaded"]] == ["a.png"]


def test_a_name_in_the_encoding_of_old_windows_programs(api: Api) -> None:
    names = ["Überweisung für Müller.png", "Scheck – 12 €.png"]
    batch = raw_upload(api, [names[0].encode("latin-1"), names[1].encode("cp1252")]).json()
    assert [file["filename"] for file in batch["uploaded"]] == names


@pytest.mark.parametrize(
    "name",
    ["../../etc/passwd", "/etc/passwd", r"..\..\boot.ini", "C:\\a\\b.png", ".", "..", "a/../b"],
)
def test_a_path_as_a_name_is_only_a_label(api: Api, name: str) -> None:
    wire = name.replace("\\", "\\\\").encode()
    before = {path for path in api.settings.home.rglob("*") if "objects" not in path.parts}
    batch = raw_upload(api, [wire]).json()
    (document,) = api.items(f"/v1/batches/{batch['id']}/documents")
    assert document["filename"] == name
    after = {path for path in api.settings.home.rglob("*") if "objects" not in path.parts}
    assert {path.name.removesuffix("-wal").removesuffix("-shm") for path in after - before} <= {
        "counterfoil.sqlite3",
        "objects",
    }


def test_a_long_name_is_shortened_in_its_middle(api: Api) -> None:
    batch = raw_upload(api, [b"x" * 3000 + b".png", b"a\0b"]).json()
    first, second = (file["filename"] for file in batch["uploaded"])
    assert len(first) == 1000
    assert first.startswith("xxx")
    assert first.endswith(".png")
    assert second == "a\ufffdb"


@pytest.fixture(params=["bundled", pytest.param("real", marks=pytest.mark.real_data)])
def naughty(request: pytest.FixtureRequest) -> list[str]:
    """Our own list of naughty names, and the Big List of Naughty Strings."""
    if request.param == "bundled":
        return list(NAUGHTY_NAMES)
    folder: Path = request.getfixturevalue("data_dir")
    with tarfile.open(folder / "hostile_inputs.tar.gz") as archive:
        member = archive.extractfile("./blns/blns.json")
        assert member is not None
        strings: list[str] = json.loads(member.read())
    assert len(strings) >= 300
    return strings


# Control characters, line separators, and what turns the order of others around.
UNSEEN = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def test_naughty_strings_come_back_as_they_are(api: Api, naughty: list[str]) -> None:
    # A name on the wire is quoted, so a quote or a line break cannot stand in it as itself.
    names = sorted(
        {s for s in naughty if s and not any(c in s for c in '\r\n"') and "%22" not in s}
    )
    wire = [name.replace("\\", "\\\\").encode() for name in names]
    batch = raw_upload(api, wire)
    assert batch.status_code == 202, batch.text
    listed = [item["filename"] for item in api.items(f"/v1/batches/{batch.json()['id']}/documents")]
    assert listed == [UNSEEN.sub("\ufffd", name) for name in names]
    for text in naughty:
        made = api.post("/v1/batches", json={"name": text[:200]})
        line = unicodedata.normalize("NFC", text[:200].strip())
        if UNSEEN.search(line):
            assert made.status_code == 422
            continue
        assert made.status_code == 202, made.text
        assert made.json()["name"] == line


@pytest.mark.parametrize(
    "body",
    [
        b"nonsense",
        b"--B\r\n",
        b'--B\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\nabc',
        b"--B\r\n\r\nno disposition\r\n--B--\r\n",
        b"x" * 500_000,
        b"--B\r\nX: " + b"y" * 500_000 + b"\r\n\r\nx\r\n--B--",
    ],
    ids=range(6),
)
def test_a_broken_body_keeps_nothing(api: Api, body: bytes) -> None:
    response = api.post("/v1/batches", content=body, headers=MULTIPART)
    assert (response.status_code, response.json()["code"]) == (400, "malformed-upload")
    assert count(api, Batch) == 0
    assert objects(api) == []


def test_other_bodies_are_refused(api: Api) -> None:
    for content_type in ("text/plain", "application/x-www-form-urlencoded", "image/png"):
        response = api.post("/v1/batches", content=b"x=y", headers={"Content-Type": content_type})
        assert (response.status_code, response.json()["code"]) == (415, "unsupported-media-type")
    assert (
        api.post(
            "/v1/batches", content=b"{", headers={"Content-Type": "application/json"}
        ).status_code
        == 422
    )
    for body in ({"name": 5}, {"keep_open": False}, {"release_threshold": "0.5"}, ["x"]):
        assert api.post("/v1/batches", json=body).status_code == 422
    boundless = api.post(
        "/v1/batches", content=b"x", headers={"Content-Type": "multipart/form-data"}
    )
    assert boundless.status_code == 400


def test_too_many_waiting_pages_are_a_429(api: Api) -> None:
    batch = api.upload([(f"{n}.png", png(n)) for n in range(4)], keep_open="true").json()
    documents = api.items(f"/v1/batches/{batch['id']}/documents")
    for document in documents:
        with api.db.transaction() as s:
            claimed = claim_document(s, document["id"], lease_seconds=60, max_attempts=3)
            assert claimed is not None
            open_document(s, document["id"], claimed.attempt, [NewPage(1, "", None, "image/png")])
    for path in ("/v1/batches", f"/v1/batches/{batch['id']}/documents"):
        refused = api.upload([("x.png", png(9))], path)
        assert (refused.status_code, refused.json()["code"]) == (429, "too-many-pages-waiting")
        assert int(refused.headers["Retry-After"]) > 0
    # Another tenant is not held up by it.
    other = api.post("/v1/batches", json={}, key=api.other_key)
    assert other.status_code == 202


def test_files_for_a_batch_that_is_deleted_while_they_come(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"/v1/batches/{api.post('/v1/batches', json={}).json()['id']}"
    put = DirectoryStore.put

    def deleted_meanwhile(*args: Any, **values: Any) -> Any:
        stored = put(*args, **values)
        assert api.call("DELETE", path).status_code == 204
        with api.db.transaction() as s:
            delete_outbox(s, [message.id for message in take_outbox(s, 10)])
        return stored

    monkeypatch.setattr(DirectoryStore, "put", deleted_meanwhile)
    assert api.upload([("a.png", png(1))], f"{path}/documents").status_code == 404
    with api.db.reading() as s:
        (message,) = take_outbox(s, 10)
    assert (message.kind, message.payload) == ("delete_objects", {"namespace": path[-32:]})
