"""How often a password may be guessed.

Attempts are counted in the database, which all processes share. Each is written before the password
is looked at, so that many sent at once are all counted. A limit ends by itself: what counts is the
last quarter of an hour, and an attempt that was refused does not count.

Nobody can lock a person out for good: strangers at other addresses only use up the limit for her
name, which does not hold where she has signed in before, and no limit holds for a link.
"""

from __future__ import annotations

import hashlib
import ipaddress
from datetime import timedelta
from typing import Final

from sqlalchemy import ColumnElement, delete, select
from sqlalchemy.orm import Session

from db.models_people import SignInAttempt
from db.session import database_now

WINDOW: Final = timedelta(minutes=15)
FOR_NAME_AND_ADDRESS: Final = 5
FOR_ADDRESS: Final = 50  # a whole office may share one
FOR_NAME: Final = 30
KNOWN_FOR: Final = timedelta(days=30)  # an address from which a person signed in


def begin_attempt(s: Session, name: str, address: str) -> str:
    """Write an attempt and return its id. Commit it before `refused_for`."""
    attempt = SignInAttempt(name_hash=_hash(name), address=network_of(address), at=database_now(s))
    s.add(attempt)
    s.flush()
    return attempt.id


def refused_for(s: Session, attempt_id: str) -> timedelta | None:
    """Return how long to wait, or None if the password of this attempt may be looked at."""
    attempt = s.get(SignInAttempt, attempt_id)
    if attempt is None:  # the reconciler has deleted it: the machine slept
        return WINDOW
    of_name = SignInAttempt.name_hash == attempt.name_hash
    of_address = SignInAttempt.address == attempt.address
    waits = [
        _wait(s, attempt, of_name & of_address, FOR_NAME_AND_ADDRESS),
        _wait(s, attempt, of_address, FOR_ADDRESS),
    ]
    known = select(1).where(of_name, of_address, SignInAttempt.succeeded).limit(1)
    if s.scalar(known) is None:
        waits.append(_wait(s, attempt, of_name, FOR_NAME))
    longest = max((wait for wait in waits if wait is not None), default=None)
    if longest is not None:
        s.delete(attempt)
        s.flush()
    return longest


def attempt_succeeded(s: Session, attempt_id: str) -> None:
    """Remember where the person signed in, and forget what she mistyped there."""
    attempt = s.get(SignInAttempt, attempt_id)
    if attempt is None:
        return
    s.execute(
        delete(SignInAttempt).where(
            SignInAttempt.name_hash == attempt.name_hash,
            SignInAttempt.address == attempt.address,
            SignInAttempt.id != attempt.id,
        )
    )
    attempt.succeeded = True
    s.flush()


def delete_old_attempts(s: Session) -> None:
    """Delete what counts no longer."""
    now = database_now(s)
    s.execute(
        delete(SignInAttempt).where(
            (SignInAttempt.at < now - KNOWN_FOR)
            | (~SignInAttempt.succeeded & (SignInAttempt.at < now - WINDOW))
        )
    )


def network_of(address: str) -> str:
    """Return what is counted together: an IPv4 address, or a network of IPv6.

    Who has one address of IPv6 has 2^64 of them.
    """
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "unknown"
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)


def _wait(
    s: Session, attempt: SignInAttempt, which: ColumnElement[bool], limit: int
) -> timedelta | None:
    """Return the time until fewer than `limit` other failures are in the window."""
    query = (
        select(SignInAttempt.at)
        .where(
            which,
            ~SignInAttempt.succeeded,
            SignInAttempt.at > attempt.at - WINDOW,
            SignInAttempt.id != attempt.id,
        )
        .order_by(SignInAttempt.at.desc())
        .limit(limit)
    )
    failures = s.scalars(query).all()
    return None if len(failures) < limit else failures[-1] + WINDOW - attempt.at


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()
