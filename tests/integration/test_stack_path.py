"""The whole path from upload to export, embedded and on servers."""

from __future__ import annotations

import csv
import io
import json
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from cli.local.stack import Stack
from core.settings import Settings
from storage.base import ObjectMissingError
from storage.open import open_store
from tests.http_client import HttpClient
from tests.samples import NIST_FORM, DigitPages, written, zipped
from tests.servers import PostgresServer, S3Server, ValkeyServer
from tests.stacks import QUICK, running
from tests.waiting import eventually


@pytest.fixture(scope="module")
def digits(digits_dir: Path) -> DigitPages:
    return DigitPages(digits_dir)


@pytest.fixture(scope="module", params=["embedded", "servers"])
def stack(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Stack, HttpClient]]:
    """A running stack, embedded and on servers, with two processes that read pages."""
    if request.param == "embedded":
        yield request.getfixturevalue("embedded_stack")
        return
    home = tmp_path_factory.mktemp("servers") / "home"
    settings = Settings(home=home, port=0, workers=2, **QUICK)
    postgres: PostgresServer = request.getfixturevalue("postgres_server")
    s3: S3Server = request.getfixturevalue("s3_server")
    valkey: ValkeyServer = request.getfixturevalue("valkey_server")
    database = f"stack_{secrets.token_hex(6)}"
    postgres.execute(f"CREATE DATABASE {database}")
    valkey.flush()
    servers = {
        "redis_url": valkey.url,
        "database_url": postgres.url(database),
        "s3_endpoint": s3.endpoint,
        "s3_bucket": s3.make_bucket(),
        "s3_access_key": s3.access_key,
        "s3_secret_key": SecretStr(s3.secret_key),
    }
    with running(settings.model_copy(update=servers)) as started:
        names = {path.name for path in home.iterdir()}
        assert names == {"up.lock", "api-key", "logs", "tmp"}, "nothing embedded beside the servers"
        yield started


def test_files_of_every_kind_become_numbers_and_an_export(
    stack: tuple[Stack, HttpClient], digits: DigitPages
) -> None:
    _, client = stack
    singles = {f"amount-{text}.png": text for text in ("253", "9916847512", "70481", "36925")}
    files = {name: digits.png(text) for name, text in singles.items()}
    files["scan.jpg"] = digits.jpeg("48213")
    files["many.tif"] = digits.tiff(["1024", "2048", "4096"])
    files["letter.pdf"] = digits.pdf(["11235", "81321"])
    files["box.zip"] = zipped(
        {
            "front/a.jpg": digits.jpeg("314159"),
            "b.png": digits.png("271828"),
            "c.png": files["scan.jpg"][:900],  # cut off, and a JPEG by content
        }
    )
    files["torn.jpg"] = digits.jpeg("5550123")[:1500]
    files["notes.txt"] = b"Dear clerk, these are no scans."
    batch_id = client.submit(files, name="Monday", release_threshold="0.5")
    batch = client.wait(batch_id)

    pages = client.pages(batch_id)
    read = [page for page in pages if page["state"] == "read"]
    assert len(read) == 4 + 1 + 3 + 2 + 2
    # Readings of low confidence wait for a person; without any, the batch is complete with errors.
    assert batch["state"] in {"reviewing", "complete_with_errors"}
    assert batch["percent"] == 100
    assert batch["pages"]["read"] == len(read)
    for page in pages:
        if page["state"] != "read":
            assert page["state"] == "failed", page
            assert page["error"]["message"].endswith("."), "a sentence for the clerk"
    documents = {
        item["filename"]: item for item in client.items(f"/v1/batches/{batch_id}/documents")
    }
    assert documents["notes.txt"]["state"] == "failed"

    # In the order of the document, which need not be the order in which workers read.
    def values(name: str) -> list[str]:
        return [
            page["fields"][0]["value"]
            for page in sorted(pages, key=lambda page: page["page"])
            if page["file"] == name and page["state"] == "read"
        ]

    truth = {name: [text] for name, text in singles.items()} | {
        "scan.jpg": ["48213"],
        "many.tif": ["1024", "2048", "4096"],
        "letter.pdf": ["11235", "81321"],
        "box.zip": ["314159", "271828"],
    }
    right = sum(
        got == wanted
        for name, texts in truth.items()
        for got, wanted in zip(values(name), texts, strict=True)
    )
    assert right >= 10, {
        name: values(name) for name in truth
    }  # of 12; accuracy is measured elsewhere

    export = client.http.get(f"/v1/batches/{batch_id}/export", params={"format": "csv"})
    rows = list(csv.DictReader(io.StringIO(export.text)))
    exported = [row["value"] for row in rows if row["file"] == "many.tif"]
    assert exported == values("many.tif")
    assert {"torn.jpg", "notes.txt"} <= {row["file"] for row in rows}, "what failed is said too"
    lines = client.http.get(f"/v1/batches/{batch_id}/export", params={"format": "jsonl"}).text
    assert len([json.loads(line) for line in lines.splitlines()]) >= len(read)


def test_one_batch_may_hold_a_template(stack: tuple[Stack, HttpClient]) -> None:
    _, client = stack
    batch_id = client.submit({"form.png": NIST_FORM.read_bytes()}, template="nist-hsf")
    client.wait(batch_id)
    (page,) = client.pages(batch_id)
    assert page["state"] == "read", page["error"]
    assert page["template"] == "nist-hsf"
    truth = written(NIST_FORM.name)
    assert [field["name"] for field in page["fields"]] == list(truth)
    right = [field["value"] == truth[field["name"]] for field in page["fields"]]
    assert sum(right) >= 26  # of 28; accuracy is measured elsewhere


def test_deleting_a_batch_deletes_its_objects(
    stack: tuple[Stack, HttpClient], digits: DigitPages
) -> None:
    running_stack, client = stack
    batch_id = client.submit({"many.tif": digits.tiff(["12", "34"])})
    client.wait(batch_id)
    store = open_store(running_stack.settings)
    document = client.items(f"/v1/batches/{batch_id}/documents")[0]
    key = f"{batch_id}/{document['sha256']}"
    assert store.size(key) > 0
    assert client.http.delete(f"/v1/batches/{batch_id}").status_code == 204

    def gone() -> bool:
        try:
            store.size(key)
        except ObjectMissingError:
            return True
        return False

    eventually("the objects are gone", gone)
