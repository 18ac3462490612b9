"""The client of the HTTP API: it uploads in groups, retries temporary failures, follows a batch.

Every request can be repeated safely: a batch is created under an idempotency key, and the same
bytes uploaded twice into a batch are one document.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import httpx

from cli.arguments import TemplateChoice, Upload
from core.errors import (
    ConfigError,
    ConflictError,
    CounterfoilError,
    InputError,
    NotFoundError,
    TransientError,
)
from core.settings import Settings

Json = dict[str, Any]

GROUP_FILES = 50
GROUP_BYTES = 32 << 20
LIST_ITEMS = 500
RETRIES = 6
RETRY_STATUSES = frozenset({429, 502, 503, 504})
LONGEST_PAUSE = 30.0  # seconds, even if a server asks for more
READ_STATES = frozenset({"reviewing", "complete", "complete_with_errors", "cancelled"})
"""States of a batch in which no page waits to be read."""


def api_key(settings: Settings) -> str:
    """Return the API key: the setting, or the one that `counterfoil up` wrote into `home`.

    Raises ConfigError if there is neither.
    """
    if settings.api_key is not None:
        return settings.api_key.get_secret_value()
    path = settings.home / "api-key"
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        raise ConfigError(
            f"There is no API key: COUNTERFOIL_API_KEY is not set, and {path} does not exist.",
            hint="Start `counterfoil up` once on this computer, or have a key made "
            "(`counterfoil keys create` on the server).",
            code="no-api-key",
        ) from None
    except OSError as exc:
        raise ConfigError(
            f"The API key in {path} cannot be read ({exc.strerror}).", code="no-api-key"
        ) from exc


class Client:
    """Connections to one API. Use it as a context manager."""

    def __init__(
        self,
        url: str,
        key: str,
        *,
        transport: httpx.BaseTransport | None = None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._url = url.rstrip("/")
        self._pause = pause
        self._answered = (
            False  # a server that never answered has the wrong address; it is not restarting
        )
        self._http = httpx.Client(
            base_url=self._url,
            headers={"Authorization": f"Bearer {key}", "Accept": "application/json"},
            timeout=httpx.Timeout(60.0, connect=5.0),
            transport=transport,
            follow_redirects=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._http.close()

    def create_batch(
        self,
        *,
        name: str = "",
        templates: TemplateChoice | None = None,
        release_threshold: float | Literal["policy"] | None = None,
        counted: Json | None = None,
    ) -> Json:
        """Create a batch that stays open for more files, and return it.

        `counted` is what it should come to, by the names of the API.
        """
        body: Json = {"name": name, "keep_open": True} | (counted or {})
        if templates is not None and templates.names:
            body["template"] = _one_or_all(templates.names)
        if templates is not None and templates.texts:
            body["template_text"] = _one_or_all(templates.texts)
        if release_threshold is not None:
            body["release_threshold"] = release_threshold
        key = {"Idempotency-Key": uuid.uuid4().hex}
        return self._json("POST", "/v1/batches", json=body, headers=key)

    def add_files(
        self,
        batch_id: str,
        uploads: Sequence[Upload],
        *,
        templates: TemplateChoice | None = None,
        sent: Callable[[int, int], None] = lambda files, size: None,
    ) -> list[Json]:
        """Upload files in groups and return those that the server rejected.

        After each group, `sent` is called with its number of files and of bytes. Raises InputError
        for a file that has vanished or cannot be opened.
        """
        rejected: list[Json] = []
        for group in group_uploads(uploads):
            answer = self._upload(f"/v1/batches/{batch_id}/documents", group, templates)
            rejected += answer.get("rejected", [])
            sent(len(group), sum(upload.size for upload in group))
        return rejected

    def _upload(self, path: str, group: Sequence[Upload], templates: TemplateChoice | None) -> Json:
        templates = templates or TemplateChoice()
        data = {"template": list(templates.names)}

        def send() -> httpx.Response:
            # Each attempt opens the files again: a stream that was cut is half read.
            with ExitStack() as stack:
                files: list[tuple[str, tuple[str, Any]]] = [
                    ("files", (upload.name, stack.enter_context(_open(upload.path))))
                    for upload in group
                ]
                files += [("template_file", ("template.yaml", text)) for text in templates.texts]
                return self._http.post(path, files=files, data=data)

        return _as_json(self._attempt(send, may_refuse=True))

    def cancel_batch(self, batch_id: str) -> Json:
        """Stop reading a batch; readings that exist stay."""
        return self._json("POST", f"/v1/batches/{batch_id}/cancel")

    def retry_batch(self, batch_id: str) -> Json:
        """Try failed pages and files again; return the batch, with counts in `retried`."""
        return self._json("POST", f"/v1/batches/{batch_id}/retry")

    def close_batch(self, batch_id: str) -> Json:
        """Declare that no more files will come, and return the batch."""
        return self._json("POST", f"/v1/batches/{batch_id}/close")

    def batch(self, batch_id: str) -> Json:
        """Return a batch with its counts. Raises NotFoundError."""
        return self._json("GET", f"/v1/batches/{batch_id}")

    def follow(self, batch_id: str, *, every: float = 0.5) -> Iterator[Json]:
        """Yield the batch repeatedly, the last time when no page waits to be read."""
        while True:
            batch = self.batch(batch_id)
            yield batch
            if batch["state"] in READ_STATES:
                return
            self._pause(every)

    def documents(self, batch_id: str) -> Iterator[Json]:
        """Yield every document of a batch, in the order of upload."""
        return self._items(f"/v1/batches/{batch_id}/documents")

    def pages(self, batch_id: str) -> Iterator[Json]:
        """Yield every page of a batch with its fields, in the order of documents and pages."""
        return self._items(f"/v1/batches/{batch_id}/pages")

    def _items(self, path: str) -> Iterator[Json]:
        after: str | None = None
        while True:
            params: Json = {"limit": LIST_ITEMS} | ({"after": after} if after else {})
            answer = self._json("GET", path, params=params)
            yield from answer["items"]
            after = answer.get("next")
            if not after:
                return

    def verify(self, field_id: str, decision: Json, *, version: int | None = None) -> Json:
        """Record a person's decision about a field, and return the field.

        Raises ConflictError if the field does not have `version`, or if a person decided about it
        and no version is stated. Raises InputError for a value that the field does not take.
        """
        headers = {} if version is None else {"If-Match": f'"{version}"'}
        path = f"/v1/fields/{field_id}/verify"
        return self._json("POST", path, json=decision, headers=headers)

    @contextmanager
    def export(self, batch_id: str, export_format: str) -> Iterator[Iterator[bytes]]:
        """Stream an export ("csv", "jsonl" or "xlsx") as chunks of bytes."""
        request = self._http.build_request(
            "GET", f"/v1/batches/{batch_id}/export", params={"format": export_format}
        )
        response = self._attempt(lambda: self._http.send(request, stream=True))
        try:
            yield self._chunks(response)
        finally:
            response.close()

    def _chunks(self, response: httpx.Response) -> Iterator[bytes]:
        try:
            yield from response.iter_bytes()
        except httpx.TransportError as exc:
            raise TransientError(
                "The connection ended before the export was complete.", hint="Try again."
            ) from exc

    def export_to(self, batch_id: str, target: str, table: str) -> Json:
        """Write a batch into a table of the database that the server's settings call `target`."""
        body = {"target": target, "table": table}
        return self._json("POST", f"/v1/batches/{batch_id}/exports", json=body)

    def _json(self, method: str, path: str, **options: Any) -> Json:
        return _as_json(self._attempt(lambda: self._http.request(method, path, **options)))

    def _attempt(
        self, send: Callable[[], httpx.Response], *, may_refuse: bool = False
    ) -> httpx.Response:
        """Send, and retry temporary failures; return the answer or raise the error that it states.

        With `may_refuse`, a refusal that lists the refused files is returned like a success.
        """
        for attempt in range(RETRIES + 1):
            last = attempt == RETRIES
            try:
                response = send()
            except httpx.ConnectError as exc:
                if self._answered and not last:
                    self._pause(_backoff(attempt))
                    continue
                raise TransientError(
                    f"No Counterfoil server answers at {self._url}.",
                    hint="Start it with `counterfoil up`, or name it with --url.",
                    code="no-server",
                ) from exc
            except httpx.UnsupportedProtocol as exc:
                raise ConfigError(
                    f"{self._url} is not the URL of an API.", hint="It looks like http://host:8321."
                ) from exc
            except httpx.TransportError as exc:
                if last:
                    raise TransientError(f"The connection to {self._url} failed: {exc}.") from exc
                self._pause(_backoff(attempt))
                continue
            self._answered = True
            if may_refuse and response.status_code == 422 and _as_json(response).get("rejected"):
                return response
            if response.status_code not in RETRY_STATUSES or last:
                _raise_for(response)
                return response
            response.close()
            self._pause(_retry_after(response, attempt))
        raise AssertionError("the last attempt returns or raises")


