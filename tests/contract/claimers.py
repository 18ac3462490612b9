"""Worker processes that do nothing but claim, and finish or drop, pages of one queue."""

from __future__ import annotations

import multiprocessing
import random
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing.context import BaseContext

from sqlalchemy import select

from core.policy import Decision
from db.models import UNREAD_PAGES, Page
from db.session import Database
from db.transitions.pages import claim_pages, complete_pages, reap_expired, release_page
from tests.contract.acts import FOREVER, PASSED, result

PROCESSES = 4
GROUP = 8
_together: threading.Barrier | None = None


@dataclass(frozen=True)
class Claim:
    page_id: str
    attempt: int
    worker: str
    taken: bool  # whether what it read was written


def processes() -> BaseContext:
    """Start processes that inherit nothing, as workers do. What they import is imported once."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def run_claimers(url: str, batch_id: str, max_attempts: int) -> list[Claim]:
    """Run the processes until the batch has no page left; return what each of them claimed."""
    context = processes()
    barrier = context.Barrier(PROCESSES)
    with ProcessPoolExecutor(
        PROCESSES, mp_context=context, initializer=_start_together, initargs=(barrier,)
    ) as pool:
        running = [
            pool.submit(claim_until_done, url, batch_id, f"worker-{number}", max_attempts)
            for number in range(PROCESSES)
        ]
        return [claim for future in running for claim in future.result()]


def claim_until_done(url: str, batch_id: str, worker: str, max_attempts: int) -> list[Claim]:
    chance, db = random.Random(worker), Database(url)
    claims: list[Claim] = []
    first = True
    _meet()
    while True:
        with db.reading() as s:
            query = select(Page.id).where(Page.batch_id == batch_id, Page.state.in_(UNREAD_PAGES))
            left = list(s.scalars(query))
        if not left:
            db.dispose()
            return claims
        # All ask for pages from the same end, so that they meet.
        group = chance.sample(left[: 2 * GROUP], min(GROUP, len(left)))
        # Now and then a worker "dies": its lease is over at once, and it goes on all the same.
        lease = PASSED if chance.random() < 0.1 else FOREVER
        with db.transaction() as s:
            claimed = claim_pages(s, group, worker=worker, lease_seconds=lease)
        if first:
            _meet()  # or the first to be scheduled could empty the queue alone
            first = False
        time.sleep(chance.uniform(0, 0.02))  # it reads; SQLite's one lock is free meanwhile
        dropped = {one.page_id for one in claimed if chance.random() < 0.05}
        with db.transaction() as s:
            taken = complete_pages(
                s,
                [
                    (one.page_id, one.attempt, result(Decision.ACCEPTED, value=worker))
                    for one in claimed
                    if one.page_id not in dropped
                ],
            )
        for one in claimed:
            claims.append(Claim(one.page_id, one.attempt, worker, one.page_id in taken))
            if one.page_id in dropped:
                with db.transaction() as s:
                    release_page(
                        s, one.page_id, one.attempt, "away", "away", max_attempts=max_attempts
                    )
        with db.transaction() as s:
            reap_expired(s, max_attempts=max_attempts)


def _meet() -> None:
    if _together is not None:
        _together.wait(timeout=60)


def _start_together(barrier: threading.Barrier) -> None:
    global _together
    _together = barrier
