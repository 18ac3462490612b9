"""The rows of what people keyed: how they are written, graded and withdrawn, and whose count."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, and_, select, update
from sqlalchemy.orm import Session

from core.keying import KeyingMode
from core.roles import Role
from db.models import Field, FieldState, Keying, Page, Person, Reading

# In these modes nobody sees a value: two that agree close the field.
COUNTED: Final = (KeyingMode.BLIND, KeyingMode.DOUBLE, KeyingMode.THIRD)
VERIFIERS: Final = (Role.VERIFIER, Role.SUPERVISOR, Role.ADMIN)


@dataclass(frozen=True, slots=True)
class Keyed:
    """What a person keyed for a field, and what it cost her."""

    value: str | None  # None: nobody can read it
    note: str | None = None
    force: bool = False  # record it although the field may not hold it; needs a note
    took_ms: int | None = None  # from when the field was shown
    keystrokes: int | None = None


def add_keying(
    s: Session,
    field: Field,
    person_id: str,
    mode: KeyingMode,
    keyed: Keyed,
    now: datetime,
    *,
    value: str | None,
    forced: bool,
    note: str | None,
    right: bool | None = None,
) -> None:
    """Write what a person keyed, `value` as it was checked, beside what the machine had read."""
    shown, confidence = _machine(s, field)
    s.add(
        Keying(
            tenant_id=field.tenant_id,
            batch_id=field.batch_id,
            field_id=field.id,
            person_id=person_id,
            mode=mode,
            value=value,
            forced=forced,
            note=note,
            shown=shown,
            confidence=confidence,
            right=right,
            took_ms=keyed.took_ms,
            keystrokes=keyed.keystrokes,
            created_at=now,
        )
    )
    s.flush()


def proposed_value(s: Session, field: Field) -> str | None:
    """Return what the machine read in a field."""
    return _machine(s, field)[0]


def _machine(s: Session, field: Field) -> tuple[str | None, float | None]:
    row = s.execute(
        select(Reading.value, Reading.confidence)
        .join(Page, Page.id == field.page_id)
        .where(Reading.field_id == field.id, Reading.attempt == Page.attempt)
    ).first()
    return (None, None) if row is None else (row[0], row[1])


def grade_keyings(s: Session, field: Field) -> None:
    """Note of all keyings of a field whether they are what a decision has made of it now."""
    final: ColumnElement[bool] = Keying.value.is_(None)
    if field.state != FieldState.UNREADABLE:
        final = and_(Keying.value.is_not(None), Keying.value == field.value)
    _change(s, field, right=final)


def forget_grades(s: Session, field: Field) -> None:
    """Note that nobody knows any more what a field holds: its decision was taken back."""
    _change(s, field, Keying.mode != KeyingMode.PLANTED, right=None)


def withdraw(s: Session, keying: Keying, now: datetime) -> None:
    """Record that a person took back what she keyed."""
    keying.withdrawn_at, keying.right = now, None
    s.flush()


def _change(s: Session, field: Field, *conditions: ColumnElement[bool], **values: object) -> None:
    s.execute(
        update(Keying)
        .where(Keying.field_id == field.id, Keying.withdrawn_at.is_(None), *conditions)
        .values(**values)
        .execution_options(synchronize_session="fetch")
    )


def keyings_of(s: Session, field: Field, modes: Iterable[KeyingMode]) -> Sequence[Keying]:
    """Return what counts of what people keyed in these modes, oldest first."""
    of_field = (Keying.field_id == field.id, Keying.withdrawn_at.is_(None))
    query = select(Keying).where(*of_field, Keying.mode.in_(tuple(modes)))
    return s.scalars(query.order_by(Keying.id)).all()


def last_keying(s: Session, field: Field, person_id: str) -> Keying | None:
    """Return what a person keyed last for a field and did not take back."""
    of_field = (Keying.field_id == field.id, Keying.withdrawn_at.is_(None))
    query = select(Keying).where(*of_field, Keying.person_id == person_id)
    return s.scalar(query.order_by(Keying.id.desc()).limit(1))


def has_keyed(person_id: str | None, modes: Iterable[KeyingMode]) -> ColumnElement[bool]:
    """The condition that a person has keyed a `Field` in one of the modes; None: a `Person`."""
    who = Keying.person_id == (Person.id if person_id is None else person_id)
    of_field = (Keying.field_id == Field.id, Keying.withdrawn_at.is_(None))
    query = select(Keying.id).where(*of_field, who, Keying.mode.in_(tuple(modes)))
    return query.correlate(Field, Person).exists()


def somebody_is_fresh(modes: Iterable[KeyingMode]) -> ColumnElement[bool]:
    """The condition that somebody may verify a `Field` and has not keyed it in these modes."""
    query = select(Person.id).where(
        Person.tenant_id == Field.tenant_id,
        Person.disabled_at.is_(None),
        Person.role.in_(VERIFIERS),
        ~has_keyed(None, modes),
    )
    return query.correlate(Field).exists()