def group_uploads(uploads: Sequence[Upload]) -> Iterator[list[Upload]]:
    """Yield uploads in groups of at most GROUP_FILES files and GROUP_BYTES bytes.

    A file larger than GROUP_BYTES is a group by itself.
    """
    group: list[Upload] = []
    size = 0
    for upload in uploads:
        if group and (len(group) == GROUP_FILES or size + upload.size > GROUP_BYTES):
            yield group
            group, size = [], 0
        group.append(upload)
        size += upload.size
    if group:
        yield group


def nothing_missing(batch: Json) -> bool:
    """Return whether every page of every file was read, and nothing cancelled or passed over.

    A page that its template says to ignore need not be read.
    """
    documents, pages = batch["documents"], batch["pages"]
    return bool(
        batch["state"] in READ_STATES - {"cancelled"}
        and documents["failed"] == 0
        and pages["read"] + pages.get("passed_over", 0) == pages["total"]
        and batch["passed_over"] == 0
    )


def _one_or_all(values: Sequence[str]) -> str | list[str]:
    return values[0] if len(values) == 1 else list(values)


def _open(path: Path) -> AbstractContextManager[Any]:
    try:
        return path.open("rb")
    except OSError as exc:
        raise InputError(f"{path} cannot be opened ({exc.strerror}).") from exc


