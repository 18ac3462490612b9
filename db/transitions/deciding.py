"""What becomes of what a person keys in the browser.

The API knows one thing only, the direct word of a supervisor (`fields`). Here a person answers the
question that she was asked, and what it does depends on how she was asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from core.errors import ChangedError
from core.keying import KeyingMode, VerifyMode
from core.policy import ReviewReason
from db.models import Audit, Batch, Field, FieldHold, FieldState, Person
from db.session import database_now
from db.transitions.checking import check_decision
from db.transitions.events import change_of, record_events
from db.transitions.fields import (
    Check,
    Verdict,
    locked_field,
    record_verdict,
    verdict_of,
    write_verdict,
)
from db.transitions.keyings import (
    COUNTED,
    Keyed,
    add_keying,
    grade_keyings,
    keyings_of,
    last_keying,
    somebody_is_fresh,
)
from db.transitions.questions import question_of
from db.transitions.settle import settle
from db.views import PersonView


@dataclass(frozen=True, slots=True)
class Decided:
    """What a person is told of her decision. Whoever keys blindly is not told what became of it."""

    version: int  # to take it back
    value: str | None = None
    state: str | None = None  # None: she keyed it blindly


def decide_field(
    s: Session,
    *,
    tenant_id: str,
    field_id: str,
    person: PersonView,
    keyed: Keyed,
    check: Check,
    version: int,
) -> Decided:
    """Record what a person keyed for a field that she saw as `version`, and what follows from it.

    The same decision again is no second keying. Raises as `verify_field`; ChangedError also if the
    question is no longer hers, which says nothing of what others keyed.
    """
    batch, field = locked_field(s, tenant_id, field_id)
    mode = _asked(s, field, person, version)
    verdict = verdict_of(s, field, keyed.value, check, note=keyed.note, force=keyed.force)
    now = database_now(s)
    if mode is None:
        last = last_keying(s, field, person.id)
        if last is None or last.value != verdict.value:
            raise not_hers()
    elif mode == KeyingMode.CONFIRM:
        before = field.version
        record_verdict(s, batch, field, verdict, person.name, {version}, force=keyed.force)
        if field.version != before:
            written = Verdict(FieldState(field.state), field.value, field.forced, field.note)
            _add(s, field, person, mode, keyed, written, now)
        release_hold(s, field_id)
        return Decided(field.version, field.value, field.state)
    elif mode == KeyingMode.PLANTED:
        right = verdict.value == field.value
        _add(s, field, person, mode, keyed, verdict, now, right=right)
    elif mode == KeyingMode.AUDIT:
        _check_release(s, batch, field, person, keyed, verdict, now)
    else:
        _add(s, field, person, mode, keyed, verdict, now)
        _close_if_two_agree(s, batch, field, person, verdict, now)
    release_hold(s, field_id)
    return Decided(field.version)


def release_hold(s: Session, field_id: str) -> None:
    """Give a field free. Safe to repeat."""
    s.execute(delete(FieldHold).where(FieldHold.field_id == field_id))


def _asked(s: Session, field: Field, person: PersonView, version: int) -> KeyingMode | None:
    """Return how the person was asked; None: she was not, or has answered already."""
    held = s.scalar(
        select(FieldHold.mode).where(
            FieldHold.field_id == field.id, FieldHold.person_id == person.id
        )
    )
    if held == KeyingMode.PLANTED and field.known:
        return KeyingMode.PLANTED
    if held == KeyingMode.AUDIT and field.audit and field.state == FieldState.ACCEPTED:
        return KeyingMode.AUDIT
    if field.version == version:
        if field.state != FieldState.REVIEW:
            raise not_hers()  # a check whose time is over
        return question_of(s, field, person)
    is_open = (field.verify or VerifyMode.CONFIRM) == VerifyMode.CONFIRM
    return KeyingMode.CONFIRM if is_open else None


def not_hers() -> ChangedError:
    """Return the error for a question that is no longer the person's; it names no value."""
    return ChangedError(
        "Somebody else has decided this field since. Nothing was changed.",
        hint="Go on with the next one.",
        code="question-over",
    )


def _close_if_two_agree(
    s: Session, batch: Batch, field: Field, person: PersonView, verdict: Verdict, now: datetime
) -> None:
    """Close a field if two values agree, else leave it to the next person."""
    counted = keyings_of(s, field, COUNTED)
    agreeing = [one for one in counted if one.value == verdict.value]
    machine = (
        field.verify == VerifyMode.BLIND
        and verdict.value is not None
        and field.value == verdict.value
    )
    field.keyed = len(counted)
    if len(agreeing) + machine < 2:
        payload = {"field_id": field.id, "page_id": field.page_id, "by": person.name}
        field.version += 1
        s.flush()
        record_events(s, batch, now, [("field.keyed", payload)])
        return
    ids = [one.person_id for one in agreeing]
    found = s.execute(select(Person.id, Person.name).where(Person.id.in_(ids)))
    names = {row.id: row.name for row in found}
    both = Verdict(
        verdict.state,
        verdict.value,
        forced=any(one.forced for one in agreeing),
        note=next((one.note for one in reversed(agreeing) if one.note), None),
    )
    who = ", ".join(names[one] for one in ids)
    known = len(agreeing) > 1 and verdict.value is not None
    write_verdict(s, batch, field, both, who, now, known=known)


def _check_release(
    s: Session,
    batch: Batch,
    field: Field,
    person: PersonView,
    keyed: Keyed,
    verdict: Verdict,
    now: datetime,
) -> None:
    """Compare what a person keyed with what policy released.

    One who differs is not believed alone: another person is asked. If she differs too, or if there
    is nobody else, the value is released no longer.
    """
    agrees = verdict.value == field.value
    right = True if agrees else None
    _add(s, field, person, KeyingMode.AUDIT, keyed, verdict, now, right=right)
    if agrees:
        field.audit = None
        s.flush()
        grade_keyings(s, field)
        return
    another = select(somebody_is_fresh([KeyingMode.AUDIT])).where(Field.id == field.id)
    if field.audit == Audit.DUE and s.scalar(another):
        field.audit = Audit.AGAIN
        s.flush()
        return
    payload = change_of(field, person.name)
    field.state, field.reason, field.audit = FieldState.REVIEW, ReviewReason.AUDIT_DIFFERS, None
    field.released_by = field.released_at = None
    field.version += 1
    s.flush()
    record_events(s, batch, now, [("field.recalled", payload)])
    check_decision(s, batch, field, person.name, now)
    settle(s, batch, now)


def _add(
    s: Session,
    field: Field,
    person: PersonView,
    mode: KeyingMode,
    keyed: Keyed,
    verdict: Verdict,
    now: datetime,
    *,
    right: bool | None = None,
) -> None:
    add_keying(
        s,
        field,
        person.id,
        mode,
        keyed,
        now,
        value=verdict.value,
        forced=verdict.forced,
        note=verdict.note,
        right=right,
    )
