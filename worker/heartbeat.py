"""Renewing claims while work goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from core.errors import TransientError
from core.log import get_logger

log = get_logger(__name__)


class Heartbeat:
    """Calls `renew` every `seconds` in a thread, until the block ends or `renew` returns False.

    `renew` returns whether any claim still holds. If it raises, it is called again at the next
    beat: a lease lasts for several beats.
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
