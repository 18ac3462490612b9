"""Random walks of people over the modes: what must hold whoever does what in whichever order."""

from __future__ import annotations

import random

import pytest
from sqlalchemy import select

from core.errors import ChangedError
from core.keying import KeyingMode, VerifyMode
from core.policy import Decision
from core.roles import Role
from db.models import Field, FieldHold, Keying, Person
from db.session import Database
from tests.contract.verifying import Site

VALUES = ("253", "17", "18", None)
FIELDS = 4


@pytest.mark.parametrize("mode", VerifyMode)
def test_random_walks(database: Database, mode: VerifyMode) -> None:
    for seed in range(2):
        walk(database, mode, seed, steps=30)


@pytest.mark.slow
@pytest.mark.parametrize("mode", VerifyMode)
def test_many_random_walks(database: Database, mode: VerifyMode) -> None:
    for seed in range(100, 140):
        walk(database, mode, seed, steps=80)


def walk(db: Database, mode: VerifyMode, seed: int, steps: int) -> None:
    chance = random.Random(f"{mode} {seed}")
    decision = chance.choice([Decision.REVIEW, Decision.REVIEW, Decision.ACCEPTED])
    site = Site(db, mode, fields=FIELDS, decision=decision, audit_share=0.5, planted_share=0.5)
    roles = [Role.VERIFIER] * chance.randint(0, 3) + [Role.SUPERVISOR]
    people = [site.person(f"P{number}", role) for number, role in enumerate(roles)]
    asked: dict[tuple[str, str], KeyingMode] = {}
    for _ in range(steps):
        person = chance.choice(people)
        act = chance.choice(["ask", "key", "key", "key", "back", "later", "go"])
        mine = [field_id for who, field_id in asked if who == person.id]
        if act == "ask":
            for question in site.asks(person, chance.randint(1, 3)):
                asked[person.id, question.field_id] = question.mode
        elif act == "go":
            site.goes(person)
        elif mine:
            field_id = chance.choice(mine)
            try:
                if act == "key":
                    before = site.field(field_id)
                    site.answer(person, field_id, chance.choice(VALUES))
                    if asked[person.id, field_id] == KeyingMode.PLANTED:
                        assert site.field(field_id) == before
                elif act == "back":
                    site.takes_back(person, field_id)
                else:
                    site.postpones(person, field_id)
            except ChangedError:
                pass
        check(site, mode)


def check(site: Site, mode: VerifyMode) -> None:
    with site.db.reading() as s:
        fields = s.scalars(select(Field).where(Field.batch_id == site.batch_id)).all()
        keyings = s.scalars(
            select(Keying).where(Keying.batch_id == site.batch_id).order_by(Keying.id)
        ).all()
        supervisors = set(s.scalars(select(Person.id).where(Person.role == Role.SUPERVISOR)))
        held = list(s.scalars(select(FieldHold.field_id)))
    assert len(held) == len(set(held))
    for field in fields:
        counted = [one for one in keyings if one.field_id == field.id and one.withdrawn_at is None]
        blind = [one for one in counted if one.mode in ("blind", "double", "third")]
        settled = [one for one in counted if one.mode == "confirm"]
        assert len({one.person_id for one in blind}) == len(blind), "nobody counts twice"
        if field.state not in ("verified", "unreadable"):
            continue
        who = {one.person_id for one in [*blind, *settled]}
        agree = [one for one in blind if one.value == field.value]
        if mode == VerifyMode.DOUBLE:
            assert len(who) >= 2, "nobody closes it alone"
        if mode != VerifyMode.CONFIRM and not settled:
            machine = mode == VerifyMode.BLIND and field.value == "253"
            assert len(agree) + machine >= 2
        if mode != VerifyMode.CONFIRM and settled:
            assert settled[-1].person_id in supervisors
            assert len(blind) >= (1 if mode == VerifyMode.BLIND else 2)
        if field.known:
            assert len(agree) >= 2
        for one in blind:
            assert one.right == (one.value == field.value)
