"""API keys: `Authorization: Bearer cf_<prefix>_<secret>`."""

from __future__ import annotations

from http import HTTPStatus

from flask import g, request

from api.context import Caller, services
from api.problems import ProblemError
from db.transitions import tenants

REALM = 'Bearer realm="counterfoil"'


def authenticate() -> None:
    """Put the caller into `flask.g`. Runs before every view under /v1.

    Raises ProblemError (401) without a valid key.
    """
    given = request.authorization
    token = (given.token or "") if given and given.type == "bearer" else ""
    if not token:
        raise _refused("This address needs an API key.", "key-missing", REALM)
    key = None
    # Keys are short and of printable ASCII; nothing else reaches the database.
    if token.isascii() and token.isprintable() and len(token) <= 200:
        with services().db.reading() as session:
            key = tenants.authenticate(session, token)
            if key is not None:
                g.caller = Caller(key.tenant_id, key.name)
    if key is None:
        raise _refused(
            "The API key is unknown or revoked.",
            "key-refused",
            f'{REALM}, error="invalid_token"',
        )


def _refused(detail: str, code: str, challenge: str) -> ProblemError:
    return ProblemError(
        HTTPStatus.UNAUTHORIZED,
        code,
        detail,
        hint="Send the header 'Authorization: Bearer <key>'; 'counterfoil keys' creates keys.",
        headers={"WWW-Authenticate": challenge},
    )
