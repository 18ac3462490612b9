"""Holding on: claims that are renewed while work goes on, and services that are waited for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeVar

from core.errors import TransientError
from core.log import get_logger

log = get_logger(__name__)

T = TypeVar("T")

# A store or database that is away is nobody's fault but its own: better to wait for minutes,
# holding the claim, than to use up the page's attempts.
PATIENCE_SECONDS = 240.0
_FIRST_WAIT = 0.2
_LONGEST_WAIT = 10.0


def patiently(step: Callable[[], T], *, what: str, seconds: float = PATIENCE_SECONDS) -> T:
    """Return `step()`, tried again with growing pauses while it raises TransientError.

    After `seconds` its last error is raised.
    """
    until, pause = time.monotonic() + seconds, _FIRST_WAIT
    while True:
        try:
            return step()
        except TransientError as exc:
            if time.monotonic() + pause >= until:
                raise
            log.warning("waiting", what=what, error=str(exc), seconds=pause)
        time.sleep(pause)
        pause = min(pause * 2, _LONGEST_WAIT)


class Heartbeat:
    """Calls `renew` every `seconds` in a thread, until the block ends or `renew` says no.

    `renew` returns whether anything is still ours. One that raises TransientError is tried
    again at the next beat: the lease holds for several.
    """

    def __init__(self, renew: Callable[[], bool], seconds: float) -> None:
        self._renew = renew
        self._seconds = seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._stop.wait(self._seconds):
            try:
                if not self._renew():
                    return
            except TransientError as exc:
                log.warning("heartbeat.missed", error=str(exc))
            except Exception:
                log.exception("heartbeat.failed")
