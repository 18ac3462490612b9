"""Documents are opened by one worker; people release fields."""

from __future__ import annotations

import pytest

from core.errors import NotFoundError
from core.policy import Decision
from db.models import Document
from db.queries import (
    batch_progress,
    events_after,
    list_documents,
    list_fields,
    list_pages,
)
from db.session import Database
from db.transitions.batches import (
    NewDocument,
    add_documents,
    add_template,
    close_batch,
    delete_batch,
)
from db.transitions.documents import (
    NewPage,
    NewPassedOver,
    claim_document,
    documents_to_hint,
    fail_document,
    open_document,
    release_document,
    renew_document,
    tried_documents,
)
from db.transitions.fields import mark_unreadable, verify_field
from db.transitions.outbox import take_outbox
from tests.contract.acts import (
    FOREVER,
    PASSED,
    as_typed,
    claimed,
    close,
    complete_page,
    new_batch,
    new_document,
    new_tenant,
    opened,
    progress_state,
    queued,
    result,
)

ACCEPTED, REVIEW = Decision.ACCEPTED, Decision.REVIEW


def test_a_document_is_opened_by_one(database: Database) -> None:
    tenant_id = new_tenant(database)
    batch_id = new_batch(database, tenant_id)
    document_id = new_document(database, tenant_id, batch_id)
    with database.transaction() as s:
        late = claim_document(s, document_id, lease_seconds=PASSED, max_attempts=3)
    with database.transaction() as s:
        claim = claim_document(s, document_id, lease_seconds=FOREVER, max_attempts=3)
        assert claim_document(s, document_id, lease_seconds=FOREVER, max_attempts=3) is None
    assert late is not None
    assert claim is not None
    assert (late.attempt, claim.attempt) == (1, 2)
    assert claim.object_key == f"{batch_id}/{claim.sha256}"
    pages = [
        NewPage(1, "", None, "image/png"),
        NewPage(2, "b", "2" * 64, "image/png"),
        NewPage(3, "c", None, "", "truncated", "This page ends early."),
    ]
    with database.transaction() as s:
        assert not open_document(s, document_id, late.attempt, pages)
        assert not renew_document(s, document_id, late.attempt, 60)
        assert not fail_document(s, document_id, late.attempt, "x", "x")
        assert renew_document(s, document_id, claim.attempt, 60)
        assert open_document(s, document_id, claim.attempt, pages)
        assert not open_document(s, document_id, claim.attempt, pages)
    with database.reading() as s:
        views = list_pages(s, tenant_id, batch_id)
        (document,) = list_documents(s, tenant_id, batch_id)
        hinted = [one.payload for one in take_outbox(s, 10) if one.kind == "read"]
    assert [(one.state, one.sha256) for one in views] == [
        ("queued", claim.sha256),
        ("queued", "2" * 64),
        ("failed", None),
    ]
    assert (document.state, document.pages) == ("opened", 3)
    assert hinted == [{"page_ids": [views[0].id, views[1].id]}]


def test_what_was_passed_over_is_kept_with_its_document(database: Database) -> None:
    tenant_id, other = new_tenant(database), new_tenant(database)
    batch_id = new_batch(database, tenant_id)
    small = NewPassedOver("frame 2", "thumbnail", "It is small.")
    more = NewPassedOver("front/.DS_Store", "hidden-file", "It is hidden.")
    first = new_document(database, tenant_id, batch_id, "a.tif")
    opened(database, first, pages=1, passed_over=[small, more])
    opened(database, new_document(database, tenant_id, batch_id, "b.tif"), pages=1)
    with database.reading() as s:
        listed = list_documents(s, tenant_id, batch_id)
        assert batch_progress(s, tenant_id, batch_id).passed_over == 2
        with pytest.raises(NotFoundError):
            list_documents(s, other, batch_id)
        (event,) = (
            event.payload
            for event in events_after(s, tenant_id, batch_id)
            if event.payload.get("passed_over")
        )
    assert [[(one.name, one.code, one.reason) for one in item.passed_over] for item in listed] == [
        [("frame 2", "thumbnail", "It is small."), ("front/.DS_Store", "hidden-file", more.reason)],
        [],
    ]
    assert (event["document_id"], event["pages"], event["passed_over"]) == (first, 1, 2)


