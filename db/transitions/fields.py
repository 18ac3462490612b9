"""Transitions of fields by a person. Each function locks the batch, then the field."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.errors import ConflictError, NotFoundError
from core.ids import is_id
from db.models import BatchState, Field, FieldState
from db.session import database_now
from db.transitions.events import record_events
from db.transitions.settle import lock_batch, settle


def verify_field(s: Session, *, tenant_id: str, field_id: str, value: str, who: str) -> Field:
    """Release a value in the name of a person. A later value replaces it; the events keep both.

    Raises NotFoundError, and ConflictError if the batch was cancelled.
    """
    return _record_decision(s, tenant_id, field_id, FieldState.VERIFIED, value, who)


def mark_unreadable(s: Session, *, tenant_id: str, field_id: str, who: str) -> Field:
    """Record in the name of a person that nobody can read a field. Raises as `verify_field`."""
    return _record_decision(s, tenant_id, field_id, FieldState.UNREADABLE, None, who)


def _record_decision(
    s: Session, tenant_id: str, field_id: str, state: FieldState, value: str | None, who: str
) -> Field:
    query = select(Field).where(Field.id == field_id, Field.tenant_id == tenant_id)
    batch_id = s.scalar(query.with_only_columns(Field.batch_id)) if is_id(field_id) else None
    if batch_id is None:
        raise _missing()
    batch = lock_batch(s, batch_id, tenant_id)
    field = s.scalar(query.with_for_update().execution_options(populate_existing=True))
    if field is None:
        raise _missing()
    if batch.state == BatchState.CANCELLED:
        raise ConflictError("This batch was cancelled.", code="batch-cancelled")
    now = database_now(s)
    payload = {
        "field_id": field.id,
        "page_id": field.page_id,
        "by": who,
        "value": value,
        "before": field.value,
        "state_before": field.state,
    }
    field.state, field.value, field.released_by, field.released_at = state, value, who, now
    s.flush()
    record_events(s, batch, now, [(f"field.{state}", payload)])
    settle(s, batch, now)
    return field


def _missing() -> NotFoundError:
    return NotFoundError("There is no such field.", code="field-not-found")
