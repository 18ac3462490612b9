"""Waiting for what other processes do. The limits end a hang; no test asserts how long it took."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Answer = TypeVar("Answer")
# Soon seen, and yet seldom asked: an answer of the API costs the core that the work needs.
_FIRST_PAUSE = 0.01
_LONGEST_PAUSE = 0.1


def eventually(what: str, condition: Callable[[], Answer], *, seconds: float = 180) -> Answer:
    """Return the first true answer of `condition`; fail with `what` after `seconds`."""
    until, pause = time.monotonic() + seconds, _FIRST_PAUSE
    while not (answer := condition()):
        if time.monotonic() > until:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(pause)
        pause = min(1.5 * pause, _LONGEST_PAUSE)
    return answer