def test_the_same_bytes_under_two_names_are_two_documents(database: Database) -> None:
    tenant_id = new_tenant(database)
    batch_id = new_batch(database, tenant_id)
    with database.transaction() as s:
        template_id = add_template(s, tenant_id=tenant_id, name="t", text="t").id

    def add(*names: str, template_id: str | None = None) -> list[tuple[str, str | None, bool]]:
        files = [NewDocument(name, "a" * 64, 9) for name in names]
        with database.transaction() as s:
            return [
                (document.id, document.copy_of, new)
                for document, new in add_documents(
                    s,
                    tenant_id=tenant_id,
                    batch_id=batch_id,
                    files=files,
                    template_id=template_id,
                )
            ]

    (first, _, _), (copy, original, new) = add("a.jpg", "b.jpg")
    assert (original, new) == (first, True)
    assert add("b.jpg", "a.jpg") == [(copy, first, False), (first, None, False)], "as a repetition"
    (again, twin) = add("a.jpg", "a.jpg")
    assert again == (first, None, False)
    assert twin[1:] == (first, True), "two files of one name in one request are two files"
    assert add("a.jpg", "a.jpg") == [again, (twin[0], first, False)]
    ((other, original, new),) = add("a.jpg", template_id=template_id)
    assert (original, new) == (None, True), "another template reads them anew"
    opened(database, first, pages=1)
    opened(database, other, pages=1)
    with database.reading() as s:
        assert batch_progress(s, tenant_id, batch_id).documents == {
            "stored": 0,
            "opened": 2,
            "failed": 0,
            "copy": 2,
        }
        listed = {item.id: item for item in list_documents(s, tenant_id, batch_id)}
        intake = [one.payload for one in take_outbox(s, 99) if one.kind == "intake"]
    assert (listed[copy].filename, listed[copy].state) == ("b.jpg", "copy")
    assert (listed[copy].copy_of, listed[copy].copy_of_file) == (first, "a.jpg")
    assert listed[first].copy_of_file is None
    hinted = str(intake)
    assert first in hinted
    assert other in hinted
    assert copy not in hinted
    with database.transaction() as s:
        assert claim_document(s, copy, lease_seconds=FOREVER, max_attempts=3) is None
        close_batch(s, tenant_id=tenant_id, batch_id=batch_id)
    with database.transaction() as s:
        delete_batch(s, tenant_id=tenant_id, batch_id=batch_id)


def test_a_bad_document_fails_and_the_batch_goes_on(database: Database) -> None:
    tenant_id = new_tenant(database)
    batch_id = new_batch(database, tenant_id)
    bad = new_document(database, tenant_id, batch_id, "bad.pdf")
    assert close(database, tenant_id, batch_id) == "processing"
    with database.transaction() as s:
        claim = claim_document(s, bad, lease_seconds=FOREVER, max_attempts=3)
        assert claim is not None
        assert fail_document(s, bad, claim.attempt, "encrypted", "This PDF has a password.")
    assert progress_state(database, tenant_id, batch_id) == "complete_with_errors"
    with database.reading() as s:
        (document,) = list_documents(s, tenant_id, batch_id)
    assert (document.error_code, document.error_message) == (
        "encrypted",
        "This PDF has a password.",
    )


@pytest.mark.parametrize("fault", ["released", "killed"])
def test_a_document_that_is_never_opened_fails_in_the_end(database: Database, fault: str) -> None:
    tenant_id = new_tenant(database)
    batch_id = new_batch(database, tenant_id)
    document_id = new_document(database, tenant_id, batch_id)
    close(database, tenant_id, batch_id)
    lease = FOREVER if fault == "released" else PASSED
    for tried in (set(), {document_id}, {document_id}):
        with database.transaction() as s:
            assert tried_documents(s, [document_id, "0" * 32]) == tried
            claim = claim_document(s, document_id, lease_seconds=lease, max_attempts=3)
            assert claim is not None
        if fault == "released":
            with database.transaction() as s:
                assert documents_to_hint(s, older_than_seconds=60, limit=9) == []
                assert release_document(
                    s, document_id, claim.attempt, "away", "away", max_attempts=3
                )
        elif claim.attempt < 3:
            with database.transaction() as s:
                assert documents_to_hint(s, older_than_seconds=PASSED, limit=9) == [document_id]
    with database.transaction() as s:
        assert claim_document(s, document_id, lease_seconds=1, max_attempts=3) is None
        assert tried_documents(s, [document_id]) == set()
        assert documents_to_hint(s, older_than_seconds=PASSED, limit=9) == []
        document = s.get_one(Document, document_id)
        assert (document.state, document.attempt) == ("failed", 3)
    assert progress_state(database, tenant_id, batch_id) == "complete_with_errors"


def test_a_person_releases_fields_and_the_batch_ends(database: Database) -> None:
    tenant_id, batch_id, (page_id,) = queued(database, 1)
    (claim,) = claimed(database, [page_id])
    with database.transaction() as s:
        complete_page(s, page_id, claim.attempt, result(REVIEW, REVIEW, ACCEPTED))
    with database.reading() as s:
        first, second, third = list_fields(s, tenant_id, batch_id)
    with database.transaction() as s:
        field = verify_field(
            s, tenant_id=tenant_id, field_id=first.id, value="254", who="ann", check=as_typed
        )
        assert (field.state, field.value, field.released_by) == ("verified", "254", "ann")
    assert progress_state(database, tenant_id, batch_id) == "reviewing"
    with database.transaction() as s:
        mark_unreadable(s, tenant_id=tenant_id, field_id=second.id, who="bob")
        verify_field(
            s, tenant_id=tenant_id, field_id=third.id, value="9", who="ann", check=as_typed
        )
    assert progress_state(database, tenant_id, batch_id) == "complete"
    with database.reading() as s:
        views = list_fields(s, tenant_id, batch_id)
        history = [
            event.payload
            for event in events_after(s, tenant_id, batch_id)
            if event.kind == "field.verified"
        ]
    # What the machine read, and why a person was asked, stays beside what the person said.
    assert [(view.value, view.raw, view.decision, view.reason) for view in views] == [
        ("254", "253", "accepted", "below-threshold"),
        (None, "253", "review", "below-threshold"),
        ("9", "253", "accepted", None),
    ]
    assert [(one["before"], one["value"], one["by"]) for one in history] == [
        ("253", "254", "ann"),
        ("253", "9", "ann"),
    ]
