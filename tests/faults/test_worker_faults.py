"""Workers, broker and dispatcher are killed in the middle of a batch, and nothing is lost."""

from __future__ import annotations

import os
import signal
from collections import Counter
from contextlib import suppress

import cv2
import numpy as np
import pytest
from sqlalchemy import func, select

from cli.local.stack import Stack
from db.models import Field, Page, PageState
from tests.http_client import HttpClient
from tests.processes import alive, children_of
from tests.samples import DigitPages
from tests.stacks import database_of
from tests.waiting import eventually
from worker.broker import broker_url, connect

PAGES = 20


@pytest.fixture(scope="module")
def stack(embedded_stack: tuple[Stack, HttpClient]) -> tuple[Stack, HttpClient]:
    return embedded_stack


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    """Scans with four lines each, so that a batch takes a while."""
    digits = DigitPages()
    found = {}
    for number in range(PAGES):
        page = np.full((800, 1200), 245, np.uint8)
        line = digits.page(f"{number:06d}")
        for row in range(4):
            page[150 * row + 100 : 150 * row + 240, 100 : 100 + line.shape[1]] = line
        found[f"scan-{number}.png"] = cv2.imencode(".png", page)[1].tobytes()
    return found


def _in_the_middle(client: HttpClient, batch_id: str) -> None:
    """Wait until some pages are read and more are not."""

    def some_read() -> bool:
        pages = client.batch(batch_id)["pages"]
        assert pages["read"] < PAGES, "too quick to be disturbed: take more pages"
        return bool(pages["read"])

    eventually("some pages are read", some_read)


def _settles_complete(stack: Stack, client: HttpClient, batch_id: str) -> None:
    """Wait until the batch ends; every page of it must be read, and once only."""
    batch = client.wait(batch_id)
    assert batch["documents"]["opened"] == PAGES
    assert batch["pages"]["read"] == batch["pages"]["total"] == PAGES, batch["pages"]
    with database_of(stack) as database, database.reading() as s:
        counts = s.execute(
            select(Page.id, func.count(Field.id.distinct()), func.count(Field.name.distinct()))
            .join(Field, Field.page_id == Page.id)
            .where(Page.batch_id == batch_id)
            .group_by(Page.id)
        ).all()
    assert len(counts) == PAGES
    assert all(fields == names for _, fields, names in counts), "one set of readings a page"


def test_children_killed_in_the_middle(
    stack: tuple[Stack, HttpClient], files: dict[str, bytes]
) -> None:
    running_stack, client = stack
    batch_id = client.submit(files)
    _in_the_middle(client, batch_id)
    for role in ("worker", "intake"):
        for child in children_of(running_stack.pid(role)):
            os.kill(child, signal.SIGKILL)
    _settles_complete(running_stack, client, batch_id)


@pytest.mark.slow
def test_whole_workers_killed_in_the_middle(
    stack: tuple[Stack, HttpClient], files: dict[str, bytes]
) -> None:
    running_stack, client = stack
    batch_id = client.submit(files)
    _in_the_middle(client, batch_id)
    family: list[int] = []
    for role in ("worker", "intake"):
        pid = running_stack.pid(role)
        assert pid is not None
        family += children_of(pid)
        os.kill(pid, signal.SIGKILL)
    eventually("their children end with them", lambda: not any(map(alive, family)))
    _settles_complete(running_stack, client, batch_id)


def test_broker_flushed_in_the_middle(
    stack: tuple[Stack, HttpClient], files: dict[str, bytes]
) -> None:
    running_stack, client = stack
    batch_id = client.submit(files)
    _in_the_middle(client, batch_id)
    with connect(broker_url(running_stack.settings)) as broker:
        broker.flushall()
    _settles_complete(running_stack, client, batch_id)


@pytest.mark.slow
def test_broker_and_dispatcher_killed_in_the_middle(
    stack: tuple[Stack, HttpClient], files: dict[str, bytes]
) -> None:
    running_stack, client = stack
    batch_id = client.submit(files)
    _in_the_middle(client, batch_id)
    for role in ("dispatcher", "broker"):
        pid = running_stack.pid(role)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
    _settles_complete(running_stack, client, batch_id)


def test_a_page_that_kills_its_worker_is_set_aside_alone(
    stack: tuple[Stack, HttpClient], files: dict[str, bytes]
) -> None:
    running_stack, client = stack
    # We kill each worker that reads this page. It is so large that we catch them at work.
    noise = np.random.default_rng(3).integers(0, 255, (4000, 3500), dtype=np.uint8)
    deadly = {"deadly.png": cv2.imencode(".png", noise)[1].tobytes()}
    some = dict(list(files.items())[:10])
    batch_id = client.submit(deadly | some)
    with database_of(running_stack) as database:

        def quarantined() -> bool:
            with database.reading() as s:
                state, worker = s.execute(
                    select(Page.state, Page.worker)
                    .where(Page.batch_id == batch_id)
                    .where(Page.sha256 == sha256)
                ).one()
            if state == PageState.LEASED and worker not in killed:
                killed[worker] += 1
                with suppress(ProcessLookupError):
                    os.kill(int(worker.rsplit(":", 1)[1]), signal.SIGKILL)
            assert state != PageState.READ, "too quick to be killed: take a larger page"
            return bool(state == PageState.QUARANTINED)

        killed: Counter[str] = Counter()
        sha256 = next(
            item["sha256"]
            for item in client.items(f"/v1/batches/{batch_id}/documents")
            if item["filename"] == "deadly.png"
        )

        def opened() -> bool:
            with database.reading() as s:
                query = select(Page.id).where(Page.batch_id == batch_id, Page.sha256 == sha256)
                return s.scalar(query) is not None

        eventually("it is opened", opened)
        eventually("it is set aside", quarantined)
    # Three attempts count against a page; more are made if the dispatcher is late to reap one.
    assert len(killed) >= 3
    batch = client.wait(batch_id)
    assert batch["pages"]["quarantined"] == 1
    assert batch["pages"]["read"] == len(some), "its neighbours are read"
    (page,) = [page for page in client.pages(batch_id) if page["state"] == "quarantined"]
    assert "3 attempts" in page["error"]["message"]
