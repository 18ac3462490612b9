"""Which field a person gets to see next, and how she puts it off or takes a decision back.

A field is before one person at a time: she holds it for a while, and nobody else is given it. Holds
expire, so that a field whose holder went home comes to somebody else. A hold also says how she was
asked, because she must not see it: a question whose answer is known looks like any other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, Select, and_, delete, func, or_, select, true, update
from sqlalchemy.orm import Session

from core.errors import ChangedError
from core.keying import PLANTED_SHARE, KeyingMode, VerifyMode, draw, is_chosen
from core.roles import Role
from db.models import Audit, Batch, BatchState, Field, FieldHold, FieldState, Page
from db.session import database_now
from db.transitions.checking import check_decision
from db.transitions.deciding import not_hers, release_hold
from db.transitions.events import change_of, record_events
from db.transitions.fields import locked_field
from db.transitions.keyings import (
    COUNTED,
    forget_grades,
    has_keyed,
    keyings_of,
    last_keying,
    proposed_value,
    withdraw,
)
from db.transitions.questions import NEEDS_SUPERVISOR, is_due, may_be_asked, mode_of, question_of
from db.transitions.settle import lock_batch, settle
from db.transitions.upsert import insert_or_ignore
from db.views import PersonView

HOLD_LASTS: Final = timedelta(minutes=3)

# One question in so many brings a check of a released value along, as long as there are any.
_AUDIT_RATE: Final = 0.2
_KNOWN_AT_ONCE: Final = 20  # fields of known value, of which a hash chooses one
_CHECKS: Final = (KeyingMode.PLANTED, KeyingMode.AUDIT)


@dataclass(frozen=True, slots=True)
class Question:
    """A field that a person is asked for, and how."""

    field_id: str
    mode: KeyingMode


def hold_next(
    s: Session,
    *,
    tenant_id: str,
    batch_id: str,
    person: PersonView,
    count: int,
    besides: Sequence[str] = (),
    planted_share: float = PLANTED_SHARE,
) -> list[Question]:
    """Return the next questions for a person, and hold their fields for her.

    Fields that wait come by template and field, so that eyes and hands stay in rhythm; those that
    were postponed come last. `besides` are left out: the person has them already, and holds them
    on. Beside `planted_share` of the blind questions, 0 to 1, comes a field whose value is known;
    and now and then one that policy released, of this batch or another. So there may be a few more
    than `count`. Raises NotFoundError.
    """
    lock_batch(s, batch_id, tenant_id)  # two people who ask at once get different fields
    now = database_now(s)
    free = _free_for(person, now)
    query = (
        select(Field.id, Field.name, Field.verify, Field.keyed, NEEDS_SUPERVISOR)
        .join(Page, Field.page_id == Page.id)
        .join(FieldHold, FieldHold.field_id == Field.id, isouter=True)
        .where(
            Field.batch_id == batch_id,
            Field.state == FieldState.REVIEW,
            free,
            may_be_asked(person),
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
    asked: list[Question] = []
    left_out = list(besides)

    def check(mode: KeyingMode, found: str | None) -> None:
        if found is not None:
            asked.append(Question(found, mode))
            left_out.append(found)

    for field_id, name, verify, keyed, settles in s.execute(query.limit(count)).all():
        mode = mode_of(verify, keyed, settles=bool(settles))
        if mode in COUNTED and is_chosen(planted_share, "planted", field_id, person.id):
            check(KeyingMode.PLANTED, _known(s, person, name, free, left_out, field_id))
        if is_chosen(_AUDIT_RATE, "audit-now", field_id, person.id):
            check(KeyingMode.AUDIT, next(iter(_due(s, person, free, left_out)), None))
        asked.append(Question(field_id, mode))
    if len(asked) < count:
        more = count - len(asked)
        for found in _due(s, person, free, left_out, Field.batch_id == batch_id, limit=more):
            check(KeyingMode.AUDIT, found)
    _renew(s, person, besides, now)
    held = _hold(s, person, asked, now)
    return [question for question in asked if question.field_id in held]


def count_questions(s: Session, person: PersonView, batch_id: str) -> int:
    """Return how many fields of a batch a person may be asked for, now or later."""
    waits = and_(Field.state == FieldState.REVIEW, may_be_asked(person))
    query = select(func.count(Field.id)).where(
        Field.tenant_id == person.tenant_id,
        Field.batch_id == batch_id,
        or_(waits, and_(*is_due(person))),
    )
    return s.scalar(query) or 0


def postpone_field(s: Session, *, tenant_id: str, field_id: str, person: PersonView) -> None:
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
    payload = {"field_id": field.id, "page_id": field.page_id, "by": person.name}
    record_events(s, batch, now, [("field.postponed", payload)])


def take_back(
    s: Session, *, tenant_id: str, field_id: str, person: PersonView, version: int
) -> Question:
    """Take back what a person keyed last for a field; she is asked again, and holds it.

    In mode `confirm` the decision may be another person's: the field waits again, with what the
    machine proposed. Raises ChangedError if the field has another version or somebody else has it
    before her, NotFoundError, and ConflictError if its batch was cancelled.
    """
    batch, field = locked_field(s, tenant_id, field_id)
    now = database_now(s)
    last = last_keying(s, field, person.id)
    if last is not None and last.mode in _CHECKS and field.state != FieldState.REVIEW:
        if last.mode == KeyingMode.AUDIT and field.state != FieldState.ACCEPTED:
            raise not_hers()  # it was recalled since, and people have decided it
        withdraw(s, last, now)
        if last.mode == KeyingMode.AUDIT:
            before = keyings_of(s, field, [KeyingMode.AUDIT])
            field.audit = Audit.AGAIN if before else Audit.DUE
            forget_grades(s, field)
        return _hold_again(s, field, person, KeyingMode(last.mode), now)
    decided = field.state in (FieldState.VERIFIED, FieldState.UNREADABLE)
    keyed_it = last is not None and last.mode in (*COUNTED, KeyingMode.CONFIRM)
    is_open = (field.verify or VerifyMode.CONFIRM) == VerifyMode.CONFIRM
    if not (keyed_it or person.may(Role.SUPERVISOR) or is_open) or (
        field.version != version and (decided or not is_open)
    ):
        raise ChangedError(
            "Somebody has decided this field since. Nothing was changed.",
            hint="Open it again to see what it is now.",
            code="field-changed",
        )
    withdrawn = last is not None and keyed_it and field.version == version
    if last is not None and withdrawn:
        withdraw(s, last, now)
        field.keyed = len(keyings_of(s, field, COUNTED))
    if decided:
        payload = change_of(field, person.name)
        field.state, field.value = FieldState.REVIEW, proposed_value(s, field)
        field.released_by = field.released_at = field.note = None
        field.forced = field.known = False
        field.version += 1
        s.flush()
        forget_grades(s, field)
        record_events(s, batch, now, [("field.reopened", payload)])
        check_decision(s, batch, field, person.name, now)
        settle(s, batch, now)
    elif withdrawn:
        field.version += 1
        s.flush()
    mode = question_of(s, field, person)
    if mode is None:
        raise not_hers()
    return _hold_again(s, field, person, mode, now)


def _hold_again(
    s: Session, field: Field, person: PersonView, mode: KeyingMode, now: datetime
) -> Question:
    s.flush()
    question = Question(field.id, mode)
    if not _hold(s, person, [question], now):
        raise ChangedError(
            "Somebody else has this field now.",
            hint="Look at it when it is decided.",
            code="field-changed",
        )
    return question


def _free_for(person: PersonView, now: datetime) -> ColumnElement[bool]:
    return or_(
        FieldHold.person_id.is_(None), FieldHold.person_id == person.id, FieldHold.until <= now
    )


def _renew(s: Session, person: PersonView, field_ids: Sequence[str], now: datetime) -> None:
    """Hold on to what a person has before her. What expired may be somebody else's by now."""
    s.execute(
        update(FieldHold)
        .where(FieldHold.field_id.in_(field_ids), FieldHold.person_id == person.id)
        .values(until=now + HOLD_LASTS)
        .execution_options(synchronize_session=False)
    )


