"""Opening files over a real database and store, without processes."""

from __future__ import annotations

from sqlalchemy import select, update

from db.models import Document, DocumentState, Outbox, Page, PageState
from db.transitions.batches import delete_batch
from db.transitions.documents import NewPage, claim_document
from db.transitions.outbox import OutboxKind
from tests.world import World, page_image
from worker.intake import open_stored_document, open_stored_documents, write_pages
from worker.pages import read_group


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
