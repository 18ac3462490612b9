"""The API client's manners: groups, retries, errors. The server here is a function."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from cli.arguments import TemplateChoice, Upload
from cli.client import (
    GROUP_BYTES,
    GROUP_FILES,
    RETRIES,
    Client,
    api_key,
    group_uploads,
    nothing_missing,
)
from core.errors import (
    ConfigError,
    ConflictError,
    CounterfoilError,
    InputError,
    NotFoundError,
    TransientError,
)
from core.settings import Settings

Answer = Callable[[httpx.Request], httpx.Response]


class Server:
    """Answers in turn, the last answer again and again, and remembers what it was asked."""

    def __init__(self, *answers: Answer | httpx.Response) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []
        self.pauses: list[float] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return answer if isinstance(answer, httpx.Response) else answer(request)

    def client(self) -> Client:
        return Client(
            "http://api.example/",
            "cf_a_b",
            transport=httpx.MockTransport(self),
            pause=self.pauses.append,
        )


def problem(status: int, detail: str) -> httpx.Response:
    body = json.dumps({"type": "/problems/x", "title": "X", "status": status, "detail": detail})
    return httpx.Response(
        status, content=body, headers={"Content-Type": "application/problem+json"}
    )


def test_a_busy_server_is_asked_again_when_it_says() -> None:
    server = Server(
        httpx.Response(429, headers={"Retry-After": "7"}),
        httpx.Response(503),
        httpx.Response(200, json={"id": "b"}),
    )
    with server.client() as client:
        assert client.batch("b") == {"id": "b"}
    assert server.pauses == [7.0, 0.5]


def test_a_server_may_not_ask_for_an_hour() -> None:
    server = Server(httpx.Response(429, headers={"Retry-After": "3600"}), httpx.Response(200))
    with server.client() as client:
        client.batch("b")
    assert server.pauses == [30.0]


def test_patience_ends() -> None:
    server = Server(problem(503, "The store is full."))
    with server.client() as client, pytest.raises(TransientError, match="The store is full"):
        client.batch("b")
    assert len(server.requests) == RETRIES + 1
    assert len(server.pauses) == RETRIES


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InputError),
        (401, ConfigError),
        (404, NotFoundError),
        (409, ConflictError),
        (412, ConflictError),
        (428, ConflictError),
        (413, InputError),
        (422, InputError),
        (500, TransientError),
    ],
)
def test_an_error_comes_in_the_servers_words(status: int, kind: type[CounterfoilError]) -> None:
    server = Server(problem(status, "It is so."))
    with server.client() as client, pytest.raises(kind, match="It is so"):
        client.batch("b")
    assert len(server.requests) == 1


def test_no_server_is_said_at_once_with_what_to_do() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    server = Server(refuse)
    with server.client() as client, pytest.raises(TransientError, match="counterfoil up"):
        client.batch("b")
    assert server.pauses == []


def test_a_server_that_restarts_is_waited_for() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    server = Server(httpx.Response(200, json={"id": "b"}), refuse, refuse, httpx.Response(200))
    with server.client() as client:
        client.batch("b")
        client.batch("b")
    assert len(server.pauses) == 2


def test_another_kind_of_server_is_told_apart() -> None:
    server = Server(httpx.Response(200, text="<html>hello</html>"))
    with server.client() as client, pytest.raises(ConfigError, match="like Counterfoil"):
        client.batch("b")


def test_a_batch_that_is_created_twice_by_a_retry_is_one() -> None:
    server = Server(httpx.Response(503), httpx.Response(202, json={"id": "b"}))
    with server.client() as client:
        client.create_batch(name="n", templates=TemplateChoice(names=("nist-hsf",)))
    first, second = server.requests
    assert first.headers["Idempotency-Key"] == second.headers["Idempotency-Key"]
    assert json.loads(second.content) == {"name": "n", "keep_open": True, "template": "nist-hsf"}
    assert first.headers["Authorization"] == "Bearer cf_a_b"


def test_an_upload_that_was_cut_is_sent_whole_again(tmp_path: Path) -> None:
    def cut(request: httpx.Request) -> httpx.Response:
        raise httpx.WriteError("broken pipe", request=request)

    stored = httpx.Response(
        202, json={"documents": [], "rejected": [{"filename": "b", "message": "empty"}]}
    )
    server = Server(cut, stored)
    uploads = []
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(name.encode() * 1000)
        uploads.append(Upload(tmp_path / name, name, 1000))
    told: list[tuple[int, int]] = []
    with server.client() as client:
        rejected = client.add_files(
            "b",
            uploads,
            templates=TemplateChoice(texts=("name: x", "name: y")),
            sent=lambda files, size: told.append((files, size)),
        )
    assert [item["filename"] for item in rejected] == ["b"]
    assert told == [(2, 2000)]
    for request in server.requests:
        assert b"a" * 1000 in request.content
        assert b"b" * 1000 in request.content
        assert request.content.count(b'name="template_file"') == 2


def test_a_file_that_vanished_is_an_input_error(tmp_path: Path) -> None:
    server = Server(httpx.Response(202, json={}))
    with server.client() as client, pytest.raises(InputError, match="gone"):
        client.add_files("b", [Upload(tmp_path / "gone.png", "gone.png", 10)])


@pytest.mark.parametrize("sizes", [[], [1], [GROUP_BYTES * 2], [1] * (GROUP_FILES * 2 + 1)])
def test_groups_lose_nothing_and_keep_the_limits(sizes: list[int]) -> None:
    uploads = [Upload(Path(str(i)), str(i), size) for i, size in enumerate(sizes)]
    groups = list(group_uploads(uploads))
    assert [upload for group in groups for upload in group] == uploads
    assert all(len(group) <= GROUP_FILES for group in groups)


def test_a_large_file_travels_alone() -> None:
    sizes = [10, GROUP_BYTES + 1, 10, 10]
    uploads = [Upload(Path(str(i)), str(i), size) for i, size in enumerate(sizes)]
    assert [len(group) for group in group_uploads(uploads)] == [1, 1, 2]


def test_lists_are_read_to_their_end() -> None:
    server = Server(
        httpx.Response(200, json={"items": [{"id": "1"}, {"id": "2"}], "next": "2"}),
        httpx.Response(200, json={"items": [{"id": "3"}], "next": None}),
    )
    with server.client() as client:
        assert [page["id"] for page in client.pages("b")] == ["1", "2", "3"]
    assert server.requests[1].url.params["after"] == "2"


def test_a_batch_is_followed_until_all_is_read() -> None:
    server = Server(
        *(
            httpx.Response(200, json={"state": state})
            for state in ("receiving", "processing", "reviewing")
        )
    )
    with server.client() as client:
        assert [batch["state"] for batch in client.follow("b", every=0.1)][-1] == "reviewing"
    assert server.pauses == [0.1, 0.1]


def test_nothing_missing_means_every_page() -> None:
    def batch(state: str = "reviewing", *, failed: int = 0, read: int = 3, beside: int = 0) -> Any:
        return {
            "state": state,
            "documents": {"failed": failed},
            "pages": {"read": read, "total": 3},
            "passed_over": beside,
        }

    assert nothing_missing(batch())
    assert nothing_missing(batch("complete"))
    assert not nothing_missing(batch("processing"))
    assert not nothing_missing(batch("cancelled"))
    assert not nothing_missing(batch(failed=1))
    assert not nothing_missing(batch("complete_with_errors", read=2))
    assert not nothing_missing(batch("complete", beside=1))


def test_the_key_comes_from_the_setting_or_the_local_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="counterfoil up"):
        api_key(Settings(home=tmp_path))
    (tmp_path / "api-key").write_text("cf_local_x\n")
    assert api_key(Settings(home=tmp_path)) == "cf_local_x"
    assert api_key(Settings(home=tmp_path, api_key="cf_set_x")) == "cf_set_x"
