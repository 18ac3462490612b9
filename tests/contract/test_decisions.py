"""What people say about fields: checked, noted, and never overwritten unseen."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import update

from core.errors import ChangedError, InputError
from core.limits import MAX_NOTE
from core.policy import Decision
from db.models import Document, Field
from db.queries import events_after, get_field, list_fields
from db.session import Database
from db.transitions.batches import add_template
from db.transitions.fields import ANY_VERSION, mark_unreadable, verify_field
from db.views import FieldRules, FieldView
from tests.contract.acts import as_typed, claimed, complete_page, queued, result


class Desk:
    """One field that waits for a person, and what people say about it."""

    def __init__(self, db: Database, decision: Decision = Decision.REVIEW) -> None:
        self.db = db
        self.tenant_id, self.batch_id, (page_id,) = queued(db, 1)
        (claim,) = claimed(db, [page_id])
        with db.transaction() as s:
            complete_page(s, page_id, claim.attempt, result(decision))
        with db.reading() as s:
            (view,) = list_fields(s, self.tenant_id, self.batch_id)
        self.field_id = view.id

    def says(self, value: str | None, who: str = "ann", **more: Any) -> None:
        named: dict[str, Any] = {
            "tenant_id": self.tenant_id,
            "field_id": self.field_id,
            "who": who,
        }
        with self.db.transaction() as s:
            if value is None:
                mark_unreadable(s, **named, **more)
            else:
                verify_field(s, value=value, **named, **({"check": two_digits} | more))

    def field(self) -> FieldView:
        with self.db.reading() as s:
            return get_field(s, self.tenant_id, self.field_id)

    def history(self) -> list[dict[str, Any]]:
        with self.db.reading() as s:
            events = events_after(s, self.tenant_id, self.batch_id)
        kinds = ("field.verified", "field.unreadable")
        return [event.payload for event in events if event.kind in kinds]


@pytest.fixture
def desk(database: Database) -> Desk:
    return Desk(database)


def two_digits(_rules: FieldRules, text: str) -> str:
    if len(text.strip()) != 2:
        raise InputError("It must have two digits.", hint="It takes two.", code="illegal-value")
    return text.strip()


def test_the_checked_value_is_stored(desk: Desk) -> None:
    desk.says(" 42 ")
    field = desk.field()
    assert (field.value, field.forced, field.note, field.version) == ("42", False, None, 2)


def test_an_illegal_value_needs_force_and_a_note(desk: Desk) -> None:
    with pytest.raises(InputError, match="force it and say why in a note") as caught:
        desk.says("425")
    assert caught.value.code == "illegal-value"
    for note in (None, "", " \t "):
        with pytest.raises(InputError, match="say why in a note") as caught:
            desk.says("425", force=True, note=note)
        assert caught.value.code == "note-required"
    with pytest.raises(InputError):
        desk.says("425", note="it says so")
    assert (desk.field().version, desk.history()) == (1, [])
    desk.says(" 4 25", force=True, note=" three digits on the paper ")
    field = desk.field()
    assert (field.value, field.forced, field.note) == ("4 25", True, "three digits on the paper")
    (said,) = desk.history()
    assert (said["value"], said["forced"], said["note"]) == (field.value, True, field.note)


def test_force_is_recorded_only_where_it_was_needed(desk: Desk) -> None:
    desk.says("42", force=True, note="sure")
    assert (desk.field().forced, desk.field().note) == (False, "sure")


@pytest.mark.parametrize("text", ["4\n5", "a\0b", "\x1b[31m5", "\u202e521", "5" * 201])
def test_force_takes_no_text_that_cannot_be_shown(desk: Desk, text: str) -> None:
    with pytest.raises(InputError) as caught:
        desk.says(text, force=True, note="why")
    assert caught.value.code == "bad-text"
    with pytest.raises(InputError) as caught:
        desk.says("42", note=text * 10)
    assert caught.value.code == "bad-text"
    assert desk.field().version == 1


def test_a_note_is_kept_whole(desk: Desk) -> None:
    desk.says(None, note="ñ" * MAX_NOTE)
    assert desk.field().note == "ñ" * MAX_NOTE


def test_two_people_do_not_overwrite_each_other(desk: Desk) -> None:
    desk.says("42", seen={1})
    for seen in ({1}, {0, 3}, set(), None):
        with pytest.raises(ChangedError, match="ann has verified this field as '42'") as caught:
            desk.says("43", who="bob", seen=seen)
        assert "name its version, 2" in caught.value.hint
        assert caught.value.code == ("version-required" if seen is None else "field-changed")
    assert (desk.field().value, desk.field().released_by, len(desk.history())) == ("42", "ann", 1)
    desk.says("43", who="bob", seen={1, 2})
    with pytest.raises(ChangedError, match="bob"):
        desk.says(None, seen={2})
    desk.says(None, seen=ANY_VERSION)
    with pytest.raises(ChangedError, match="unreadable"):
        desk.says("42")
    assert [(one["by"], one["value"], one["version"]) for one in desk.history()] == [
        ("ann", "42", 2),
        ("bob", "43", 3),
        ("ann", None, 4),
    ]


def test_the_same_decision_again_changes_nothing(desk: Desk) -> None:
    """A client whose answer was lost sends its request again."""
    for _ in range(2):
        desk.says("42", seen={1}, note="clear")
    desk.says(" 42", who="bob", note="clear")
    assert (desk.field().version, desk.field().released_by, len(desk.history())) == (2, "ann", 1)
    desk.says("42", who="bob", note="clear", seen={2})  # to confirm what one has seen is a decision
    assert (desk.field().version, desk.field().released_by) == (3, "bob")


def test_what_policy_released_may_be_replaced(database: Database) -> None:
    desk = Desk(database, Decision.ACCEPTED)
    with pytest.raises(ChangedError, match="has version 1, not the one that you named"):
        desk.says("42", seen={2})
    desk.says("42")
    assert desk.field().value == "42"


def test_at_the_same_time_one_wins(desk: Desk) -> None:
    together = Barrier(4)

    def says(value: str) -> bool:
        together.wait()
        try:
            desk.says(value, who=value, seen={1})
        except ChangedError:
            return False
        return True

    with ThreadPoolExecutor(4) as people:
        won = list(people.map(says, ["11", "22", "33", "44"]))
    assert won.count(True) == 1
    assert desk.field().value == ["11", "22", "33", "44"][won.index(True)]
    assert (desk.field().version, len(desk.history())) == (2, 1)


def test_the_rules_are_those_of_the_reading(desk: Desk) -> None:
    assert _rules(desk) == FieldRules("field-1", "digits", False, None)


def test_the_rules_of_a_field_that_an_older_version_read(desk: Desk) -> None:
    with desk.db.transaction() as s:
        s.execute(update(Field).values(grammar=None, required=None))
    assert _rules(desk) == FieldRules("field-1", None, None, None)
    with desk.db.transaction() as s:
        template = add_template(s, tenant_id=desk.tenant_id, name="t", text="fields: []")
        s.execute(update(Document).values(template_id=template.id))
    assert _rules(desk) == FieldRules("field-1", None, None, "fields: []")


def _rules(desk: Desk) -> FieldRules:
    asked: list[FieldRules] = []

    def check(rules: FieldRules, text: str) -> str:
        asked.append(rules)
        return as_typed(rules, text)

    desk.says("1", check=check, seen=ANY_VERSION)
    return asked[0]
