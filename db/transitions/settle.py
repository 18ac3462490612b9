"""The state of a batch, which follows from its documents, pages and fields.

Locks: a transition that may end a document, page or field locks the row of the batch first, then
its own rows in the order of their ids. The order is the same everywhere, so there is no deadlock.
Of two workers that finish the last two pages of a batch, the second sees what the first has
committed, so the batch is always settled.
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

    Raises NotFoundError, with `tenant_id` also for a batch of another tenant.
    """
    query = select(Batch).where(Batch.id == batch_id)
    if tenant_id is not None:
        query = query.where(Batch.tenant_id == tenant_id)
    # PostgreSQL raises an error for some texts that are no id, such as a NUL.
    batch = s.scalar(_locking(query)) if is_id(batch_id) else None
    if batch is None:
        raise NotFoundError("There is no such batch.", code="batch-not-found")
    return batch


def lock_batches(s: Session, batch_ids: Iterable[str]) -> dict[str, Batch]:
    """Lock batches in the order of their ids; those that are gone are left out."""
    query = select(Batch).where(Batch.id.in_(set(batch_ids))).order_by(Batch.id)
    return {batch.id: batch for batch in s.scalars(_locking(query))}


def _locking(query: Select[Batch]) -> Select[Batch]:
    # `key_share`: other transactions may still insert rows that refer to the batch.
    # `populate_existing`: an object that was loaded before the lock may be stale.
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
    # Each of these queries is one step in an index, however large the batch.
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
