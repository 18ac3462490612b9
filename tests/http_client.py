"""The HTTP client of all tests, for real servers and for an application in this process."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import httpx
from flask import Flask

from tests.waiting import eventually

ENDED = {"reviewing", "complete", "complete_with_errors", "cancelled"}
ITEMS_AT_ONCE = 200

FilePart = tuple[str, bytes]
"""Name and content of a file."""


class FlaskTransport(httpx.BaseTransport):
    """Hands requests to a Flask application in this process, byte for byte."""

    def __init__(self, app: Flask) -> None:
        self._app = app

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        body = request.read()
        headers = [(name.decode(), value.decode("latin-1")) for name, value in request.headers.raw]
        said = request.headers.get("Content-Length", str(len(body)))
        with self._app.test_client(use_cookies=False).open(
            request.url.raw_path.decode(),
            method=request.method,
            headers=headers,
            data=body,
            environ_overrides={"CONTENT_LENGTH": said},
        ) as answer:
            content = answer.data
        return httpx.Response(answer.status_code, headers=[*answer.headers], content=content)


class HttpClient:
    """Sends requests with an API key, and does what many tests need."""

    def __init__(self, url: str, key: str, transport: httpx.BaseTransport | None = None) -> None:
        self.http = httpx.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {key}"},
            transport=transport,
            timeout=60,
            trust_env=False,
        )

    def call(
        self,
        method: str,
        path: str,
        *,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
        **content: Any,
    ) -> httpx.Response:
        """Send one request. `key` replaces the key of the client; "" sends none."""
        sent = {name: value.encode() for name, value in (headers or {}).items()}
        if key:
            sent["Authorization"] = f"Bearer {key}".encode()
        request = self.http.build_request(method, path, headers=sent, **content)  # type: ignore[arg-type]
        if key == "" and "Authorization" not in sent:
            del request.headers["Authorization"]
        return self.http.send(request)

    def get(self, path: str, **more: Any) -> httpx.Response:
        return self.call("GET", path, **more)

    def post(self, path: str, **more: Any) -> httpx.Response:
        return self.call("POST", path, **more)

    def delete(self, path: str, **more: Any) -> httpx.Response:
        return self.call("DELETE", path, **more)

    def upload(
        self,
        files: Iterable[FilePart],
        path: str = "/v1/batches",
        *,
        headers: Mapping[str, str] | None = None,
        **form: str | FilePart,
    ) -> httpx.Response:
        """Post `files` and the fields of the form, each a text or a file, as multipart."""
        parts: list[Any] = [("files", part) for part in files]
        for name, value in form.items():
            parts.append((name, value if isinstance(value, tuple) else (None, value)))
        return self.post(path, files=parts, headers=headers)

    def submit(self, files: Mapping[str, bytes], **form: Any) -> str:
        """Upload files as one closed batch and return its id."""
        response = self.upload(files.items(), **form)
        assert response.status_code == 202, response.text
        return str(response.json()["id"])

    def batch(self, batch_id: str) -> dict[str, Any]:
        response = self.get(f"/v1/batches/{batch_id}")
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer

    def wait(self, batch_id: str) -> dict[str, Any]:
        """Return the batch once all its pages have ended."""

        def ended() -> dict[str, Any] | None:
            batch = self.batch(batch_id)
            return batch if batch["state"] in ENDED else None

        batch = eventually(f"batch {batch_id} ends", ended)
        assert batch is not None
        return batch

    def items(self, path: str) -> list[dict[str, Any]]:
        """Return all items of a list, page by page."""
        found: list[dict[str, Any]] = []
        params: dict[str, Any] = {"limit": ITEMS_AT_ONCE}
        while True:
            answer = self.get(path, params=params)
            assert answer.status_code == 200, answer.text
            found += answer.json()["items"]
            if not answer.json()["next"]:
                return found
            params["after"] = answer.json()["next"]

    def pages(self, batch_id: str) -> list[dict[str, Any]]:
        return self.items(f"/v1/batches/{batch_id}/pages")

    def close(self) -> None:
        self.http.close()
