"""Transitions of fields by a person. Each function locks the batch, then the field.

What a field may hold is checked by a function that the caller passes, because grammars belong to
the pipeline. It gets the rules of the field and the text that the person typed, and returns the
value. It raises InputError for a text that stands for no legal value; such a text is released as it
was typed if the person forces it and notes why. Each decision judges the checks across fields anew.

Two people do not overwrite each other. Each decision gives the field its next version, and a
decision of a person is replaced only by somebody who names its version. To decide again what is
decided already changes nothing, so that a request may be repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.errors import ChangedError, ConflictError, InputError, NotFoundError
from core.ids import is_id
from core.limits import MAX_NOTE, MAX_VALUE
from core.policy import ReviewReason
from core.text import checked_line
from db.models import Batch, BatchState, Document, Field, FieldState, Page, TemplateText
from db.session import database_now
from db.transitions.checking import check_decision, contradictions
from db.transitions.events import change_of, record_events
from db.transitions.keyings import grade_keyings
from db.transitions.settle import lock_batch, settle
from db.views import FieldRules

Check = Callable[[FieldRules, str], str]

ANY_VERSION: Final = range(1, 1 << 62)  # the caller replaces whatever is there

_BY_A_PERSON = (FieldState.VERIFIED, FieldState.UNREADABLE)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a person says of a field, checked."""

    state: FieldState
    value: str | None
    forced: bool
    note: str | None

    def is_that_of(self, field: Field, *, force: bool) -> bool:
        there = (field.state, field.value, field.note)
        alike = field.forced == self.forced or (force and field.forced)
        return alike and there == (self.state, self.value, self.note)


def verify_field(
    s: Session,
    *,
    tenant_id: str,
    field_id: str,
    value: str,
    who: str,
    check: Check,
    note: str | None = None,
    force: bool = False,
    seen: Container[int] | None = None,
    seen_by: Sequence[str] = (),
) -> Field:
    """Release a value in the name of a person. A later one replaces it; the events keep both.

    `seen` has the versions of the field that the person may have seen; None: not stated. `seen_by`
    are those who looked at each of its characters, if it was not one person who saw the whole.
    Raises InputError for a value that `check` refuses, and, of a field that waits because a check
    across fields fails, for one with which it still fails, unless `force` and a `note` come with
    it; ChangedError if the field has another version, or if a person has decided and `seen` is
    None; NotFoundError; and ConflictError if the batch was cancelled.
    """
    batch, field = locked_field(s, tenant_id, field_id)
    verdict = verdict_of(s, field, value, check, note=note, force=force)
    return record_verdict(s, batch, field, verdict, who, seen, force=force, seen_by=seen_by)


def _refusal(fault: InputError, *, force: bool) -> InputError:
    missing = "say why in a note" if force else "force it and say why in a note"
    return InputError(
        fault.message,
        hint=f"{fault.hint} To record it all the same, {missing}.".strip(),
        code="note-required" if force else fault.code,
    )


def mark_unreadable(
    s: Session,
    *,
    tenant_id: str,
    field_id: str,
    who: str,
    note: str | None = None,
    seen: Container[int] | None = None,
) -> Field:
    """Record in the name of a person that nobody can read a field.

    Raises as `verify_field`, InputError only for a note that is no line of text.
    """
    batch, field = locked_field(s, tenant_id, field_id)
    verdict = Verdict(FieldState.UNREADABLE, None, False, _checked_note(note))
    return record_verdict(s, batch, field, verdict, who, seen)


def verdict_of(
    s: Session,
    field: Field,
    value: str | None,
    check: Check,
    *,
    note: str | None = None,
    force: bool = False,
) -> Verdict:
    """Check what a person says of a field; a value of None: nobody can read it.

    Raises InputError for a value that `check` refuses, unless `force` and a `note` come with it.
    """
    note = _checked_note(note)
    if value is None:
        return Verdict(FieldState.UNREADABLE, None, False, note)
    try:
        return Verdict(FieldState.VERIFIED, check(_rules(s, field), value), False, note)
    except InputError as exc:
        if not force or note is None:
            raise _refusal(exc, force=force) from exc
    typed = checked_line(value, "The value", longest=MAX_VALUE)
    return Verdict(FieldState.VERIFIED, typed, True, note)


def locked_field(s: Session, tenant_id: str, field_id: str) -> tuple[Batch, Field]:
    """Lock the batch and the field. Raises NotFoundError, and ConflictError if it was cancelled."""
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
    return batch, field


def _rules(s: Session, field: Field) -> FieldRules:
    text = None
    if field.grammar is None:
        text = s.scalar(
            select(TemplateText.text)
            .join(Document, Document.template_id == TemplateText.id)
            .join(Page, Page.document_id == Document.id)
            .where(Page.id == field.page_id)
        )
    return FieldRules(field.name, field.grammar, field.required, text)


def _checked_note(note: str | None) -> str | None:
    return None if note is None else checked_line(note, "The note", longest=MAX_NOTE) or None


def record_verdict(
    s: Session,
    batch: Batch,
    field: Field,
    verdict: Verdict,
    who: str,
    seen: Container[int] | None,
    *,
    force: bool = False,
    seen_by: Sequence[str] = (),
) -> Field:
    """Close a locked field if its version is in `seen`. Raises ChangedError as `verify_field`."""
    current = field.version in seen if seen is not None else field.state not in _BY_A_PERSON
    if not current:
        if verdict.is_that_of(field, force=force):
            return field
        raise ChangedError(
            _present(field) + " Nothing was changed.",
            hint=f"Look at it; to replace it, name its version, {field.version}.",
            code="field-changed" if seen is not None else "version-required",
        )
    if verdict.value is not None and field.reason == ReviewReason.CHECK_FAILS:
        against = contradictions(s, field, verdict.value)
        noted = force and verdict.note is not None
        for finding, decided in against:
            # Where another field still waits, its value is only proposed, and may be the wrong one.
            if decided and not noted:
                said = f"The check '{finding.name}' fails with this value: {finding.message}"
                raise _refusal(InputError(said, code=ReviewReason.CHECK_FAILS), force=force)
        if against and noted:
            verdict = replace(verdict, forced=True)
    write_verdict(s, batch, field, verdict, who, database_now(s), seen_by=seen_by)
    return field


def write_verdict(
    s: Session,
    batch: Batch,
    field: Field,
    verdict: Verdict,
    who: str,
    now: datetime,
    *,
    known: bool = False,
    seen_by: Sequence[str] = (),
) -> None:
    """Close a locked field in the name of `who`; with `known`, two people agree on its value."""
    payload = change_of(field, who) | {
        "value": verdict.value,
        "forced": verdict.forced,
        "note": verdict.note,
    }
    if seen_by:
        payload["seen_by"] = list(seen_by)
    field.state, field.value, field.released_by = verdict.state, verdict.value, who
    field.forced, field.note = verdict.forced, verdict.note
    field.released_at, field.version = now, field.version + 1
    field.known, field.audit = known, None
    s.flush()
    grade_keyings(s, field)
    record_events(s, batch, now, [(f"field.{verdict.state}", payload)])
    check_decision(s, batch, field, who, now)
    settle(s, batch, now)


def _present(field: Field) -> str:
    if field.state == FieldState.VERIFIED:
        return f"{field.released_by} has verified this field as '{field.value}'."
    if field.state == FieldState.UNREADABLE:
        return f"{field.released_by} has marked this field as unreadable."
    return f"This field has version {field.version}, not the one that you named."


def _missing() -> NotFoundError:
    return NotFoundError("There is no such field.", code="field-not-found")
