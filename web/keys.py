"""The keys with which a person works while she verifies. Each person may have her own."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Final

from flask import Blueprint, redirect, request, url_for
from werkzeug.wrappers import Response

from api.context import services
from api.problems import ProblemError
from core.roles import Role
from db.transitions import people
from db.views import PersonView
from web.signing_in import needs, person

blueprint = Blueprint("keys", __name__)

# What a key does, its name on the page, and the key if the person has not chosen another.
ACTIONS: Final = {
    "later": ("Later", "Space"),
    "unreadable": ("Nobody can read it", "Alt+U"),
    "undo": ("Take the last one back", "Alt+Z"),
    "page": ("The whole page", "Alt+P"),
}
# None of them can be part of a value, and Enter, Tab, Escape and the arrows have their own meaning.
_KEY: Final = re.compile(r"Space|Insert|PageUp|PageDown|F([1-9]|1[0-2])|Alt\+[A-Z0-9]|[+*]")


def keys_of(person: PersonView) -> dict[str, str]:
    """Return the key of each action for a person."""
    with services().db.reading() as session:
        own = people.keys_of(session, person.id)
    return {action: own.get(action, key) for action, (_, key) in ACTIONS.items()}


@blueprint.post("/me/keys")
@needs(Role.VERIFIER)
def choose() -> Response:
    """Store the keys of the person, or go back to those that everybody begins with."""
    chosen = {
        action: request.form.get(action, default).strip()
        for action, (_, default) in ACTIONS.items()
    }
    if "reset" in request.form:
        chosen = {}
    elif not all(_KEY.fullmatch(key) for key in chosen.values()):
        raise ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "bad-key",
            "That key cannot be used here.",
            hint="Use Space, Insert, Page Up or Down, F1 to F12, + or *, or Alt with a letter.",
        )
    elif len(set(chosen.values())) < len(chosen):
        raise ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY, "bad-key", "Two keys are the same. Choose another."
        )
    with services().db.transaction() as session:
        people.set_keys(session, person().id, chosen)
    back = request.form.get("batch", "")
    if re.fullmatch("[0-9a-f]{32}", back):
        return redirect(url_for("web.verify.verify", batch_id=back))
    return redirect(url_for("web.batches.overview"))
