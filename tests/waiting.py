"""Waiting for what other processes do. The limits end a hang; no test asserts how long it took."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Answer = TypeVar("Answer")


def eventually(what: str, condition: Callable[[], Answer], *, seconds: float = 180) -> Answer:
    """Return the first true answer of `condition`; fail with `what` after `seconds`."""
    until = time.monotonic() + seconds
    while not (answer := condition()):
        if time.monotonic() > until:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(0.02)
    return answer
