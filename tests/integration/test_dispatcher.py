"""The dispatcher over a real database and broker."""

from __future__ import annotations

import pytest
from sqlalchemy import select, update

from db.models import Document, Outbox, PageState
from db.transitions.documents import claim_document
from db.transitions.pages import claim_pages
from tests.servers import ValkeyServer
from tests.world import World, page_image
from worker.app import INTAKE_QUEUE, PAGES_QUEUE, make_celery
from worker.broker import connect
from worker.dispatch import Dispatcher


def _dispatcher(world: World, url: str) -> Dispatcher:
    settings = world.services.settings.model_copy(update={"redis_url": url})
    return Dispatcher(settings, world.db, world.services.store, make_celery(settings))


def _outbox(world: World) -> int:
    with world.db.reading() as s:
        return len(s.scalars(select(Outbox.id)).all())


def test_pages_of_many_files_are_hinted_in_groups(
    world: World, valkey_server: ValkeyServer
) -> None:
    valkey_server.flush()
    world.pages(*(f"{number:03d}" for number in range(10)))
    dispatcher = _dispatcher(world, valkey_server.url)
    assert dispatcher.drain() == 20
    assert _outbox(world) == 0
    with connect(valkey_server.url) as broker:
        assert broker.llen(PAGES_QUEUE) == 2, "eight and two"
        broker.flushall()
    dispatcher.reconcile()  # the queue is empty, and pages wait: their hints were lost
    with connect(valkey_server.url) as broker:
        assert broker.llen(PAGES_QUEUE) == 2
    dispatcher.reconcile()
    with connect(valkey_server.url) as broker:
        assert broker.llen(PAGES_QUEUE) == 2, "what waits in the queue is not hinted again"


def test_files_are_hinted_in_groups_and_those_tried_before_alone(
    world: World, valkey_server: ValkeyServer
) -> None:
    valkey_server.flush()
    ids = [world.document(page_image(f"{number:03d}"), f"{number}.png") for number in range(40)]
    dispatcher = _dispatcher(world, valkey_server.url)
    assert dispatcher.drain() == 40
    assert _outbox(world) == 0
    with connect(valkey_server.url) as broker:
        assert broker.llen(INTAKE_QUEUE) == 2
        broker.flushall()
    with world.db.transaction() as s:
        s.execute(update(Document).where(Document.id.in_(ids[:3])).values(attempt=1))
    dispatcher.reconcile()  # their hints were lost
    with connect(valkey_server.url) as broker:
        assert broker.llen(INTAKE_QUEUE) == 2 + 3, "thirty-two, five, and three alone"


def test_nobody_is_blamed_for_an_outage_of_the_database(
    world: World, valkey_server: ValkeyServer
) -> None:
    (page_id,) = world.pages("12")
    document_id = world.document(page_image("34"), "b.png")
    dispatcher = _dispatcher(world, valkey_server.url)
    for outage, failures in ((50, 0), (0, 1), (3600, 1)):
        with world.db.transaction() as s:
            assert claim_pages(s, [page_id], worker="gone", lease_seconds=-1)
            assert claim_document(s, document_id, lease_seconds=-1, max_attempts=3)
        dispatcher.database_reached -= outage  # as if it had not reached the database for so long
        dispatcher.reconcile()
        page = world.page(page_id)
        assert (page.state, page.failures) == (PageState.QUEUED, failures)
    # Of a document a lost lease is counted when it is taken again.
    assert world.document_row(document_id).failures == 1


def test_a_broker_that_is_away_loses_nothing(world: World) -> None:
    world.pages("12", "34")
    before = _outbox(world)
    dispatcher = _dispatcher(world, "redis://127.0.0.1:1/0")
    with pytest.raises(Exception, match="refused"):
        dispatcher.drain()
    assert _outbox(world) == before
