"""The people of a tenant, for its admins: who may come in, and as what."""

from __future__ import annotations

from http import HTTPStatus

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from api import audit
from api.context import services
from core.errors import InputError
from core.roles import Role
from db import queries_people as queries
from db.session import Session
from db.transitions import people as transitions
from db.transitions import sessions
from db.views import PersonView
from web.signing_in import needs, person

blueprint = Blueprint("people", __name__)


@blueprint.get("/people")
@needs(Role.ADMIN)
def people() -> str:
    """List the people."""
    return _page()


@blueprint.post("/people")
@needs(Role.ADMIN)
def add() -> str | tuple[str, int]:
    """Add a person, and show the link by which she comes in."""
    name = request.form.get("name", "")
    try:
        with services().db.transaction() as session:
            added = transitions.add_person(session, person().tenant_id, name, _role())
            audit.note(person_id=added.id, name=added.name, role=added.role)
            link = _new_link(session, added)
    except InputError as exc:
        return _page(refused=str(exc), name=name), HTTPStatus.UNPROCESSABLE_ENTITY
    return render_template("person_link.html", of=added, link=link, new=True)


@blueprint.post("/people/<id:person_id>/link")
@needs(Role.ADMIN)
def give_link(person_id: str) -> str:
    """Show a new link for somebody, who may have forgotten her password."""
    with services().db.transaction() as session:
        of = transitions.get_person(session, person().tenant_id, person_id)
        audit.note(name=of.name)
        link = _new_link(session, of)
    return render_template("person_link.html", of=of, link=link, new=False)


@blueprint.post("/people/<id:person_id>/role")
@needs(Role.ADMIN)
def set_role(person_id: str) -> Response:
    """Change what somebody may do."""
    with services().db.transaction() as session:
        changed = transitions.set_role(
            session, tenant_id=person().tenant_id, person_id=person_id, role=_role()
        )
        audit.note(name=changed.name, role=changed.role)
    return _back()


@blueprint.post("/people/<id:person_id>/disable")
@needs(Role.ADMIN)
def disable(person_id: str) -> Response:
    """Shut somebody out at once."""
    with services().db.transaction() as session:
        changed = transitions.disable_person(
            session, tenant_id=person().tenant_id, person_id=person_id
        )
        sessions.sign_out_everywhere(session, changed.id)
        audit.note(name=changed.name)
    return _back()


@blueprint.post("/people/<id:person_id>/enable")
@needs(Role.ADMIN)
def enable(person_id: str) -> Response:
    """Let somebody in again."""
    with services().db.transaction() as session:
        changed = transitions.enable_person(
            session, tenant_id=person().tenant_id, person_id=person_id
        )
        audit.note(name=changed.name)
    return _back()


def _role() -> Role:
    try:
        return Role(request.form.get("role", ""))
    except ValueError as exc:
        raise InputError("There is no such role.", code="bad-role") from exc


def _new_link(session: Session, of: PersonView) -> str:
    token = sessions.create_sign_in_link(session, of.id)
    return url_for("web.signing_in.use_link", token=token, _external=True)


def _back() -> Response:
    return redirect(url_for("web.people.people"))


def _page(*, refused: str = "", name: str = "") -> str:
    with services().db.reading() as session:
        found = queries.list_people(session, person().tenant_id)
    return render_template("people.html", people=found, roles=Role, refused=refused, name=name)
