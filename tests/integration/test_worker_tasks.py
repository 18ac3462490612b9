"""The tasks and the dispatcher over a real database, store and readers, without processes."""

from __future__ import annotations

import io
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
import PIL.Image
import pytest
from sqlalchemy import select, update

from cli.output import page_of_reading
from core.errors import TransientError
from core.settings import Settings
from db.models import Document, DocumentState, Outbox, Page, PageState
from db.queries import page_with_fields
from db.session import Database
from db.transitions.batches import (
    NewDocument,
    add_documents,
    add_template,
    create_batch,
    delete_batch,
)
from db.transitions.documents import NewPage, claim_document
from db.transitions.outbox import OutboxKind
from db.transitions.pages import claim_pages
from db.transitions.retry import retry_batch
from db.transitions.tenants import ensure_tenant
from pipeline.placing.template import bundled_template
from pipeline.placing.template_set import combine, parse_templates
from pipeline.read import read_pages
from pipeline.readers.loaded import Readers
from pipeline.types import Page as PageImage
from storage.directory import DirectoryStore
from storage.open import open_store
from tests.servers import ValkeyServer
from worker.app import INTAKE_QUEUE, PAGES_QUEUE, make_celery
from worker.backoff import retry_with_backoff
from worker.broker import connect
from worker.child import Services
from worker.dispatch import Dispatcher
from worker.intake import open_stored_document, open_stored_documents, write_pages
from worker.pages import read_group

ROOT = Path(__file__).parents[2]


def page_image(text: str) -> bytes:
    image = np.full((120, 60 + 40 * len(text)), 245, np.uint8)
    cv2.putText(image, text, (25, 85), cv2.FONT_HERSHEY_SIMPLEX, 1.6, 0, 4)
    return cv2.imencode(".png", image)[1].tobytes()


@dataclass(frozen=True, slots=True)
class World:
    services: Services
    tenant_id: str
    batch_id: str

    @property
    def db(self) -> Database:
        return self.services.db

    def document(self, data: bytes, name: str, *, template_id: str | None = None) -> str:
        """Store a file as an upload does, and return its document's id."""
        stored = self.services.store.put(self.batch_id, io.BytesIO(data))
        with self.db.transaction() as s:
            ((document, _),) = add_documents(
                s,
                tenant_id=self.tenant_id,
                batch_id=self.batch_id,
                files=[NewDocument(name, stored.sha256, stored.size)],
                template_id=template_id,
            )
            return document.id

    def pages(self, *texts: str, template_id: str | None = None) -> list[str]:
        """Store and open one file for each text, and return their pages' ids."""
        ids: list[str] = []
        for text in texts:
            document_id = self.document(page_image(text), f"{text}.png", template_id=template_id)
            open_stored_document(self.services, document_id)
            with self.db.reading() as s:
                ids += s.scalars(select(Page.id).where(Page.document_id == document_id)).all()
        return ids

    def page(self, page_id: str) -> Page:
        with self.db.reading() as s:
            return s.scalars(select(Page).where(Page.id == page_id)).one()

    def document_row(self, document_id: str) -> Document:
        with self.db.reading() as s:
            return s.scalars(select(Document).where(Document.id == document_id)).one()


@pytest.fixture
def world(database_url: str, tmp_path: Path) -> Iterator[World]:
    settings = Settings(home=tmp_path, database_url=database_url, reconcile_seconds=0.001)
    services = Services(settings, Database(database_url), open_store(settings), "test:1")
    with services.db.transaction() as s:
        tenant = ensure_tenant(s, "default")
        batch, _ = create_batch(
            s, tenant_id=tenant.id, name="", template_id=None, release_threshold=0.5
        )
        made = World(services, tenant.id, batch.id)
    yield made
    if "opener" in vars(services):
        services.opener.close()
    services.db.dispose()


def test_a_file_becomes_a_page_and_the_page_a_reading(world: World) -> None:
    (page_id,) = world.pages("4711")
    assert read_group(world.services, [page_id]) == []
    assert world.page(page_id).state == PageState.READ
    assert read_group(world.services, [page_id]) == [], "a second hint finds nothing to do"


def test_a_bad_file_is_failed_in_words(world: World) -> None:
    document_id = world.document(b"no image at all", "notes.txt")
    open_stored_document(world.services, document_id)
    document = world.document_row(document_id)
    assert document.state == DocumentState.FAILED
    assert document.error_message
    assert document.error_message.endswith(".")


