"""What the tasks do about objects that are lost or changed, and a store that is away."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial
from typing import BinaryIO

import PIL.Image
import pytest
from sqlalchemy import select, update

from core.errors import TransientError
from db.models import Document, DocumentState, Page, PageState
from db.transitions.retry import retry_batch
from storage.directory import DirectoryStore
from tests.world import World, page_image
from worker.backoff import retry_with_backoff
from worker.child import Services
from worker.intake import open_stored_document, open_stored_documents
from worker.pages import read_group


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
