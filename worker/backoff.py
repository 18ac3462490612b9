"""Waiting for a service that is away."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from core.errors import TransientError
from core.log import get_logger

log = get_logger(__name__)

T = TypeVar("T")

# If a store or database is away, no page is at fault: a worker rather waits for minutes, holding
# its claims, than uses up the attempts of its pages.
OUTAGE_SECONDS = 240.0
_FIRST_WAIT = 0.2
_LONGEST_WAIT = 10.0


def retry_with_backoff(
    step: Callable[[], T], *, service: str, seconds: float = OUTAGE_SECONDS
) -> T:
    """Return `step()`, called again after growing pauses while it raises TransientError.

    After `seconds` the last TransientError is raised. `service` is its name in the log.
    """
    until, pause = time.monotonic() + seconds, _FIRST_WAIT
    while True:
        try:
            return step()
        except TransientError as exc:
            if time.monotonic() + pause >= until:
                raise
            log.warning("service.unavailable", service=service, error=str(exc), retry_after=pause)
        time.sleep(pause)
        pause = min(pause * 2, _LONGEST_WAIT)
