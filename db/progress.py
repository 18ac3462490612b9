"""The progress of a batch: counts by state, percent, and the estimated time left."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db.models import (
    UNREAD_PAGES,
    WORKING_BATCHES,
    Batch,
    BatchState,
    Document,
    DocumentState,
    Field,
    FieldState,
    Page,
    PageState,
    PassedOver,
    TemplateText,
)
from db.session import database_now
from db.views import BatchProgress

# The rate is measured on this many pages: enough to even out groups and slow pages, few enough to
# follow a change of pace (more workers, larger files).
_RATE_PAGES = 128


def progress_of(s: Session, batches: Sequence[Batch]) -> list[BatchProgress]:
    """Return the progress of each batch. The number of counting queries does not grow with them."""
    ids = [batch.id for batch in batches]
    if not ids:
        return []
    documents = _counts(s, Document.batch_id, Document.state, DocumentState, ids)
    pages = _counts(s, Page.batch_id, Page.state, PageState, ids)
    fields = _counts(s, Field.batch_id, Field.state, FieldState, ids)
    passed_over = select(PassedOver.batch_id, func.count()).where(PassedOver.batch_id.in_(ids))
    beside: dict[str, int] = {}
    for one, count in s.execute(passed_over.group_by(PassedOver.batch_id)):
        beside[one] = count
    template_ids = {batch.template_id for batch in batches if batch.template_id}
    named = select(TemplateText.id, TemplateText.name).where(TemplateText.id.in_(template_ids))
    names = {row.id: row.name for row in s.execute(named)} if template_ids else {}
    now = database_now(s)
    return [
        BatchProgress(
            id=batch.id,
            name=batch.name,
            state=batch.state,
            closed=batch.closed,
            template=names.get(batch.template_id or ""),
            release_threshold=batch.release_threshold,
            by_policy=batch.by_policy,
            control_total=batch.control_total,
            control_field=batch.control_field,
            expected_pages=batch.expected_pages,
            expected_documents=batch.expected_documents,
            created_at=batch.created_at,
            finished_at=batch.finished_at,
            documents=documents[batch.id],
            pages=pages[batch.id],
            fields=fields[batch.id],
            passed_over=beside.get(batch.id, 0),
            percent=_percent(batch, documents[batch.id], pages[batch.id]),
            eta_seconds=_eta(s, batch, documents[batch.id], pages[batch.id], now),
        )
        for batch in batches
    ]


def _counts(
    s: Session, batch_id: Any, state: Any, states: type[StrEnum], ids: list[str]
) -> dict[str, dict[str, int]]:
    counts = {one: {name.value: 0 for name in states} for one in ids}
    query = select(batch_id, state, func.count()).where(batch_id.in_(ids))
    for one, name, count in s.execute(query.group_by(batch_id, state)):
        counts[one][name] = count
    return counts


def _percent(batch: Batch, documents: dict[str, int], pages: dict[str, int]) -> float:
    if batch.state not in WORKING_BATCHES:
        return 100.0
    total = _left(documents, pages) + _done(documents, pages)
    # Rounded down, so that 100 means that nothing is left.
    return int(1000 * _done(documents, pages) / total) / 10 if total else 0.0


def _left(documents: dict[str, int], pages: dict[str, int]) -> int:
    return documents[DocumentState.STORED] + sum(pages[state] for state in UNREAD_PAGES)


def _done(documents: dict[str, int], pages: dict[str, int]) -> int:
    ended = sum(count for state, count in pages.items() if state not in UNREAD_PAGES)
    return documents[DocumentState.FAILED] + ended


def _eta(
    s: Session, batch: Batch, documents: dict[str, int], pages: dict[str, int], now: datetime
) -> float | None:
    left = _left(documents, pages)
    if left == 0:
        return 0.0 if batch.closed else None
    if batch.state == BatchState.CANCELLED or pages[PageState.READ] == 0:
        return None
    last = (
        select(Page.finished_at, Page.created_at)
        .where(Page.batch_id == batch.id, Page.finished_at.is_not(None))
        .order_by(Page.finished_at.desc())
        .limit(_RATE_PAGES)
        .subquery()
    )
    count, finished, created = s.execute(
        select(func.count(), func.min(last.c.finished_at), func.min(last.c.created_at))
    ).one()
    # If the window holds all pages that have ended, the work began when the first of them came.
    start = finished if count == _RATE_PAGES else created
    seconds: float = max((now - start).total_seconds(), 0.001)
    return round(left * seconds / int(count), 1)
