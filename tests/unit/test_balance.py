"""The search for what makes a batch balance: what it finds always does, and is the least."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from core.balance import suspicions
from core.misreads import instead_of

ENTRIES = st.lists(
    st.tuples(
        st.integers(0, 60),
        st.dictionaries(st.integers(0, 60), st.floats(-20, 3), max_size=3),
    ),
    max_size=6,
)


def least(entries: list[tuple[int, dict[int, float]]], difference: int) -> int | None:
    """Return the fewest changes that do, by trying all."""
    shifts = [
        [0, *(after - before for after in others if after != before)] for before, others in entries
    ]
    counts = [
        sum(shift != 0 for shift in chosen)
        for chosen in itertools.product(*shifts)
        if sum(chosen) == difference
    ]
    return min((count for count in counts if count), default=None)


@given(ENTRIES, st.integers(-90, 90).filter(bool))
def test_what_is_found_balances_and_the_fewest_changes_come_first(
    entries: list[tuple[int, dict[int, float]]], difference: int
) -> None:
    found = suspicions(entries, difference)
    for one in found:
        assert sum(change.after - change.before for change in one.changes) == difference
        assert len({change.entry for change in one.changes}) == len(one.changes) <= 3
        for change in one.changes:
            before, others = entries[change.entry]
            assert (change.before, others[change.after]) == (before, change.log_odds)
    ranks = [(len(one.changes), -one.log_odds) for one in found]
    assert ranks == sorted(ranks)
    assert len({one.changes for one in found}) == len(found)
    fewest = least(entries, difference)
    if fewest is not None and fewest <= 3:
        assert found, "what there is is found"
        assert ranks[0][0] == fewest
    else:
        assert found == []


@given(ENTRIES)
def test_a_batch_that_balances_has_no_suspects(
    entries: list[tuple[int, dict[int, float]]],
) -> None:
    assert suspicions(entries, 0) == []


def test_the_likeliest_of_many_comes_first() -> None:
    entries = [(10, {20: -9.0 - n}) for n in range(1000)]
    entries[777] = (10, {20: -1.0})
    found = suspicions(entries, 10)
    assert [one.changes[0].entry for one in found[:3]] == [777, 0, 1]
    assert len(found) == 10


def test_three_digits_are_found_among_many_fields() -> None:
    entries = []
    for n in range(1000):
        value = str(10_000 + 7 * n)
        others = {int(one.value): one.log_odds for one in instead_of(value, 0.99, {}, keyed=False)}
        entries.append((int(value), others))
    (best, *_) = suspicions(entries, 30_405)
    assert [sum(change.shift for change in best.changes), len(best.changes)] == [30_405, 3]


def test_what_a_reading_may_be_instead() -> None:
    read = {one.value: one for one in instead_of("17", 0.9, {"17": 0.9, "11": 0.05}, keyed=False)}
    assert max(read.values(), key=lambda one: one.log_odds).value == "11"
    assert read["11"].why == "the machine's other reading"
    assert read["19"].why == "a 9 read as a 7"
    assert read["19"].log_odds > read["18"].log_odds, "a 7 is sooner a 9 than an 8"
    assert "07" not in read, "numbers do not begin with 0"
    assert "17" not in read


def test_what_a_person_typed_may_be_what_the_machine_had_read() -> None:
    keyed = {one.value: one for one in instead_of("1234", 0.1, {"1284": 0.8}, keyed=True)}
    assert max(keyed.values(), key=lambda one: one.log_odds).value == "1284"
    assert keyed["1243"].why == "two digits changed places"
    assert keyed["1274"].why == "a 7 typed as a 3"


@given(st.text("0123456789.", max_size=8), st.floats(0, 1), st.booleans())
def test_no_value_stands_instead_of_itself(value: str, confidence: float, keyed: bool) -> None:
    found = instead_of(value, confidence, {"5": 0.3, value: confidence}, keyed=keyed)
    values = [one.value for one in found]
    assert value not in values
    assert len(set(values)) == len(values)
