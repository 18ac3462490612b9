"""Identifiers that sort by the time they were made, so that a cursor is just the last id seen."""

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

    Within one process ids only grow: two made in the same millisecond keep their order, by
    counting in the 12 bits after the timestamp and borrowing from the clock when they run out.
    """
    global _last
    with _lock:
        stamp = max(time.time_ns() // 1_000_000 << 12, _last + 1)
        _last = stamp
    milliseconds, counter = stamp >> 12, stamp & 0xFFF
    random = int.from_bytes(os.urandom(8), "big") & (1 << 62) - 1
    return f"{milliseconds << 80 | 0x7 << 76 | counter << 64 | 0b10 << 62 | random:032x}"


def object_key(namespace: str, sha256: str) -> str:
    """Return the key of an object in the store; the namespace of a batch is its id."""
    return f"{namespace}/{sha256}"


def is_id(text: str) -> bool:
    """Tell whether `text` has the form of an id; what has not is an id of nothing."""
    return _FORM.fullmatch(text) is not None