def _backoff(attempt: int) -> float:
    return float(min(0.25 * 2**attempt, LONGEST_PAUSE))


def _retry_after(response: httpx.Response, attempt: int) -> float:
    asked = response.headers.get("Retry-After", "")
    return min(float(asked), LONGEST_PAUSE) if asked.isdigit() else _backoff(attempt)


def _as_json(response: httpx.Response) -> Json:
    if not response.content:
        return {}
    try:
        body = response.json()
    except ValueError as exc:
        raise ConfigError(
            f"{response.request.url.host} does not answer like Counterfoil.",
            hint="Check that --url is the address of its API.",
            code="not-counterfoil",
        ) from exc
    return body if isinstance(body, dict) else {"items": body}


_ERRORS: dict[int, type[CounterfoilError]] = {
    401: ConfigError,
    403: ConfigError,
    404: NotFoundError,
    409: ConflictError,
    412: ConflictError,
    428: ConflictError,
}


def _raise_for(response: httpx.Response) -> None:
    """Raise the error that an answer stands for, with the server's message."""
    if response.is_success:
        return
    response.read()
    problem: Json = {}
    if "json" in response.headers.get("Content-Type", ""):
        problem = _as_json(response)
    response.close()
    status = response.status_code
    said = problem.get("detail") or problem.get("title") or f"The server answered {status}."
    if status in _ERRORS:
        kind = _ERRORS[status]
    elif status in RETRY_STATUSES or status >= 500:
        kind = TransientError
    else:
        kind = InputError
    hint = "Set COUNTERFOIL_API_KEY to a valid key." if status in (401, 403) else ""
    raise kind(str(said), hint=hint)
