"""Digit carpets: no field is released by one unless a person has seen each of its characters."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import delete, select, update

from core.errors import InputError, NotFoundError
from core.keying import VerifyMode
from core.policy import Decision
from core.roles import Role
from db.carpet import Carpet, audit_carpet, waiting_carpet
from db.models import CarpetScreen, CharacterCheck, Field, FieldHold, Reading
from db.queries import batch_progress, events_after, get_field, list_fields
from db.session import Database
from db.transitions.carpet import (
    CHANGED,
    WHOLE,
    Act,
    Outcome,
    Refused,
    Seen,
    confirm_screen,
    take_back_screen,
)
from db.transitions.fields import verify_field
from db.transitions.people import ensure_person
from db.transitions.results import PageResult
from db.transitions.reviewing import hold_next, take_back
from db.views import FieldRules, FieldView, PersonView
from tests.contract.acts import as_typed, claimed, complete_page, queued, result


def no_nines(_rules: FieldRules, text: str) -> str:
    if "9" in text:
        raise InputError("It must not have a 9.", code="illegal-value")
    return text


class Floor:
    """A batch of fields, and people who look at their digits."""

    def __init__(self, db: Database, *values: str, decision: Decision = Decision.REVIEW) -> None:
        self.db = db
        self.tenant_id, self.batch_id, (page_id,) = queued(db, 1)
        (claim,) = claimed(db, [page_id])
        pages = [result(decision, value=value).fields[0] for value in values]
        fields = tuple(replace(one, name=f"field-{n}") for n, one in enumerate(pages, 1))
        with db.transaction() as s:
            complete_page(s, page_id, claim.attempt, PageResult(1600, 750, 0.9, fields))
        self.ids = [one.id for one in self.fields()]
        self.people = [self._person(name) for name in ("Ada", "Bob")]

    def _person(self, name: str) -> PersonView:
        with self.db.transaction() as s:
            return ensure_person(s, self.tenant_id, f"{name} {self.tenant_id}", Role.VERIFIER)

    def fields(self) -> list[FieldView]:
        with self.db.reading() as s:
            return list_fields(s, self.tenant_id, self.batch_id)

    def __getitem__(self, number: int) -> FieldView:
        with self.db.reading() as s:
            return get_field(s, self.tenant_id, self.ids[number])

    def carpet(self, text: str = "", who: int = 0) -> Carpet:
        with self.db.reading() as s:
            person = self.people[who]
            return waiting_carpet(s, self.tenant_id, self.batch_id, person.id, text)

    def screen(self, text: str, who: int = 0) -> list[Seen]:
        """What somebody says who agrees with all."""
        return [
            Seen(cell.field_id, cell.version, cell.place, cell.text, cell.text)
            for cell in self.carpet(text, who).cells
        ]

    def say(
        self, seen: list[Seen], who: int = 0, *, audit: bool = False, check: Any = as_typed
    ) -> Outcome:
        with self.db.transaction() as s:
            return confirm_screen(
                s,
                tenant_id=self.tenant_id,
                batch_id=self.batch_id,
                person=self.people[who],
                audit=audit,
                seen=seen,
                check=check,
            )

    def take_back(self, outcome: Outcome, who: int = 0) -> list[Refused]:
        with self.db.transaction() as s:
            return take_back_screen(
                s,
                tenant_id=self.tenant_id,
                batch_id=self.batch_id,
                person=self.people[who],
                screen_id=outcome.screen_id,
            )

    def batch_state(self) -> str:
        with self.db.reading() as s:
            return batch_progress(s, self.tenant_id, self.batch_id).state

    def events(self, kind: str) -> list[dict[str, Any]]:
        with self.db.reading() as s:
            found = events_after(s, self.tenant_id, self.batch_id)
        return [one.payload for one in found if one.kind == kind]


def test_a_field_is_released_when_each_of_its_characters_was_seen(database: Database) -> None:
    floor = Floor(database, "17", "11")
    assert floor.carpet().left == {"1": 3, "7": 1}
    done = floor.say(floor.screen("1"))
    assert (done.confirmed, done.acts) == (3, {Act.CLOSED: 1})
    assert (floor[1].state, floor[1].released_by) == ("verified", floor.people[0].name)
    assert floor[0].state == "review"
    assert floor.carpet().left == {"7": 1}
    done = floor.say(floor.screen("7", who=1), who=1)
    assert done.acts == {Act.CLOSED: 1}
    assert (floor[0].value, floor[0].released_by) == ("17", floor.people[1].name)
    (last,) = [one for one in floor.events("field.verified") if one["field_id"] == floor.ids[0]]
    assert last["seen_by"] == [person.name for person in floor.people]
    assert floor.batch_state() == "complete"


def test_a_digit_typed_over_another_corrects_the_value(database: Database) -> None:
    floor = Floor(database, "17")
    (one,) = floor.screen("1")
    done = floor.say([replace(one, said="4")])
    assert done.acts == {Act.CORRECTED: 1}
    assert (floor[0].value, floor[0].state, floor[0].version) == ("47", "review", 2)
    assert floor.carpet().left == {"7": 1}
    floor.say(floor.screen("7"))
    assert (floor[0].value, floor[0].state) == ("47", "verified")


def test_what_the_field_cannot_hold_leaves_it_to_be_seen_as_a_whole(database: Database) -> None:
    floor = Floor(database, "17")
    (one,) = floor.screen("1")
    done = floor.say([replace(one, said="9")], check=no_nines)
    (refused,) = done.refused
    assert "it would be 97. It must not have a 9." in refused.why
    assert (floor[0].value, floor[0].state, floor[0].version) == ("17", "review", 1)
    assert floor.carpet().left == {}


def test_an_odd_character_keeps_its_field_out_of_carpets(database: Database) -> None:
    floor = Floor(database, "17")
    (seven,) = floor.screen("7", who=1)
    (one,) = floor.screen("1")
    odd = floor.say([replace(one, said=None)])
    assert (odd.doubted, odd.confirmed, odd.acts) == (1, 0, {})
    assert floor.carpet().left == {}
    assert [one.why for one in floor.say([seven], who=1).refused] == [WHOLE]
    assert [one.why for one in floor.say([one], who=1).refused] == [WHOLE], "the mark stays"
    assert floor[0].state == "review"
    with floor.db.transaction() as s:
        asked = hold_next(
            s,
            tenant_id=floor.tenant_id,
            batch_id=floor.batch_id,
            person=floor.people[0],
            count=9,
        )
        assert [one.field_id for one in asked] == floor.ids, "it is verified"


def test_a_late_carpet_changes_nothing_and_is_named(database: Database) -> None:
    floor = Floor(database, "17", "71")
    late = floor.screen("1", who=1)
    with floor.db.transaction() as s:
        verify_field(
            s,
            tenant_id=floor.tenant_id,
            field_id=floor.ids[0],
            value="18",
            who="ann",
            check=as_typed,
        )
    done = floor.say(late, who=1)
    assert [(one.field_id, one.name, one.value, one.why) for one in done.refused] == [
        (floor.ids[0], "field-1", "18", CHANGED)
    ]
    assert done.confirmed == 1, "the other one counts"
    assert (floor[0].value, floor[0].released_by) == ("18", "ann")


def test_a_character_that_is_not_there_does_not_count(database: Database) -> None:
    floor = Floor(database, "17")
    (one,) = floor.screen("1")
    for wrong in (replace(one, place=1), replace(one, place=7), replace(one, shown="7")):
        assert [said.why for said in floor.say([wrong]).refused] == [CHANGED]
    assert floor.say([replace(one, field_id="0" * 32)]).refused[0].why == "It is not in this batch."
    other = Floor(database, "17")
    foreign = other.screen("1")
    assert floor.say(foreign).refused[0].why == "It is not in this batch."
    assert other[0].version == 1


@pytest.mark.parametrize(
    "change",
    [
        {"alternatives": [{"value": "17", "probability": 0.6}]},  # what else it may be is open
        {
            "alternatives": [
                {"value": "17", "probability": 0.85},
                {"value": "117", "probability": 0.14},
            ]
        },
        {"characters": []},
        {"characters": None},  # an older version read it
    ],
)
def test_a_doubt_that_no_single_digit_settles_is_in_no_carpet(
    database: Database, change: dict[str, Any]
) -> None:
    floor = Floor(database, "17")
    (one,) = floor.screen("1")
    with floor.db.transaction() as s:
        s.execute(update(Reading).where(Reading.field_id == floor.ids[0]).values(**change))
    assert floor.carpet().left == {}
    assert [said.why for said in floor.say([one]).refused] == [WHOLE]


@pytest.mark.parametrize("mode", [VerifyMode.BLIND, VerifyMode.DOUBLE])
def test_what_people_key_blindly_is_in_no_carpet(database: Database, mode: VerifyMode) -> None:
    floor = Floor(database, "17")
    (one,) = floor.screen("1")
    with floor.db.transaction() as s:
        s.execute(update(Field).where(Field.id == floor.ids[0]).values(verify=mode))
    assert floor.carpet().left == {}
    assert [said.why for said in floor.say([one]).refused] == [WHOLE]


def test_what_somebody_has_before_her_is_in_nobody_elses_carpet(database: Database) -> None:
    floor = Floor(database, "17")
    with floor.db.transaction() as s:
        hold_next(
            s,
            tenant_id=floor.tenant_id,
            batch_id=floor.batch_id,
            person=floor.people[0],
            count=1,
        )
    assert floor.carpet(who=1).left == {}
    assert floor.carpet(who=0).left == {"1": 1, "7": 1}


def test_an_audit_takes_a_wrong_release_back(database: Database) -> None:
    floor = Floor(database, "17", "42", decision=Decision.ACCEPTED)
    with floor.db.reading() as s:
        carpet, audit = audit_carpet(s, floor.tenant_id, floor.batch_id, "1", 9)
    assert (audit.released, audit.sampled, audit.seen, audit.wrong) == (2, 2, 0, 0)
    assert carpet.left == {"1": 1, "2": 1, "4": 1, "7": 1}
    (cell,) = carpet.cells
    one = Seen(cell.field_id, cell.version, cell.place, "1", "4")
    assert floor.batch_state() == "complete"
    done = floor.say([one], audit=True)
    assert done.acts == {Act.RECALLED: 1}
    assert (floor[0].state, floor[0].reason, floor[0].value) == ("review", "failed-audit", "47")
    assert (floor[0].released_by, floor.batch_state()) == (None, "reviewing")
    assert floor.carpet().left == {}, "a person must see it as a whole"
    with floor.db.reading() as s:
        _, audit = audit_carpet(s, floor.tenant_id, floor.batch_id, "1", 9)
    assert (audit.released, audit.wrong) == (2, 1)
    assert floor.take_back(done) == []
    assert (floor[0].state, floor[0].reason, floor[0].value) == ("accepted", None, "17")
    assert floor[0].released_by == "policy"
    assert floor.batch_state() == "complete"


def test_an_audit_that_agrees_changes_no_field(database: Database) -> None:
    floor = Floor(database, "17", decision=Decision.ACCEPTED)
    for text in "17":
        with floor.db.reading() as s:
            carpet, _ = audit_carpet(s, floor.tenant_id, floor.batch_id, text, 9)
        said = [Seen(one.field_id, one.version, one.place, text, text) for one in carpet.cells]
        assert floor.say(said, audit=True).acts == {}
    with floor.db.reading() as s:
        carpet, audit = audit_carpet(s, floor.tenant_id, floor.batch_id, "1", 9)
    assert (audit.seen, audit.wrong, carpet.left) == (1, 0, {})
    assert (floor[0].state, floor[0].version) == ("accepted", 1)


def test_a_larger_sample_holds_the_smaller(database: Database) -> None:
    floor = Floor(database, *[f"{n:03}" for n in range(30)], decision=Decision.ACCEPTED)

    def drawn(size: int) -> set[str]:
        with floor.db.reading() as s:
            cells = audit_carpet(s, floor.tenant_id, floor.batch_id, "0", size)[0].cells
        return {cell.field_id for cell in cells}

    assert drawn(5) == drawn(5) < drawn(20)
    assert len(drawn(5)) <= 5


def test_a_screen_is_taken_back(database: Database) -> None:
    floor = Floor(database, "17", "71")
    first = floor.say(floor.screen("1"))
    second = floor.say(floor.screen("7", who=1), who=1)
    assert [one.state for one in floor.fields()] == ["verified", "verified"]
    with pytest.raises(NotFoundError):
        floor.take_back(second, who=0)  # only one's own
    assert floor.take_back(first) == []
    assert [(one.state, one.released_by) for one in floor.fields()] == [("review", None)] * 2
    assert floor.carpet().left == {"1": 2}, "what Bob said still counts"
    assert floor.take_back(first) == []
    assert [one.version for one in floor.fields()] == [3, 3]
    assert floor.say(floor.screen("1")).acts == {Act.CLOSED: 2}


def test_a_correction_is_taken_back_but_not_what_came_after(database: Database) -> None:
    floor = Floor(database, "17", "17")
    done = floor.say([replace(one, said="4") for one in floor.screen("1")])
    with floor.db.transaction() as s:
        named: dict[str, Any] = {"tenant_id": floor.tenant_id, "field_id": floor.ids[1]}
        verify_field(s, value="48", who="ann", check=as_typed, seen={2}, **named)
    assert [one.field_id for one in floor.take_back(done)] == [floor.ids[1]]
    assert [one.value for one in floor.fields()] == ["17", "48"]
    assert floor.carpet().left == {"1": 1, "7": 1}


def test_a_field_that_was_reopened_is_not_closed_by_what_was_said_before(
    database: Database,
) -> None:
    floor = Floor(database, "17")
    (one,) = floor.screen("1")
    floor.say([replace(one, said="4")])
    floor.say(floor.screen("7"))
    with floor.db.transaction() as s:
        named: dict[str, Any] = {"tenant_id": floor.tenant_id, "field_id": floor.ids[0]}
        take_back(s, person=floor.people[1], version=3, **named)
    assert (floor[0].value, floor[0].state) == ("17", "review")
    assert floor.carpet(who=1).left == {"1": 1}, "a 4 was confirmed there, not a 1"


# --- in any order ---


@pytest.mark.parametrize("seed", range(3))
def test_no_field_is_released_unless_each_character_was_seen(database: Database, seed: int) -> None:
    """People look at characters at random, agree, correct, doubt, come late and take back."""
    rng = random.Random(seed)
    values = ["".join(rng.choices("147", k=rng.randint(1, 3))) for _ in range(8)]
    floor = Floor(database, *values)
    done: list[tuple[Outcome, int]] = []
    old: list[Seen] = []
    for _ in range(40):
        who = rng.randrange(2)
        act = rng.random()
        if act < 0.15 and done:
            outcome, whose = done.pop(rng.randrange(len(done)))
            floor.take_back(outcome, whose)
        elif act < 0.25 and old:
            floor.say(rng.sample(old, min(3, len(old))), who, check=no_nines)
        elif act < 0.35:
            _decide(floor, rng)
        else:
            cells = floor.screen(rng.choice("147"), who)
            old += cells
            said = [_opinion(rng, one) for one in cells if rng.random() < 0.7]
            if said:
                done.append((floor.say(said, who, check=no_nines), who))
        _check_releases(floor)


def _opinion(rng: random.Random, one: Seen) -> Seen:
    draw = rng.random()
    if draw < 0.8:
        return one
    return replace(one, said=None if draw < 0.85 else rng.choice("1479"))


def _decide(floor: Floor, rng: random.Random) -> None:
    """Somebody keys a field as a whole, or takes such a decision back."""
    view = rng.choice(floor.fields())
    named: dict[str, Any] = {"tenant_id": floor.tenant_id, "field_id": view.id}
    with floor.db.transaction() as s:
        if view.state == "verified":
            take_back(s, person=rng.choice(floor.people), version=view.version, **named)
            s.execute(delete(FieldHold))
        else:
            seen = {view.version}
            verify_field(s, value="5" * 3, who="ann", check=as_typed, seen=seen, **named)


def _check_releases(floor: Floor) -> None:
    """Each field that a carpet released has for every place somebody who saw just that there."""
    with floor.db.reading() as s:
        rows = s.execute(
            select(CharacterCheck.field_id, CharacterCheck.place, CharacterCheck.said)
            .join(CarpetScreen)
            .where(CarpetScreen.batch_id == floor.batch_id, CarpetScreen.taken_back_at.is_(None))
            .order_by(CharacterCheck.id)
        ).all()
    for view in floor.fields():
        said = {place: what for field_id, place, what in rows if field_id == view.id}
        by_carpet = view.state == "verified" and view.released_by != "ann"
        assert view.state in ("review", "verified")
        assert (view.released_by is None) == (view.state == "review")
        if by_carpet:
            assert said == dict(enumerate(view.value or "")), "each character, and as it is"
            assert None not in {what for field_id, _, what in rows if field_id == view.id}
