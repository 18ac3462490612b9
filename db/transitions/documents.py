"""Transitions of documents, from upload to pages.

Each function that changes a state locks the batch first, then the document.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import and_, insert, or_, select, update
from sqlalchemy.orm import Session

from core.ids import new_id, object_key
from core.text import printable
from db.models import Batch, BatchState, Document, DocumentState, Page, PageState, PassedOver
from db.session import database_now
from db.transitions.events import record_events
from db.transitions.outbox import hint_pages
from db.transitions.settle import lock_batches, settle
from db.transitions.waiting import back_off, take_to_hint


@dataclass(frozen=True, slots=True)
class ClaimedDocument:
    document_id: str
    attempt: int  # the fencing token: every later call passes it
    batch_id: str
    object_key: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class UnopenedDocument:
    document_id: str
    object_key: str
    size: int  # bytes


@dataclass(frozen=True, slots=True)
class NewPage:
    """One page found in a document. A page with an error is failed from the start."""

    ordinal: int  # within its document, from 1
    label: str  # its name in a ZIP, else ""
    sha256: str | None  # of the page image's object; None: the document's own bytes
    media_type: str
    error_code: str | None = None
    error_message: str | None = None


@dataclass(frozen=True, slots=True)
class NewPassedOver:
    """Something found in a document that is no page."""

    name: str
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class OpenedDocument:
    """What was found in a document that was claimed."""

    document_id: str
    attempt: int
    pages: Sequence[NewPage]
    passed_over: Sequence[NewPassedOver] = ()


def claim_document(
    s: Session, document_id: str, *, lease_seconds: float, max_attempts: int
) -> ClaimedDocument | None:
    """Claim a document, to open it. None: it is opened, gone, cancelled, held, or backing off.

    A document that was claimed `max_attempts` times without a result, because it kills the process
    that opens it, is failed and set aside here.
    """
    claimed = claim_documents(
        s, [document_id], lease_seconds=lease_seconds, max_attempts=max_attempts
    )
    return claimed[0] if claimed else None


def claim_documents(
    s: Session, document_ids: Iterable[str], *, lease_seconds: float, max_attempts: int
) -> list[ClaimedDocument]:
    """Claim those of the documents that `claim_document` would claim."""
    found = _lock(s, document_ids)
    now = database_now(s)
    claimed = []
    for batch, document in found:
        if document.state != DocumentState.STORED or batch.state == BatchState.CANCELLED:
            continue
        if document.lease_until is not None and document.lease_until > now:
            continue
        if document.not_before is not None and document.not_before > now:
            continue
        if document.lease_until is not None:  # the last claim expired without a result
            document.failures, document.lease_until = document.failures + 1, None
            if document.failures >= max_attempts:
                _give_up(s, batch, document, now)
                continue
        document.attempt += 1
        document.lease_until = now + timedelta(seconds=lease_seconds)
        claimed.append(
            ClaimedDocument(
                document_id=document.id,
                attempt=document.attempt,
                batch_id=document.batch_id,
                object_key=object_key(document.batch_id, document.sha256),
                sha256=document.sha256,
                size=document.size,
            )
        )
    s.flush()
    return claimed


def renew_document(s: Session, document_id: str, attempt: int, lease_seconds: float) -> bool:
    """Extend the lease of a claim. Return False if the claim no longer holds."""
    held, now = _held(s, {document_id: attempt})
    for _, document in held:
        document.lease_until = now + timedelta(seconds=lease_seconds)
    s.flush()
    return bool(held)


def open_document(
    s: Session,
    document_id: str,
    attempt: int,
    pages: Sequence[NewPage],
    passed_over: Sequence[NewPassedOver] = (),
) -> bool:
    """Write what a document holds. Return False, and write nothing, if the claim does not hold.

    Pages without an error are queued. Call `fail_document` for a document without pages.
    """
    return bool(open_documents(s, [OpenedDocument(document_id, attempt, pages, passed_over)]))


def open_documents(s: Session, documents: Sequence[OpenedDocument]) -> set[str]:
    """Do the same for each document; return the ids of those written."""
    found = {document.document_id: document for document in documents}
    if not all(document.pages for document in documents):
        raise ValueError("a document without pages must be failed instead")
    held, now = _held(s, {document.document_id: document.attempt for document in documents})
    rows: list[dict[str, Any]] = []
    beside: list[dict[str, Any]] = []
    events: dict[str, list[tuple[str, dict[str, Any]]]] = {}
    for batch, document in held:
        new = [_page_row(document, page, now) for page in found[document.id].pages]
        passed_over = _passed_over_rows(document, found[document.id].passed_over)
        document.state, document.lease_until = DocumentState.OPENED, None
        document.error_code = document.error_message = None
        opened = {"document_id": document.id, "filename": document.filename, "pages": len(new)}
        if passed_over:
            opened["passed_over"] = len(passed_over)
        failed = [
            ("page.failed", {"page_id": row["id"], "document_id": document.id, "code": code})
            for row in new
            if (code := row["error_code"])
        ]
        events.setdefault(batch.id, []).extend([("document.opened", opened), *failed])
        rows += new
        beside += passed_over
    if not held:
        return set()
    s.execute(insert(Page), rows)
    if beside:
        s.execute(insert(PassedOver), beside)
    hint_pages(s, [str(row["id"]) for row in rows if row["state"] == PageState.QUEUED])
    s.flush()
    for batch in {batch.id: batch for batch, _ in held}.values():
        record_events(s, batch, now, events[batch.id])
        settle(s, batch, now)
    return {document.id for _, document in held}


def _passed_over_rows(document: Document, items: Sequence[NewPassedOver]) -> list[dict[str, Any]]:
    return [
        {
            "id": new_id(),
            "tenant_id": document.tenant_id,
            "batch_id": document.batch_id,
            "document_id": document.id,
            "ordinal": ordinal,
            "name": item.name,
            "code": item.code,
            "reason": item.reason,
        }
        for ordinal, item in enumerate(items, 1)
    ]


def _page_row(document: Document, page: NewPage, now: datetime) -> dict[str, Any]:
    return {
        "id": new_id(),
        "tenant_id": document.tenant_id,
        "batch_id": document.batch_id,
        "document_id": document.id,
        "ordinal": page.ordinal,
        "label": printable(page.label),
        "sha256": page.sha256 or (None if page.error_code else document.sha256),
        "media_type": page.media_type,
        "state": PageState.FAILED if page.error_code else PageState.QUEUED,
        "attempt": 0,
        "hinted_at": None if page.error_code else now,
        "error_code": page.error_code,
        "error_message": page.error_message,
        "created_at": now,
        "finished_at": now if page.error_code else None,
    }


def fail_document(s: Session, document_id: str, attempt: int, code: str, message: str) -> bool:
    """Record that a document's bytes are bad; `message` is for its owner.

    Return False if the claim does not hold.
    """
    held, now = _held(s, {document_id: attempt})
    for batch, document in held:
        _fail(s, batch, document, now, code, message)
    return bool(held)


def release_document(
    s: Session,
    document_id: str,
    attempt: int,
    code: str,
    message: str,
    *,
    max_attempts: int,
    blame: bool = True,
) -> bool:
    """Give a document back unopened, to be tried again. Return False if the claim does not hold.

    With `blame` the attempt counts against it; after `max_attempts` of these it is failed and set
    aside. Without (a service was away) it backs off, with no limit to the number of attempts.
    """
    held, now = _held(s, {document_id: attempt})
    for batch, document in held:
        document.failures += blame
        if blame and document.failures >= max_attempts:
            document.set_aside = True
            _fail(s, batch, document, now, code, message)
            continue
        if not blame:
            document.not_before = now + back_off(document.attempt - document.failures)
        document.lease_until = document.hinted_at = None
        document.error_code, document.error_message = code, message
    s.flush()
    return bool(held)


def release_expired_documents(s: Session) -> None:
    """Release documents whose lease has expired, without counting the attempt against them.

    For a time when no worker could reach the database to renew a lease.
    """
    now = database_now(s)
    s.execute(
        update(Document)
        .where(Document.state == DocumentState.STORED, Document.lease_until <= now)
        .values(lease_until=None, hinted_at=None)
        .execution_options(synchronize_session=False)
    )


def documents_to_hint(s: Session, *, older_than_seconds: float, limit: int) -> list[str]:
    """Return ids of stored documents that nobody holds and whose last hint is old or missing.

    Marks them as hinted now. Those that were never hinted come first.
    """
    now = database_now(s)
    free = or_(Document.lease_until.is_(None), Document.lease_until <= now)
    return take_to_hint(
        s,
        Document,
        and_(Document.state == DocumentState.STORED, free),
        now,
        older_than_seconds=older_than_seconds,
        limit=limit,
    )


def unopened_documents(s: Session, document_ids: Iterable[str]) -> list[UnopenedDocument]:
    """Return those of the documents that are stored and not yet attempted. Locks nothing."""
    rows = s.execute(
        select(Document.id, Document.batch_id, Document.sha256, Document.size)
        .where(Document.id.in_(list(document_ids)), Document.state == DocumentState.STORED)
        .where(Document.attempt == 0)
        .order_by(Document.id)
    )
    return [
        UnopenedDocument(document_id, object_key(batch_id, sha256), size)
        for document_id, batch_id, sha256, size in rows
    ]


def tried_documents(s: Session, document_ids: Iterable[str]) -> set[str]:
    """Return those of the documents that are stored after at least one attempt. Locks nothing."""
    query = select(Document.id).where(Document.id.in_(list(document_ids)))
    return set(s.scalars(query.where(Document.state == DocumentState.STORED, Document.attempt > 0)))


def _lock(s: Session, document_ids: Iterable[str]) -> list[tuple[Batch, Document]]:
    """Lock batches, then documents, each in the order of ids; those that are gone are left out."""
    ids = list(document_ids)
    batch_ids = set(s.scalars(select(Document.batch_id).where(Document.id.in_(ids))))
    batches = lock_batches(s, batch_ids) if batch_ids else {}
    documents = s.scalars(
        select(Document)
        .where(Document.id.in_(ids), Document.batch_id.in_(list(batches)))
        .order_by(Document.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    return [(batches[document.batch_id], document) for document in documents]


def _held(s: Session, attempts: Mapping[str, int]) -> tuple[list[tuple[Batch, Document]], datetime]:
    """Return (batch, document) for each claim that still holds, and the time."""
    found = _lock(s, attempts)
    now = database_now(s)
    held = [
        (batch, document)
        for batch, document in found
        if document.state == DocumentState.STORED
        and document.attempt == attempts[document.id]
        and document.lease_until is not None
        and document.lease_until > now
        and batch.state != BatchState.CANCELLED
    ]
    return held, now


def _give_up(s: Session, batch: Batch, document: Document, now: datetime) -> None:
    document.set_aside = True
    _fail(
        s,
        batch,
        document,
        now,
        document.error_code or "gave-up",
        document.error_message
        or f"This file could not be opened, after {document.failures} attempts.",
    )


def _fail(
    s: Session, batch: Batch, document: Document, now: datetime, code: str, message: str
) -> None:
    document.state, document.lease_until = DocumentState.FAILED, None
    document.error_code, document.error_message = code, message
    payload = {"document_id": document.id, "filename": document.filename, "code": code}
    s.flush()
    record_events(s, batch, now, [("document.failed", payload)])
    settle(s, batch, now)
