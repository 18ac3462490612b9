"""What people say of single characters, and what follows from it for the fields.

A field that waits is released by a carpet when somebody has said of each of its characters that it
is what the value has there. All that was said is kept: who saw which character, and what she said
of it. A character that seems odd keeps its field out of carpets: it is verified as a whole.

A released field whose character is wrong loses its release and waits for a person, who sees it as a
whole. A carpet never closes it again.

Each function locks the batch first, then the fields in the order of their ids (see `settle`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from datetime import datetime
from enum import StrEnum
from itertools import groupby
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.errors import ConflictError, InputError, NotFoundError
from core.policy import ReviewReason
from db.carpet import checks_of, fields_with_readings, has_places, is_offered
from db.models import (
    Batch,
    BatchState,
    CarpetScreen,
    CharacterCheck,
    Field,
    FieldState,
    Person,
    Reading,
)
from db.session import database_now
from db.transitions.checking import check_decision, contradictions
from db.transitions.events import change_of, record_events
from db.transitions.fields import Check, verify_field
from db.transitions.keyings import forget_grades
from db.transitions.results import POLICY
from db.transitions.settle import lock_batch, settle
from db.views import FieldRules, PersonView

CHANGED: Final = "Somebody has changed this field meanwhile."
WHOLE: Final = "This field must be seen as a whole."


@dataclass(frozen=True, slots=True)
class Seen:
    """What a person says of one character that she saw.

    `shown` is what the machine took it for. `said` is what it is; None: something is odd about it.
    """

    field_id: str
    version: int  # of the field when it was shown
    place: int  # in the value, from 0
    shown: str
    said: str | None


@dataclass(frozen=True, slots=True)
class Refused:
    """A field of which nothing that was said counts, and why."""

    field_id: str
    name: str
    value: str | None  # as it is now
    why: str


class Act(StrEnum):
    """What a screen did to a field."""

    CORRECTED = "corrected"  # the proposed value is another one
    CLOSED = "closed"  # released in the name of a person
    RECALLED = "unreleased"  # its release was taken back


@dataclass(slots=True)
class Outcome:
    """What came of a screen. `acts` are the fields that it changed."""

    screen_id: str
    confirmed: int = 0  # characters
    doubted: int = 0  # characters
    acts: dict[Act, int] = dataclass_field(default_factory=dict)
    refused: list[Refused] = dataclass_field(default_factory=list)


@dataclass(slots=True)
class _Work:
    """A screen while it is written."""

    s: Session
    batch: Batch
    screen: CarpetScreen
    person: PersonView
    check: Check
    now: datetime
    outcome: Outcome

    def propose(self, field: Field, act: Act, value: str | None, reason: str | None) -> None:
        """Let a field wait with another value."""
        payload = change_of(field, self.person.name) | {"value": value}
        self.note(field, act, field.version + 1)
        field.state, field.reason = FieldState.REVIEW, reason
        field.value, field.version = value, field.version + 1
        field.released_by = field.released_at = None
        self.s.flush()
        record_events(self.s, self.batch, self.now, [(f"field.{act}", payload)])
        check_decision(self.s, self.batch, field, self.person.name, self.now)

    def note(self, field: Field, act: Act, version: int) -> None:
        """Remember that a field changes, for taking it back; call it before."""
        before = {"value": field.value, "released_at": _iso(field.released_at)}
        entry = {"field_id": field.id, "version": version, "act": act, "before": before}
        self.screen.changes = [*self.screen.changes, entry]
        self.outcome.acts[act] = self.outcome.acts.get(act, 0) + 1


def confirm_screen(
    s: Session,
    *,
    tenant_id: str,
    batch_id: str,
    person: PersonView,
    audit: bool,
    seen: Sequence[Seen],
    check: Check,
) -> Outcome:
    """Record what a person says of the characters on one screen, and what follows from it.

    Of a field that has another version than she saw, nothing counts; it is named in the outcome.
    Raises NotFoundError, and ConflictError if the batch was cancelled.
    """
    batch = _open_batch(s, tenant_id, batch_id)
    now = database_now(s)
    screen = CarpetScreen(
        tenant_id=tenant_id,
        batch_id=batch_id,
        person_id=person.id,
        audit=audit,
        changes=[],
        created_at=now,
    )
    s.add(screen)
    s.flush()
    work = _Work(s, batch, screen, person, check, now, Outcome(screen.id))
    asked = {
        field_id: list(own)
        for field_id, own in groupby(sorted(seen, key=_order), lambda one: one.field_id)
    }
    rows = _lock_fields(s, tenant_id, batch_id, list(asked))
    doubted = {key[0] for key, what in checks_of(s, list(asked)).items() if what is None}
    touched = []
    for field_id, own in asked.items():
        if field_id not in rows:
            work.outcome.refused.append(Refused(field_id, "", None, "It is not in this batch."))
            continue
        field, reading = rows[field_id]
        why = _stale(field, reading, own, audit=audit)
        if field_id in doubted:
            why = WHOLE
        if why is not None:
            work.outcome.refused.append(Refused(field.id, field.name, field.value, why))
            continue
        (_audit if audit else _take)(work, field, reading, own)
        touched.append(field_id)
    s.flush()
    if not audit:
        said = checks_of(s, touched)
        for field_id in touched:
            _close_if_seen(work, *rows[field_id], said)
    s.flush()
    settle(s, batch, now)
    return work.outcome


def take_back_screen(
    s: Session, *, tenant_id: str, batch_id: str, person: PersonView, screen_id: str
) -> list[Refused]:
    """Take all back that a person said on one screen: nothing of it counts any more.

    A field that was released because of it waits again, also where somebody else saw its last
    character; a value that it corrected is again what it was; a release that it took back stands
    again. Returns the fields that stay as they are, because somebody has decided them since. Safe
    to repeat. Raises NotFoundError, and ConflictError if the batch was cancelled.
    """
    batch = _open_batch(s, tenant_id, batch_id)
    query = select(CarpetScreen).where(
        CarpetScreen.id == screen_id,
        CarpetScreen.batch_id == batch_id,
        CarpetScreen.person_id == person.id,
    )
    screen = s.scalar(query.with_for_update().execution_options(populate_existing=True))
    if screen is None:
        raise NotFoundError("There is no such screen.", code="screen-not-found")
    if screen.taken_back_at is not None:
        return []
    now = database_now(s)
    screen.taken_back_at = now
    s.flush()
    ids = select(CharacterCheck.field_id).where(CharacterCheck.screen_id == screen_id)
    field_ids = sorted(set(s.scalars(ids)))
    closed = _closed_versions(s, batch_id, field_ids)
    own = {one["field_id"]: one for one in screen.changes}
    said = checks_of(s, field_ids)
    refused = []
    for field, reading in _lock_fields(s, tenant_id, batch_id, field_ids).values():
        payload = change_of(field, person.name)
        mine = own.get(field.id)
        if field.state == FieldState.VERIFIED and (field.id, field.version) in closed:
            field.state, field.released_by, field.released_at = FieldState.REVIEW, None, None
            field.value, field.known = _proposed(field, reading, said), False
            kind = "field.reopened"
        elif mine and mine["act"] == Act.RECALLED and _stands(s, field, mine):
            field.state, field.reason, field.released_by = FieldState.ACCEPTED, None, POLICY
            field.value = mine["before"]["value"]
            field.released_at = datetime.fromisoformat(mine["before"]["released_at"])
            kind = "field.restored"
        elif mine and mine["act"] == Act.CORRECTED and field.state == FieldState.REVIEW:
            field.value = _proposed(field, reading, said)
            kind = "field.reopened"
        else:
            if mine:
                refused.append(Refused(field.id, field.name, field.value, CHANGED))
            continue
        field.version += 1
        s.flush()
        forget_grades(s, field)
        record_events(s, batch, now, [(kind, payload | {"value": field.value})])
        check_decision(s, batch, field, person.name, now)
    settle(s, batch, now)
    return refused


def _stands(s: Session, field: Field, change: dict[str, Any]) -> bool:
    """Say whether a field is as an audit left it, and may be released as it was before."""
    before = change["before"]["value"]
    return field.version == change["version"] and not contradictions(s, field, before)


def _take(work: _Work, field: Field, reading: Reading, own: Sequence[Seen]) -> None:
    """Record what was said of a waiting field, and correct its proposed value."""
    value, why = _corrected(work, field, own)
    if why is not None:
        work.outcome.refused.append(Refused(field.id, field.name, field.value, why))
    for one in own:
        said = None if why is not None and one.said != one.shown else one.said
        _write(work, reading, one, said)
        if said is None:
            about = {
                "field_id": field.id,
                "page_id": field.page_id,
                "by": work.person.name,
                "place": one.place,
                "shown": one.shown,
            }
            record_events(work.s, work.batch, work.now, [("field.doubted", about)])
    if value != field.value:
        work.propose(field, Act.CORRECTED, value, field.reason)


def _audit(work: _Work, field: Field, reading: Reading, own: Sequence[Seen]) -> None:
    """Record what was said of a released field, and take its release back if it is wrong."""
    for one in own:
        _write(work, reading, one, one.said)
    if all(one.said == one.shown for one in own):
        return
    value, _ = _corrected(work, field, own)
    work.propose(field, Act.RECALLED, value, ReviewReason.FAILED_AUDIT)


def _close_if_seen(
    work: _Work, field: Field, reading: Reading, said: dict[tuple[str, int], str | None]
) -> None:
    """Release a field if each of its characters was confirmed as it stands in the value."""
    value = field.value or ""
    if any(said.get((field.id, place)) != text for place, text in enumerate(value)):
        return
    if not is_offered(field, reading):
        return
    try:
        if work.check(_rules(field), value) != value:
            return
    except InputError:
        return  # no value of this field: somebody must see it as a whole
    work.note(field, Act.CLOSED, field.version + 1)
    verify_field(
        work.s,
        tenant_id=field.tenant_id,
        field_id=field.id,
        value=value,
        who=work.person.name,
        check=work.check,
        seen={field.version},
        seen_by=_witnesses(work.s, field, reading),
    )


def _corrected(work: _Work, field: Field, own: Sequence[Seen]) -> tuple[str | None, str | None]:
    """Return the value with what was typed over, and why that is no value, if it is none."""
    characters = list(field.value or "")
    for one in own:
        if one.said is not None:
            characters[one.place] = one.said
    value = "".join(characters)
    if value == field.value:
        return value, None
    try:
        if work.check(_rules(field), value) == value:
            return value, None
        why = "The corrected number is written in another way."
    except InputError as exc:
        why = exc.message
    return field.value, f"With what you typed it would be {value}. {why} Verify it as a whole."


def _stale(field: Field, reading: Reading, own: Sequence[Seen], *, audit: bool) -> str | None:
    """Return why what was said of a field does not count; None if it does."""
    value = field.value or ""
    if any(one.version != field.version for one in own):
        return CHANGED
    if audit:
        if field.state != FieldState.ACCEPTED or not has_places(field, reading):
            return CHANGED
    elif not is_offered(field, reading):
        return WHOLE
    if any(not 0 <= one.place < len(value) or value[one.place] != one.shown for one in own):
        return CHANGED
    return None


def _write(work: _Work, reading: Reading, one: Seen, said: str | None) -> None:
    work.s.add(
        CharacterCheck(
            screen_id=work.screen.id,
            field_id=one.field_id,
            attempt=reading.attempt,
            place=one.place,
            shown=one.shown,
            said=said,
        )
    )
    if said is None:
        work.outcome.doubted += 1
    else:
        work.outcome.confirmed += 1


def _witnesses(s: Session, field: Field, reading: Reading) -> list[str]:
    """Return who said last what each character of a field is, in the order of its characters."""
    query = (
        select(CharacterCheck.place, Person.name)
        .join(CarpetScreen, CharacterCheck.screen_id == CarpetScreen.id)
        .join(Person, CarpetScreen.person_id == Person.id)
        .where(
            CharacterCheck.field_id == field.id,
            CharacterCheck.attempt == reading.attempt,
            CarpetScreen.taken_back_at.is_(None),
        )
        .order_by(CharacterCheck.id)
    )
    names = {row.place: row.name for row in s.execute(query)}
    return [names[place] for place in range(len(field.value or ""))]


def _proposed(
    field: Field, reading: Reading, said: dict[tuple[str, int], str | None]
) -> str | None:
    """Return what was read, with what people have said of its characters."""
    if reading.value is None:
        return None
    return "".join(said.get((field.id, place)) or text for place, text in enumerate(reading.value))


def _closed_versions(s: Session, batch_id: str, field_ids: Sequence[str]) -> set[tuple[str, int]]:
    """Return the fields that screens released, with the versions that they have since."""
    theirs = select(CharacterCheck.screen_id).where(CharacterCheck.field_id.in_(field_ids))
    query = select(CarpetScreen).where(
        CarpetScreen.batch_id == batch_id, CarpetScreen.id.in_(theirs)
    )
    return {
        (change["field_id"], change["version"])
        for screen in s.scalars(query)
        for change in screen.changes
        if change["act"] == Act.CLOSED
    }


def _lock_fields(
    s: Session, tenant_id: str, batch_id: str, field_ids: Sequence[str]
) -> dict[str, tuple[Field, Reading]]:
    query = (
        fields_with_readings(tenant_id, batch_id)
        .where(Field.id.in_(field_ids))
        .order_by(Field.id)
        .with_for_update(of=Field)
        .execution_options(populate_existing=True)
    )
    return {field.id: (field, reading) for field, reading in s.execute(query)}


def _open_batch(s: Session, tenant_id: str, batch_id: str) -> Batch:
    batch = lock_batch(s, batch_id, tenant_id)
    if batch.state == BatchState.CANCELLED:
        raise ConflictError("This batch was cancelled.", code="batch-cancelled")
    return batch


def _order(one: Seen) -> tuple[str, int]:
    return one.field_id, one.place


def _rules(field: Field) -> FieldRules:
    # Only readings of versions that keep the grammar have places of characters.
    return FieldRules(field.name, field.grammar, field.required, None)


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
