"""Checks of keys before they become a path or a URL, and hashing while copying."""

from __future__ import annotations

import errno
import hashlib
import re
from collections.abc import Callable
from typing import BinaryIO

from storage.base import ObjectMissingError, ObjectTooLargeError

CHUNK = 1 << 20  # bytes read at once

# EFBIG (the file is larger than `ulimit -f` allows) counts as a full disk.
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_NAMESPACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def checked_namespace(namespace: str) -> str:
    """Return the namespace. Raises ValueError for a text that could lead outside the store."""
    if not _NAMESPACE.fullmatch(namespace):
        raise ValueError(f"not a namespace: {namespace!r}")
    return namespace


def split_key(key: str) -> tuple[str, str]:
    """Return (namespace, sha256) of a key. Raises ObjectMissingError for a text that is no key."""
    namespace, _, sha256 = key.partition("/")
    if not (_NAMESPACE.fullmatch(namespace) and _SHA256.fullmatch(sha256)):
        raise ObjectMissingError("There is no such object.")
    return namespace, sha256


def copy_hashed(
    stream: BinaryIO, write: Callable[[bytes], object], limit: int | None
) -> tuple[bytes, int]:
    """Pass all of `stream` to `write` in chunks; return its SHA-256 and its size in bytes.

    Raises ObjectTooLargeError above `limit` bytes. Errors of `stream` and `write` are not changed.
    """
    digest, size = hashlib.sha256(), 0
    while chunk := stream.read(CHUNK):
        size += len(chunk)
        if limit is not None and size > limit:
            raise ObjectTooLargeError(
                f"The file is larger than {limit} bytes.",
                hint="Split it, or ask for a higher limit.",
            )
        digest.update(chunk)
        write(chunk)
    return digest.digest(), size
