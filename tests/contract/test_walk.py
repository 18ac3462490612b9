"""Transitions in any order: what the design says always holds, does."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import func, select, update

from core.ids import new_id
from core.policy import Decision
from db.models import Batch, Field, Page, Reading
from db.queries import batch_progress, iter_pages, list_batches, list_fields
from db.session import Database
from db.transitions.batches import cancel_batch, delete_batch
from db.transitions.documents import NewPage, claim_document, fail_document, open_document
from db.transitions.fields import ANY_VERSION, mark_unreadable, verify_field
from db.transitions.pages import (
    claim_pages,
    fail_page,
    pass_over_page,
    reap_expired,
    release_page,
    renew_leases,
)
from db.transitions.retry import Retried, retry_batch
from tests.contract.acts import (
    FOREVER,
    PASSED,
    as_typed,
    close,
    complete_page,
    new_batch,
    new_document,
    new_tenant,
    result,
)
from tests.contract.walk_model import (
    ENDED,
    MAX_ATTEMPTS,
    ModelBatch,
    ModelPage,
    after_attempt,
    count,
    counted,
    holds,
    pick,
)

INDEX = st.integers(0, 1000)


class Walk(RuleBasedStateMachine):
    def __init__(self, db: Database) -> None:
        super().__init__()
        self.db = db
        self.tenants = [new_tenant(db), new_tenant(db)]
        self.batches: list[ModelBatch] = []
        self.claims: list[tuple[ModelPage, int]] = []

    def teardown(self) -> None:
        """Let everything come to its end, and see that it does."""
        for batch in self.batches:
            for document_id, state in batch.documents.items():
                if state == "stored" and not batch.cancelled:
                    self._open(batch, document_id, ["good"])
            if not batch.cancelled:
                close(self.db, batch.tenant_id, batch.id)
                batch.closed = True
        # Whoever holds a page now dies, and the reaper comes.
        with self.db.transaction() as s:
            for page in self._pages("leased"):
                if page.held:
                    renew_leases(s, [(page.id, page.attempt)], PASSED)
                    page.held = False
        self.reap(blame=True)
        self.time_passes()
        for page in self._pages("queued"):
            self._claim([page], FOREVER)
            self._complete(page, page.attempt, Decision.ACCEPTED)
        for batch in self.batches:
            for field_id, state in batch.fields.items():
                if state == "review" and not batch.cancelled:
                    self._judge(batch, field_id, None)
        self.all_agree()
        for batch in self.batches:
            assert batch.state() in ENDED
            with self.db.transaction() as s:
                delete_batch(s, tenant_id=batch.tenant_id, batch_id=batch.id)

    # --- what may happen ---

    @rule(tenant=st.integers(0, 1))
    def create(self, tenant: int) -> None:
        tenant_id = self.tenants[tenant]
        self.batches.append(ModelBatch(new_batch(self.db, tenant_id), tenant_id))

    @precondition(lambda self: any(not one.closed for one in self.batches))
    @rule(which=INDEX, pages=st.lists(st.sampled_from(["good", "good", "bad"]), max_size=4))
    def add(self, which: int, pages: list[str]) -> None:
        """Add a file and open it; one without pages fails."""
        batch = pick([one for one in self.batches if not one.closed], which)
        document_id = new_document(self.db, batch.tenant_id, batch.id, new_id())
        batch.documents[document_id] = "stored"
        if which % 3:
            self._open(batch, document_id, pages)

    @precondition(lambda self: self.batches)
    @rule(which=INDEX)
    def close(self, which: int) -> None:
        batch = pick(self.batches, which)
        if not batch.cancelled:
            close(self.db, batch.tenant_id, batch.id)
            batch.closed = True

    @precondition(lambda self: self._pages())
    @rule(which=st.lists(INDEX, min_size=1, max_size=4), lease=st.sampled_from([FOREVER, PASSED]))
    def claim(self, which: list[int], lease: float) -> None:
        self._claim([pick(self._pages(), one) for one in which], lease)

    @precondition(lambda self: self.claims)
    @rule(which=INDEX, decision=st.sampled_from(Decision))
    def complete(self, which: int, decision: Decision) -> None:
        page, attempt = pick(self.claims, which)
        self._complete(page, attempt, decision)

    @precondition(lambda self: self.claims)
    @rule(which=INDEX, fault=st.sampled_from(["page", "service", "bytes", "ignored"]))
    def give_up(self, which: int, fault: str) -> None:
        page, attempt = pick(self.claims, which)
        blame = fault == "page"
        with self.db.transaction() as s:
            if fault == "bytes":
                taken = fail_page(s, page.id, attempt, "bad", "bad")
            elif fault == "ignored":
                taken = pass_over_page(s, page.id, attempt, "exam/body", "not to be read")
            else:
                taken = release_page(
                    s, page.id, attempt, "x", "x", max_attempts=MAX_ATTEMPTS, blame=blame
                )
        assert taken == holds(page, attempt)
        if taken:
            page.held = False
            page.waits = fault == "service"
            ended = {"bytes": "failed", "ignored": "passed_over"}
            page.state = ended.get(fault) or after_attempt(page, blame)

    @precondition(lambda self: any(page.waits for page in self._pages()))
    @rule()
    def time_passes(self) -> None:
        """The pauses of pages that wait for a service are over."""
        with self.db.transaction() as s:
            s.execute(update(Page).values(not_before=None))
        for page in self._pages():
            page.waits = False

    @precondition(lambda self: self.batches)
    @rule(which=INDEX)
    def retry(self, which: int) -> None:
        batch = pick(self.batches, which)
        aside = [page for page in batch.pages if page.state == "quarantined"]
        if batch.cancelled:
            return
        with self.db.transaction() as s:
            retried = retry_batch(s, tenant_id=batch.tenant_id, batch_id=batch.id)
        assert retried == Retried(documents=0, pages=len(aside))
        for page in aside:
            page.state, page.failures = "queued", 0

    @precondition(lambda self: self.claims)
    @rule(which=INDEX)
    def renew(self, which: int) -> None:
        page, attempt = pick(self.claims, which)
        with self.db.transaction() as s:
            ours = renew_leases(s, [(page.id, attempt)], FOREVER)
        assert ours == ({page.id} if holds(page, attempt) else set())

    @rule(blame=st.booleans())
    def reap(self, blame: bool = True) -> None:
        with self.db.transaction() as s:
            again = set(reap_expired(s, max_attempts=MAX_ATTEMPTS, blame=blame))
        passed = [page for page in self._pages("leased") if not page.held]
        for page in passed:
            page.state = after_attempt(page, blame)
        assert again == {page.id for page in passed if page.state == "queued"}

    @precondition(lambda self: any(one.fields for one in self.batches))
    @rule(which=INDEX, value=st.none() | st.text("0123456789", max_size=4))
    def judge(self, which: int, value: str | None) -> None:
        batch = pick([one for one in self.batches if one.fields], which)
        if not batch.cancelled:
            self._judge(batch, pick(sorted(batch.fields), which), value)

    @precondition(lambda self: self.batches)
    @rule(which=INDEX)
    def cancel(self, which: int) -> None:
        batch = pick(self.batches, which)
        if batch.state() in ENDED:
            return
        with self.db.transaction() as s:
            cancel_batch(s, tenant_id=batch.tenant_id, batch_id=batch.id)
        batch.closed = batch.cancelled = True
        for page in batch.pages:
            if page.state in ("queued", "leased"):
                page.state, page.held = "cancelled", False
        for document_id, state in batch.documents.items():
            if state == "stored":
                batch.documents[document_id] = "failed"

    @precondition(lambda self: len(self.batches) > 3)
    @rule(which=INDEX)
    def delete(self, which: int) -> None:
        batch = pick(self.batches, which)
        with self.db.transaction() as s:
            delete_batch(s, tenant_id=batch.tenant_id, batch_id=batch.id)
        self.batches.remove(batch)
        for page in batch.pages:
            page.state, page.held = "deleted", False

    # --- what always holds ---

    @invariant()
    def all_agree(self) -> None:
        with self.db.reading() as s:
            for tenant_id in self.tenants:
                ours = {one.id for one in self.batches if one.tenant_id == tenant_id}
                assert {one.id for one in list_batches(s, tenant_id)} == ours
            for batch in self.batches:
                progress = batch_progress(s, batch.tenant_id, batch.id)
                assert progress.state == batch.state()
                assert (progress.finished_at is not None) == (batch.state() in ENDED)
                assert counted(progress.pages) == count([page.state for page in batch.pages])
                assert counted(progress.documents) == count(list(batch.documents.values()))
                assert counted(progress.fields) == count(list(batch.fields.values()))
                rows = {row.id: row for row in iter_pages(s, batch.tenant_id, batch.id)}
                assert set(rows) == {page.id for page in batch.pages}
                query = select(Page.id, Page.attempt).where(Page.batch_id == batch.id)
                attempts = {row.id: row.attempt for row in s.execute(query)}
                for page in batch.pages:
                    row = rows[page.id]
                    assert (row.state, attempts[page.id]) == (page.state, page.attempt)
                    assert page.failures <= MAX_ATTEMPTS
                    assert [one.raw for one in row.fields] == (
                        [] if page.value is None else [page.value]
                    )
                    for one in row.fields:
                        assert (one.released_by is None) == (one.state == "review")
                ids = [page.id for page in batch.pages]
                readings = select(func.count()).join(Field).where(Field.page_id.in_(ids))
                assert s.scalar(readings.select_from(Reading)) == len(batch.fields)
            mine = [batch.id for batch in self.batches]
            theirs = s.scalar(
                select(func.count())
                .select_from(Page)
                .join(Batch)
                .where(Batch.tenant_id.in_(self.tenants), Page.batch_id.not_in(mine))
            )
            assert theirs == 0

    # --- acts of more than one rule ---

    def _pages(self, state: str | None = None) -> list[ModelPage]:
        return [
            page
            for batch in self.batches
            for page in batch.pages
            if state is None or page.state == state
        ]

    def _open(self, batch: ModelBatch, document_id: str, pages: list[str]) -> None:
        with self.db.transaction() as s:
            claim = claim_document(s, document_id, lease_seconds=FOREVER, max_attempts=3)
            assert claim is not None
        if not pages:
            with self.db.transaction() as s:
                assert fail_document(s, document_id, claim.attempt, "empty", "empty")
            batch.documents[document_id] = "failed"
            return
        new = [
            NewPage(number, "", None, "image/png", None if kind == "good" else "bad")
            for number, kind in enumerate(pages, 1)
        ]
        with self.db.transaction() as s:
            assert open_document(s, document_id, claim.attempt, new)
        batch.documents[document_id] = "opened"
        with self.db.reading() as s:
            query = select(Page.id, Page.state).where(Page.document_id == document_id)
            for page_id, state in s.execute(query.order_by(Page.ordinal)):
                batch.pages.append(ModelPage(page_id, batch, state))

    def _claim(self, pages: list[ModelPage], lease: float) -> None:
        with self.db.transaction() as s:
            claimed = claim_pages(s, [page.id for page in pages], worker="w", lease_seconds=lease)
        waiting = {page.id: page for page in pages if page.state == "queued" and not page.waits}
        assert {one.page_id for one in claimed} == set(waiting)
        for one in claimed:
            page = waiting[one.page_id]
            page.state, page.attempt, page.held = "leased", page.attempt + 1, lease > 0
            assert one.attempt == page.attempt
            assert one.object_key.startswith(f"{page.batch.id}/")
            self.claims.append((page, one.attempt))

    def _complete(self, page: ModelPage, attempt: int, decision: Decision) -> None:
        value = new_id()
        with self.db.transaction() as s:
            taken = complete_page(s, page.id, attempt, result(decision, value=value))
        assert taken == holds(page, attempt)
        if taken:
            page.state, page.held, page.value = "read", False, value
            with self.db.reading() as s:
                query = select(Field.id).where(Field.page_id == page.id)
                page.batch.fields[s.scalars(query).one()] = decision.value

    def _judge(self, batch: ModelBatch, field_id: str, value: str | None) -> None:
        who: dict[str, Any] = {
            "tenant_id": batch.tenant_id,
            "field_id": field_id,
            "who": "ann",
            "seen": ANY_VERSION,
        }
        with self.db.transaction() as s:
            if value is None:
                mark_unreadable(s, **who)
            else:
                verify_field(s, value=value, check=as_typed, **who)
        batch.fields[field_id] = "unreadable" if value is None else "verified"
        with self.db.reading() as s:
            views = {one.id: one for one in list_fields(s, batch.tenant_id, batch.id)}
            assert views[field_id].value == value


def walk(url: str, examples: int, steps: int) -> None:
    db = Database(url)
    try:
        run_state_machine_as_test(
            lambda: Walk(db),  # type: ignore[arg-type]  # called, and nothing else
            settings=settings(
                max_examples=examples,
                stateful_step_count=steps,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
    finally:
        db.dispose()


def test_a_random_walk(database_url: str) -> None:
    walk(database_url, examples=4, steps=25)


@pytest.mark.slow
def test_many_random_walks(database_url: str) -> None:
    walk(database_url, examples=12, steps=30)
