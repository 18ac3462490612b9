"""Whose fault it was: what counts against a page or a document, and the way back."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select, update

from core.errors import ConflictError, NotFoundError
from db.models import Document, DocumentState, Page, PageState
from db.queries import batch_progress, events_after, page_with_fields
from db.session import Database, database_now
from db.transitions.batches import cancel_batch
from db.transitions.documents import (
    claim_document,
    documents_to_hint,
    fail_document,
    release_document,
    release_expired_documents,
    unopened_documents,
)
from db.transitions.outbox import delete_outbox, take_outbox
from db.transitions.pages import fail_page, pages_to_hint, reap_expired, release_page
from db.transitions.retry import Retried, retry_batch
from db.transitions.waiting import back_off
from tests.contract.acts import (
    FOREVER,
    PASSED,
    claimed,
    close,
    new_batch,
    new_document,
    new_tenant,
    opened,
    queued,
)

AWAY = ("store-unavailable", "The store is away.")


def pause_is_over(db: Database, model: type[Page] | type[Document]) -> float:
    """End every pause; return how many seconds of the longest were left."""
    with db.transaction() as s:
        now = database_now(s)
        ends = s.scalars(select(model.not_before).where(model.not_before.is_not(None))).all()
        s.execute(update(model).values(not_before=None))
        return max(((end - now).total_seconds() for end in ends if end), default=0.0)


def test_a_service_that_is_away_uses_up_no_attempts(database: Database) -> None:
    tenant_id, _, (page_id,) = queued(database, 1)
    pauses = []
    for attempt in range(1, 9):
        (claim,) = claimed(database, [page_id])
        assert claim.attempt == attempt
        with database.transaction() as s:
            assert release_page(s, page_id, attempt, *AWAY, max_attempts=3, blame=False)
        assert claimed(database, [page_id]) == []  # not yet, whatever hint comes
        with database.transaction() as s:
            assert pages_to_hint(s, older_than_seconds=PASSED, limit=9) == []
        pauses.append(pause_is_over(database, Page))
        with database.transaction() as s:
            assert pages_to_hint(s, older_than_seconds=60, limit=9) == [page_id]
    assert pauses[0] == pytest.approx(5, abs=2)
    assert pauses == sorted(pauses[:4]) + pauses[4:]
    assert max(pauses) <= 60
    # Its own failures count all the same.
    for left in ("queued", "queued", "quarantined"):
        (claim,) = claimed(database, [page_id])
        with database.transaction() as s:
            assert release_page(s, page_id, claim.attempt, "internal-error", "x", max_attempts=3)
        with database.reading() as s:
            assert page_with_fields(s, tenant_id, page_id).state == left


def test_nothing_is_held_against_pages_while_the_database_was_away(database: Database) -> None:
    _, _, (page_id,) = queued(database, 1)
    for _ in range(5):
        assert len(claimed(database, [page_id], PASSED)) == 1
        with database.transaction() as s:
            assert reap_expired(s, max_attempts=3, blame=False) == [page_id]
    with database.reading() as s:
        assert s.scalar(select(Page.failures).where(Page.id == page_id)) == 0


def test_documents_that_a_service_holds_up(database: Database) -> None:
    tenant_id = new_tenant(database)
    batch_id = new_batch(database, tenant_id)
    document_id = new_document(database, tenant_id, batch_id)
    for attempt in range(1, 6):
        with database.transaction() as s:
            claim = claim_document(s, document_id, lease_seconds=FOREVER, max_attempts=3)
            assert claim is not None
            assert claim.attempt == attempt
        with database.transaction() as s:
            assert release_document(s, document_id, attempt, *AWAY, max_attempts=3, blame=False)
        with database.transaction() as s:
            assert claim_document(s, document_id, lease_seconds=1, max_attempts=3) is None
            assert documents_to_hint(s, older_than_seconds=PASSED, limit=9) == []
        assert pause_is_over(database, Document) > 0
        with database.transaction() as s:
            assert documents_to_hint(s, older_than_seconds=60, limit=9) == [document_id]
    # Leases that ran out because the database was away do not count either.
    for _ in range(5):
        with database.transaction() as s:
            assert claim_document(s, document_id, lease_seconds=PASSED, max_attempts=3)
        with database.transaction() as s:
            release_expired_documents(s)
    with database.reading() as s:
        assert s.scalar(select(Document.failures).where(Document.id == document_id)) == 0


def set_aside(db: Database, document_id: str) -> None:
    for _ in range(3):
        with db.transaction() as s:
            assert claim_document(s, document_id, lease_seconds=PASSED, max_attempts=3)
    with db.transaction() as s:
        assert claim_document(s, document_id, lease_seconds=PASSED, max_attempts=3) is None


def quarantine(db: Database, page_id: str) -> None:
    with db.transaction() as s:
        s.execute(update(Page).where(Page.id == page_id).values(failures=2))
    claimed(db, [page_id], PASSED)
    with db.transaction() as s:
        assert reap_expired(s, max_attempts=3) == []


def test_what_was_set_aside_comes_back(database: Database) -> None:
    tenant_id = new_tenant(database)
    batch_id = new_batch(database, tenant_id)
    good, bad = opened(database, new_document(database, tenant_id, batch_id), 2)
    aside = new_document(database, tenant_id, batch_id, "aside.pdf")
    broken = new_document(database, tenant_id, batch_id, "broken.pdf")
    close(database, tenant_id, batch_id)
    quarantine(database, good)
    (claim,) = claimed(database, [bad])
    with database.transaction() as s:
        assert fail_page(s, bad, claim.attempt, "bad", "bad")
    set_aside(database, aside)
    with database.transaction() as s:
        document = claim_document(s, broken, lease_seconds=FOREVER, max_attempts=3)
        assert document is not None
        assert fail_document(s, broken, document.attempt, "bad", "bad")
        delete_outbox(s, [message.id for message in take_outbox(s, 99)])
    with database.reading() as s:
        before = batch_progress(s, tenant_id, batch_id)
    assert before.state == "complete_with_errors"
    with database.transaction() as s:
        found = retry_batch(s, tenant_id=tenant_id, batch_id=batch_id)
    assert found == Retried(documents=1, pages=1)
    with database.reading() as s:
        after = batch_progress(s, tenant_id, batch_id)
        page = page_with_fields(s, tenant_id, good)
        kinds = [event.kind for event in events_after(s, tenant_id, batch_id)]
        assert [message.payload for message in take_outbox(s, 9)] == [{"page_ids": [good]}]
        # It may be what killed whoever opened it: never together with others.
        assert unopened_documents(s, [aside, broken]) == []
    assert (after.state, after.finished_at) == ("processing", None)
    assert (after.documents["stored"], after.documents["failed"]) == (1, 1)
    assert (after.pages["queued"], after.pages["failed"]) == (1, 1)
    assert (page.state, page.error_code) == (PageState.QUEUED, None)
    assert kinds[-2:] == ["batch.retried", "batch.state"]
    with database.transaction() as s:
        assert documents_to_hint(s, older_than_seconds=60, limit=9) == [aside]
    with database.transaction() as s:  # nothing more to do
        assert retry_batch(s, tenant_id=tenant_id, batch_id=batch_id) == Retried(0, 0)
    # All attempts again, and fences that were never used.
    (claim,) = claimed(database, [good])
    assert claim.attempt == 2
    with database.transaction() as s:
        assert release_page(s, good, claim.attempt, "x", "x", max_attempts=3)
        assert s.scalar(select(Page.state).where(Page.id == good)) == PageState.QUEUED
    set_aside(database, aside)
    with database.reading() as s:
        row = s.execute(select(Document.state, Document.set_aside).where(Document.id == aside))
        assert row.one() == (DocumentState.FAILED, True)


def test_no_way_back_for_others(database: Database) -> None:
    tenant_id, batch_id, (page_id,) = queued(database, 1)
    quarantine(database, page_id)
    stranger = new_tenant(database)
    with database.transaction() as s, pytest.raises(NotFoundError):
        retry_batch(s, tenant_id=stranger, batch_id=batch_id)
    other = new_batch(database, tenant_id)
    with database.transaction() as s:
        cancel_batch(s, tenant_id=tenant_id, batch_id=other)
    with database.transaction() as s, pytest.raises(ConflictError):
        retry_batch(s, tenant_id=tenant_id, batch_id=other)


def test_pauses_have_an_end() -> None:
    assert [back_off(tries).total_seconds() for tries in (0, 1, 2, 3, 4, 5, 99)] == [
        *(5, 5, 10, 20, 40, 60, 60)
    ]
    assert back_off(10**6) == timedelta(seconds=60)
