"""API keys: `Authorization: Bearer cf_<prefix>_<secret>`."""

from __future__ import annotations

from http import HTTPStatus

from flask import g, request

from api.context import Caller, services
from api.problems import ProblemError
from db.transitions import tenants

REALM = 'Bearer realm="counterfoil"'


def authenticate() -> None:
    """Put the caller into `flask.g`, or answer 401. Runs before every view under /v1."""
    given = request.authorization
    token = (given.token or "") if given and given.type == "bearer" else ""
    # Keys are short and plain; anything else never reaches the database.
    if not token:
        raise _refused("This address needs an API key.", "key-missing", REALM)
    key = None
    if token.isascii() and token.isprintable() and len(token) <= 200:
        with services().db.reading() as session:
            key = tenants.authenticate(session, token)
            if key is not None:
                g.caller = Caller(key.tenant_id, key.name)
    if key is None:
        raise _refused(
            "The API key is not known, or was revoked.",
            "key-refused",
            f'{REALM}, error="invalid_token"',
        )


def _refused(detail: str, code: str, challenge: str) -> ProblemError:
    return ProblemError(
        HTTPStatus.UNAUTHORIZED,
        code,
        detail,
        hint="Send the header 'Authorization: Bearer <key>'; 'counterfoil keys' makes one.",
        headers={"WWW-Authenticate": challenge},
    )
