"""Batches, documents, fields, tenants: what they promise."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.errors import ConflictError, NotFoundError
from core.policy import Decision
from db.models import Base, Document, Event, Page
from db.queries import (
    authenticate,
    backlog,
    batch_progress,
    events_after,
    get_batch,
    get_field,
    iter_export_rows,
    list_batches,
    list_documents,
    list_fields,
    list_pages,
    page_with_fields,
)
from db.session import Database
from db.transitions.batches import (
    add_template,
    cancel_batch,
    close_batch,
    create_batch,
    delete_batch,
)
from db.transitions.documents import (
    NewPage,
    claim_document,
    documents_to_hint,
    fail_document,
    open_document,
    release_document,
    renew_document,
    tried_documents,
)
from db.transitions.fields import mark_unreadable, verify_field
from db.transitions.outbox import delete_outbox, forget_objects, oldest_message, take_outbox
from db.transitions.tenants import create_api_key, ensure_tenant, list_api_keys, revoke_api_key
from db.views import BatchView
from tests.contract.acts import (
    FOREVER,
    PASSED,
    add_document,
    claimed,
    close,
    complete_page,
    new_batch,
    new_document,
    new_tenant,
    opened,
    queued,
    result,
)

ACCEPTED, REVIEW = Decision.ACCEPTED, Decision.REVIEW


def progress_state(db: Database, tenant_id: str, batch_id: str) -> str:
    with db.reading() as s:
        return batch_progress(s, tenant_id, batch_id).state


# --- tenants ---


def test_keys(database: Database) -> None:
    with database.transaction() as s:
        tenant = ensure_tenant(s, "default")
        assert ensure_tenant(s, "default").id == tenant.id
        key, plaintext = create_api_key(s, tenant.id, "laptop")
        other, _ = create_api_key(s, tenant.id, "server")
    assert plaintext.startswith(f"cf_{key.prefix}_")
    with database.reading() as s:
        found = authenticate(s, plaintext)
        assert found is not None
        assert found.id == key.id
        secret = plaintext.split("_", 2)[2]
        wrong = (
            "",
            "cf_",
            "cf__",
            plaintext[:-1],
            plaintext + "x",
            f"cf_{other.prefix}_{secret}",
            f"cf_00000000_{secret}",
            "cf_\0_x",
            "cf_é\ud800_x",
        )
        assert [authenticate(s, text) for text in wrong] == [None] * len(wrong)
    with pytest.raises(NotFoundError), database.transaction() as s:
        revoke_api_key(s, "0" * 32, key.id)
    with database.transaction() as s:
        revoke_api_key(s, tenant.id, key.id)
        revoke_api_key(s, tenant.id, key.id)
    with database.reading() as s:
        assert authenticate(s, plaintext) is None
        ours = [one for one in list_api_keys(s) if one.tenant == "default"]
    assert [(one.id, one.name) for one in ours] == [(key.id, "laptop"), (other.id, "server")]
    assert [one.prefix for one in ours] == [key.prefix, other.prefix]
    assert ours[0].revoked_at is not None
    assert ours[1].revoked_at is None


def test_nothing_of_one_tenant_is_seen_by_another(database: Database) -> None:
    tenant_id, batch_id, (page_id,) = queued(database, 1)
    (claim,) = claimed(database, [page_id])
    with database.transaction() as s:
        complete_page(s, page_id, claim.attempt, result(REVIEW))
        template = add_template(s, tenant_id=tenant_id, name="t", text="x")
    with database.reading() as s:
        field_id = list_fields(s, tenant_id, batch_id)[0].id
    other = new_tenant(database)
    own = new_batch(database, other)
    reads: list[Callable[[Session], object]] = [
        lambda s: get_batch(s, other, batch_id),
        lambda s: batch_progress(s, other, batch_id),
        lambda s: list_documents(s, other, batch_id),
        lambda s: list_pages(s, other, batch_id),
        lambda s: list_pages(s, other, own, after=page_id),
        lambda s: list_fields(s, other, batch_id),
        lambda s: list_fields(s, other, own, after=field_id),
        lambda s: page_with_fields(s, other, page_id),
        lambda s: get_field(s, other, field_id),
        lambda s: iter_export_rows(s, other, batch_id),
        lambda s: events_after(s, other, batch_id),
    ]
    for read in reads:
        with pytest.raises(NotFoundError), database.reading() as s:
            read(s)
    document: dict[str, Any] = {"filename": "x", "sha256": "0" * 64, "size": 1}
    writes: list[Callable[[Session], object]] = [
        lambda s: close_batch(s, tenant_id=other, batch_id=batch_id),
        lambda s: cancel_batch(s, tenant_id=other, batch_id=batch_id),
        lambda s: delete_batch(s, tenant_id=other, batch_id=batch_id),
        lambda s: verify_field(s, tenant_id=other, field_id=field_id, value="1", who="x"),
        lambda s: mark_unreadable(s, tenant_id=other, field_id=field_id, who="x"),
        lambda s: add_document(s, tenant_id=other, batch_id=batch_id, template_id=None, **document),
        lambda s: add_document(
            s, tenant_id=other, batch_id=own, template_id=template.id, **document
        ),
        lambda s: create_batch(
            s, tenant_id=other, name="", template_id=template.id, release_threshold=None
        ),
    ]
    for write in writes:
        with pytest.raises(NotFoundError), database.transaction() as s:
            write(s)
    with database.reading() as s:
        assert [batch.id for batch in list_batches(s, other)] == [own]
        assert backlog(s, other, 10) == 0


@pytest.mark.parametrize("bad", ["", "x", "0" * 32, "\0" * 32, "'; drop table", "é" * 32])
def test_what_is_no_id_is_not_found(database: Database, bad: str) -> None:
    tenant_id = new_tenant(database)
    for read in (get_batch, batch_progress, page_with_fields, get_field, list_pages, events_after):
        with pytest.raises(NotFoundError), database.reading() as s:
            read(s, tenant_id, bad)
    with pytest.raises(NotFoundError), database.transaction() as s:
        close_batch(s, tenant_id=tenant_id, batch_id=bad)
    with pytest.raises(NotFoundError), database.transaction() as s:
        verify_field(s, tenant_id=tenant_id, field_id=bad, value="1", who="x")


# --- batches ---


def test_a_batch_without_its_counts(database: Database) -> None:
    tenant_id = new_tenant(database)
    with database.transaction() as s:
        template = add_template(s, tenant_id=tenant_id, name="t", text="x")
        batch, _ = create_batch(
            s, tenant_id=tenant_id, name="b", template_id=template.id, release_threshold=None
        )
    with database.reading() as s:
        found = get_batch(s, tenant_id, batch.id)
    assert found == BatchView(id=batch.id, state="receiving", closed=False, template_id=template.id)
    close(database, tenant_id, batch.id)
    with database.reading() as s:
        found = get_batch(s, tenant_id, batch.id)
    assert (found.state, found.closed) == ("complete", True)


def test_the_same_request_is_the_same_batch(database: Database) -> None:
    tenant_id, other = new_tenant(database), new_tenant(database)

    def create(tenant: str, key: str | None, request: str) -> tuple[str, bool]:
        with database.transaction() as s:
            batch, created = create_batch(
                s,
                tenant_id=tenant,
                name="b",
                template_id=None,
                release_threshold=None,
                idempotency_key=key,
                request_hash=request,
            )
            return batch.id, created

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: create(tenant_id, "key", "hash"), range(8)))
    assert len({batch_id for batch_id, _ in answers}) == 1
    assert sorted(created for _, created in answers) == [False] * 7 + [True]
    with pytest.raises(ConflictError):
        create(tenant_id, "key", "other")
    assert create(other, "key", "other")[1]
    assert create(tenant_id, None, "hash")[1]
    assert create(tenant_id, None, "hash")[1]


def test_the_same_bytes_are_one_document(database: Database) -> None:
    tenant_id = new_tenant(database)
    batch_id = new_batch(database, tenant_id)
    with ThreadPoolExecutor(4) as pool:
        ids = set(pool.map(lambda _: new_document(database, tenant_id, batch_id), range(8)))
    assert len(ids) == 1
    close(database, tenant_id, batch_id)
    assert new_document(database, tenant_id, batch_id) in ids  # a repeated request, too late
    with pytest.raises(ConflictError):
        new_document(database, tenant_id, batch_id, "another.png")
    with database.reading() as s:
        assert [message.kind for message in take_outbox(s, 10)] == ["intake"]


def test_text_from_outside_is_the_same_on_both(database: Database) -> None:
    tenant_id = new_tenant(database)
    batch_id = new_batch(database, tenant_id)
    new_document(database, tenant_id, batch_id, "é\0")
    with database.transaction() as s:
        add_document(
            s,
            tenant_id=tenant_id,
            batch_id=batch_id,
            filename="../../\0\ud800é" + "x" * 2000,
            sha256="1" * 64,
            size=1 << 40,
            template_id=None,
        )
    with database.reading() as s:
        names = [document.filename for document in list_documents(s, tenant_id, batch_id)]
    assert names == ["é\ufffd", ("../../\ufffd?é" + "x" * 2000)[:1000]]


def test_a_batch_ends_only_when_it_is_closed(database: Database) -> None:
    tenant_id = new_tenant(database)
    batch_id = new_batch(database, tenant_id)
    (page_id,) = opened(database, new_document(database, tenant_id, batch_id), 1)
    (claim,) = claimed(database, [page_id])
    with database.transaction() as s:
        complete_page(s, page_id, claim.attempt, result(ACCEPTED))
    assert progress_state(database, tenant_id, batch_id) == "receiving"
    assert close(database, tenant_id, batch_id) == "complete"
    assert close(database, tenant_id, batch_id) == "complete"
    with pytest.raises(ConflictError), database.transaction() as s:
        cancel_batch(s, tenant_id=tenant_id, batch_id=batch_id)


def test_an_empty_batch_ends(database: Database) -> None:
    tenant_id = new_tenant(database)
    assert close(database, tenant_id, new_batch(database, tenant_id)) == "complete"


def test_cancel(database: Database) -> None:
    tenant_id = new_tenant(database)
    batch_id = new_batch(database, tenant_id)
    pages = opened(database, new_document(database, tenant_id, batch_id), 2)
    waiting = new_document(database, tenant_id, batch_id, "waiting.png")
    claimed(database, pages[:1])
    for _ in range(2):
        with database.transaction() as s:
            assert cancel_batch(s, tenant_id=tenant_id, batch_id=batch_id).state == "cancelled"
    with database.transaction() as s:
        assert claim_document(s, waiting, lease_seconds=1, max_attempts=3) is None
    with database.reading() as s:
        progress = batch_progress(s, tenant_id, batch_id)
    assert progress.pages["cancelled"] == 2
    assert progress.documents == {"stored": 0, "opened": 1, "failed": 1}
    assert (progress.percent, progress.eta_seconds) == (100.0, 0.0)
    with pytest.raises(ConflictError), database.transaction() as s:
        close_batch(s, tenant_id=tenant_id, batch_id=batch_id)
    with pytest.raises(ConflictError):
        new_document(database, tenant_id, batch_id, "late.png")


def test_delete_leaves_nothing_but_the_order_to_delete_objects(database: Database) -> None:
    tenant_id, batch_id, (page_id,) = queued(database, 1)
    (claim,) = claimed(database, [page_id])
    with database.transaction() as s:
        complete_page(s, page_id, claim.attempt, result(ACCEPTED, REVIEW))
        assert not forget_objects(s, batch_id)
    with database.transaction() as s:
        delete_batch(s, tenant_id=tenant_id, batch_id=batch_id)
    with database.transaction() as s:
        with pytest.raises(NotFoundError):
            delete_batch(s, tenant_id=tenant_id, batch_id=batch_id)
        for table in Base.metadata.sorted_tables:
            if table.name not in ("tenant", "outbox"):
                assert s.scalar(select(func.count()).select_from(table)) == 0, table.name
        messages = take_outbox(s, 10)
        oldest = oldest_message(s)
        assert oldest is not None
        assert (messages[-1].kind, messages[-1].payload) == (
            "delete_objects",
            {"namespace": batch_id},
        )
        delete_outbox(s, [message.id for message in messages])
        assert take_outbox(s, 10) == []
        assert oldest_message(s) is None
        assert forget_objects(s, batch_id)
        # The id of a deleted message comes never again.
        assert take_outbox(s, 10)[0].id > messages[-1].id


# --- documents ---


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


# --- fields ---


def test_a_person_releases_fields_and_the_batch_ends(database: Database) -> None:
    tenant_id, batch_id, (page_id,) = queued(database, 1)
    (claim,) = claimed(database, [page_id])
    with database.transaction() as s:
        complete_page(s, page_id, claim.attempt, result(REVIEW, REVIEW, ACCEPTED))
    with database.reading() as s:
        first, second, third = list_fields(s, tenant_id, batch_id)
    with database.transaction() as s:
        field = verify_field(s, tenant_id=tenant_id, field_id=first.id, value="254", who="ann")
        assert (field.state, field.value, field.released_by) == ("verified", "254", "ann")
    assert progress_state(database, tenant_id, batch_id) == "reviewing"
    with database.transaction() as s:
        mark_unreadable(s, tenant_id=tenant_id, field_id=second.id, who="bob")
        verify_field(s, tenant_id=tenant_id, field_id=third.id, value="9", who="ann")
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


# --- lists ---


def test_lists_go_page_by_page(database: Database) -> None:
    tenant_id = new_tenant(database)
    batch_id = new_batch(database, tenant_id)
    documents = [new_document(database, tenant_id, batch_id, f"{name}.png") for name in "abc"]
    pages = {document: opened(database, document, 3) for document in reversed(documents)}
    order = [page for document in documents for page in pages[document]]
    for claim in claimed(database, order):
        with database.transaction() as s:
            complete_page(s, claim.page_id, claim.attempt, result(REVIEW, ACCEPTED))
    with database.reading() as s:
        found: list[str] = []
        while step := list_pages(
            s, tenant_id, batch_id, after=found[-1] if found else None, limit=2
        ):
            found += [page.id for page in step]
            assert all(len(page.fields) == 2 for page in step)
        assert found == order
        assert [page.id for page in iter_export_rows(s, tenant_id, batch_id)] == order
        fields = list_fields(s, tenant_id, batch_id, limit=99)
        assert [field.page_id for field in fields] == [page for page in order for _ in range(2)]
        rest = list_fields(s, tenant_id, batch_id, after=fields[4].id, limit=99)
        assert rest == fields[5:]
        reviewed = list_fields(s, tenant_id, batch_id, state="review", limit=99)
        assert len(reviewed) == 9
        two = list_documents(s, tenant_id, batch_id, limit=2)
        assert [one.id for one in two] == documents[:2]
        rest_of = list_documents(s, tenant_id, batch_id, after=two[-1].id)
        assert [one.id for one in rest_of] == documents[2:]
        events = events_after(s, tenant_id, batch_id, limit=5)
        assert events + events_after(s, tenant_id, batch_id, events[-1].id) == events_after(
            s, tenant_id, batch_id
        )
    later = new_batch(database, tenant_id)
    with database.reading() as s:
        assert [one.id for one in list_batches(s, tenant_id)] == [later, batch_id]
        assert [one.id for one in list_batches(s, tenant_id, after=later)] == [batch_id]


def test_a_document_of_many_pages(database: Database) -> None:
    tenant_id, batch_id, pages = queued(database, 5000)
    with database.reading() as s:
        assert s.scalar(select(func.count()).select_from(Page)) == 5000
        assert (s.scalar(select(func.count()).select_from(Event)) or 0) < 10
        hints = [one.payload["page_ids"] for one in take_outbox(s, 99) if one.kind == "read"]
        assert [page for hint in hints for page in hint] == pages
        assert backlog(s, tenant_id, 10_000) == 5000
        assert backlog(s, tenant_id, 100) == 100
        assert sum(1 for _ in iter_export_rows(s, tenant_id, batch_id)) == 5000
        progress = batch_progress(s, tenant_id, batch_id)
        assert (progress.percent, progress.eta_seconds) == (0.0, None)
