"""Ids that sort by the time when they were made, and the keys of objects."""

from __future__ import annotations

import os
import re
import threading
import time

_FORM = re.compile(r"[0-9a-f]{32}")
_lock = threading.Lock()
_last = 0


def new_id() -> str:
    """Return a UUID of version 7 (RFC 9562) as 32 hex digits.

    Within one process each id is larger than the one before: the 12 bits after the timestamp count
    the ids of a millisecond, and when they overflow, the timestamp runs ahead of the clock.
    """
    global _last
    with _lock:
        stamp = max(time.time_ns() // 1_000_000 << 12, _last + 1)
        _last = stamp
    milliseconds, counter = stamp >> 12, stamp & 0xFFF
    random = int.from_bytes(os.urandom(8), "big") & (1 << 62) - 1
    return f"{milliseconds << 80 | 0x7 << 76 | counter << 64 | 0b10 << 62 | random:032x}"


def object_key(namespace: str, sha256: str) -> str:
    """Return the key of an object in the store. The namespace of a batch's objects is its id."""
    return f"{namespace}/{sha256}"


def is_id(text: str) -> bool:
    """Say whether `text` has the form of an id."""
    return _FORM.fullmatch(text) is not None
