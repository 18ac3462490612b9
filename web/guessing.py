"""Looking at a password that somebody gave, without telling who exists or letting it be guessed.

For an unknown name the same is done as for a wrong password, and takes as long.
"""

from __future__ import annotations

import math
import unicodedata
from dataclasses import dataclass

from flask import request

from api.context import services
from core.limits import MAX_NAME
from core.passwords import hash_password, needs_rehash, verify_password
from db.transitions import attempts, sessions

MAX_FORM_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True)
class Guess:
    person_id: str | None  # None: the name or the password is wrong
    wait_seconds: int  # more than 0: the password was not looked at


def guess(name: str, password: str) -> Guess:
    """Look at a password, unless there were too many wrong ones."""
    name = unicodedata.normalize("NFC", name.strip())[:MAX_NAME].replace("\0", "")
    address, db = request.remote_addr or "", services().db
    with db.transaction() as session:
        attempt_id = attempts.begin_attempt(session, name, address)
    with db.transaction() as session:  # after the commit, so that what is sent at once is counted
        wait = attempts.refused_for(session, attempt_id)
    if wait is not None:
        return Guess(None, max(1, math.ceil(wait.total_seconds())))
    with db.reading() as session:
        person_id, hashed = sessions.password_hash_of(session, name) or (None, None)
    right = verify_password(password, hashed)
    if person_id is None or not right:
        with db.transaction() as session:
            sessions.record_wrong_password(session, name, address)
        return Guess(None, 0)
    renewed = hash_password(password) if hashed and needs_rehash(hashed) else None
    with db.transaction() as session:
        attempts.attempt_succeeded(session, attempt_id)
        if hashed and renewed:
            sessions.renew_hash(session, person_id, hashed, renewed)
    return Guess(person_id, 0)
