"""A page from the queue to its end: claims, fences, leases, quarantine."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import func, select, update

from core.policy import Decision
from db.models import Field, Page, PageState, Reading
from db.queries import batch_progress, events_after, page_with_fields
from db.session import Database
from db.transitions.batches import cancel_batch, delete_batch
from db.transitions.outbox import take_outbox
from db.transitions.pages import (
    complete_pages,
    fail_page,
    pages_to_hint,
    pass_over_page,
    reap_expired,
    release_page,
    renew_leases,
    tried_pages,
)
from tests.contract.acts import FOREVER, PASSED, claimed, complete_page, queued, result

ACCEPTED, REVIEW = Decision.ACCEPTED, Decision.REVIEW


def state(db: Database, page_id: str) -> tuple[str, int]:
    with db.reading() as s:
        row = s.execute(select(Page.state, Page.attempt).where(Page.id == page_id)).one()
        return row[0], row[1]


def count(db: Database, model: type) -> int:
    with db.reading() as s:
        return s.scalar(select(func.count()).select_from(model)) or 0


def test_a_page_is_claimed_once(database: Database) -> None:
    _, batch_id, pages = queued(database, 3)
    first = claimed(database, pages[:2])
    assert [(one.page_id, one.attempt) for one in first] == [(pages[0], 1), (pages[1], 1)]
    assert {one.object_key.split("/")[0] for one in first} == {batch_id}
    assert first[0].release_threshold == 0.5
    assert [one.page_id for one in claimed(database, pages)] == [pages[2]]
    assert claimed(database, [*pages, "0" * 32]) == []


def test_what_was_read_is_written(database: Database) -> None:
    tenant_id, batch_id, pages = queued(database, 1)
    (claim,) = claimed(database, pages)
    with database.transaction() as s:
        assert complete_page(s, claim.page_id, claim.attempt, result(ACCEPTED, REVIEW))
    with database.reading() as s:
        page = page_with_fields(s, tenant_id, pages[0])
        score = s.scalar(select(Page.template_score).where(Page.id == pages[0]))
        progress = batch_progress(s, tenant_id, batch_id)
        kinds = [event.kind for event in events_after(s, tenant_id, batch_id)]
    assert (page.state, page.width, page.height, score) == ("read", 1600, 750, 0.9)
    first, second = page.fields
    assert (first.name, first.state, first.value, first.released_by) == (
        "field-1",
        "accepted",
        "253",
        "policy",
    )
    assert (second.state, second.value, second.released_by) == ("review", "253", None)
    assert (first.reason, second.reason) == (None, "below-threshold")
    assert first.alternatives == [{"value": "253", "probability": 0.9}]
    assert (first.box, first.model_sha256) == ((1.5, 2.0, 30.0, 40.0), "f" * 64)
    assert progress.state == "reviewing"
    assert (progress.percent, progress.eta_seconds) == (100.0, 0.0)
    assert kinds == [
        "batch.created",
        "document.added",
        "document.opened",
        "batch.state",
        "page.read",
        "batch.state",
    ]


def test_a_late_writer_changes_nothing(database: Database) -> None:
    tenant_id, _, (page_id,) = queued(database, 1)
    (late,) = claimed(database, [page_id], PASSED)
    with database.transaction() as s:
        assert not complete_page(s, page_id, late.attempt, result(ACCEPTED))
        assert renew_leases(s, [(page_id, late.attempt)], FOREVER) == set()
    with database.transaction() as s:
        assert reap_expired(s, max_attempts=3) == [page_id]
    (current,) = claimed(database, [page_id])
    assert current.attempt == 2
    for late_attempt in (late.attempt, 0, 3):
        with database.transaction() as s:
            assert not complete_page(s, page_id, late_attempt, result(ACCEPTED, value="1"))
            assert not fail_page(s, page_id, late_attempt, "bad", "bad")
            assert not release_page(s, page_id, late_attempt, "x", "x", max_attempts=3)
    assert (state(database, page_id), count(database, Field)) == (("leased", 2), 0)
    with database.transaction() as s:
        assert complete_page(s, page_id, 2, result(ACCEPTED, value="2"))
    with database.transaction() as s:
        assert not complete_page(s, page_id, 2, result(ACCEPTED, value="3"))
    with database.reading() as s:
        (field,) = page_with_fields(s, tenant_id, page_id).fields
    assert (field.value, count(database, Reading)) == ("2", 1)


def test_a_group_is_taken_but_for_those_that_are_lost(database: Database) -> None:
    tenant_id, batch_id, pages = queued(database, 4)
    claims = claimed(database, pages)
    with database.transaction() as s:
        s.execute(update(Page).where(Page.id == pages[1]).values(attempt=7))
    with database.transaction() as s:
        taken = complete_pages(s, [(one.page_id, one.attempt, result(ACCEPTED)) for one in claims])
    assert taken == {pages[0], pages[2], pages[3]}
    with database.reading() as s:
        assert batch_progress(s, tenant_id, batch_id).pages["read"] == 3


def test_a_heartbeat_holds_what_is_ours(database: Database) -> None:
    _, _, pages = queued(database, 2)
    claims = claimed(database, pages, 60.0)
    with database.transaction() as s:
        ours = renew_leases(s, [(claims[0].page_id, 1), (claims[1].page_id, 2)], FOREVER)
    assert ours == {pages[0]}


def test_bad_bytes_end_a_page_at_once(database: Database) -> None:
    tenant_id, batch_id, pages = queued(database, 2)
    bad, good = claimed(database, pages)
    with database.transaction() as s:
        assert fail_page(s, bad.page_id, bad.attempt, "truncated", "The image ends early.")
    with database.transaction() as s:
        assert complete_page(s, good.page_id, good.attempt, result(ACCEPTED))
    with database.reading() as s:
        page = page_with_fields(s, tenant_id, bad.page_id)
        progress = batch_progress(s, tenant_id, batch_id)
    assert (page.state, page.error_code) == ("failed", "truncated")
    assert page.error_message == "The image ends early."
    assert progress.state == "complete_with_errors"
    assert progress.finished_at is not None


def test_a_passing_fault_is_tried_again_until_it_is_enough(database: Database) -> None:
    tenant_id, batch_id, (page_id,) = queued(database, 1)
    for attempt in (1, 2, 3):
        (claim,) = claimed(database, [page_id])
        assert claim.attempt == attempt
        with database.transaction() as s:
            assert release_page(s, page_id, attempt, "away", "The store is away.", max_attempts=3)
    assert state(database, page_id) == (PageState.QUARANTINED, 3)
    assert claimed(database, [page_id]) == []
    with database.reading() as s:
        assert batch_progress(s, tenant_id, batch_id).state == "complete_with_errors"
        assert page_with_fields(s, tenant_id, page_id).error_code == "away"


def test_a_page_that_kills_its_workers_is_set_aside(database: Database) -> None:
    tenant_id, batch_id, (page_id,) = queued(database, 1)
    for again in ([page_id], [page_id], []):
        assert len(claimed(database, [page_id], PASSED)) == 1
        with database.transaction() as s:
            assert reap_expired(s, max_attempts=3) == again
    assert state(database, page_id) == (PageState.QUARANTINED, 3)
    with database.reading() as s:
        assert batch_progress(s, tenant_id, batch_id).state == "complete_with_errors"
        assert "3 attempts" in (page_with_fields(s, tenant_id, page_id).error_message or "")


def test_the_reaper_leaves_what_is_held(database: Database) -> None:
    _, _, pages = queued(database, 2)
    claimed(database, pages[:1])
    with database.transaction() as s:
        assert reap_expired(s, max_attempts=1) == []
    assert state(database, pages[0]) == ("leased", 1)


def test_hints(database: Database) -> None:
    _, _, pages = queued(database, 3)
    with database.reading() as s:
        kinds = [(message.kind, message.payload) for message in take_outbox(s, 10)]
    assert kinds[0][0] == "intake"
    assert kinds[1:] == [("read", {"page_ids": pages})]
    with database.transaction() as s:  # the outbox has told of them
        assert pages_to_hint(s, older_than_seconds=60, limit=10) == []
    with database.transaction() as s:
        assert pages_to_hint(s, older_than_seconds=PASSED, limit=2) == pages[:2]
    (claim, *_) = claimed(database, pages[:1])
    with database.transaction() as s:  # given back: nobody knows of it
        release_page(s, claim.page_id, claim.attempt, "away", "away", max_attempts=3)
        assert pages_to_hint(s, older_than_seconds=60, limit=10) == pages[:1]
        assert pages_to_hint(s, older_than_seconds=60, limit=10) == []


def test_pages_that_were_tried_before(database: Database) -> None:
    _, _, pages = queued(database, 3)
    back, held = claimed(database, pages[:2])
    with database.transaction() as s:
        release_page(s, back.page_id, back.attempt, "x", "x", max_attempts=3)
    with database.reading() as s:
        assert tried_pages(s, [*pages, "0" * 32]) == {back.page_id}
        assert tried_pages(s, [held.page_id]) == tried_pages(s, []) == set()


@pytest.mark.parametrize("end", [cancel_batch, delete_batch])
def test_cancelled_and_deleted_pages_are_fenced_off(database: Database, end: object) -> None:
    tenant_id, batch_id, pages = queued(database, 3)
    held, done = claimed(database, pages[:2])
    with database.transaction() as s:
        assert complete_page(s, done.page_id, done.attempt, result(REVIEW))
    with database.transaction() as s:
        end(s, tenant_id=tenant_id, batch_id=batch_id)  # type: ignore[operator]
    with database.transaction() as s:
        assert not complete_page(s, held.page_id, held.attempt, result(ACCEPTED))
        assert not release_page(s, held.page_id, held.attempt, "x", "x", max_attempts=3)
        assert renew_leases(s, [(held.page_id, held.attempt)], FOREVER) == set()
        assert reap_expired(s, max_attempts=3) == []
        assert pages_to_hint(s, older_than_seconds=PASSED, limit=9) == []
    assert claimed(database, pages) == []
    assert count(database, Field) == (1 if end is cancel_batch else 0)


def test_a_page_that_is_passed_over_is_neither_read_nor_lost(database: Database) -> None:
    tenant_id, batch_id, pages = queued(database, 2)
    read, ignored = claimed(database, pages)
    assert (read.number, ignored.number) == (1, 2)
    with database.transaction() as s:
        complete_page(s, read.page_id, read.attempt, replace(result(), template="exam/cover"))
        assert pass_over_page(s, ignored.page_id, ignored.attempt, "exam/body", "Not to be read.")
        assert not pass_over_page(s, ignored.page_id, ignored.attempt, "exam/body", "Again.")
    with database.reading() as s:
        views = [page_with_fields(s, tenant_id, page_id) for page_id in pages]
        progress = batch_progress(s, tenant_id, batch_id)
        kinds = [event.kind for event in events_after(s, tenant_id, batch_id)]
    assert [(view.state, view.template) for view in views] == [
        ("read", "exam/cover"),
        ("passed_over", "exam/body"),
    ]
    assert (views[1].error_code, views[1].error_message) == ("ignored", "Not to be read.")
    assert (progress.state, progress.percent) == ("complete", 100.0)
    assert (progress.pages["read"], progress.pages["passed_over"]) == (1, 1)
    assert "page.passed_over" in kinds
