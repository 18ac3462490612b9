"""Checks across fields in the database: what is not released, what comes back, and how it ends."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import select

from core.checks import NUMBER, Check, CheckState, Equal, Finding, Sum, Unique
from core.errors import InputError
from core.ids import new_id
from core.policy import ReviewReason
from core.roles import Role
from db.models import Batch, Field, FieldState
from db.queries import events_after, get_field, list_pages, page_with_fields
from db.session import Database
from db.transitions.batches import add_template, delete_batch
from db.transitions.fields import mark_unreadable, verify_field
from db.transitions.pages import complete_pages
from db.transitions.people import ensure_person
from db.transitions.results import FieldResult, PageResult
from db.transitions.reviewing import take_back
from db.views import FieldView, PageView
from tests.contract.acts import (
    add_document,
    as_typed,
    claimed,
    close,
    new_batch,
    new_tenant,
    opened,
    progress_state,
)

SAME = Equal("words", ("amount", "words"), (NUMBER, NUMBER))
ONCE = Unique("once", ("account", "number"))
SURE = 0.99


class Slip:
    """A page of a template with checks, read as told: a value or (value, confidence) a field."""

    def __init__(
        self,
        db: Database,
        checks: tuple[Check, ...],
        fields: dict[str, Any],
        *,
        tenant_id: str | None = None,
    ) -> None:
        self.db = db
        self.tenant_id = tenant_id or new_tenant(db)
        self.batch_id = new_batch(db, self.tenant_id, threshold=0.9)
        with db.transaction() as s:
            template = add_template(
                s, tenant_id=self.tenant_id, name="slip", text="…", checks={"slip": checks}
            )
            document, _ = add_document(
                s,
                tenant_id=self.tenant_id,
                batch_id=self.batch_id,
                filename="slip.png",
                sha256=new_id() * 2,
                size=1,
                template_id=template.id,
            )
            document_id = document.id
        (self.page_id,) = opened(db, document_id, 1)
        close(db, self.tenant_id, self.batch_id)
        (self.claim,) = claimed(db, [self.page_id])
        self.result = PageResult(
            100, 100, 0.9, tuple(_field(*item) for item in fields.items()), template="slip"
        )

    def read(self) -> Slip:
        with self.db.transaction() as s:
            assert complete_pages(s, [(self.page_id, self.claim.attempt, self.result)])
        return self

    def page(self) -> PageView:
        with self.db.reading() as s:
            return page_with_fields(s, self.tenant_id, self.page_id)

    def field(self, name: str) -> FieldView:
        return next(field for field in self.page().fields if field.name == name)

    def finding(self, name: str) -> Finding:
        return next(finding for finding in self.page().findings if finding.name == name)

    def states(self) -> dict[str, tuple[str, str | None]]:
        return {field.name: (field.state, field.reason) for field in self.page().fields}

    def says(self, name: str, value: str | None, who: str = "ann", **more: Any) -> None:
        field = self.field(name)
        named: dict[str, Any] = {"tenant_id": self.tenant_id, "field_id": field.id, "who": who}
        with self.db.transaction() as s:
            if value is None:
                mark_unreadable(s, **named, seen={field.version}, **more)
            else:
                seen = {field.version}
                verify_field(s, value=value, check=as_typed, seen=seen, **named, **more)

    def state(self) -> str:
        return progress_state(self.db, self.tenant_id, self.batch_id)


def _field(name: str, read: Any) -> FieldResult:
    value, confidence = read if isinstance(read, tuple) else (read, SURE)
    unsure = None if confidence >= 0.9 else ReviewReason.BELOW_THRESHOLD
    return FieldResult(
        name=name,
        value=value,
        raw=value or "?",
        confidence=confidence,
        alternatives=[],
        box=(1, 2, 3, 4),
        rule=None,
        reader="both",
        model_sha256="0" * 64,
        reason=ReviewReason.NO_VALUE if value is None else unsure,
    )


REVIEW = (FieldState.REVIEW, ReviewReason.CHECK_FAILS)
RELEASED = (FieldState.ACCEPTED, None)


def test_a_field_in_a_check_that_fails_is_not_released(database: Database) -> None:
    total = Sum("total", ("a", "b", "c"))
    slip = Slip(database, (total,), {"a": "1", "b": "2", "c": "4", "date": "5"}).read()
    assert slip.states() == {"a": REVIEW, "b": REVIEW, "c": REVIEW, "date": RELEASED}
    assert slip.finding("total").message == "1 + 2 is 3, but c is 4."
    assert [one.name for one in slip.field("a").contradicted_by] == ["total"]
    assert slip.state() == "reviewing"


def test_a_text_that_was_stored_without_its_checks_gets_them(database: Database) -> None:
    tenant_id = new_tenant(database)
    with database.transaction() as s:
        add_template(s, tenant_id=tenant_id, name="slip", text="…")
    fields = {"amount": "1", "words": "2"}
    slip = Slip(database, (SAME,), fields, tenant_id=tenant_id).read()
    assert slip.states() == {"amount": REVIEW, "words": REVIEW}


def test_checks_that_hold_or_are_unknown_keep_nothing_back(database: Database) -> None:
    slip = Slip(database, (SAME,), {"amount": "12.50", "words": "12.5"}).read()
    assert slip.finding("words").state == CheckState.HOLDS
    slip = Slip(database, (SAME,), {"amount": "12.50", "words": None}).read()
    assert slip.finding("words").state == CheckState.UNKNOWN
    assert slip.states()["amount"] == RELEASED


def test_another_reason_stays(database: Database) -> None:
    """What the pipeline found wrong with a field says more than that a check fails."""
    slip = Slip(database, (SAME,), {"amount": "1", "words": "2"})
    torn = replace(slip.result.fields[0], reason=ReviewReason.STRUCK_OUT)
    slip.result = PageResult(100, 100, 0.9, (torn, slip.result.fields[1]), template="slip")
    slip.read()
    assert slip.states() == {"amount": ("review", "struck-out"), "words": REVIEW}


def test_what_policy_released_comes_back_when_a_person_makes_a_check_fail(
    database: Database,
) -> None:
    slip = Slip(database, (SAME,), {"amount": "100", "words": None}).read()
    slip.says("words", "200")
    assert slip.states() == {"amount": REVIEW, "words": ("verified", "no-value")}
    amount = slip.field("amount")
    assert (amount.value, amount.released_by, amount.version) == ("100", None, 2)
    assert slip.state() == "reviewing"
    with database.reading() as s:
        (event,) = [
            one
            for one in events_after(s, slip.tenant_id, slip.batch_id)
            if one.kind == "field.contradicted"
        ]
    assert (event.payload["field_id"], event.payload["check"]) == (amount.id, "words")
    slip.says("amount", "200", "bob")
    assert slip.finding("words").state == CheckState.HOLDS
    assert slip.state() == "complete"


def test_two_people_who_keep_both_values_have_the_last_word(database: Database) -> None:
    slip = Slip(database, (SAME,), {"amount": "100", "words": None}).read()
    slip.says("words", "200", "ann")
    with pytest.raises(InputError, match="amount is 100 and words is 200") as caught:
        slip.says("amount", "100", "bob")
    assert caught.value.code == "check-fails"
    with pytest.raises(InputError) as caught:
        slip.says("amount", "100", "bob", force=True)
    assert caught.value.code == "note-required"
    assert slip.states()["amount"] == REVIEW, "nothing was recorded"
    slip.says("amount", "100", "bob", force=True, note="they differ on paper")
    assert slip.field("amount").forced
    assert slip.states()["words"] == REVIEW, "nobody has said why of this one"
    slip.says("words", "200", "cid", force=True, note="so it is written")
    assert slip.state() == "complete"
    values = {field.name: (field.value, field.forced) for field in slip.page().fields}
    assert values == {"amount": ("100", True), "words": ("200", True)}
    assert slip.finding("words").state == CheckState.FAILS, "it is still shown"


def test_the_first_of_two_that_wait_needs_no_note(database: Database) -> None:
    """The other value is only proposed: it may be the wrong one."""
    slip = Slip(database, (SAME,), {"amount": "100", "words": ("200", 0.5)}).read()
    slip.says("amount", "100", "ann")
    assert slip.states() == {"amount": ("verified", "check-fails"), "words": REVIEW}
    with pytest.raises(InputError, match="fails with this value"):
        slip.says("words", "200", "bob")
    slip.says("words", "100", "bob")
    assert slip.state() == "complete"


def test_a_value_that_nobody_can_read_makes_a_check_unknown(database: Database) -> None:
    slip = Slip(database, (SAME,), {"amount": "100", "words": ("200", 0.5)}).read()
    slip.says("words", None)
    assert slip.finding("words").state == CheckState.UNKNOWN
    slip.says("amount", "100")
    assert slip.state() == "complete"


def test_a_decision_that_is_taken_back_is_judged_too(database: Database) -> None:
    slip = Slip(database, (SAME,), {"amount": "100", "words": ("100", 0.5)}).read()
    slip.says("words", "200")
    assert slip.states()["amount"] == REVIEW
    words = slip.field("words")
    with database.transaction() as s:
        ann = ensure_person(s, slip.tenant_id, f"ann {slip.tenant_id}", Role.VERIFIER)
        take_back(
            s,
            tenant_id=slip.tenant_id,
            field_id=words.id,
            person=ann,
            version=words.version,
        )
    assert slip.finding("words").state == CheckState.HOLDS


def test_the_same_forced_decision_again_changes_nothing(database: Database) -> None:
    slip = Slip(database, (SAME,), {"amount": "100", "words": None}).read()
    slip.says("words", "200")
    amount = slip.field("amount")
    for _ in range(2):
        with database.transaction() as s:
            verify_field(
                s,
                tenant_id=slip.tenant_id,
                field_id=amount.id,
                value="100",
                who="bob",
                check=as_typed,
                note="kept",
                force=True,
                seen={amount.version},
            )
    assert slip.field("amount").version == amount.version + 1


# --- pages with the same values ---

CHEQUE = {"account": "123", "number": "7", "amount": "5"}


def test_a_cheque_that_came_before_is_found_across_batches(database: Database) -> None:
    first = Slip(database, (ONCE,), CHEQUE).read()
    again = Slip(database, (ONCE,), CHEQUE, tenant_id=first.tenant_id).read()
    assert again.states() == {"account": REVIEW, "number": REVIEW, "amount": RELEASED}
    (twin,) = again.finding("once").twins
    assert twin.page_id == first.page_id
    assert (
        again.finding("once").message
        == "slip.png of batch b has the same account 123 and number 7."
    )
    assert first.states()["account"] == RELEASED, "one of the two waits, which is enough"
    assert first.finding("once").twins[0].page_id == again.page_id, "but the other tells of it"
    other = Slip(database, (ONCE,), CHEQUE).read()
    assert other.finding("once").state == CheckState.HOLDS, "of another tenant"
    with database.transaction() as s:
        delete_batch(s, tenant_id=first.tenant_id, batch_id=first.batch_id)
    assert again.finding("once").state == CheckState.HOLDS


def test_a_corrected_number_is_looked_up_anew(database: Database) -> None:
    first = Slip(database, (ONCE,), CHEQUE).read()
    second = Slip(
        database, (ONCE,), CHEQUE | {"number": ("8", 0.5)}, tenant_id=first.tenant_id
    ).read()
    assert second.states()["account"] == RELEASED
    second.says("number", "7")
    assert second.states()["account"] == REVIEW
    with pytest.raises(InputError, match="has the same account 123 and number 7"):
        second.says("account", "123")
    second.says("account", "124")
    assert second.finding("once").state == CheckState.HOLDS
    assert second.state() == "complete"


def test_of_two_that_come_at_once_one_is_found(database: Database) -> None:
    tenant_id = new_tenant(database)
    slips = [Slip(database, (ONCE,), CHEQUE, tenant_id=tenant_id) for _ in range(4)]
    together = Barrier(len(slips))

    def read(slip: Slip) -> None:
        together.wait()
        slip.read()

    with ThreadPoolExecutor(len(slips)) as pool:
        list(pool.map(read, slips))
    with database.reading() as s:
        query = (
            select(Field.state)
            .join(Batch)
            .where(Batch.tenant_id == tenant_id, Field.name == "number")
        )
        states = sorted(s.scalars(query))
    assert states == ["accepted", "review", "review", "review"]


def test_lists_of_pages_tell_of_twins(database: Database) -> None:
    first = Slip(database, (ONCE,), CHEQUE).read()
    Slip(database, (ONCE,), CHEQUE, tenant_id=first.tenant_id).read()
    with database.reading() as s:
        (page,) = list_pages(s, first.tenant_id, first.batch_id)
        field = get_field(s, first.tenant_id, page.fields[0].id)
    assert page.findings[0].fails
    assert field.contradicted_by == (), "as it was judged when it was released"
