"""What people key is kept, once, beside what the machine had read."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from core.errors import ChangedError
from core.policy import Decision
from core.roles import Role
from db.models import Keying
from db.queries import get_field, list_fields
from db.session import Database
from db.transitions.deciding import decide_field
from db.transitions.keyings import Keyed
from db.transitions.people import ensure_person
from db.transitions.reviewing import take_back
from db.views import PersonView
from tests.contract.acts import as_typed, claimed, complete_page, queued, result


class Desk:
    """A field that waits, and people who decide it."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.tenant_id, self.batch_id, page_ids = queued(db, pages=1)
        (claim,) = claimed(db, page_ids)
        with db.transaction() as s:
            complete_page(s, claim.page_id, claim.attempt, result(Decision.REVIEW))
            self.ada = ensure_person(s, self.tenant_id, f"Ada {self.tenant_id}", Role.VERIFIER)
            self.bob = ensure_person(s, self.tenant_id, f"Bob {self.tenant_id}", Role.VERIFIER)
        with db.reading() as s:
            (field,) = list_fields(s, self.tenant_id, self.batch_id)
        self.field_id = field.id

    def decide(self, person: PersonView, keyed: Keyed, version: int) -> int:
        with self.db.transaction() as s:
            return decide_field(
                s,
                tenant_id=self.tenant_id,
                field_id=self.field_id,
                person=person,
                keyed=keyed,
                check=as_typed,
                version=version,
            ).version

    def keyings(self) -> list[Keying]:
        with self.db.reading() as s:
            return list(s.scalars(select(Keying).order_by(Keying.id)))


@pytest.fixture
def desk(database: Database) -> Desk:
    return Desk(database)


def test_a_decision_is_kept_beside_what_was_shown(desk: Desk) -> None:
    desk.decide(desk.ada, Keyed("17", took_ms=900, keystrokes=3), 1)
    (one,) = desk.keyings()
    assert (one.tenant_id, one.batch_id) == (desk.tenant_id, desk.batch_id)
    assert (one.field_id, one.person_id, one.mode) == (desk.field_id, desk.ada.id, "confirm")
    assert (one.value, one.shown, one.confidence) == ("17", "253", 0.9)
    assert (one.took_ms, one.keystrokes, one.right, one.forced) == (900, 3, None, False)


def test_the_same_decision_again_is_no_second_keying(desk: Desk) -> None:
    for _ in range(2):
        assert desk.decide(desk.ada, Keyed("17"), 1) == 2
    assert len(desk.keyings()) == 1
    for value, version in (("18", 1), ("18", 2), ("17", 2)):
        with pytest.raises(ChangedError):
            desk.decide(desk.bob, Keyed(value), version)
    assert len(desk.keyings()) == 1


def test_nobody_can_read_it(desk: Desk) -> None:
    desk.decide(desk.bob, Keyed(None, note="blotted"), 1)
    (one,) = desk.keyings()
    assert (one.person_id, one.value, one.note) == (desk.bob.id, None, "blotted")


def test_what_is_taken_back_counts_for_nothing(desk: Desk) -> None:
    desk.decide(desk.ada, Keyed("17"), 1)
    with desk.db.transaction() as s:
        take_back(s, tenant_id=desk.tenant_id, field_id=desk.field_id, person=desk.ada, version=2)
    desk.decide(desk.ada, Keyed("18"), 3)
    assert [(one.value, one.withdrawn_at is None) for one in desk.keyings()] == [
        ("17", False),
        ("18", True),
    ]
    with desk.db.reading() as s:
        assert get_field(s, desk.tenant_id, desk.field_id).value == "18"
