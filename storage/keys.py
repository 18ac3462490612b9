"""Keys of objects: checked before they become a path or a URL."""

from __future__ import annotations

import errno
import re

from storage.base import ObjectMissingError, StorageUnavailableError

# EFBIG: the file is larger than this process may write (ulimit -f), which is a full disk to us.
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_NAMESPACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def checked_namespace(namespace: str) -> str:
    """Return the namespace. Raises ValueError where it could leave its place in the store."""
    if not _NAMESPACE.fullmatch(namespace):
        raise ValueError(f"not a namespace: {namespace!r}")
    return namespace


def split_key(key: str) -> tuple[str, str]:
    """Return (namespace, sha256). What is no key names no object: raises ObjectMissingError."""
    namespace, _, sha256 = key.partition("/")
    if not (_NAMESPACE.fullmatch(namespace) and _SHA256.fullmatch(sha256)):
        raise ObjectMissingError("There is no such object.")
    return namespace, sha256


def corrupted(key: str) -> StorageUnavailableError:
    """Return the error for bytes that do not hash to their name."""
    return StorageUnavailableError(
        f"The store returned other bytes than were stored as {key}.", code="object-corrupted"
    )