def _hold(
    s: Session, person: PersonView, questions: Iterable[Question], now: datetime
) -> frozenset[str]:
    """Hold fields that are free; return those that nobody else has taken at the same time."""
    wanted = {question.field_id: question.mode for question in questions}
    gone = or_(FieldHold.person_id == person.id, FieldHold.until <= now)
    s.execute(delete(FieldHold).where(FieldHold.field_id.in_(wanted), gone))
    return frozenset(
        field_id
        for field_id in sorted(wanted)  # in one order everywhere, so there is no deadlock
        if insert_or_ignore(
            s,
            FieldHold,
            ["field_id"],
            field_id=field_id,
            person_id=person.id,
            mode=wanted[field_id],
            until=now + HOLD_LASTS,
        )
    )


def _known(
    s: Session,
    person: PersonView,
    name: str,
    free: ColumnElement[bool],
    left_out: Sequence[str],
    seed: str,
) -> str | None:
    """Return a field whose value is known and that the person has not keyed, if there is one."""
    query = _checks(
        person, free, left_out, Field.known == true(), Field.state == FieldState.VERIFIED
    )
    query = query.order_by(Field.name != name, Field.id.desc()).limit(_KNOWN_AT_ONCE)
    found = s.scalars(query).all()
    return found[draw(len(found), seed, person.id)] if found else None


def _due(
    s: Session,
    person: PersonView,
    free: ColumnElement[bool],
    left_out: Sequence[str],
    *where: ColumnElement[bool],
    limit: int = 1,
) -> Sequence[str]:
    """Return released values that are to be checked, the oldest first."""
    query = _checks(person, free, left_out, *is_due(person), *where)
    return s.scalars(query.order_by(Field.id).limit(limit)).all()


def _checks(
    person: PersonView,
    free: ColumnElement[bool],
    left_out: Sequence[str],
    *where: ColumnElement[bool],
) -> Select[str]:
    return (
        select(Field.id)
        .join(Batch, Field.batch_id == Batch.id)
        .join(FieldHold, FieldHold.field_id == Field.id, isouter=True)
        .where(
            Field.tenant_id == person.tenant_id,
            Batch.state != BatchState.CANCELLED,
            ~has_keyed(person.id, KeyingMode),
            Field.id.not_in(left_out),
            free,
            *where,
        )
    )
