"""The outbox: what the queue must be told, written in the transaction that makes it true.

Delivery is at least once: a message is taken, sent, and only then deleted. A dispatcher that
dies in between sends it again, and every task bears that.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import delete, func, insert, select
from sqlalchemy.orm import Session

from db.models import Batch, Outbox

# Page ids in one message: bounds the size of a row, whatever the size of the document.
_PAGES_PER_MESSAGE = 256


class OutboxKind(StrEnum):
    INTAKE = "intake"  # {"document_id": id}
    READ = "read"  # {"page_ids": [id, …]}
    DELETE_OBJECTS = "delete_objects"  # {"namespace": batch id}


@dataclass(frozen=True, slots=True)
class OutboxMessage:
    id: int
    kind: str  # an OutboxKind
    payload: dict[str, Any]


def take_outbox(s: Session, limit: int) -> list[OutboxMessage]:
    """Return the oldest messages. They stay until `delete_outbox`.

    Takes no lock, so that looking (five times a second) never waits for a writer: it works in
    `Database.reading()` too. Two dispatchers at once may both send a message; none loses one.
    """
    rows = s.execute(
        select(Outbox.id, Outbox.kind, Outbox.payload).order_by(Outbox.id).limit(limit)
    )
    return [OutboxMessage(*row) for row in rows]


def oldest_message(s: Session) -> datetime | None:
    """Return when the oldest message was written; None where there is none."""
    return s.scalar(select(func.min(Outbox.created_at)))


def delete_outbox(s: Session, ids: Iterable[int]) -> None:
    """Forget messages that the queue has."""
    s.execute(delete(Outbox).where(Outbox.id.in_(list(ids))))


def hint_intake(s: Session, document_ids: Iterable[str]) -> None:
    _add(s, OutboxKind.INTAKE, [{"document_id": document_id} for document_id in document_ids])


def hint_pages(s: Session, page_ids: Sequence[str]) -> None:
    _add(
        s,
        OutboxKind.READ,
        [
            {"page_ids": list(page_ids[start : start + _PAGES_PER_MESSAGE])}
            for start in range(0, len(page_ids), _PAGES_PER_MESSAGE)
        ],
    )


def forget_objects(s: Session, batch_id: str) -> bool:
    """Have the objects of a batch deleted, if the batch is gone; return whether it is.

    For whoever stored an object and then found the batch deleted under it.
    """
    if s.scalar(select(Batch.id).where(Batch.id == batch_id)) is not None:
        return False
    hint_delete(s, batch_id)
    return True


def hint_delete(s: Session, batch_id: str) -> None:
    _add(s, OutboxKind.DELETE_OBJECTS, [{"namespace": batch_id}])


def _add(s: Session, kind: OutboxKind, payloads: list[dict[str, Any]]) -> None:
    if payloads:
        s.execute(insert(Outbox), [{"kind": kind, "payload": payload} for payload in payloads])
