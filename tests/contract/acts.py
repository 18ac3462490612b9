"""Short ways to bring a database into a state that a test begins with."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from sqlalchemy import select

from core.ids import new_id
from core.policy import Decision, ReviewReason
from db.models import Document, Page
from db.queries import batch_progress
from db.session import Database, Session
from db.transitions.batches import NewDocument, add_documents, close_batch, create_batch
from db.transitions.documents import NewPage, NewPassedOver, claim_document, open_document
from db.transitions.pages import ClaimedPage, claim_pages, complete_pages
from db.transitions.results import FieldResult, PageResult
from db.transitions.tenants import ensure_tenant
from db.views import FieldRules

FOREVER = 3600.0
PASSED = -1.0  # a lease that is over when it begins: what waiting would come to, without waiting


def result(*decisions: Decision, value: str = "253") -> PageResult:
    """A page that was read, with one field for each decision."""
    return PageResult(
        width=1600,
        height=750,
        template_score=0.9,
        fields=tuple(
            FieldResult(
                name=f"field-{number}",
                value=value,
                raw=value,
                confidence=0.9,
                alternatives=[{"value": value, "probability": 0.9}],
                characters=[
                    {
                        "text": text,
                        "probability": 0.95,
                        "box": [1.5 + 10 * place, 2.0, 10.0, 40.0],
                        "alternatives": [],
                    }
                    for place, text in enumerate(value)
                ],
                box=(1.5, 2.0, 30.0, 40.0),
                rule=None,
                reader="glyph",
                model_sha256="f" * 64,
                reason=None if decision is Decision.ACCEPTED else ReviewReason.BELOW_THRESHOLD,
            )
            for number, decision in enumerate(decisions, 1)
        ),
    )


def as_typed(_rules: FieldRules, text: str) -> str:
    """Take every value as legal: what a field may hold is no matter of the database."""
    return text


def new_tenant(db: Database) -> str:
    with db.transaction() as s:
        return ensure_tenant(s, f"tenant {new_id()}").id


def new_batch(db: Database, tenant_id: str, *, threshold: float | None = 0.5) -> str:
    with db.transaction() as s:
        batch, _ = create_batch(
            s, tenant_id=tenant_id, name="b", template_id=None, release_threshold=threshold
        )
        return batch.id


def add_document(
    s: Session,
    *,
    tenant_id: str,
    batch_id: str,
    filename: str,
    sha256: str,
    size: int,
    template_id: str | None,
) -> tuple[Document, bool]:
    """Add one file; return its document, and False where the batch had these bytes already."""
    file = NewDocument(filename, sha256, size)
    (added,) = add_documents(
        s, tenant_id=tenant_id, batch_id=batch_id, files=[file], template_id=template_id
    )
    return added


def complete_page(s: Session, page_id: str, attempt: int, result: PageResult) -> bool:
    """Write what was read on one page; return whether it was taken."""
    return bool(complete_pages(s, [(page_id, attempt, result)]))


def new_document(db: Database, tenant_id: str, batch_id: str, name: str = "a.png") -> str:
    with db.transaction() as s:
        document, _ = add_document(
            s,
            tenant_id=tenant_id,
            batch_id=batch_id,
            filename=name,
            sha256=hashlib.sha256(name.encode()).hexdigest(),
            size=100,
            template_id=None,
        )
        return document.id


def opened(
    db: Database, document_id: str, pages: int, passed_over: Sequence[NewPassedOver] = ()
) -> list[str]:
    """Open a document; return the ids of its pages in order."""
    with db.transaction() as s:
        claim = claim_document(s, document_id, lease_seconds=FOREVER, max_attempts=3)
        assert claim is not None
    new = [NewPage(number, "", None, "image/png") for number in range(1, pages + 1)]
    with db.transaction() as s:
        assert open_document(s, document_id, claim.attempt, new, passed_over)
    with db.reading() as s:
        query = select(Page.id).where(Page.document_id == document_id).order_by(Page.ordinal)
        return list(s.scalars(query))


def close(db: Database, tenant_id: str, batch_id: str) -> str:
    """Close a batch and return its state."""
    with db.transaction() as s:
        return close_batch(s, tenant_id=tenant_id, batch_id=batch_id).state


def queued(
    db: Database, pages: int, passed_over: Sequence[NewPassedOver] = ()
) -> tuple[str, str, list[str]]:
    """Return a tenant, a closed batch of one document, and its pages, all queued."""
    tenant_id = new_tenant(db)
    batch_id = new_batch(db, tenant_id)
    page_ids = opened(db, new_document(db, tenant_id, batch_id), pages, passed_over)
    close(db, tenant_id, batch_id)
    return tenant_id, batch_id, page_ids


def claimed(db: Database, page_ids: list[str], lease: float = FOREVER) -> list[ClaimedPage]:
    with db.transaction() as s:
        return claim_pages(s, page_ids, worker="w", lease_seconds=lease)


def progress_state(db: Database, tenant_id: str, batch_id: str) -> str:
    with db.reading() as s:
        return batch_progress(s, tenant_id, batch_id).state
