"""One's own account: the password, and signing out everywhere."""

from __future__ import annotations

from http import HTTPStatus

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from api.context import services
from core.clock import utcnow
from core.errors import InputError
from core.limits import MIN_PASSWORD
from core.passwords import checked_password, hash_password
from core.roles import SignInMethod
from db import queries_people as queries
from db.transitions import sessions
from web.guessing import guess
from web.signing_in import person, session_of_request, signed_out

blueprint = Blueprint("account", __name__)


@blueprint.get("/account")
def account() -> str:
    """Show what one can change of one's own."""
    return _page(changed="changed" in request.args)


@blueprint.post("/account/password")
def change_password() -> Response | tuple[str, int]:
    """Set or change one's own password, and end one's other sessions."""
    given = request.form
    try:
        _allow_change(given.get("current", ""))
        if given.get("new", "") != given.get("again", ""):
            raise InputError("The two new passwords differ.")
        hashed = hash_password(checked_password(given.get("new", ""), person().name))
    except InputError as exc:
        return _page(refused=str(exc)), HTTPStatus.UNPROCESSABLE_ENTITY
    with services().db.transaction() as session:
        sessions.set_password(session, person().id, hashed, session_id=session_of_request().id)
    return redirect(url_for("web.account.account", changed=""))


@blueprint.post("/account/sign-out")
def leave_everywhere() -> Response:
    """End all of one's sessions, in this browser too."""
    with services().db.transaction() as session:
        sessions.sign_out_everywhere(session, person().id)
    return signed_out()


def _allow_change(current: str) -> None:
    """Raise InputError where the present password is needed, and is not `current`.

    It is not needed just after one signed in by a link, as somebody does who has forgotten it.
    """
    if _of_provider():
        raise InputError("Your organisation keeps your password.")
    if not _needs_current():
        return
    found = guess(person().name, current)
    if found.wait_seconds:
        raise InputError("There were too many wrong passwords. Try again in a quarter of an hour.")
    if found.person_id is None:
        raise InputError("Your present password is another.")


def _needs_current() -> bool:
    session = session_of_request()
    fresh = utcnow() - session.created_at < sessions.LINK_LASTS
    if session.method == SignInMethod.LINK and fresh:
        return False
    with services().db.reading() as s:
        return queries.has_password(s, person().id)


def _of_provider() -> bool:
    return session_of_request().method == SignInMethod.PROVIDER


def _page(*, changed: bool = False, refused: str = "") -> str:
    return render_template(
        "account.html",
        changed=changed,
        refused=refused,
        needs_current=_needs_current(),
        of_provider=_of_provider(),
        shortest=MIN_PASSWORD,
    )
