"""The time by the clock of this machine. Leases are measured on the clock of the database."""

from __future__ import annotations

from datetime import UTC, datetime


def utcnow() -> datetime:
    """Return the present time, aware, in UTC."""
    return datetime.now(UTC)
