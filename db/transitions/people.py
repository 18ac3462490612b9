"""Transitions of people: who may work in the browser, and how she signs in and out.

A person signs in by a link that works once. The browser then has a session, whose random token is
in a cookie. Of both only the SHA-256 is kept, as of an API key.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.errors import InputError, NotFoundError
from core.limits import MAX_NAME
from core.roles import Role
from core.text import checked_line
from db.models import Person, SignInLink, WebSession
from db.session import database_now
from db.transitions.upsert import insert_or_ignore
from db.views import PersonView

LINK_LASTS: Final = timedelta(minutes=30)
SESSION_LASTS: Final = timedelta(hours=12)  # a day's work


def ensure_person(s: Session, tenant_id: str, name: str, role: Role) -> PersonView:
    """Return the person of that name, and add her with `role` if there is none.

    Raises InputError for a name that is not one line of text, or that belongs to a person of
    another tenant.
    """
    name = checked_line(name, "The name of a person", longest=MAX_NAME)
    if not name:
        raise InputError("The name of a person must not be empty.", code="bad-text")
    insert_or_ignore(s, Person, ["name"], tenant_id=tenant_id, name=name, role=role)
    person = s.scalars(select(Person).where(Person.name == name)).one()
    if person.tenant_id != tenant_id:
        raise InputError(
            f"The name '{name}' is taken.", hint="Choose another name.", code="name-taken"
        )
    return _view(person)


def create_sign_in_link(s: Session, person_id: str) -> str:
    """Return the token of a link that signs a person in once, within LINK_LASTS.

    Raises NotFoundError.
    """
    if s.get(Person, person_id) is None:
        raise NotFoundError("There is no such person.", code="person-not-found")
    token = secrets.token_urlsafe(32)
    expires = database_now(s) + LINK_LASTS
    s.add(SignInLink(person_id=person_id, token_hash=_hash(token), expires_at=expires))
    s.flush()
    return token


def sign_in(s: Session, link_token: str) -> tuple[PersonView, str] | None:
    """Use a link; return the person and the token of her session.

    None if the link is unknown, used or expired, or the person is disabled.
    """
    query = select(SignInLink).where(SignInLink.token_hash == _hash(link_token))
    link = s.scalar(query.with_for_update())
    now = database_now(s)
    if link is None or link.used_at is not None or link.expires_at <= now:
        return None
    person = s.get_one(Person, link.person_id)
    if person.disabled_at is not None:
        return None
    link.used_at = now
    token = secrets.token_urlsafe(32)
    s.add(WebSession(person_id=person.id, token_hash=_hash(token), expires_at=now + SESSION_LASTS))
    s.flush()
    return _view(person), token


def signed_in(s: Session, session_token: str) -> PersonView | None:
    """Return the person of a session, or None if it is unknown or over or she is disabled."""
    query = (
        select(Person)
        .join(WebSession, WebSession.person_id == Person.id)
        .where(
            WebSession.token_hash == _hash(session_token),
            WebSession.ended_at.is_(None),
            WebSession.expires_at > database_now(s),
            Person.disabled_at.is_(None),
        )
    )
    person = s.scalar(query)
    return None if person is None else _view(person)


def sign_out(s: Session, session_token: str) -> None:
    """End a session. Safe to repeat."""
    query = select(WebSession).where(WebSession.token_hash == _hash(session_token))
    session = s.scalar(query)
    if session is not None and session.ended_at is None:
        session.ended_at = database_now(s)
        s.flush()


def _view(person: Person) -> PersonView:
    return PersonView(person.id, person.tenant_id, person.name, Role(person.role))


def _hash(token: str) -> str:
    # A fast hash is enough for 256 random bits, which nobody can guess.
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