def test_images_are_opened_together_and_the_rest_is_handed_back(world: World) -> None:
    images = [world.document(page_image(text), f"{text}.png") for text in ("12", "34", "56")]
    others = [
        world.document(b"no image at all", "notes.txt"),
        world.document(b"%PDF-1.4 and nothing more", "scan.pdf"),
    ]
    assert open_stored_documents(world.services, [others[0], *images, others[1]]) == others
    assert open_stored_documents(world.services, images) == [], "a second hint does nothing"
    for document_id in images:
        document = world.document_row(document_id)
        assert (document.state, document.attempt) == (DocumentState.OPENED, 1)
    with world.db.reading() as s:
        pages = s.scalars(select(Page).order_by(Page.document_id)).all()
        kept = s.scalars(select(Outbox.payload).where(Outbox.kind == OutboxKind.READ)).all()
    assert [page.document_id for page in pages] == sorted(images), "one page each"
    assert [page.sha256 for page in pages] == [
        world.document_row(document_id).sha256 for document_id in sorted(images)
    ], "the page is the document's own object"
    assert sorted(kept[0]["page_ids"]) == sorted(page.id for page in pages), "in one message"
    assert len(kept) == 1
    assert read_group(world.services, [page.id for page in pages]) == []
    assert {world.page(page.id).state for page in pages} == {PageState.READ}
    for document_id in others:
        assert open_stored_documents(world.services, [document_id]) == []
        assert world.document_row(document_id).state == DocumentState.FAILED


def test_one_image_is_opened_as_many_are(world: World) -> None:
    """Without the guarded child, which only files that are no page images need."""
    image = world.document(page_image("12"), "12.png")
    assert open_stored_documents(world.services, [image]) == []
    document = world.document_row(image)
    assert (document.state, document.attempt) == (DocumentState.OPENED, 1)
    assert "opener" not in vars(world.services)
    tried_before = world.document(page_image("34"), "34.png")
    with world.db.transaction() as s:
        s.execute(update(Document).where(Document.id == tried_before).values(attempt=1))
    assert open_stored_documents(world.services, [tried_before]) == []
    assert world.document_row(tried_before).state == DocumentState.OPENED
    assert "opener" in vars(world.services), "which outlives whatever killed the first attempt"


def test_a_file_that_others_hold_or_whose_object_is_away_is_no_trouble(world: World) -> None:
    held, lost, fine = (world.document(page_image(text), f"{text}.png") for text in ("1", "2", "3"))
    with world.db.transaction() as s:
        assert claim_document(s, held, lease_seconds=60, max_attempts=3) is not None
    sha256 = world.document_row(lost).sha256
    (found,) = [
        path for path in world.services.settings.home.rglob(f"*{sha256}*") if path.is_file()
    ]
    found.unlink()
    assert open_stored_documents(world.services, [held, lost, fine]) == [lost]
    assert world.document_row(fine).state == DocumentState.OPENED
    assert world.document_row(lost).attempt == 0
    assert world.document_row(held).state == DocumentState.STORED


def test_a_lost_object_is_retried_then_set_aside(world: World) -> None:
    kept, lost = world.pages("1234", "5678")
    store = world.services.store
    assert isinstance(store, DirectoryStore)
    sha256 = world.page(lost).sha256
    (found,) = [
        path for path in world.services.settings.home.rglob(f"*{sha256}*") if path.is_file()
    ]
    found.unlink()
    read_group(world.services, [kept, lost])
    assert world.page(kept).state == PageState.READ, "its neighbour is read"
    for _ in range(2):
        assert world.page(lost).state == PageState.QUEUED
        read_group(world.services, [lost])
    page = world.page(lost)
    assert (page.state, page.error_code) == (PageState.QUARANTINED, "object-missing")


def _change(world: World, sha256: str | None, data: bytes) -> None:
    """Overwrite a stored object behind the store's back, as a failing disk or a person may."""
    (found,) = [
        path for path in world.services.settings.home.rglob(f"*{sha256}*") if path.is_file()
    ]
    found.write_bytes(data)


def _quarantined(
    world: World, read: Callable[[], object], row: Callable[[], Page | Document]
) -> None:
    """`read` uses up all attempts of a page or document whose object is damaged."""
    for _ in range(3):
        assert row().state in (PageState.QUEUED, DocumentState.STORED)
        read()
    ended = row()
    assert ended.state in (PageState.QUARANTINED, DocumentState.FAILED)
    assert ended.error_code == "object-corrupted"
    assert f"{world.batch_id}/{ended.sha256}" in str(ended.error_message)
    assert "backup" in str(ended.error_message)


