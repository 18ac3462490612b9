"""Trying again what was set aside, after its cause has been removed."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from core.errors import ConflictError
from db.models import BatchState, Document, DocumentState, Page, PageState
from db.session import database_now
from db.transitions.events import record_events
from db.transitions.outbox import hint_pages
from db.transitions.settle import lock_batch, settle


@dataclass(frozen=True, slots=True)
class Retried:
    documents: int
    pages: int


def retry_batch(s: Session, *, tenant_id: str, batch_id: str) -> Retried:
    """Queue every quarantined page and every document set aside of a batch again.

    They get all their attempts back. What failed because of its bytes stays failed. Locks the
    batch, without which these states do not change. Raises NotFoundError, and ConflictError for a
    cancelled batch.
    """
    batch = lock_batch(s, batch_id, tenant_id)
    if batch.state == BatchState.CANCELLED:
        raise ConflictError("This batch was cancelled.", code="batch-cancelled")
    quarantined = (Page.batch_id == batch_id, Page.state == PageState.QUARANTINED)
    page_ids = list(s.scalars(select(Page.id).where(*quarantined).order_by(Page.id)))
    aside = (
        Document.batch_id == batch_id,
        Document.state == DocumentState.FAILED,
        Document.set_aside,
    )
    document_ids = list(s.scalars(select(Document.id).where(*aside)))
    retried = Retried(documents=len(document_ids), pages=len(page_ids))
    if not document_ids and not page_ids:
        return retried
    now = database_now(s)
    clean = {"failures": 0, "not_before": None, "error_code": None, "error_message": None}
    s.execute(
        update(Page)
        .where(*quarantined)
        .values(state=PageState.QUEUED, hinted_at=now, finished_at=None, **clean)
        .execution_options(synchronize_session=False)
    )
    hint_pages(s, page_ids)
    # No hint here: the reconciler sends one soon, for each document alone.
    s.execute(
        update(Document)
        .where(*aside)
        .values(state=DocumentState.STORED, set_aside=False, hinted_at=None, **clean)
        .execution_options(synchronize_session=False)
    )
    s.expire_all()
    batch = lock_batch(s, batch_id, tenant_id)
    happened = {"documents": retried.documents, "pages": retried.pages}
    record_events(s, batch, now, [("batch.retried", happened)])
    settle(s, batch, now)
    return retried
