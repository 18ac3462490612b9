"""Queries of what people keyed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import case, false, func, select
from sqlalchemy.orm import Session

from core.intervals import upper_bound
from core.roles import Role
from db.models import Batch, BatchState, Field, FieldState, Keying, Person
from db.transitions.keyings import COUNTED, VERIFIERS
from db.transitions.questions import NEEDS_SUPERVISOR, is_due, may_be_asked
from db.views import PersonView

FIGURES_REACH: Final = timedelta(days=30)
_LONGEST_MS: Final = 60_000  # that a field counts with: nobody keys for longer, people have pauses
_EACH_SIDE: Final = 0.975  # so that both bounds together hold for 95 of 100
_BATCHES_SHOWN: Final = 5


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


@dataclass(frozen=True, slots=True)
class Figures:
    """How fast a person keys, and how often she errs."""

    person_id: str
    name: str
    fields: int
    fields_an_hour: int | None  # None: their time is not known
    keystrokes_an_hour: int | None
    checked: int  # keyed values of which it is known whether they are right
    wrong: int

    @property
    def at_least(self) -> float:
        """The lower bound of her share of errors, 0 to 1, one-sided 97.5 % (Clopper, Pearson)."""
        return 1 - upper_bound(self.checked - self.wrong, self.checked, _EACH_SIDE)

    @property
    def at_most(self) -> float:
        """The upper bound; both together hold for 95 of 100 people."""
        return upper_bound(self.wrong, self.checked, _EACH_SIDE)


def figures(s: Session, tenant_id: str, *, since: datetime) -> list[Figures]:
    """Return the figures of all people of a tenant who keyed something since then, by name."""
    took = case((Keying.took_ms > _LONGEST_MS, _LONGEST_MS), else_=Keying.took_ms)
    timed = case((Keying.took_ms.is_not(None), 1), else_=0)
    query = (
        select(
            Person.id,
            Person.name,
            func.count(Keying.id),
            func.sum(timed),
            func.sum(took),
            func.sum(case((Keying.took_ms.is_not(None), Keying.keystrokes))),
            func.sum(case((Keying.right.is_not(None), 1), else_=0)),
            func.sum(case((Keying.right == false(), 1), else_=0)),
        )
        .join(Keying, Keying.person_id == Person.id)
        .where(
            Keying.tenant_id == tenant_id,
            Keying.withdrawn_at.is_(None),
            Keying.created_at >= since,
        )
        .group_by(Person.id, Person.name)
        .order_by(Person.name)
    )
    found = []
    for person_id, name, fields, with_time, milliseconds, strokes, checked, wrong in s.execute(
        query
    ):
        hours = int(milliseconds or 0) / 3_600_000
        found.append(
            Figures(
                person_id,
                name,
                fields,
                round(int(with_time) / hours) if hours else None,
                round(int(strokes or 0) / hours) if hours else None,
                int(checked),
                int(wrong),
            )
        )
    return found


@dataclass(frozen=True, slots=True)
class Checks:
    """Released values of a batch that a person may be asked to check."""

    batch_id: str
    batch_name: str
    count: int


def open_checks(s: Session, person: PersonView) -> list[Checks]:
    """Return what of each batch is to be checked and this person has not keyed, oldest first."""
    query = (
        select(Batch.id, Batch.name, func.count(Field.id))
        .join(Field, Field.batch_id == Batch.id)
        .where(
            Field.tenant_id == person.tenant_id,
            Batch.state != BatchState.CANCELLED,
            *is_due(person),
        )
        .group_by(Batch.id, Batch.name)
        .order_by(Batch.id)
        .limit(_BATCHES_SHOWN)
    )
    return [Checks(*row) for row in s.execute(query)]
