"""Tenants, their keys, and that none sees anything of another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy.orm import Session

from core.errors import InputError, NotFoundError
from core.policy import Decision
from db.queries import (
    backlog,
    batch_progress,
    events_after,
    get_batch,
    get_field,
    iter_pages,
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
from db.transitions.fields import mark_unreadable, verify_field
from db.transitions.tenants import (
    authenticate,
    create_api_key,
    ensure_tenant,
    list_api_keys,
    revoke_api_key,
)
from tests.contract.acts import (
    add_document,
    as_typed,
    claimed,
    complete_page,
    new_batch,
    new_tenant,
    queued,
    result,
)

ACCEPTED, REVIEW = Decision.ACCEPTED, Decision.REVIEW


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
        lambda s: iter_pages(s, other, batch_id),
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
        lambda s: verify_field(
            s, tenant_id=other, field_id=field_id, value="1", who="x", check=as_typed
        ),
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


@pytest.mark.parametrize("name", ["", " ", "a\nb", "\x1b[1m", "n" * 201])
def test_names_are_kept_whole_or_refused(database: Database, name: str) -> None:
    """Two long names that were cut off at the same length would be one tenant."""
    with pytest.raises(InputError), database.transaction() as s:
        ensure_tenant(s, name)
    with database.transaction() as s:
        tenant_id = ensure_tenant(s, "n" * 200).id
        assert ensure_tenant(s, f" {'n' * 200} ").id == tenant_id
    with pytest.raises(InputError), database.transaction() as s:
        create_api_key(s, tenant_id, name)


@pytest.mark.parametrize("bad", ["", "x", "0" * 32, "\0" * 32, "'; drop table", "é" * 32])
def test_what_is_no_id_is_not_found(database: Database, bad: str) -> None:
    tenant_id = new_tenant(database)
    for read in (get_batch, batch_progress, page_with_fields, get_field, list_pages, events_after):
        with pytest.raises(NotFoundError), database.reading() as s:
            read(s, tenant_id, bad)
    with pytest.raises(NotFoundError), database.transaction() as s:
        close_batch(s, tenant_id=tenant_id, batch_id=bad)
    with pytest.raises(NotFoundError), database.transaction() as s:
        verify_field(s, tenant_id=tenant_id, field_id=bad, value="1", who="x", check=as_typed)
