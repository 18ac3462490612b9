"""What admins see: the people of their tenant, and the audit log."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from core.roles import Role
from db.models import Person
from db.models_people import AuditEvent
from db.views import AuditView, PersonDetails

_STEP = 500  # entries that an export reads at once


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which entries to show; None: all. Times are aware; `until` is not included."""

    who: str | None = None
    action: str | None = None
    since: datetime | None = None
    until: datetime | None = None


def list_people(s: Session, tenant_id: str) -> list[PersonDetails]:
    """Return all people of a tenant, by name; those who are disabled come last."""
    query = (
        select(Person)
        .where(Person.tenant_id == tenant_id)
        .order_by(Person.disabled_at.is_not(None), Person.name)
    )
    return [
        PersonDetails(
            id=person.id,
            name=person.name,
            role=Role(person.role),
            has_password=person.password_hash is not None,
            of_provider=person.subject is not None,
            signed_in_at=person.signed_in_at,
            disabled_at=person.disabled_at,
        )
        for person in s.scalars(query)
    ]


def has_password(s: Session, person_id: str) -> bool:
    """Say whether a person has a password."""
    return s.scalar(select(Person.password_hash).where(Person.id == person_id)) is not None


def list_audit(
    s: Session, tenant_id: str, which: AuditFilter, *, before: int | None = None, limit: int = 100
) -> list[AuditView]:
    """Return entries, the newest first; `before` is the last id of the previous answer."""
    query = _audit(tenant_id, which)
    if before is not None:
        query = query.where(AuditEvent.id < before)
    return [_view(row) for row in s.scalars(query.order_by(AuditEvent.id.desc()).limit(limit))]


def iter_audit(s: Session, tenant_id: str, which: AuditFilter) -> Iterator[AuditView]:
    """Yield all entries, the oldest first, in bounded memory."""
    last = 0
    while True:
        step = _audit(tenant_id, which).where(AuditEvent.id > last).order_by(AuditEvent.id)
        rows = s.scalars(step.limit(_STEP)).all()
        if not rows:
            return
        last = rows[-1].id
        yield from map(_view, rows)
        s.expunge_all()


def _audit(tenant_id: str, which: AuditFilter) -> Select[AuditEvent]:
    query = select(AuditEvent).where(AuditEvent.tenant_id == tenant_id)
    if which.who is not None:
        query = query.where(AuditEvent.who == which.who)
    if which.action is not None:
        query = query.where(AuditEvent.action == which.action)
    if which.since is not None:
        query = query.where(AuditEvent.at >= which.since)
    if which.until is not None:
        query = query.where(AuditEvent.at < which.until)
    return query


def _view(row: AuditEvent) -> AuditView:
    return AuditView(row.id, row.at, row.who, row.person_id, row.action, row.about, row.address)
