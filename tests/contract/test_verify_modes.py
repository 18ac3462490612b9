"""Who is asked for a field in each mode, what closes it, and what is never told."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest

from core.errors import ChangedError
from core.keying import KeyingMode, VerifyMode, is_chosen
from core.policy import Decision, ReviewReason
from core.roles import Role
from db.session import Database
from db.transitions.fields import ANY_VERSION, verify_field
from db.transitions.results import is_audited
from tests.contract.acts import as_typed, progress_state
from tests.contract.verifying import Site

BLIND, DOUBLE, THIRD = KeyingMode.BLIND, KeyingMode.DOUBLE, KeyingMode.THIRD
CONFIRM, PLANTED, AUDIT = KeyingMode.CONFIRM, KeyingMode.PLANTED, KeyingMode.AUDIT


# --- blind ---


def test_whoever_agrees_with_the_machine_closes_a_blind_field(database: Database) -> None:
    site = Site(database, VerifyMode.BLIND)
    ada = site.person("Ada")
    assert site.keys(ada, "253") == BLIND
    assert site.says() == ("verified", "253")
    assert (site.rights(), site.row().known) == ([True], False)
    assert (site.told.value, site.told.state) == (None, None)


@pytest.mark.parametrize(
    ("second", "closed", "rights"),
    [("253", "253", [False, True]), ("17", "17", [True, True]), ("18", None, [None, None])],
)
def test_where_they_differ_a_fresh_person_settles_it(
    database: Database, second: str, closed: str | None, rights: list[bool | None]
) -> None:
    site = Site(database, VerifyMode.BLIND)
    ada, bob, boss = site.person("Ada"), site.person("Bob"), site.person("Boss", Role.SUPERVISOR)
    site.keys(ada, "17")
    assert site.says() == ("review", "253")
    assert site.asked(ada) == [], "she has keyed it"
    assert site.keys(bob, second) == THIRD
    assert site.rights() == rights
    if closed is not None:
        assert site.says() == ("verified", closed)
        assert site.row().known == (closed == "17")
        return
    assert site.asked(site.person("Cleo")) == [], "three differ"
    assert site.keys(boss, "18") == CONFIRM
    assert site.says() == ("verified", "18")
    assert site.rights() == [False, True, None]


def test_one_admin_alone_is_not_stuck(database: Database) -> None:
    site = Site(database, VerifyMode.BLIND)
    ada = site.person("Ada", Role.ADMIN)
    assert site.keys(ada, "17") == BLIND
    assert site.keys(ada, "17") == CONFIRM
    assert site.says() == ("verified", "17")


def test_unreadable_needs_two_as_well(database: Database) -> None:
    site = Site(database, VerifyMode.BLIND)
    site.keys(site.person("Ada"), None)
    assert site.says()[0] == "review"
    site.keys(site.person("Bob"), None)
    assert site.says() == ("unreadable", None)
    assert not site.row().known


# --- double ---


def test_two_people_close_a_double_field(database: Database) -> None:
    site = Site(database, VerifyMode.DOUBLE)
    ada, bob = site.person("Ada"), site.person("Bob")
    assert site.keys(ada, "253") == DOUBLE
    assert site.says() == ("review", "253"), "that the machine agrees is not enough"
    assert site.asked(ada) == []
    assert site.keys(bob, "253") == DOUBLE
    assert site.says() == ("verified", "253")
    assert site.row().known
    assert site.field().released_by == f"{ada.name}, {bob.name}"


@pytest.mark.parametrize(("third", "closed"), [("17", "17"), ("18", "18"), ("253", None)])
def test_where_two_differ_a_third_agrees_with_one(
    database: Database, third: str, closed: str | None
) -> None:
    site = Site(database, VerifyMode.DOUBLE)
    for name, value in (("Ada", "17"), ("Bob", "18")):
        site.keys(site.person(name), value)
    cleo, boss = site.person("Cleo"), site.person("Boss", Role.SUPERVISOR)
    assert site.keys(cleo, third) == THIRD
    if closed is None:
        assert site.asked(site.person("Dan")) == []
        assert site.keys(boss, "19") == CONFIRM
        closed = "19"
    assert site.says() == ("verified", closed)


def test_nobody_closes_a_double_field_alone(database: Database) -> None:
    site = Site(database, VerifyMode.DOUBLE)
    ada = site.person("Ada", Role.ADMIN)
    site.keys(ada, "17")
    assert site.asked(ada) == []
    bob = site.person("Bob")
    site.keys(bob, "18")
    assert site.asked(bob) == []
    assert site.keys(ada, "18") == CONFIRM, "there is no third person"


def test_the_direct_word_of_the_api_closes_every_field(database: Database) -> None:
    site = Site(database, VerifyMode.DOUBLE)
    site.keys(site.person("Ada"), "17")
    with database.transaction() as s:
        verify_field(
            s,
            tenant_id=site.tenant_id,
            field_id=site.ids[0],
            value="18",
            who="key",
            check=as_typed,
            seen=ANY_VERSION,
        )
    assert site.says() == ("verified", "18")
    assert site.rights() == [False]


# --- taking back ---


@pytest.mark.parametrize("mode", [VerifyMode.BLIND, VerifyMode.DOUBLE])
def test_what_was_keyed_blindly_is_taken_back(database: Database, mode: VerifyMode) -> None:
    site = Site(database, mode)
    ada, bob = site.person("Ada"), site.person("Bob")
    site.keys(ada, "17")
    assert site.takes_back(ada) == mode.value
    assert site.asked(bob) == [], "she has it before her"
    site.keys(ada, "18")
    site.keys(bob, "18")
    assert site.says() == ("verified", "18")
    site.versions[site.ids[0]] -= 1
    with pytest.raises(ChangedError):
        site.takes_back(ada)
    site.versions[site.ids[0]] += 1
    site.takes_back(bob)
    assert site.says() == ("review", "253")
    assert site.rights() == [None]
    site.keys(bob, "18")
    assert site.rights() == [True, True]


def test_the_answer_that_was_lost_is_sent_again(database: Database) -> None:
    site = Site(database, VerifyMode.DOUBLE)
    ada, bob = site.person("Ada"), site.person("Bob")
    site.keys(ada, "17")
    site.versions[site.ids[0]] = 1
    site.answer(ada, site.ids[0], "17")
    assert len(site.rights()) == 1
    for person, value in ((ada, "18"), (bob, "17")):
        site.versions[site.ids[0]] = 1
        with pytest.raises(ChangedError) as caught:
            site.answer(person, site.ids[0], value)
        assert "17" not in str(caught.value)


# --- planted fields ---


def planted(database: Database) -> Site:
    """A site with a field whose value is known, and one that waits."""
    site = Site(database, VerifyMode.DOUBLE, fields=2)
    for name in ("Ada", "Bob"):
        site.keys(site.person(name), "17", site.ids[0])
    site.planted_share = 1.0
    return site


@pytest.mark.parametrize("value", ["17", "18", None])
def test_a_planted_field_measures_and_does_not_change(database: Database, value: Any) -> None:
    site = planted(database)
    cleo = site.person("Cleo")
    assert site.asked(cleo) == [PLANTED, DOUBLE]
    before = site.field(site.ids[0])
    site.answer(cleo, site.ids[0], value)
    assert site.field(site.ids[0]) == before
    assert site.rights(PLANTED) == [value == "17"]
    assert site.asked(cleo) == [DOUBLE], "once"
    assert site.takes_back(cleo, site.ids[0]) == PLANTED
    assert site.rights(PLANTED) == []


def test_those_who_keyed_it_are_not_asked_again(database: Database) -> None:
    site = planted(database)
    assert site.asked(site.person("Ada")) == [DOUBLE]


def test_a_planted_field_that_nobody_holds_is_not_decided(database: Database) -> None:
    site = planted(database)
    cleo = site.person("Cleo")
    site.asks(cleo)
    site.postpones(cleo, site.ids[0])
    with pytest.raises(ChangedError):
        site.answer(cleo, site.ids[0], "18")
    assert site.says(site.ids[0]) == ("verified", "17")


# --- checks of what policy released ---


def released(database: Database) -> Site:
    return Site(database, decision=Decision.ACCEPTED, audit_share=1.0)


def test_whoever_agrees_with_a_release_ends_its_check(database: Database) -> None:
    site = released(database)
    assert site.keys(site.person("Ada"), "253") == AUDIT
    assert site.says() == ("accepted", "253")
    assert site.rights() == [True]
    assert site.asked(site.person("Bob")) == []


def test_two_who_differ_end_a_release(database: Database) -> None:
    site = released(database)
    ada, bob = site.person("Ada"), site.person("Bob")
    assert progress_state(database, site.tenant_id, site.batch_id) == "complete"
    site.keys(ada, "17")
    assert site.says() == ("accepted", "253"), "one alone is not believed"
    assert site.asked(ada) == []
    assert site.keys(bob, "17") == AUDIT
    assert site.says() == ("review", "253")
    assert (site.field().reason, site.field().released_by) == (ReviewReason.AUDIT_DIFFERS, None)
    assert progress_state(database, site.tenant_id, site.batch_id) == "reviewing"
    assert site.keys(ada, "17") == CONFIRM
    assert site.rights() == [True, True, None]


def test_a_second_who_agrees_keeps_the_release(database: Database) -> None:
    site = released(database)
    ada, bob = site.person("Ada"), site.person("Bob")
    site.keys(ada, "17")
    assert site.takes_back(ada) == AUDIT
    site.keys(ada, "18")
    site.keys(bob, "253")
    assert site.says() == ("accepted", "253")
    assert site.rights() == [False, True]


def test_where_nobody_else_can_check_it_is_released_no_longer(database: Database) -> None:
    site = released(database)
    ada, bob = site.person("Ada"), site.person("Bob")
    site.leaves(bob)
    site.keys(ada, "17")
    assert site.says()[0] == "review"


def test_a_hash_chooses_what_is_checked(database: Database) -> None:
    site = Site(database, fields=40, decision=Decision.ACCEPTED, audit_share=0.3)
    due = {one for one in site.ids if site.row(one).audit == "due"}
    assert due == {one for one in site.ids if is_audited(one, 0.3)}
    assert 0.25 < sum(is_chosen(0.3, "x", str(n)) for n in range(2000)) / 2000 < 0.35
    assert not is_chosen(0.0, "x")
    assert is_chosen(1.0, "x")


# --- one field, one person ---


@pytest.mark.parametrize("mode", VerifyMode)
def test_no_two_people_have_the_same_field(database: Database, mode: VerifyMode) -> None:
    site = Site(database, mode, fields=24, audit_share=1.0, planted_share=1.0)
    people = [site.person(f"P{number}") for number in range(4)]
    together = Barrier(len(people))

    def work(number: int) -> list[str]:
        together.wait()
        return [one.field_id for _ in range(2) for one in site.asks(people[number], 3)]

    with ThreadPoolExecutor(len(people)) as pool:
        got = [set(one) for one in pool.map(work, range(len(people)))]
    assert all(got)
    assert sum(map(len, got)) == len(set().union(*got))
