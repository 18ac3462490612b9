"""Batches: made once, closed, cancelled and deleted."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, select

from core.errors import ConflictError, NotFoundError
from core.policy import Decision
from db.models import Base, Event, Page
from db.queries import (
    backlog,
    batch_progress,
    events_after,
    get_batch,
    iter_pages,
    list_batches,
    list_documents,
    list_fields,
    list_pages,
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
    claim_document,
)
from db.transitions.outbox import delete_outbox, forget_objects, oldest_message, take_outbox
from db.views import BatchView
from tests.contract.acts import (
    add_document,
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
    assert progress.documents == {"stored": 0, "opened": 1, "failed": 1, "copy": 0}
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
        assert [page.id for page in iter_pages(s, tenant_id, batch_id)] == order
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
        assert sum(1 for _ in iter_pages(s, tenant_id, batch_id)) == 5000
        progress = batch_progress(s, tenant_id, batch_id)
        assert (progress.percent, progress.eta_seconds) == (0.0, None)
