"""Checks whether a service answers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import redis

from api.answers import ServiceState
from core.errors import CounterfoilError
from core.log import get_logger

log = get_logger(__name__)

STORE_SECONDS = 15.0  # the check of the store writes an object, so its result is kept so long
FAULT_SECONDS = 1.0  # a failed check is repeated soon

_OK = ServiceState(state="ok")


class StoreCheck:
    """The last check of the store, kept so that a probe every second costs the store nothing."""

    def __init__(self, check: Callable[[], None]) -> None:
        self._check = check
        self._lock = threading.Lock()
        self._state = _OK
        self._until = 0.0

    def state(self) -> ServiceState:
        with self._lock:
            if time.monotonic() >= self._until:
                self._state = probe("store", self._check)
                kept = STORE_SECONDS if self._state.state == "ok" else FAULT_SECONDS
                self._until = time.monotonic() + kept
            return self._state


def probe(what: str, check: Callable[[], object]) -> ServiceState:
    """Run `check` and return whether the service `what` answered. The log alone gets the reason."""
    try:
        check()
    except (CounterfoilError, redis.RedisError, OSError) as exc:
        # The reason may name hosts and paths, and this address needs no key.
        log.warning("not ready", service=what, error=str(exc))
        return ServiceState(state="away", detail=f"The {what} does not answer.")
    return _OK
