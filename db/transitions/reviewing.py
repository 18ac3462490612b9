"""Which field a person gets to see next, and how she puts it off or takes a decision back.

A field is before one person at a time: she holds it for a while, and nobody else is given it. Holds
expire, so that a field whose holder went home comes to somebody else.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from datetime import timedelta
from typing import Final

from sqlalchemy import ColumnElement, delete, or_, select
from sqlalchemy.orm import Session

from core.errors import ChangedError
from db.models import Field, FieldHold, FieldState, Page, Reading
from db.session import database_now
from db.transitions.checking import check_decision
from db.transitions.events import change_of, record_events
from db.transitions.fields import locked_field
from db.transitions.keying import withdraw_keying
from db.transitions.settle import lock_batch, settle

HOLD_LASTS: Final = timedelta(minutes=3)


def hold_next(
    s: Session,
    *,
    tenant_id: str,
    batch_id: str,
    person_id: str,
    count: int,
    besides: Sequence[str] = (),
) -> list[str]:
    """Return the ids of the next fields that wait, and hold them for this person.

    They come by template and field, so that eyes and hands stay in rhythm; those that were
    postponed come last. `besides` are left out: the person has them already, and holds them on.
    Raises NotFoundError.
    """
    lock_batch(s, batch_id, tenant_id)  # two people who ask at once get different fields
    now = database_now(s)
    s.execute(delete(FieldHold).where(FieldHold.until <= now))
    query = (
        select(Field.id)
        .join(Page, Field.page_id == Page.id)
        .join(FieldHold, FieldHold.field_id == Field.id, isouter=True)
        .where(
            Field.batch_id == batch_id,
            Field.state == FieldState.REVIEW,
            _free_for(person_id),
            Field.id.not_in(besides),
        )
        .order_by(
            Field.postponed_at.is_not(None),
            Field.postponed_at,
            Page.template,
            Field.ordinal,
            Page.document_id,
            Page.ordinal,
        )
    )
    chosen = list(s.scalars(query.limit(count)))
    # What she has may be somebody else's by now, if her hold expired.
    free = (
        select(Field.id)
        .join(FieldHold, FieldHold.field_id == Field.id, isouter=True)
        .where(Field.id.in_([*chosen, *besides]), Field.batch_id == batch_id, _free_for(person_id))
    )
    held = list(s.scalars(free))
    s.execute(delete(FieldHold).where(FieldHold.field_id.in_(held)))
    s.add_all(FieldHold(field_id=one, person_id=person_id, until=now + HOLD_LASTS) for one in held)
    s.flush()
    return chosen


def _free_for(person_id: str) -> ColumnElement[bool]:
    return or_(FieldHold.person_id.is_(None), FieldHold.person_id == person_id)


def release_hold(s: Session, field_id: str) -> None:
    """Give a field free. Safe to repeat."""
    s.execute(delete(FieldHold).where(FieldHold.field_id == field_id))


def postpone_field(s: Session, *, tenant_id: str, field_id: str, who: str) -> None:
    """Leave a field for later: it still waits, and comes after all others.

    Raises NotFoundError, and ConflictError if its batch was cancelled. A field that no longer
    waits stays as it is.
    """
    batch, field = locked_field(s, tenant_id, field_id)
    release_hold(s, field_id)
    if field.state != FieldState.REVIEW:
        return
    now = database_now(s)
    field.postponed_at = now
    s.flush()
    payload = {"field_id": field.id, "page_id": field.page_id, "by": who}
    record_events(s, batch, now, [("field.postponed", payload)])


def reopen_field(
    s: Session, *, tenant_id: str, field_id: str, who: str, seen: Container[int]
) -> int:
    """Take a decision of a person back: the field waits again, with what the machine proposed.

    Returns its version. Raises ChangedError if the field has another version than those in `seen`,
    NotFoundError, and ConflictError if its batch was cancelled.
    """
    batch, field = locked_field(s, tenant_id, field_id)
    if field.state not in (FieldState.VERIFIED, FieldState.UNREADABLE):
        return field.version
    if field.version not in seen:
        raise ChangedError(
            "Somebody has decided this field since. Nothing was changed.",
            hint="Open it again to see what it is now.",
            code="field-changed",
        )
    proposed = s.scalar(
        select(Reading.value)
        .join(Page, Page.id == field.page_id)
        .where(Reading.field_id == field.id, Reading.attempt == Page.attempt)
    )
    now = database_now(s)
    payload = change_of(field, who)
    field.state, field.value, field.version = FieldState.REVIEW, proposed, field.version + 1
    field.released_by = field.released_at = field.note = None
    field.forced = False
    withdraw_keying(s, field, now)
    s.flush()
    record_events(s, batch, now, [("field.reopened", payload)])
    check_decision(s, batch, field, who, now)
    settle(s, batch, now)
    return field.version
