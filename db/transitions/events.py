"""Events of a batch, written in the transaction in which they happen."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import insert
from sqlalchemy.orm import Session

from db.models import Batch, Event, Field


def record_events(
    s: Session, batch: Batch, now: datetime, events: Iterable[tuple[str, dict[str, Any]]]
) -> None:
    """Write (kind, payload) events of a batch whose row this transaction has locked.

    Because of the lock, ids grow in the order of commits within a batch, so a reader who asks for
    the events after an id never misses one.
    """
    rows = [
        {
            "tenant_id": batch.tenant_id,
            "batch_id": batch.id,
            "kind": kind,
            "payload": payload,
            "created_at": now,
        }
        for kind, payload in events
    ]
    if rows:
        s.execute(insert(Event), rows)


def change_of(field: Field, who: str) -> dict[str, Any]:
    """Return what an event says of every decision about a field, before the field changes."""
    return {
        "field_id": field.id,
        "page_id": field.page_id,
        "by": who,
        "before": field.value,
        "state_before": field.state,
        "version": field.version + 1,
    }