def test_a_page_image_that_was_changed_is_not_read(world: World) -> None:
    kept, changed = world.pages("1234", "5678")
    _change(world, world.page(changed).sha256, page_image("5978"))
    read_group(world.services, [kept])
    _quarantined(
        world,
        lambda: read_group(world.services, [changed]),
        lambda: world.page(changed),
    )
    assert world.page(kept).state == PageState.READ, "its neighbour is read"


def test_a_file_that_was_changed_is_not_opened(world: World) -> None:
    """A TIFF that was changed in the store would be opened, and another number read from it."""
    original, changed = (_tiff(text) for text in ("1234", "1284"))
    document_id = world.document(original, "a.tif")
    sha256 = world.document_row(document_id).sha256
    _change(world, sha256, changed)
    _quarantined(
        world,
        lambda: open_stored_documents(world.services, [document_id]),
        lambda: world.document_row(document_id),
    )
    with world.db.reading() as s:
        assert s.scalars(select(Page).where(Page.document_id == document_id)).all() == []
    _change(world, sha256, original)  # from a backup
    with world.db.transaction() as s:
        retry_batch(s, tenant_id=world.tenant_id, batch_id=world.batch_id)
    open_stored_documents(world.services, [document_id])
    assert world.document_row(document_id).state == DocumentState.OPENED


def _tiff(text: str) -> bytes:
    stream = io.BytesIO()
    with PIL.Image.open(io.BytesIO(page_image(text))) as image:
        image.save(stream, "TIFF", compression="tiff_lzw")
    return stream.getvalue()


class StoreAway(DirectoryStore):
    """A store that answers as one that is away."""

    def read(self, key: str) -> bytes:
        raise TransientError("The object store does not answer.", code="store-unavailable")

    def open(self, key: str) -> BinaryIO:
        raise TransientError("The object store does not answer.", code="store-unavailable")


