"""The API as it runs: gunicorn with threads, real sockets, large and broken uploads."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from core.settings import Settings
from tests.api_under_test import png
from tests.running_api import Running, running_api
from tests.waiting import eventually

LARGE = 100 << 20
# The most that streaming may add to the memory of the process: buffers, not the file.
MAY_GROW = 24 << 20


@pytest.fixture(scope="module")
def started(migrated_sqlite: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    home = tmp_path_factory.mktemp("server")
    database = shutil.copyfile(migrated_sqlite, home / "counterfoil.sqlite3")
    settings = Settings(home=home, database_url=f"sqlite:///{database}", max_file_bytes=LARGE)
    with running_api(settings) as running:
        yield running


@pytest.fixture
def server(started: Running) -> Running:
    """The API with a key of a new tenant, who has no batches; the store is empty."""
    return started.with_new_tenant()


def test_a_large_upload_streams(server: Running) -> None:
    """100 MiB pass through without the memory growing by as much; one byte more is refused."""
    with closing(server.client()) as client:
        first = client.post("/v1/batches", files=[("files", ("a.png", png(1)))])
        assert first.status_code == 202
        server.forget_peak()
        before = server.peak()
        sent = hashlib.sha256()
        body = _multipart(LARGE, sent.update)
        answer = client.post("/v1/batches", content=body, headers=_MULTIPART)
        assert answer.status_code == 202, answer.text
        (uploaded,) = answer.json()["uploaded"]
        assert (uploaded["size"], uploaded["sha256"]) == (LARGE, sent.hexdigest())
        assert server.peak() - before < MAY_GROW
        with server.api.store.open(f"{answer.json()['id']}/{uploaded['sha256']}") as stream:
            stored = hashlib.file_digest(stream, "sha256").hexdigest()  # type: ignore[arg-type]
        assert stored == uploaded["sha256"]
        body = _multipart(LARGE + 1, hashlib.sha256().update)
        refused = client.post("/v1/batches", content=body, headers=_MULTIPART)
        assert (refused.status_code, refused.json()["code"]) == (422, "no-usable-file")
        assert refused.json()["rejected"][0]["code"] == "file-too-large"
        assert server.peak() - before < MAY_GROW


def test_a_refused_upload_gets_its_answer(server: Running) -> None:
    """The answer reaches a client that sends its whole request before it reads."""
    body = [("files", (f"{n}.png", bytes(100_000))) for n in range(100)]
    with closing(server.client()) as client:
        refused = client.post("/v1/batches", files=body, headers={"Authorization": "Bearer no"})
        assert (refused.status_code, refused.json()["code"]) == (401, "key-refused")
        assert refused.headers["WWW-Authenticate"].startswith("Bearer")
        missing = client.post(f"/v1/batches/{'0' * 32}/documents", files=body)
        assert missing.status_code == 404
        wrong = client.post("/v1/batches", data={"template": "no-such"}, files=body)
        assert wrong.status_code == 422
        assert client.get("/v1/batches").json()["items"] == []


def test_a_client_that_goes_away_leaves_nothing(server: Running) -> None:
    host, _, port = server.url.removeprefix("http://").partition(":")
    head = (
        f"POST /v1/batches HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {server.api.key}\r\n"
        "Content-Type: multipart/form-data; boundary=B\r\nContent-Length: 50000000\r\n\r\n"
        '--B\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'
    )
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(head.encode() + bytes(10_000_000))
    with closing(server.client()) as client:
        eventually("nothing is left of it", lambda: _files(server) == [])
        assert client.get("/v1/batches").json()["items"] == []
        assert client.get("/readyz").status_code == 200


@pytest.mark.parametrize("side", [100, 1000])
def test_a_damaged_image_is_no_image(server: Running, side: int) -> None:
    """A small one is refused; of a large one the end is missing, which every client notices."""
    data = png(1, width=side, height=side)
    with closing(server.client()) as client:
        batch = client.post("/v1/batches", files=[("files", ("a.png", data))]).json()
        server.api.read(batch)
        (page,) = client.get(batch["links"]["pages"]).json()["items"]
        image = f"/v1/pages/{page['id']}/image"
        assert client.get(image).content == data
        (stored,) = _files(server)
        stored.write_bytes(data[:-1] + b"x")
        if side == 100:
            refused = client.get(image)
            assert (refused.status_code, refused.json()["code"]) == (500, "object-corrupted")
            assert stored.name in refused.json()["detail"]
        else:
            with pytest.raises(httpx.RemoteProtocolError, match="without sending complete"):
                client.get(image)
        assert client.get(f"{image}?width=50").status_code == 500
        for field in page["fields"]:
            assert client.get(f"/v1/fields/{field['id']}/crop").status_code == 500
    assert f"{batch['id']}/{stored.name} is damaged" in server.log.read_text()


def test_progress_is_live(server: Running) -> None:
    """An open stream tells what happens, when it happens, and ends with the batch."""
    with closing(server.client()) as client:
        batch = client.post("/v1/batches", files=[("files", ("a.png", png(1)))]).json()
        with client.http.stream("GET", batch["links"]["events"]) as stream:
            lines = stream.iter_lines()
            for line in lines:
                if line == "event: progress":
                    break
            worker = threading.Thread(target=server.api.read, args=[batch])
            worker.start()
            kinds = [line.removeprefix("event: ") for line in lines if line.startswith("event: ")]
            worker.join()
    assert "page.read" in kinds
    assert kinds[-1] == "end"


def test_people_who_decide_at_once_do_not_overwrite_each_other(server: Running) -> None:
    """Of eight decisions about one field that arrive together, one is recorded, with its number."""
    batch = server.api.upload([("a.png", png(1))]).json()
    server.api.read(batch, fields=10)
    people, together = 8, threading.Barrier(8)
    with closing(server.client()) as reader, ExitStack() as stack:
        fields = reader.items(batch["links"]["fields"])
        clients = [stack.enter_context(closing(server.client())) for _ in range(people)]

        def decide(person: int, field: dict[str, Any], stated: bool) -> int:
            headers = {"If-Match": f'"{field["version"]}"'} if stated else {}
            said = {"value": str(person), "note": f"person {person}"}
            together.wait()
            return (
                clients[person]
                .post(field["links"]["verify"], json=said, headers=headers)
                .status_code
            )

        with ThreadPoolExecutor(people) as pool:
            for number, field in enumerate(fields):
                stated = number % 2 == 0
                answers = list(pool.map(decide, range(people), [field] * people, [stated] * people))
                assert sorted(answers) == [200] + [412 if stated else 428] * (people - 1)
                now = reader.get(f"/v1/fields/{field['id']}").json()
                assert now["value"] == str(answers.index(200))
                assert now["note"] == f"person {now['value']}"
                assert now["version"] == 2


_MULTIPART = {"Content-Type": "multipart/form-data; boundary=B"}


def _multipart(size: int, sent: Callable[[bytes], None]) -> Iterator[bytes]:
    """Yield a body with one file of `size` bytes, and update the hash `sent` with the file."""
    yield b'--B\r\nContent-Disposition: form-data; name="files"; filename="large.tif"\r\n\r\n'
    block = os.urandom(1 << 20)
    while size > 0:
        part = block[:size]
        sent(part)
        yield part
        size -= len(part)
    yield b"\r\n--B--\r\n"


def _files(server: Running) -> list[Path]:
    folder = server.api.settings.home / "objects"
    return [path for path in folder.rglob("*") if path.is_file()]
