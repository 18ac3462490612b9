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

from api import audit
from api.context import Caller, services
from api.problems import ProblemError
from core.errors import NotFoundError
from core.roles import Role, SignInMethod
from db.transitions import sessions
from db.views import PersonView, SessionView
from web.guessing import Guess, guess

blueprint = Blueprint("signing_in", __name__)

COOKIE: Final = "counterfoil"
_OPEN: Final = frozenset(
    {
        "web.signing_in.ask",
        "web.signing_in.give_password",
        "web.signing_in.use_link",
        "web.provider.begin",
        "web.provider.arrive",
        "web.static",
    }
)
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})

_View = TypeVar("_View", bound=Callable[..., Any])


def person() -> PersonView:
    """Return who sent the request."""
    return cast(PersonView, g.person)


def person_or_none() -> PersonView | None:
    return cast("PersonView | None", g.get("person"))


def session_of_request() -> SessionView:
    """Return the session of the browser that sent the request."""
    return cast(SessionView, g.session)


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
            found = sessions.signed_in(session, token)
        if found is not None:
            g.person, g.session = found
            g.caller = Caller(g.person.tenant_id, g.person.name)
            return
    if request.endpoint not in _OPEN:
        raise ProblemError(
            HTTPStatus.UNAUTHORIZED, "not-signed-in", "You are not signed in, or no longer."
        )


def let_in(token: str) -> Response:
    """Give the browser a new session, end the one that it had, and go to the batches."""
    with services().db.transaction() as session:
        sessions.sign_out(session, request.cookies.get(COOKIE, ""))
    response = redirect(url_for("web.batches.overview"))
    response.set_cookie(
        COOKIE,
        token,
        max_age=int(sessions.SESSION_LASTS.total_seconds()),
        secure=request.is_secure,
        httponly=True,
        samesite="Lax",
    )
    return response


def sign_in_page(refused: str = "", name: str = "") -> str:
    """Return the page to sign in on; `refused` says why it did not work."""
    provider = services().settings.oidc_name if services().settings.oidc_issuer else None
    return render_template("sign_in.html", refused=refused, name=name, provider=provider)


@blueprint.get("/sign-in")
def ask() -> str:
    """Ask for a name and a password."""
    return sign_in_page()


@blueprint.post("/sign-in")
def give_password() -> Response | tuple[str, int] | tuple[str, int, dict[str, str]]:
    """Sign in by a password."""
    audit.leave_out()
    name, password = request.form.get("name", ""), request.form.get("password", "")
    found = guess(name, password)
    if found.wait_seconds:
        said = f"There were too many wrong passwords. Try again in {_minutes(found)}."
        return (
            sign_in_page(said, name),
            HTTPStatus.TOO_MANY_REQUESTS,
            {"Retry-After": str(found.wait_seconds)},
        )
    token = None
    if found.person_id is not None:
        try:
            with services().db.transaction() as session:
                token = sessions.start_session(
                    session,
                    found.person_id,
                    SignInMethod.PASSWORD,
                    address=request.remote_addr or "",
                )
        except NotFoundError:  # disabled meanwhile
            token = None
    if token is None:
        return sign_in_page("The name or the password is wrong.", name), HTTPStatus.FORBIDDEN
    return let_in(token)


@blueprint.get("/sign-in/<token>")
def use_link(token: str) -> Response | tuple[str, int]:
    """Sign in by a link that works once."""
    with services().db.transaction() as session:
        found = sessions.sign_in(session, token, address=request.remote_addr or "")
    if found is None:
        said = "This link was used already, or it is too old."
        return sign_in_page(said), HTTPStatus.FORBIDDEN
    return let_in(found[1])


@blueprint.post("/sign-out")
def leave() -> Response:
    """End the session."""
    with services().db.transaction() as session:
        sessions.sign_out(session, request.cookies.get(COOKIE, ""))
    return signed_out()


def signed_out() -> Response:
    """Take the cookie away, and go where people sign in."""
    response = redirect(url_for("web.signing_in.ask"))
    response.delete_cookie(COOKIE)
    return response


def _minutes(found: Guess) -> str:
    minutes = -(-found.wait_seconds // 60)
    return "a minute" if minutes == 1 else f"{minutes} minutes"
