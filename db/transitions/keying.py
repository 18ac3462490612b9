"""What people key for fields, kept for the figures of each person and for the policy of release."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from core.keying import KeyingMode
from db.models import Field, FieldState, Keying, Page, Reading
from db.session import database_now
from db.transitions.fields import Check, locked_field, mark_unreadable, verify_field
from db.views import PersonView


@dataclass(frozen=True, slots=True)
class Keyed:
    """What a person keyed for a field, and what it cost her."""

    value: str | None  # None: nobody can read it
    note: str | None = None
    force: bool = False  # record it although the field may not hold it; needs a note
    took_ms: int | None = None  # from when the field was shown
    keystrokes: int | None = None


def decide_field(
    s: Session,
    *,
    tenant_id: str,
    field_id: str,
    person: PersonView,
    keyed: Keyed,
    check: Check,
    version: int,
) -> Field:
    """Release a value, or mark a field as unreadable, in the name of a person who saw `version`.

    The same decision again is no second keying. Raises as `verify_field`.
    """
    _, field = locked_field(s, tenant_id, field_id)
    before = field.version
    if keyed.value is None:
        mark_unreadable(
            s,
            tenant_id=tenant_id,
            field_id=field_id,
            who=person.name,
            note=keyed.note,
            seen={version},
        )
    else:
        verify_field(
            s,
            tenant_id=tenant_id,
            field_id=field_id,
            who=person.name,
            value=keyed.value,
            check=check,
            note=keyed.note,
            force=keyed.force,
            seen={version},
        )
    if field.version != before:
        _record(s, field, person, keyed, KeyingMode.CONFIRM)
    return field


def withdraw_keying(s: Session, field: Field, now: datetime) -> None:
    """Record that the decision about a field was taken back. Safe to repeat."""
    last = (
        select(Keying.id)
        .where(Keying.field_id == field.id, Keying.withdrawn_at.is_(None))
        .order_by(Keying.id.desc())
        .limit(1)
    )
    s.execute(update(Keying).where(Keying.id == s.scalar(last)).values(withdrawn_at=now))


def _record(s: Session, field: Field, person: PersonView, keyed: Keyed, mode: KeyingMode) -> None:
    machine = s.execute(
        select(Reading.value, Reading.confidence)
        .join(Page, Page.id == field.page_id)
        .where(Reading.field_id == field.id, Reading.attempt == Page.attempt)
    ).first()
    shown, confidence = machine or (None, None)
    read = field.state == FieldState.VERIFIED
    s.add(
        Keying(
            tenant_id=field.tenant_id,
            batch_id=field.batch_id,
            field_id=field.id,
            person_id=person.id,
            mode=mode,
            value=field.value if read else None,
            forced=field.forced,
            note=field.note,
            shown=shown,
            confidence=confidence,
            took_ms=keyed.took_ms,
            keystrokes=keyed.keystrokes,
            created_at=database_now(s),
        )
    )
    s.flush()
