"""What a person did: how fast she keys, and how often she errs. A supervisor sees it of all."""

from __future__ import annotations

from flask import Blueprint, render_template

from api.context import services
from core.clock import utcnow
from core.roles import Role
from db import keyings
from web.signing_in import needs, person

blueprint = Blueprint("work", __name__)


@blueprint.get("/work")
@needs(Role.VERIFIER)
def work() -> str:
    """Show the figures of the person, and below them those of all others to a supervisor."""
    since = utcnow() - keyings.FIGURES_REACH
    with services().db.reading() as session:
        found = keyings.figures(session, person().tenant_id, since=since)
        checks = keyings.open_checks(session, person())
    mine = next((one for one in found if one.person_id == person().id), None)
    others = [one for one in found if one is not mine] if person().may(Role.SUPERVISOR) else []
    return render_template(
        "work.html", mine=mine, others=others, checks=checks, days=keyings.FIGURES_REACH.days
    )
