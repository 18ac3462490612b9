"""Passwords: what is a good one, and how it is kept.

Hashes are of Argon2id with the parameters of argon2-cffi, those of RFC 9106 for little memory:
64 MiB and about a tenth of a second. A hash made with older parameters is made anew at a sign-in.
"""

from __future__ import annotations

import secrets
import threading
import unicodedata
from functools import cache
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from core.errors import InputError
from core.limits import MAX_PASSWORD, MIN_PASSWORD

_HASHER: Final = PasswordHasher()
# Bounds the memory: everybody may sign in at nine o'clock.
_AT_ONCE: Final = threading.BoundedSemaphore(2)
_LEAST_DIFFERENT = 5  # characters; "aaaaaaaaaaaa" is no password


def checked_password(password: str, name: str) -> str:
    """Return a new password as it is kept. Raises InputError for one that is easy to guess.

    Length is what counts (NIST SP 800-63B); no kinds of characters are asked for.
    """
    password = _normal(password)
    if len(password) < MIN_PASSWORD:
        raise _weak(f"The password is too short: at least {MIN_PASSWORD} characters.")
    if len(password) > MAX_PASSWORD:
        raise _weak(f"The password is too long: at most {MAX_PASSWORD} characters.")
    if len(set(password)) < _LEAST_DIFFERENT:
        raise _weak("The password repeats too few characters.")
    plain = password.casefold()
    for word in ("counterfoil", "password", name.casefold()):
        plain = plain.replace(word, "")
    if len(plain) < MIN_PASSWORD // 2:
        raise _weak("The password is little more than a name.")
    return password


def hash_password(password: str) -> str:
    """Return the Argon2id hash of a password, with its salt and parameters, as text."""
    with _AT_ONCE:
        return _HASHER.hash(_normal(password))


def verify_password(password: str, hashed: str | None) -> bool:
    """Say whether a password is that of the hash.

    Without a hash the answer is False and takes equally long, so that it does not tell who exists.
    """
    nobody = _nobody()  # before the branch: the first call makes it
    with _AT_ONCE:
        try:
            right = _HASHER.verify(hashed or nobody, _normal(password))
        except (VerificationError, InvalidHashError):
            return False
    return right and hashed is not None


def needs_rehash(hashed: str) -> bool:
    """Say whether a hash was made with other parameters than those of now."""
    return _HASHER.check_needs_rehash(hashed)


@cache
def _nobody() -> str:
    return _HASHER.hash(secrets.token_urlsafe(32))


def _normal(password: str) -> str:
    # The same keys may send other code points on another system.
    normal = unicodedata.normalize("NFKC", password)
    return normal.encode("utf-8", "replace").decode("utf-8")


def _weak(message: str) -> InputError:
    return InputError(message, hint="Four or five words are good.", code="weak-password")
