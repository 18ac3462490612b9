"""What people say of a whole batch, and asking for a value to be looked at again."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import asdict, dataclass

from sqlalchemy.orm import Session

from core.errors import ChangedError
from core.policy import ReviewReason
from db.models import FieldState
from db.session import database_now
from db.transitions.events import change_of, record_events
from db.transitions.fields import locked_field
from db.transitions.settle import lock_batch, settle


@dataclass(frozen=True, slots=True)
class Counted:
    """What a batch should come to: a decimal as text, the field that it sums, pages and files."""

    control_total: str | None = None
    control_field: str | None = None
    expected_pages: int | None = None
    expected_documents: int | None = None


def count_batch(s: Session, *, tenant_id: str, batch_id: str, who: str, counted: Counted) -> None:
    """Record what a batch should come to. Safe to repeat. Raises NotFoundError."""
    batch = lock_batch(s, batch_id, tenant_id)
    there = Counted(
        batch.control_total, batch.control_field, batch.expected_pages, batch.expected_documents
    )
    if there == counted:
        return
    for name, value in asdict(counted).items():
        setattr(batch, name, value)
    s.flush()
    payload = {"by": who} | asdict(counted)
    record_events(s, batch, database_now(s), [("batch.counted", payload)])


def ask_again(s: Session, *, tenant_id: str, field_id: str, who: str, seen: Container[int]) -> str:
    """Have a released value looked at again: the field waits for a person, its value proposed.

    Returns the id of its batch. Raises ChangedError if the field has another version than those in
    `seen`, NotFoundError, and ConflictError if its batch was cancelled. A field that waits already
    stays as it is.
    """
    batch, field = locked_field(s, tenant_id, field_id)
    if field.state == FieldState.REVIEW:
        return batch.id
    if field.version not in seen:
        raise ChangedError(
            "Somebody has decided this field since. Nothing was changed.",
            hint="Open it again to see what it is now.",
            code="field-changed",
        )
    now = database_now(s)
    payload = change_of(field, who) | {"value": field.value}
    field.state, field.reason = FieldState.REVIEW, ReviewReason.ASKED_AGAIN
    field.released_by = field.released_at = field.note = None
    field.forced, field.version = False, field.version + 1
    s.flush()
    record_events(s, batch, now, [("field.asked_again", payload)])
    settle(s, batch, now)
    return batch.id
