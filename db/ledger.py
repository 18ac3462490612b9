"""Queries of the files that came in."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from db import queries
from db.models import Document


def files_of_batch(s: Session, tenant_id: str, batch_id: str) -> list[tuple[str, int, str]]:
    """Return name, size in bytes and SHA-256 of each file of a batch. Raises NotFoundError."""
    queries.get_batch(s, tenant_id, batch_id)
    query = select(Document.filename, Document.size, Document.sha256).where(
        Document.batch_id == batch_id, Document.tenant_id == tenant_id
    )
    return [(name, size, sha256) for name, size, sha256 in s.execute(query)]
