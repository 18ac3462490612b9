"""How a person signs in and out.

She signs in by a link that works once, by her password, or by an identity provider. The browser
then has a session, whose random token is in a cookie; it is always a new one. Of a link and of a
session only the SHA-256 of the token is kept, as of an API key.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta
from typing import Final

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from core.errors import ConflictError, NotFoundError
from core.roles import SignInMethod
from db.models import Person, SignInLink, WebSession
from db.session import database_now
from db.transitions.attempts import delete_old_attempts
from db.transitions.audit import record_audit
from db.transitions.people import person_view
from db.views import PersonView, SessionView

LINK_LASTS: Final = timedelta(minutes=30)
SESSION_LASTS: Final = timedelta(hours=12)  # a day's work
# Links and sessions are kept so long after their end, for whoever looks into what happened.
KEPT_AFTER_END: Final = timedelta(days=30)


def create_sign_in_link(s: Session, person_id: str) -> str:
    """Return the token of a link that signs a person in once, within LINK_LASTS.

    Raises NotFoundError, and ConflictError if she is disabled.
    """
    person = s.get(Person, person_id)
    if person is None:
        raise NotFoundError("There is no such person.", code="person-not-found")
    if person.disabled_at is not None:
        raise ConflictError(f"{person.name} is disabled.", code="person-disabled")
    token = secrets.token_urlsafe(32)
    expires = database_now(s) + LINK_LASTS
    s.add(SignInLink(person_id=person_id, token_hash=_hash(token), expires_at=expires))
    s.flush()
    return token


def sign_in(s: Session, link_token: str, *, address: str = "") -> tuple[PersonView, str] | None:
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
    return person_view(person), start_session(s, person.id, SignInMethod.LINK, address=address)


def start_session(s: Session, person_id: str, method: SignInMethod, *, address: str) -> str:
    """Return the token of a new session of a person who has proved who she is.

    Raises NotFoundError if she is gone or disabled by now.
    """
    person = s.scalar(select(Person).where(Person.id == person_id).with_for_update())
    if person is None or person.disabled_at is not None:
        raise NotFoundError("There is no such person.", code="person-not-found")
    now = database_now(s)
    token = secrets.token_urlsafe(32)
    s.add(
        WebSession(
            person_id=person.id,
            token_hash=_hash(token),
            method=method,
            created_at=now,
            expires_at=now + SESSION_LASTS,
        )
    )
    person.signed_in_at = now
    record_audit(
        s,
        tenant_id=person.tenant_id,
        who=person.name,
        person_id=person.id,
        action="signed-in",
        address=address,
        about={"by": method},
    )
    return token


def signed_in(s: Session, session_token: str) -> tuple[PersonView, SessionView] | None:
    """Return the person of a session, or None if it is unknown or over or she is disabled."""
    query = (
        select(Person, WebSession)
        .join(WebSession, WebSession.person_id == Person.id)
        .where(
            WebSession.token_hash == _hash(session_token),
            WebSession.ended_at.is_(None),
            WebSession.expires_at > database_now(s),
            Person.disabled_at.is_(None),
        )
    )
    row = s.execute(query).first()
    if row is None:
        return None
    person, session = row
    return person_view(person), SessionView(
        session.id, SignInMethod(session.method), session.created_at
    )


def sign_out(s: Session, session_token: str) -> None:
    """End a session. Safe to repeat."""
    _end(s, WebSession.token_hash == _hash(session_token))


def sign_out_everywhere(s: Session, person_id: str, *, besides: str = "") -> None:
    """End all sessions of a person but the one with the id `besides`, and her unused links."""
    _end(s, WebSession.person_id == person_id, WebSession.id != besides)
    now = database_now(s)
    s.execute(
        update(SignInLink)
        .where(SignInLink.person_id == person_id, SignInLink.used_at.is_(None))
        .values(used_at=now)
        .execution_options(synchronize_session="fetch")
    )


def password_hash_of(s: Session, name: str) -> tuple[str, str | None] | None:
    """Return the id and the password hash of a person who may sign in, by her name."""
    query = select(Person.id, Person.password_hash).where(
        Person.name == name, Person.disabled_at.is_(None)
    )
    row = s.execute(query).first()
    return None if row is None else (row[0], row[1])


def record_wrong_password(s: Session, name: str, address: str) -> None:
    """Write a wrong password into the audit log; for an unknown name, an entry of no tenant.

    The name that was typed is not kept: it may be a password.
    """
    person = s.scalar(select(Person).where(Person.name == name))
    record_audit(
        s,
        tenant_id=person.tenant_id if person else "",
        who=person.name if person else "",
        person_id=person.id if person else None,
        action="password-wrong",
        address=address,
    )


def set_password(s: Session, person_id: str, hashed: str, *, session_id: str) -> None:
    """Give a person a password, and end her sessions but this one, which may be a thief's."""
    s.get_one(Person, person_id, with_for_update=True).password_hash = hashed
    s.flush()
    sign_out_everywhere(s, person_id, besides=session_id)


def renew_hash(s: Session, person_id: str, before: str, hashed: str) -> None:
    """Replace the hash of a password by another of the same password."""
    s.execute(
        update(Person)
        .where(Person.id == person_id, Person.password_hash == before)
        .values(password_hash=hashed)
    )


def delete_ended(s: Session) -> None:
    """Delete links, sessions and attempts that ended long ago."""
    before = database_now(s) - KEPT_AFTER_END
    s.execute(delete(SignInLink).where(SignInLink.expires_at < before))
    s.execute(
        delete(WebSession).where((WebSession.expires_at < before) | (WebSession.ended_at < before))
    )
    delete_old_attempts(s)


def _end(s: Session, *which: object) -> None:
    s.execute(
        update(WebSession)
        .where(*which, WebSession.ended_at.is_(None))  # type: ignore[arg-type]
        .values(ended_at=database_now(s))
        .execution_options(synchronize_session="fetch")
    )


def _hash(token: str) -> str:
    # A fast hash is enough for 256 random bits, which nobody can guess.
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
