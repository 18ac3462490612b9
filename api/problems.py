"""Every error as a problem detail (RFC 9457): a sentence that says what to do, no internals."""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from flask import Flask, Response, g, json, request
from pydantic import ValidationError
from werkzeug.exceptions import HTTPException, MethodNotAllowed, RequestEntityTooLarge

from core.errors import (
    ConfigError,
    ConflictError,
    CounterfoilError,
    InputError,
    NotFoundError,
    TransientError,
)
from core.ids import new_id
from core.log import get_logger
from storage.base import ObjectCorruptedError, ObjectTooLargeError, StorageFullError

log = get_logger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = 5

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

# The first match wins, so a class must stand before its base.
_STATUS: tuple[tuple[type[CounterfoilError], HTTPStatus], ...] = (
    (ObjectTooLargeError, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    (StorageFullError, HTTPStatus.INSUFFICIENT_STORAGE),
    (InputError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (NotFoundError, HTTPStatus.NOT_FOUND),
    (ConflictError, HTTPStatus.CONFLICT),
    (TransientError, HTTPStatus.SERVICE_UNAVAILABLE),
    (ObjectCorruptedError, HTTPStatus.INTERNAL_SERVER_ERROR),
)


class ProblemError(Exception):
    """A refusal of a request by the API itself."""

    def __init__(
        self,
        status: HTTPStatus,
        code: str,
        detail: str,
        *,
        hint: str = "",
        headers: Mapping[str, str] | None = None,
        **members: Any,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.hint = hint
        self.headers = dict(headers or {})
        self.members = members


def request_id() -> str:
    """Return the request's id: the caller's `X-Request-ID` if it is well-formed, else a new one."""
    if "request_id" not in g:
        given = request.headers.get("X-Request-ID", "")
        g.request_id = given if _REQUEST_ID.fullmatch(given) else new_id()
    return str(g.request_id)


def problem(
    status: HTTPStatus | int,
    code: str,
    detail: str,
    *,
    hint: str = "",
    headers: Mapping[str, str] | None = None,
    **members: Any,
) -> Response:
    status = HTTPStatus(status)
    body: dict[str, Any] = {
        "type": f"/problems/{code}",
        "title": status.phrase,
        "status": int(status),
        "code": code,
        "detail": f"{detail} {hint}".strip(),
        "instance": request.path,
        "request_id": request_id(),
    }
    response = Response(json.dumps(body | members) + "\n", status, content_type=MEDIA_TYPE)
    response.headers.update(headers or {})
    return response


def install(app: Flask) -> None:
    """Answer every error of `app` with a problem."""
    app.register_error_handler(Exception, answer_with_problem)


def answer_with_problem(error: Exception) -> Response:
    """Return the problem of an error, also of one that nobody expected."""
    match error:
        case ProblemError():
            return _from_problem(error)
        case CounterfoilError():
            return _from_tree(error)
        case ValidationError():
            return _from_validation(error)
        case HTTPException():
            return _from_http(error)
    return _from_anything(error)


def _from_problem(error: ProblemError) -> Response:
    return problem(
        error.status,
        error.code,
        error.detail,
        hint=error.hint,
        headers=error.headers,
        **error.members,
    )


def _from_tree(error: CounterfoilError) -> Response:
    for kind, status in _STATUS:
        if isinstance(error, kind):
            headers = {}
            if isinstance(error, TransientError):
                log.warning("temporary failure", code=error.code, error=str(error))
                headers["Retry-After"] = str(RETRY_SECONDS)
            elif status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                log.error("object.damaged", code=error.code, error=str(error))
            return problem(status, error.code, error.message, hint=error.hint, headers=headers)
    # The text of a ConfigError may name hosts and buckets, so it goes to the log alone.
    log.error("refused by configuration", code=error.code, error=str(error), exc_info=error)
    code = "misconfigured" if isinstance(error, ConfigError) else "internal-error"
    return _internal(code)


def _from_validation(error: ValidationError) -> Response:
    errors = [
        {"where": ".".join(str(part) for part in item["loc"]), "message": item["msg"]}
        for item in error.errors(include_url=False, include_context=False, include_input=False)
    ]
    first = errors[0]
    detail = f"{first['where']}: {first['message']}." if first["where"] else f"{first['message']}."
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-request", detail, errors=errors)


def _from_http(error: HTTPException) -> Response:
    status = HTTPStatus(error.code or 500)
    headers = {}
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return _internal("internal-error")
    code = status.phrase.lower().replace(" ", "-")
    detail = error.description or status.description
    if status is HTTPStatus.NOT_FOUND:
        detail = "There is nothing at this address."
    if isinstance(error, MethodNotAllowed):
        allowed = ", ".join(sorted(error.valid_methods or ()))
        headers["Allow"] = allowed
        detail = f"This address does not accept {request.method}, only {allowed}."
    if isinstance(error, RequestEntityTooLarge):
        code = "request-too-large"
        detail = (
            f"The request is larger than {request.max_content_length or 0:,} bytes."
            " Send the files in several smaller requests."
        )
    return problem(status, code, detail, headers=headers)


def _from_anything(error: Exception) -> Response:
    log.error("unexpected error", exc_info=error, path=request.path)
    return _internal("internal-error")


def _internal(code: str) -> Response:
    return problem(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        code,
        "Something went wrong on the server. Its log has the details.",
        hint=f"Tell the operator of the server this request id: {request_id()}.",
    )
