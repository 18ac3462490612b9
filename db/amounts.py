"""The values of one field on all pages of a batch, to be added up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import and_, func, select
from sqlalchemy.orm import Session

from db.models import Document, Field, Page, Reading

MOST_AMOUNTS = 50_000


@dataclass(frozen=True, slots=True)
class AmountView:
    """One value, with what its reading says of others."""

    field_id: str
    page_id: str
    page: str  # what people call the page
    name: str
    state: str
    value: str | None
    version: int
    confidence: float
    alternatives: list[dict[str, Any]]
    has_place: bool  # there is a crop


def batch_amounts(s: Session, tenant_id: str, batch_id: str, name: str) -> list[AmountView]:
    """Return the fields of a name in a batch, in the order of their pages; MOST_AMOUNTS at most."""
    rows = s.execute(
        select(
            Field.id,
            Field.page_id,
            Page.label,
            Document.filename,
            Page.ordinal,
            Field.state,
            Field.value,
            Field.version,
            Reading.confidence,
            Reading.alternatives,
        )
        .join(Page, Field.page_id == Page.id)
        .join(Document, Page.document_id == Document.id)
        .join(
            Reading,
            and_(Reading.field_id == Field.id, Reading.attempt == Page.attempt),
            isouter=True,
        )
        .where(Field.batch_id == batch_id, Field.tenant_id == tenant_id, Field.name == name)
        .order_by(Page.document_id, Page.ordinal)
        .limit(MOST_AMOUNTS)
    )
    return [
        AmountView(
            field_id=field_id,
            page_id=page_id,
            page=label or (f"{filename}, page {ordinal}" if ordinal > 1 else filename),
            name=name,
            state=state,
            value=value,
            version=version,
            confidence=confidence or 0.0,
            alternatives=alternatives or [],
            has_place=confidence is not None,
        )
        for (
            field_id,
            page_id,
            label,
            filename,
            ordinal,
            state,
            value,
            version,
            confidence,
            alternatives,
        ) in rows
    ]


def field_names(s: Session, tenant_id: str, batch_id: str) -> list[str]:
    """Return the names of the fields of a batch, in reading order."""
    query = (
        select(Field.name)
        .where(Field.batch_id == batch_id, Field.tenant_id == tenant_id)
        .group_by(Field.name)
        .order_by(func.min(Field.ordinal), Field.name)
        .limit(500)
    )
    return list(s.scalars(query))
