"""The outbox: messages for the dispatcher, written in the transaction that makes them true.

Delivery is at least once: a message is read, sent, and only then deleted. If a dispatcher dies in
between, the message is sent again, which does no harm because every task may run twice.
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

# Page ids in one message, which bounds the size of a row.
_PAGES_PER_MESSAGE = 256


class OutboxKind(StrEnum):
    INTAKE = "intake"  # {"document_id": id}
    READ = "read"  # {"page_ids": [id, …]}
    EXPORT = "export"  # {"export_id": id}
    DELETE_OBJECTS = "delete_objects"  # {"namespace": id of a batch or an export}


@dataclass(frozen=True, slots=True)
class OutboxMessage:
    id: int
    kind: str  # an OutboxKind
    payload: dict[str, Any]


def take_outbox(s: Session, limit: int) -> list[OutboxMessage]:
    """Return the oldest messages. They stay until `delete_outbox`.

    This takes no lock and works in `Database.reading()`, so that polling five times a second never
    waits for a writer. Two dispatchers may both send a message; neither can lose one.
    """
    rows = s.execute(
        select(Outbox.id, Outbox.kind, Outbox.payload).order_by(Outbox.id).limit(limit)
    )
    return [OutboxMessage(*row) for row in rows]


def oldest_message(s: Session) -> datetime | None:
    """Return when the oldest message was written, or None if there is none."""
    return s.scalar(select(func.min(Outbox.created_at)))


def delete_outbox(s: Session, ids: Iterable[int]) -> None:
    """Delete messages that were sent."""
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
    """Have the objects of a batch deleted if the batch is gone; return whether it is.

    For a caller that stored an object and then found that the batch had been deleted meanwhile.
    """
    if s.scalar(select(Batch.id).where(Batch.id == batch_id)) is not None:
        return False
    hint_delete(s, batch_id)
    return True


def hint_export(s: Session, export_id: str) -> None:
    _add(s, OutboxKind.EXPORT, [{"export_id": export_id}])


def hint_delete(s: Session, namespace: str) -> None:
    """Have all objects deleted that are in the namespace of a batch or of an export."""
    _add(s, OutboxKind.DELETE_OBJECTS, [{"namespace": namespace}])


def _add(s: Session, kind: OutboxKind, payloads: list[dict[str, Any]]) -> None:
    if payloads:
        s.execute(insert(Outbox), [{"kind": kind, "payload": payload} for payload in payloads])
