"""The state of a batch follows from its documents, pages and fields; nothing else sets it.

Locks: whoever changes a page, document or field in a way that may end it locks the batch's row
first, then its own rows in the order of their ids. One order everywhere, so no deadlock; and of
two workers that finish the last two pages the second sees what the first has committed, so one
of them always settles the batch.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import ColumnElement, Select, select
from sqlalchemy.orm import Session

from core.errors import NotFoundError
from core.ids import is_id
from db.models import (
    ENDED_BATCHES,
    LOST_PAGES,
    UNREAD_PAGES,
    Batch,
    BatchState,
    Document,
    DocumentState,
    Field,
    FieldState,
    Page,
)
from db.transitions.events import record_events


def lock_batch(s: Session, batch_id: str, tenant_id: str | None = None) -> Batch:
    """Lock a batch's row and return it as it is now.

    Raises NotFoundError; with `tenant_id`, also for a batch of another tenant.
    """
    query = select(Batch).where(Batch.id == batch_id)
    if tenant_id is not None:
        query = query.where(Batch.tenant_id == tenant_id)
    # What is no id at all (a NUL, say) must not reach the database.
    batch = s.scalar(_locking(query)) if is_id(batch_id) else None
    if batch is None:
        raise NotFoundError("There is no such batch.", code="batch-not-found")
    return batch


def lock_batches(s: Session, batch_ids: Iterable[str]) -> dict[str, Batch]:
    """Lock several batches in the order of their ids; those that are gone are left out."""
    query = select(Batch).where(Batch.id.in_(set(batch_ids))).order_by(Batch.id)
    return {batch.id: batch for batch in s.scalars(_locking(query))}


def _locking(query: Select[Batch]) -> Select[Batch]:
    # "No key update": rows that refer to the batch can be inserted meanwhile. `populate_existing`:
    # an object seen before the lock may be stale.
    return query.with_for_update(key_share=True).execution_options(populate_existing=True)


def settle(s: Session, batch: Batch, now: datetime) -> BatchState:
    """Bring the state of a locked batch up to date with what it holds. Safe to repeat."""
    before, after = BatchState(batch.state), _state(s, batch)
    if after != before:
        batch.state = after
        batch.finished_at = now if after in ENDED_BATCHES else None
        record_events(s, batch, now, [("batch.state", {"state": after, "from": before})])
        s.flush()
    return after


def _state(s: Session, batch: Batch) -> BatchState:
    if batch.state == BatchState.CANCELLED:
        return BatchState.CANCELLED
    if not batch.closed:
        return BatchState.RECEIVING
    # "Is there one left?" is answered by one step in an index, however large the batch.
    if _any(s, Document.batch_id == batch.id, Document.state == DocumentState.STORED) or _any(
        s, Page.batch_id == batch.id, Page.state.in_(UNREAD_PAGES)
    ):
        return BatchState.PROCESSING
    if _any(s, Field.batch_id == batch.id, Field.state == FieldState.REVIEW):
        return BatchState.REVIEWING
    if _any(s, Document.batch_id == batch.id, Document.state == DocumentState.FAILED) or _any(
        s, Page.batch_id == batch.id, Page.state.in_(LOST_PAGES)
    ):
        return BatchState.COMPLETE_WITH_ERRORS
    return BatchState.COMPLETE


def _any(s: Session, *conditions: ColumnElement[bool]) -> bool:
    return s.scalar(select(1).where(*conditions).limit(1)) is not None
