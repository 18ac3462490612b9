"""Transitions of pages, from the queue to their end.

A worker claims a page: it gets the number of its attempt, which is the fencing token, and a lease
on the database's clock. Every later call passes the attempt. Once the lease has expired, or the
page was cancelled, such a call changes nothing.

Locks: transitions that may end a page lock its batch first (see `settle`); claims and heartbeats
lock pages only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.ids import object_key
from core.keying import AUDIT_SHARE
from core.release import Rules
from db.models import Batch, BatchState, Document, Page, PageState, TemplateText
from db.session import database_now
from db.transitions.checking import check_results
from db.transitions.events import record_events
from db.transitions.policies import rules_in_force
from db.transitions.results import PageResult, insert_fields
from db.transitions.settle import lock_batches, settle
from db.transitions.waiting import back_off, may_be_tried, take_to_hint

# Pages that one call of the reaper takes. The next call takes more.
_REAPED_AT_ONCE = 1000
_UNLIMITED = 1 << 30
_STOPPED = "The worker that read this page stopped before it was done."


@dataclass(frozen=True, slots=True)
class ClaimedPage:
    page_id: str
    attempt: int  # the fencing token: every later call passes it
    object_key: str
    media_type: str
    number: int  # in its document, from 1
    template_id: str | None
    template_text: str | None
    release_threshold: float | None
    policy: Rules | None = None  # of the site, if its batch asks for it and one is in force


def claim_pages(
    s: Session, page_ids: Iterable[str], *, worker: str, lease_seconds: float
) -> list[ClaimedPage]:
    """Claim those of the pages that are queued. Of two workers that ask at once, one gets each."""
    now = database_now(s)
    rows = s.execute(
        select(Page, Document.template_id, TemplateText.text, Batch)
        .join(Document, Page.document_id == Document.id)
        .join(Batch, Page.batch_id == Batch.id)
        .join(TemplateText, Document.template_id == TemplateText.id, isouter=True)
        .where(Page.id.in_(list(page_ids)), Page.state == PageState.QUEUED)
        .where(may_be_tried(Page, now))
        .where(Batch.state != BatchState.CANCELLED)
        .order_by(Page.id)
        .with_for_update(of=Page, skip_locked=True)
        .execution_options(populate_existing=True)
    ).all()
    lease_until = database_now(s) + timedelta(seconds=lease_seconds)
    claimed = []
    asking = {batch.tenant_id for _, _, _, batch in rows if batch.by_policy}
    policies = {tenant_id: rules_in_force(s, tenant_id) for tenant_id in asking}
    for page, template_id, template_text, batch in rows:
        page.state = PageState.LEASED
        page.attempt += 1
        page.lease_until = lease_until
        page.worker = worker
        claimed.append(
            ClaimedPage(
                page_id=page.id,
                attempt=page.attempt,
                object_key=object_key(page.batch_id, page.sha256 or ""),
                media_type=page.media_type,
                number=page.ordinal,
                template_id=template_id,
                template_text=template_text,
                release_threshold=batch.release_threshold,
                policy=policies[batch.tenant_id] if batch.by_policy else None,
            )
        )
    s.flush()
    return claimed


def renew_leases(s: Session, claims: Sequence[tuple[str, int]], lease_seconds: float) -> set[str]:
    """Extend the leases of claims (page id, attempt); return the page ids of those that hold."""
    pages = _lock_pages(s, [page_id for page_id, _ in claims])
    now = database_now(s)
    ours = [
        page
        for page_id, attempt in claims
        if (page := pages.get(page_id)) is not None and _holds(page, attempt, now)
    ]
    for page in ours:
        page.lease_until = now + timedelta(seconds=lease_seconds)
    s.flush()
    return {page.id for page in ours}


def complete_pages(
    s: Session,
    results: Sequence[tuple[str, int, PageResult]],
    *,
    audit_share: float = AUDIT_SHARE,
) -> set[str]:
    """Write (page id, attempt, result) of a group; return the ids of the pages written.

    Those whose claim does not hold are left out. People are to check `audit_share`, 0 to 1, of the
    values that policy releases.
    """
    held = _hold(s, [(page_id, attempt) for page_id, attempt, _ in results])
    by_id = {page_id: result for page_id, _, result in results}
    read = [(page, by_id[page.id]) for page in held.pages]
    for page, result in read:
        _end(page, PageState.READ, held.now)
        page.width, page.height = result.width, result.height
        page.turn = result.turn
        page.template, page.template_score = result.template, result.template_score
        page.policy_id = result.policy_id
    s.flush()
    insert_fields(s, check_results(s, read), held.now, audit_share)
    _close(s, held, "page.read")
    return {page.id for page, _ in read}


def fail_page(s: Session, page_id: str, attempt: int, code: str, message: str) -> bool:
    """Record that a page's bytes are bad; `message` is for its owner.

    Return False if the claim does not hold.
    """
    held = _hold(s, [(page_id, attempt)])
    for page in held.pages:
        _end(page, PageState.FAILED, held.now, code, message)
    _close(s, held, "page.failed")
    return bool(held.pages)


def pass_over_page(s: Session, page_id: str, attempt: int, template: str, reason: str) -> bool:
    """Record that a page is not to be read, because its `template` says to ignore it.

    Return False if the claim does not hold.
    """
    held = _hold(s, [(page_id, attempt)])
    for page in held.pages:
        _end(page, PageState.PASSED_OVER, held.now, "ignored", reason)
        page.template = template
    _close(s, held, "page.passed_over")
    return bool(held.pages)


def release_page(
    s: Session,
    page_id: str,
    attempt: int,
    code: str,
    message: str,
    *,
    max_attempts: int,
    blame: bool = True,
) -> bool:
    """Give a page back unread, to be queued again. Return False if the claim does not hold.

    With `blame` the attempt counts against the page; after `max_attempts` of these it is
    quarantined with this error. Without (a service was away) it backs off, with no limit to the
    number of attempts.
    """
    held = _hold(s, [(page_id, attempt)])
    for page in held.pages:
        page.failures += blame
        if blame and page.failures >= max_attempts:
            _end(page, PageState.QUARANTINED, held.now, code, message)
        else:
            _requeue(page, code, message)
            if not blame:
                page.not_before = held.now + back_off(page.attempt - page.failures)
    ended = [page for page in held.pages if page.state == PageState.QUARANTINED]
    _close(s, _Held(held.batches, ended, held.now), "page.quarantined")
    return bool(held.pages)


def reap_expired(s: Session, *, max_attempts: int, blame: bool = True) -> list[str]:
    """Take back pages whose lease has expired; return the ids of those that are queued again.

    Pages that have used up their attempts are quarantined. Without `blame` (no worker could reach
    the database to renew a lease) the attempt does not count. Many may call this at once.
    """
    if not blame:
        max_attempts = _UNLIMITED
    now = database_now(s)
    expired = (
        select(Page.id)
        .where(Page.state == PageState.LEASED, Page.lease_until <= now)
        .limit(_REAPED_AT_ONCE)
    )
    # Quarantine first: it locks batches, and no page may be locked before its batch.
    spent = s.execute(
        select(Page.id, Page.attempt).where(Page.id.in_(expired), Page.failures + 1 >= max_attempts)
    ).all()
    if spent:
        _quarantine(s, [(page_id, attempt) for page_id, attempt in spent])
    queued = s.scalars(
        select(Page)
        .where(Page.state == PageState.LEASED, Page.lease_until <= now)
        .where(Page.failures + 1 < max_attempts)
        .order_by(Page.id)
        .limit(_REAPED_AT_ONCE)
        .with_for_update(skip_locked=True)
        .execution_options(populate_existing=True)
    ).all()
    for page in queued:
        page.failures += blame
        _requeue(page, "lease-expired", _STOPPED)
    s.flush()
    return [page.id for page in queued]


def pages_to_hint(s: Session, *, older_than_seconds: float, limit: int) -> list[str]:
    """Return ids of queued pages whose last hint is old or missing.

    Marks them as hinted now. Those that were never hinted come first.
    """
    return take_to_hint(
        s,
        Page,
        Page.state == PageState.QUEUED,
        database_now(s),
        older_than_seconds=older_than_seconds,
        limit=limit,
    )


def tried_pages(s: Session, page_ids: Iterable[str]) -> set[str]:
    """Return those of the pages that are queued after at least one attempt. Locks nothing."""
    query = select(Page.id).where(Page.id.in_(list(page_ids)))
    return set(s.scalars(query.where(Page.state == PageState.QUEUED, Page.attempt > 0)))


@dataclass(frozen=True, slots=True)
class _Held:
    """Pages whose claims hold, and the batches of the claims, all locked."""

    batches: dict[str, Batch]
    pages: list[Page]
    now: datetime


def _hold(s: Session, claims: Sequence[tuple[str, int]]) -> _Held:
    batches, pages, now = _lock_with_batches(s, [page_id for page_id, _ in claims])
    ours = [
        page
        for page_id, attempt in dict(claims).items()
        if (page := pages.get(page_id)) is not None
        and page.batch_id in batches
        and batches[page.batch_id].state != BatchState.CANCELLED
        and _holds(page, attempt, now)
    ]
    return _Held(batches, ours, now)


def _quarantine(s: Session, claims: Sequence[tuple[str, int]]) -> None:
    batches, pages, now = _lock_with_batches(s, [page_id for page_id, _ in claims])
    ended = []
    for page_id, attempt in claims:
        page = pages.get(page_id)
        # Before it was locked, its worker may have finished it or renewed the lease.
        if (
            page is None
            or page.state != PageState.LEASED
            or page.attempt != attempt
            or page.lease_until is None
            or page.lease_until > now
        ):
            continue
        page.failures += 1
        message = f"This page could not be read, after {page.failures} attempts. {_STOPPED}"
        _end(page, PageState.QUARANTINED, now, "lease-expired", message)
        ended.append(page)
    _close(s, _Held(batches, ended, now), "page.quarantined")


def _lock_with_batches(
    s: Session, page_ids: list[str]
) -> tuple[dict[str, Batch], dict[str, Page], datetime]:
    batch_ids = s.scalars(select(Page.batch_id).where(Page.id.in_(page_ids)).distinct()).all()
    batches = lock_batches(s, batch_ids)
    pages = _lock_pages(s, page_ids)
    return batches, pages, database_now(s)


def _lock_pages(s: Session, page_ids: list[str]) -> dict[str, Page]:
    query = select(Page).where(Page.id.in_(page_ids)).order_by(Page.id).with_for_update()
    return {page.id: page for page in s.scalars(query.execution_options(populate_existing=True))}


def _holds(page: Page, attempt: int, now: datetime) -> bool:
    return (
        page.state == PageState.LEASED
        and page.attempt == attempt
        and page.lease_until is not None
        and page.lease_until > now
    )


def _requeue(page: Page, code: str, message: str) -> None:
    page.state, page.lease_until, page.hinted_at = PageState.QUEUED, None, None
    page.not_before = None
    page.error_code, page.error_message = code, message


def _end(
    page: Page,
    state: PageState,
    now: datetime,
    code: str | None = None,
    message: str | None = None,
) -> None:
    page.state, page.lease_until, page.finished_at = state, None, now
    page.error_code, page.error_message = code, message


def _close(s: Session, held: _Held, kind: str) -> None:
    """Write an event for each page that has ended, and settle the batches."""
    s.flush()
    for batch_id, batch in held.batches.items():
        events = [(kind, _payload(page)) for page in held.pages if page.batch_id == batch_id]
        if events:
            record_events(s, batch, held.now, events)
            settle(s, batch, held.now)


def _payload(page: Page) -> dict[str, str | int]:
    payload: dict[str, str | int] = {
        "page_id": page.id,
        "document_id": page.document_id,
        "ordinal": page.ordinal,
    }
    return payload | ({"code": page.error_code} if page.error_code else {})
