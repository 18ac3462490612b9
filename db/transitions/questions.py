"""Who may be asked for the value of which field, and how.

A field of mode `confirm` is anybody's. In `blind` and `double` nobody sees a value and nobody is
asked twice: the field closes as soon as two values agree. In `blind` that of the machine is one of
them. Where three differ, or where two differ and nobody else may verify, a supervisor sees them all
and settles it. Two people must have keyed a field of mode `double` before she may.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, and_, case, func, or_, select
from sqlalchemy.orm import Session

from core.keying import KeyingMode, VerifyMode
from core.policy import ReviewReason
from core.roles import Role
from db.models import Audit, Field, FieldState
from db.transitions.keyings import COUNTED, has_keyed, somebody_is_fresh
from db.views import PersonView

_IS_BLIND = Field.verify == VerifyMode.BLIND
_IS_CONFIRMED = or_(Field.verify.is_(None), Field.verify == VerifyMode.CONFIRM)
# People who key a field before it goes to a supervisor: the machine may be the third who differs.
_MOST = case((and_(_IS_BLIND, Field.value.is_not(None)), 2), else_=3)
# People who must have keyed it before a supervisor may settle it.
_LEAST = case((_IS_BLIND, 1), else_=2)
# People agreed, and a check across fields says otherwise.
_CONTRADICTED = and_(Field.keyed >= 2, func.coalesce(Field.reason, "") == ReviewReason.CHECK_FAILS)

NEEDS_SUPERVISOR = and_(
    ~_IS_CONFIRMED,
    or_(
        Field.keyed >= _MOST,
        _CONTRADICTED,
        and_(Field.keyed >= _LEAST, ~somebody_is_fresh(COUNTED)),
    ),
)


def may_be_asked(person: PersonView) -> ColumnElement[bool]:
    """The condition that a person may be asked for a `Field` that waits."""
    ways = [
        _IS_CONFIRMED,
        and_(Field.keyed < _MOST, ~has_keyed(person.id, COUNTED), ~_CONTRADICTED),
    ]
    if person.may(Role.SUPERVISOR):
        ways.append(NEEDS_SUPERVISOR)
    return or_(*ways)


def is_due(person: PersonView) -> tuple[ColumnElement[bool], ...]:
    """The conditions that a `Field` was released, and a person may be asked to check it."""
    return (
        Field.audit.in_(tuple(Audit)),
        Field.state == FieldState.ACCEPTED,
        ~has_keyed(person.id, KeyingMode),
    )


def question_of(s: Session, field: Field, person: PersonView) -> KeyingMode | None:
    """Return how a person is asked for a field that waits; None: somebody else is."""
    query = select(NEEDS_SUPERVISOR).where(
        Field.id == field.id, Field.state == FieldState.REVIEW, may_be_asked(person)
    )
    settles = s.scalar(query)
    return None if settles is None else mode_of(field.verify, field.keyed, settles=bool(settles))


def mode_of(verify: str | None, keyed: int, *, settles: bool) -> KeyingMode:
    """Return how somebody is asked who may be, where `keyed` others were before."""
    match VerifyMode(verify or VerifyMode.CONFIRM):
        case _ if settles:
            return KeyingMode.CONFIRM
        case VerifyMode.BLIND:
            return KeyingMode.THIRD if keyed else KeyingMode.BLIND
        case VerifyMode.DOUBLE:
            return KeyingMode.THIRD if keyed >= 2 else KeyingMode.DOUBLE
        case VerifyMode.CONFIRM:
            return KeyingMode.CONFIRM
