"""Four real processes claim from one queue."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ProcessPoolExecutor

from sqlalchemy import select

from db.models import Page
from db.queries import batch_progress, iter_pages
from db.session import Database
from db.transitions.batches import cancel_batch
from tests.contract.acts import queued
from tests.contract.claimers import claim_until_done, processes, run_claimers

PAGES = 64


def test_each_page_is_claimed_by_one_at_a_time(database: Database, database_url: str) -> None:
    tenant_id, batch_id, pages = queued(database, PAGES)
    claims = run_claimers(database_url, batch_id, max_attempts=20)
    assert len({claim.worker for claim in claims}) > 1
    # No attempt was given to two, none was left out, and of each page one attempt was written.
    attempts = Counter(claim.page_id for claim in claims)
    assert set(attempts) == set(pages)
    assert {(claim.page_id, claim.attempt) for claim in claims} == {
        (page_id, attempt) for page_id, count in attempts.items() for attempt in range(1, count + 1)
    }
    assert len(claims) == attempts.total()
    written = {claim.page_id: claim for claim in claims if claim.taken}
    assert len(written) == sum(claim.taken for claim in claims) == PAGES
    with database.reading() as s:
        progress = batch_progress(s, tenant_id, batch_id)
        rows = list(iter_pages(s, tenant_id, batch_id))
        stored = {page.id: page.attempt for page in s.scalars(select(Page))}
    assert progress.state == "complete"
    assert progress.pages["read"] == progress.fields["accepted"] == PAGES
    for row in rows:
        assert stored[row.id] == written[row.id].attempt == attempts[row.id]
        assert [field.value for field in row.fields] == [written[row.id].worker]


def test_cancelling_under_the_workers_hands(database: Database, database_url: str) -> None:
    many = 8 * PAGES  # more than are read while the cancelling waits for SQLite's lock
    tenant_id, batch_id, _ = queued(database, many)
    with ProcessPoolExecutor(2, mp_context=processes()) as pool:
        running = [
            pool.submit(claim_until_done, database_url, batch_id, f"w{number}", 3)
            for number in range(2)
        ]
        read = 0
        while read == 0:
            with database.reading() as s:
                read = batch_progress(s, tenant_id, batch_id).pages["read"]
        with database.transaction() as s:
            cancel_batch(s, tenant_id=tenant_id, batch_id=batch_id)
        claims = [claim for future in running for claim in future.result()]
    with database.reading() as s:
        progress = batch_progress(s, tenant_id, batch_id)
    assert progress.state == "cancelled"
    assert progress.pages["read"] == sum(claim.taken for claim in claims)
    assert progress.pages["queued"] == progress.pages["leased"] == 0
    assert sum(progress.pages.values()) == many
