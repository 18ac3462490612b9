"""Which characters a person may look at in a digit carpet, and what was said of them.

A carpet shows characters one by one, so it can tell what each of them is, and nothing else. A field
is offered only where that is the whole question: policy was not sure enough of the value, and all
but MAX_OTHER of what the readers think possible has as many characters. What a person must see as a
whole, because it may be struck out or in the wrong place, because a decimal point may be missing or
because nobody agrees how many digits there are, is not in a carpet. Nor is what people key blindly.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Row, Select, and_, exists, select
from sqlalchemy.orm import Session

from core.keying import VerifyMode
from core.policy import ReviewReason
from db.models import (
    CarpetScreen,
    CharacterCheck,
    Field,
    FieldHold,
    FieldState,
    Page,
    Reading,
)
from db.session import database_now

MAX_OTHER: Final = 0.1  # the probability of values with another number of characters
_OPEN: Final = (None, VerifyMode.CONFIRM)  # who sees a carpet sees what the machine read
_ABOUT_A_DIGIT: Final = frozenset({ReviewReason.NO_THRESHOLD, ReviewReason.BELOW_THRESHOLD})


@dataclass(frozen=True, slots=True)
class Cell:
    """One character in a carpet."""

    field_id: str
    version: int
    name: str  # of the field
    place: int  # in the value, from 0
    text: str
    probability: float  # that it is this one


@dataclass(frozen=True, slots=True)
class Carpet:
    """The characters of a batch that a person may look at.

    `left` has how many there are of each; `cells` are those of one of them, most doubtful first.
    """

    left: dict[str, int]
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Audit:
    """How far the sample of a batch's released fields was looked at, in fields."""

    released: int  # by policy, in the batch
    sampled: int
    seen: int  # every character was looked at
    wrong: int  # the machine had released a wrong value


def is_offered(field: Field, reading: Reading) -> bool:
    """Say whether the characters of a waiting field are all that a person must see of it."""
    return (
        field.state == FieldState.REVIEW
        and field.verify in _OPEN
        and field.reason in _ABOUT_A_DIGIT
        and has_places(field, reading)
        and _doubt_of_length(reading) <= MAX_OTHER
    )


def has_places(field: Field, reading: Reading) -> bool:
    """Say whether it is known where each character of the field's value stands."""
    return bool(field.value) and len(field.value or "") == len(reading.characters or ())


def _doubt_of_length(reading: Reading) -> float:
    length = len(reading.value or "")
    same = (one["probability"] for one in reading.alternatives if len(one["value"]) == length)
    return 1 - float(sum(same))


def waiting_carpet(s: Session, tenant_id: str, batch_id: str, person_id: str, text: str) -> Carpet:
    """Return the characters of waiting fields that nobody has looked at.

    Fields that somebody else has before her are left out.
    """
    held = exists().where(
        FieldHold.field_id == Field.id,
        FieldHold.person_id != person_id,
        FieldHold.until > database_now(s),
    )
    query = fields_with_readings(tenant_id, batch_id).where(
        Field.state == FieldState.REVIEW, Field.reason.in_(_ABOUT_A_DIGIT), ~held
    )
    rows = [row for row in s.execute(query) if is_offered(*row)]
    said = checks_of(s, [field.id for field, _ in rows])
    doubted = {key[0] for key, what in said.items() if what is None}
    return _carpet([row for row in rows if row[0].id not in doubted], said, text)


def audit_carpet(
    s: Session, tenant_id: str, batch_id: str, text: str, sample: int
) -> tuple[Carpet, Audit]:
    """Return the unseen characters of a sample of the fields that policy released.

    The sample is drawn by a hash of each field's id: nobody can choose what is in it, everybody
    gets the same, and a larger one contains the smaller.
    """
    released = _of_policy(s, tenant_id, batch_id)
    drawn = sorted(released, key=_lot)[:sample]
    query = fields_with_readings(tenant_id, batch_id).where(Field.id.in_(drawn))
    rows = [(field, reading) for field, reading in s.execute(query)]
    said = checks_of(s, drawn)
    seen = sum(
        all((field.id, place) in said for place in range(len(reading.characters or ())))
        for field, reading in rows
        if reading.characters
    )
    open_rows = [row for row in rows if row[0].state == FieldState.ACCEPTED and has_places(*row)]
    wrong = sum(field.reason == ReviewReason.FAILED_AUDIT for field, _ in rows)
    audit = Audit(len(released), len(drawn), seen, wrong)
    return _carpet(open_rows, said, text), audit


def _of_policy(s: Session, tenant_id: str, batch_id: str) -> list[str]:
    """Return the ids of the fields that policy released, and of those that an audit took back."""
    query = select(Field.id).where(
        Field.tenant_id == tenant_id,
        Field.batch_id == batch_id,
        (Field.state == FieldState.ACCEPTED) | (Field.reason == ReviewReason.FAILED_AUDIT),
        Field.audit.is_(None),  # or somebody is to key it who has not seen it
    )
    return list(s.scalars(query))


def _lot(field_id: str) -> bytes:
    return hashlib.sha256(field_id.encode()).digest()


def checks_of(s: Session, field_ids: Sequence[str]) -> dict[tuple[str, int], str | None]:
    """Return what was last said of each place of the fields, by field and place; None: it is odd.

    What was said of an earlier reading, or was taken back, does not count.
    """
    query = (
        select(CharacterCheck.field_id, CharacterCheck.place, CharacterCheck.said)
        .join(CarpetScreen, CharacterCheck.screen_id == CarpetScreen.id)
        .join(Field, CharacterCheck.field_id == Field.id)
        .join(Page, Field.page_id == Page.id)
        .where(
            CharacterCheck.field_id.in_(field_ids),
            CarpetScreen.taken_back_at.is_(None),
            CharacterCheck.attempt == Page.attempt,
        )
        .order_by(CharacterCheck.id)
    )
    return {(field_id, place): said for field_id, place, said in s.execute(query)}


def fields_with_readings(tenant_id: str, batch_id: str) -> Select[Field, Reading]:
    """Return the query of the fields of a batch with their current readings."""
    return (
        select(Field, Reading)
        .join(Page, Field.page_id == Page.id)
        .join(Reading, and_(Reading.field_id == Field.id, Reading.attempt == Page.attempt))
        .where(Field.tenant_id == tenant_id, Field.batch_id == batch_id)
    )


def _carpet(
    rows: Iterable[Row[Field, Reading] | tuple[Field, Reading]],
    said: dict[tuple[str, int], str | None],
    text: str,
) -> Carpet:
    left: dict[str, int] = {}
    cells: list[Cell] = []
    for field, reading in rows:
        for place, (here, one) in enumerate(
            zip(field.value or "", reading.characters or (), strict=True)
        ):
            if said.get((field.id, place), "") == here:
                continue
            left[here] = left.get(here, 0) + 1
            if here == text:
                sure = one["probability"] if one["text"] == here else 1.0  # a person typed it
                cells.append(Cell(field.id, field.version, field.name, place, here, sure))
    cells.sort(key=lambda cell: (cell.probability, cell.field_id, cell.place))
    return Carpet(dict(sorted(left.items())), tuple(cells))
