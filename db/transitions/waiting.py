"""How long a page or a document waits that a service did not let anybody read."""

from __future__ import annotations

from datetime import timedelta

_FIRST_SECONDS = 5.0
# Whoever tries waits for the service for minutes too; so this need not be long, and once the
# service is back, work goes on within a minute.
_LONGEST_SECONDS = 60.0


def back_off(excused: int) -> timedelta:
    """Return the pause after so many attempts (from 1) that failed through a service."""
    doublings = min(max(excused, 1) - 1, 16)
    return timedelta(seconds=min(_FIRST_SECONDS * 2**doublings, _LONGEST_SECONDS))
