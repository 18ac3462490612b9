"""Signing in and out, and whom a request comes from.

The session is a row of the database; its token is in a cookie that scripts cannot read. Requests
that change something must come from a page of this server: browsers say so in headers that no other
site can forge, so forms need no token of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from http import HTTPStatus
from typing import Any, Final, TypeVar, cast
from urllib.parse import urlsplit

from flask import Blueprint, g, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from api.context import Caller, services
from api.problems import ProblemError
from core.roles import Role
from db.transitions import people
from db.views import PersonView

blueprint = Blueprint("signing_in", __name__)

COOKIE: Final = "counterfoil"
_OPEN: Final = frozenset({"web.signing_in.ask", "web.signing_in.use_link", "web.static"})
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})

_View = TypeVar("_View", bound=Callable[..., Any])


def person() -> PersonView:
    """Return who sent the request."""
    return cast(PersonView, g.person)


def person_or_none() -> PersonView | None:
    return cast("PersonView | None", g.get("person"))


def needs(role: Role) -> Callable[[_View], _View]:
    """Refuse a view to people who may not do what `role` may do."""

    def guard(view: _View) -> _View:
        @wraps(view)
        def guarded(*args: Any, **named: Any) -> Any:
            if not person().may(role):
                raise ProblemError(
                    HTTPStatus.FORBIDDEN,
                    "role-missing",
                    f"Only a {role} may do this.",
                    hint="Ask whoever manages Counterfoil for that role.",
                )
            return view(*args, **named)

        return cast(_View, guarded)

    return guard


def require_same_origin() -> None:
    """Refuse a request that changes something and comes from a page of another site."""
    if request.method in _SAFE:
        return
    site = request.headers.get("Sec-Fetch-Site")
    origin = request.headers.get("Origin")
    if site is not None:
        ours = site in ("same-origin", "none")
    else:  # a browser of before 2023, or no browser: that has no cookie that others could use
        ours = origin is None or urlsplit(origin).netloc == request.host
    if not ours:
        raise ProblemError(
            HTTPStatus.FORBIDDEN,
            "foreign-page",
            "This request came from a page of another site, and was not carried out.",
        )


def require_person() -> None:
    """Put the person into `flask.g`, and the caller as the API knows it."""
    if request.endpoint == "web.static":
        return
    token = request.cookies.get(COOKIE, "")
    if token and token.isascii() and len(token) <= 100:
        with services().db.reading() as session:
            found = people.signed_in(session, token)
        if found is not None:
            g.person = found
            g.caller = Caller(found.tenant_id, found.name)
            return
    if request.endpoint not in _OPEN:
        raise ProblemError(
            HTTPStatus.UNAUTHORIZED, "not-signed-in", "You are not signed in, or no longer."
        )


@blueprint.get("/sign-in")
def ask() -> str:
    """Say how to sign in."""
    return render_template("sign_in.html", refused=False)


@blueprint.get("/sign-in/<token>")
def use_link(token: str) -> Response | tuple[str, int]:
    """Sign in by a link that works once."""
    with services().db.transaction() as session:
        found = people.sign_in(session, token)
    if found is None:
        return render_template("sign_in.html", refused=True), HTTPStatus.FORBIDDEN
    response = redirect(url_for("web.batches.overview"))
    response.set_cookie(
        COOKIE,
        found[1],
        max_age=int(people.SESSION_LASTS.total_seconds()),
        secure=request.is_secure,
        httponly=True,
        samesite="Lax",
    )
    return response


@blueprint.post("/sign-out")
def leave() -> Response:
    """End the session."""
    with services().db.transaction() as session:
        people.sign_out(session, request.cookies.get(COOKIE, ""))
    response = redirect(url_for("web.signing_in.ask"))
    response.delete_cookie(COOKIE)
    return response
