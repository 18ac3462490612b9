"""Queries of what people keyed."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.roles import Role
from db.models import Field, FieldState, Keying, Person
from db.transitions.keyings import COUNTED, VERIFIERS
from db.transitions.questions import NEEDS_SUPERVISOR, may_be_asked
from db.views import PersonView


def values_keyed(s: Session, tenant_id: str, field_id: str) -> list[str | None]:
    """Return the different values that people keyed for a field, in that order."""
    query = select(Keying.value).where(
        Keying.tenant_id == tenant_id,
        Keying.field_id == field_id,
        Keying.withdrawn_at.is_(None),
        Keying.mode.in_(COUNTED),
    )
    return list(dict.fromkeys(s.scalars(query.order_by(Keying.id))))


@dataclass(frozen=True, slots=True)
class Others:
    """Fields of a batch that wait for others than a person, and who that could be."""

    to_key: int  # for somebody who has not keyed them
    to_settle: int  # for a supervisor
    verifiers: tuple[str, ...]  # names of all others who may verify
    supervisors: tuple[str, ...]


def waiting_for_others(s: Session, person: PersonView, batch_id: str) -> Others:
    """Return what waits for others than a person, because she has keyed it or may not settle it."""
    query = (
        select(NEEDS_SUPERVISOR, func.count())
        .select_from(Field)
        .where(
            Field.tenant_id == person.tenant_id,
            Field.batch_id == batch_id,
            Field.state == FieldState.REVIEW,
            ~may_be_asked(person),
        )
        .group_by(NEEDS_SUPERVISOR)
    )
    counts = {bool(settles): count for settles, count in s.execute(query)}
    if not counts:
        return Others(0, 0, (), ())
    people = s.execute(
        select(Person.name, Person.role)
        .where(
            Person.tenant_id == person.tenant_id,
            Person.id != person.id,
            Person.disabled_at.is_(None),
            Person.role.in_(VERIFIERS),
        )
        .order_by(Person.name)
    ).all()
    return Others(
        to_key=counts.get(False, 0),
        to_settle=counts.get(True, 0),
        verifiers=tuple(name for name, _ in people),
        supervisors=tuple(name for name, role in people if role != Role.VERIFIER),
    )