def test_a_store_that_is_away_uses_up_no_attempts(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.pages.OUTAGE_SECONDS", 0.0)
    monkeypatch.setattr("worker.intake.retry_with_backoff", partial(retry_with_backoff, seconds=0))
    page_ids = world.pages("12", "34")
    document_id = world.document(page_image("56"), "c.png")
    here, store = world.services, world.services.store
    away = Services(here.settings, here.db, StoreAway(here.settings.home / "away"), "test:2")
    for _ in range(5):
        for page_id in page_ids:
            read_group(away, [page_id])
        open_stored_document(away, document_id)
        with world.db.transaction() as s:  # the pauses are over
            for model in (Page, Document):
                assert s.scalar(select(model.not_before).where(model.not_before.is_not(None)))
                s.execute(update(model).values(not_before=None))
    assert {world.page(page_id).attempt for page_id in page_ids} == {5}
    assert world.page(page_ids[0]).error_code == "store-unavailable"
    assert here.store is store
    for page_id in page_ids:
        read_group(here, [page_id])
        assert world.page(page_id).state == PageState.READ
    open_stored_document(here, document_id)
    assert world.document_row(document_id).state == DocumentState.OPENED


def test_a_template_that_is_wrong_fails_its_pages_alone(world: World) -> None:
    with world.db.transaction() as s:
        template = add_template(
            s, tenant_id=world.tenant_id, name="broken", text="fields: [nonsense"
        )
        template_id = template.id
    (bad,) = world.pages("12", template_id=template_id)
    (good,) = world.pages("34")
    read_group(world.services, [bad, good])
    assert world.page(bad).state == PageState.FAILED
    assert world.page(good).state == PageState.READ


def clinic_form(readers: Readers, *, blank: Collection[str]) -> bytes:
    """Return a form of the demonstration in which these fields were left empty."""
    done, frames = cv2.imreadmulti(
        str(ROOT / "demo/samples/clinic-forms.tif"), flags=cv2.IMREAD_GRAYSCALE
    )
    assert done
    form = frames[0]
    (page,) = read_pages([PageImage(form)], bundled_template("demo-form"), readers)
    for field in page.fields:
        if field.name in blank:
            box = field.box
            x, y, w, h = (round(side) for side in (box.x, box.y, box.w, box.h))
            form[y + 14 : y + h - 14, x + 14 : x + w - 14] = 255  # the printed box stays
    return cv2.imencode(".png", form)[1].tobytes()


def test_an_empty_field_is_released_only_if_it_is_optional(world: World) -> None:
    data = clinic_form(world.services.readers, blank=("clinic", "visits"))  # of which visits is
    template = bundled_template("demo-form")
    with world.db.transaction() as s:
        kept = add_template(s, tenant_id=world.tenant_id, name=template.name, text=template.text)
    document_id = world.document(data, "form.png", template_id=kept.id)
    open_stored_document(world.services, document_id)
    with world.db.reading() as s:
        (page_id,) = s.scalars(select(Page.id)).all()
    read_group(world.services, [page_id])
    with world.db.reading() as s:
        fields = page_with_fields(s, world.tenant_id, page_id).fields
    clinic, week, visits, *rest = fields
    assert (clinic.value, clinic.state, clinic.reason) == ("", "review", "required-empty")
    assert clinic.released_by is None
    assert (visits.value, visits.state, visits.reason) == ("", "accepted", None)
    assert visits.released_by == "policy"
    assert visits.confidence is not None
    assert visits.confidence >= 0.5
    assert {(field.state, field.reason) for field in (week, *rest)} == {("accepted", None)}
    # `counterfoil read` decides alike.
    (reading,) = read_pages([data], template, world.services.readers)
    shown = page_of_reading("form.png", 1, reading, 0.5)["fields"]
    assert [(one["name"], one["value"], one["decision"], one["reason"]) for one in shown] == [
        (field.name, field.value, field.decision, field.reason) for field in fields
    ]


def test_each_page_of_a_mixed_batch_gets_its_template(world: World) -> None:
    texts = [bundled_template(name).text for name in ("demo-cheque", "demo-form")]
    templates = combine([parse_templates(text) for text in texts])
    with world.db.transaction() as s:
        kept = add_template(s, tenant_id=world.tenant_id, name=templates.name, text=templates.text)
    done, forms = cv2.imreadmulti(
        str(ROOT / "demo/samples/clinic-forms.tif"), flags=cv2.IMREAD_GRAYSCALE
    )
    assert done
    form = cv2.imencode(".png", forms[0])[1].tobytes()
    pile = [(ROOT / "demo/samples/cheque-1.jpg").read_bytes(), form, page_image("4711")]
    for number, data in enumerate(pile):
        document_id = world.document(data, str(number), template_id=kept.id)
        open_stored_document(world.services, document_id)
    with world.db.reading() as s:
        page_ids = list(s.scalars(select(Page.id).order_by(Page.document_id)))
    read_group(world.services, page_ids)
    with world.db.reading() as s:
        cheque, form_page, foreign = (page_with_fields(s, world.tenant_id, p) for p in page_ids)
    assert (cheque.template, len(cheque.fields)) == ("demo-cheque", 3)
    assert (form_page.template, len(form_page.fields)) == ("demo-form", 10)
    assert (foreign.state, foreign.error_code) == ("failed", "no-template-fits")
    assert foreign.template == "demo-cheque, demo-form"
    assert foreign.error_message is not None
    assert "'demo-form' (" in foreign.error_message


def test_pages_tried_before_are_handed_back_to_go_alone(world: World) -> None:
    first, second = world.pages("12", "34")
    with world.db.transaction() as s:
        s.execute(update(Page).where(Page.id == second).values(attempt=1))
    assert read_group(world.services, [first, second]) == [second]
    assert world.page(first).state == PageState.READ
    assert world.page(second).state == PageState.QUEUED
    assert read_group(world.services, [second]) == []
    assert world.page(second).state == PageState.READ


def test_a_worker_whose_page_was_taken_by_another_writes_nothing(world: World) -> None:
    (page_id,) = world.pages("12")
    with world.db.transaction() as s:
        claim_pages(s, [page_id], worker="other", lease_seconds=60)
    read_group(world.services, [page_id])
    assert world.page(page_id).worker == "other"


def test_objects_of_a_batch_deleted_during_intake_are_forgotten(world: World) -> None:
    document_id = world.document(page_image("12"), "a.png")
    with world.db.transaction() as s:
        claim = claim_document(s, document_id, lease_seconds=60, max_attempts=3)
        assert claim is not None
    with world.db.transaction() as s:
        delete_batch(s, tenant_id=world.tenant_id, batch_id=world.batch_id)
    write_pages(world.services, claim, [NewPage(1, "", None, "image/png")])
    with world.db.reading() as s:
        kinds = s.scalars(select(Outbox.kind).order_by(Outbox.id)).all()
    assert kinds.count(OutboxKind.DELETE_OBJECTS) == 2, "by the deletion, and by whoever was late"
    open_stored_document(world.services, document_id)  # a late hint of it


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
