"""Transitions of batches, from creation to deletion. Each function locks the batch's row."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from core.checks import Check
from core.errors import ConflictError, NotFoundError
from core.ids import new_id
from db.models import (
    ENDED_BATCHES,
    UNREAD_PAGES,
    Batch,
    BatchState,
    Document,
    DocumentState,
    Page,
    PageState,
    TemplateText,
)
from db.models_exports import Export
from db.session import database_now
from db.transitions.asking import Counted
from db.transitions.checking import checks_as_json
from db.transitions.events import record_events
from db.transitions.outbox import hint_delete, hint_intake
from db.transitions.settle import lock_batch, settle
from db.transitions.upsert import insert_or_ignore

# Fewer than the parameters that either database accepts in one statement.
_FILES_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class NewDocument:
    """A file whose bytes are in the store."""

    filename: str  # as the user named it: a label, never a path on this machine
    sha256: str
    size: int


def create_batch(
    s: Session,
    *,
    tenant_id: str,
    name: str,
    template_id: str | None,
    release_threshold: float | None,
    by_policy: bool = False,
    idempotency_key: str | None = None,
    request_hash: str | None = None,
    batch_id: str | None = None,
    counted: Counted | None = None,
) -> tuple[Batch, bool]:
    """Create a batch and return it with True, or the batch of an earlier request with False.

    An earlier request is one with the same `idempotency_key`. `batch_id` is the id for the new
    batch, for a caller who has already stored files under it. With `by_policy`, what is released
    follows from the policy of the site that is in force when a page is read, and not from
    `release_threshold`. Raises ConflictError if the key was used with another `request_hash`, and
    NotFoundError if the template is not this tenant's. `counted` is what the batch should come to.
    """
    _check_template(s, tenant_id, template_id)
    created = insert_or_ignore(
        s,
        Batch,
        ["tenant_id", "idempotency_key"],
        id=batch_id or new_id(),
        tenant_id=tenant_id,
        name=name,
        template_id=template_id,
        release_threshold=None if by_policy else release_threshold,
        by_policy=by_policy,
        idempotency_key=idempotency_key,
        request_hash=request_hash,
        **asdict(counted or Counted()),
    )
    if created is not None:
        batch = lock_batch(s, created)
        record_events(s, batch, database_now(s), [("batch.created", {"name": batch.name})])
        return batch, True
    batch = s.scalars(
        select(Batch).where(Batch.tenant_id == tenant_id, Batch.idempotency_key == idempotency_key)
    ).one()
    if batch.request_hash != request_hash:
        raise ConflictError(
            "This Idempotency-Key was used for another request.",
            hint="Use a new key for a new batch.",
            code="idempotency-key-reused",
        )
    return batch, False


def add_template(
    s: Session,
    *,
    tenant_id: str,
    name: str,
    text: str,
    checks: Mapping[str, tuple[Check, ...]] | None = None,
) -> TemplateText:
    """Store the text of a template and return its row; the same name and text are stored once.

    `checks` are those that the text states, by the name of each template in it.
    """
    sha256 = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
    insert_or_ignore(
        s,
        TemplateText,
        ["tenant_id", "name", "sha256"],
        tenant_id=tenant_id,
        name=name,
        sha256=sha256,
        text=text,
    )
    template = s.scalars(
        select(TemplateText).where(
            TemplateText.tenant_id == tenant_id,
            TemplateText.name == name,
            TemplateText.sha256 == sha256,
        )
    ).one()
    if checks and template.checks is None:  # whoever stored the text before did not need them
        template.checks = checks_as_json(checks)
        s.flush()
    return template


def add_documents(
    s: Session,
    *,
    tenant_id: str,
    batch_id: str,
    files: Sequence[NewDocument],
    template_id: str | None,
) -> list[tuple[Document, bool]]:
    """Add stored files to a batch, to be opened, and return the document of each, in order.

    Each comes with True; or with False if the batch had it already, by its name, its bytes and its
    template, as when a request is repeated. The same bytes under another name are a document too,
    but a copy of the first: it is not read again. The pages are read with the template of
    `template_id`; None means without a template, not with that of the batch. Raises NotFoundError,
    and ConflictError if the batch takes no more files.
    """
    batch = lock_batch(s, batch_id, tenant_id)
    alike = _documents_with_bytes(s, batch_id, template_id, [file.sha256 for file in files])
    now = database_now(s)
    added: list[Document] = []
    answered: set[str] = set()
    answers = []
    for file in files:
        same = alike.setdefault(file.sha256, [])
        there = next(
            (one for one in same if one.filename == file.filename and one.id not in answered), None
        )
        document = there or Document(
            id=new_id(),
            tenant_id=tenant_id,
            batch_id=batch_id,
            template_id=template_id,
            filename=file.filename,
            sha256=file.sha256,
            size=file.size,
            copy_of=same[0].id if same else None,
            state=DocumentState.COPY if same else DocumentState.STORED,
            hinted_at=None if same else now,
        )
        if there is None:
            same.append(document)
            added.append(document)
        answered.add(document.id)
        answers.append((document, there is None))
    if not added:
        return answers
    if batch.closed or batch.state in ENDED_BATCHES:
        raise ConflictError("This batch takes no more files.", code="batch-closed")
    _check_template(s, tenant_id, template_id)
    s.add_all(added)
    s.flush()
    hint_intake(s, [document.id for document in added if document.copy_of is None])
    record_events(
        s,
        batch,
        now,
        [
            ("document.added", {"document_id": document.id, "filename": document.filename})
            for document in added
        ],
    )
    return answers


def _documents_with_bytes(
    s: Session, batch_id: str, template_id: str | None, hashes: Sequence[str]
) -> dict[str, list[Document]]:
    """Return the documents of a batch and template by the hash of their bytes, the first first."""
    found: dict[str, list[Document]] = {}
    for start in range(0, len(hashes), _FILES_AT_ONCE):
        query = (
            select(Document)
            .where(
                Document.batch_id == batch_id,
                Document.template_id.is_not_distinct_from(template_id),
            )
            .where(Document.sha256.in_(hashes[start : start + _FILES_AT_ONCE]))
            .order_by(Document.copy_of.is_not(None), Document.id)
        )
        for document in s.scalars(query):
            found.setdefault(document.sha256, []).append(document)
    return found


def close_batch(s: Session, *, tenant_id: str, batch_id: str) -> Batch:
    """Record that no more files will come, so that the batch can end. Safe to repeat.

    Raises NotFoundError; ConflictError for a cancelled batch.
    """
    batch = lock_batch(s, batch_id, tenant_id)
    if batch.state == BatchState.CANCELLED:
        raise ConflictError("This batch was cancelled.", code="batch-cancelled")
    if not batch.closed:
        batch.closed = True
        s.flush()
        settle(s, batch, database_now(s))
    return batch


def cancel_batch(s: Session, *, tenant_id: str, batch_id: str) -> Batch:
    """End a batch now: what was read stays, the rest is not read. Safe to repeat.

    What a worker still hands in for a page of it is refused. Raises NotFoundError, and
    ConflictError if the batch has ended by itself.
    """
    batch = lock_batch(s, batch_id, tenant_id)
    if batch.state == BatchState.CANCELLED:
        return batch
    if batch.state in ENDED_BATCHES:
        raise ConflictError("This batch has ended already.", code="batch-ended")
    now = database_now(s)
    waiting = (
        select(Page.id)
        .where(Page.batch_id == batch_id)
        .where(Page.state.in_(UNREAD_PAGES))
        .order_by(Page.id)  # the order in which heartbeats lock pages
        .with_for_update()
    )
    s.execute(
        update(Page)
        .where(Page.id.in_(waiting))
        .values(state=PageState.CANCELLED, lease_until=None, finished_at=now)
        .execution_options(synchronize_session=False)
    )
    s.execute(
        update(Document)
        .where(Document.batch_id == batch_id, Document.state == DocumentState.STORED)
        .values(
            state=DocumentState.FAILED,
            lease_until=None,
            error_code="cancelled",
            error_message="The batch was cancelled before this file was opened.",
        )
        .execution_options(synchronize_session=False)
    )
    before = batch.state
    batch.closed, batch.state, batch.finished_at = True, BatchState.CANCELLED, now
    record_events(s, batch, now, [("batch.state", {"state": BatchState.CANCELLED, "from": before})])
    s.flush()
    return batch


def delete_batch(s: Session, *, tenant_id: str, batch_id: str) -> None:
    """Delete a batch and all rows that belong to it; the outbox has its objects deleted.

    Raises NotFoundError.
    """
    lock_batch(s, batch_id, tenant_id)
    for export_id in s.scalars(select(Export.id).where(Export.batch_id == batch_id)).all():
        hint_delete(s, export_id)
    s.execute(
        delete(Batch).where(Batch.id == batch_id).execution_options(synchronize_session=False)
    )
    s.expire_all()
    hint_delete(s, batch_id)


def _check_template(s: Session, tenant_id: str, template_id: str | None) -> None:
    if template_id is None:
        return
    owner = s.scalar(select(TemplateText.tenant_id).where(TemplateText.id == template_id))
    if owner != tenant_id:
        raise NotFoundError("There is no such template.", code="template-not-found")
