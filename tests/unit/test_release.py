"""A threshold's choice, and the monitor: brute force, known values, constructed sites."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.release import (
    FALSE_ALARMS,
    SEEN,
    THRESHOLDS,
    KeyedField,
    Point,
    choose_threshold,
    enough_alone,
    log_evidence,
    look,
    missing,
    points_of,
    watch,
)

FIELDS = st.lists(
    st.builds(
        KeyedField,
        st.sampled_from((0.0, 0.5, 0.9, 0.95, 0.99, 0.9999, 1.0)),
        st.booleans(),
        st.sampled_from((0.0, 0.9, 0.99)),
    ),
    max_size=40,
)


def sure(count: int, wrong: int = 0, confidence: float = 0.9995) -> list[KeyedField]:
    return [KeyedField(confidence, number >= wrong) for number in range(count)]


@given(FIELDS)
def test_fields_are_counted_for_each_threshold(fields: list[KeyedField]) -> None:
    for point in points_of(fields):
        some = [one for one in fields if one.complete_from <= point.threshold <= one.confidence]
        assert point.keyed == len(some)
        assert point.wrong == sum(not one.right for one in some)


@pytest.mark.parametrize(("keyed", "wrong", "share"), [(50, 0, 0.1), (400, 3, 0.02), (9, 8, 0.95)])
def test_the_evidence_is_a_mean_of_likelihood_ratios(keyed: int, wrong: int, share: float) -> None:
    errors = (np.arange(200_000) + 0.5) / 200_000 * share
    ratios = (errors / share) ** wrong * ((1 - errors) / (1 - share)) ** (keyed - wrong)
    expected = math.log(ratios.mean())
    assert log_evidence(keyed, wrong, share) == pytest.approx(max(0, expected), abs=1e-6)


@pytest.mark.parametrize("share", [0.3, 0.5])
def test_the_evidence_is_no_more_than_one_on_average(share: float) -> None:
    """Over all sequences, also where one stops as soon as it is large: what makes Ville hold."""
    length, stop = 12, 2.0
    mean = 0.0
    for sequence in product((False, True), repeat=length):
        chance, wrong, value = 1.0, 0, 1.0
        for number, one in enumerate(sequence, 1):
            chance *= share if one else 1 - share
            wrong += one
            if value < stop:
                value = math.exp(log_evidence(number, wrong, share)) * (
                    wrong < number * share  # where it is rounded up to 1, it is at most 1
                )
        mean += chance * value
    assert mean <= 1.0


def test_a_site_without_evidence_releases_nothing() -> None:
    assert choose_threshold(points_of([]), 100) is None
    assert look({}, 1000).thresholds == {}
    assert look({("cheque", "amount"): []}, 1000).choices[0].missing > 0


@pytest.mark.parametrize("one_in", [50, 1000])
def test_what_is_missing_is_what_suffices(one_in: int) -> None:
    more = missing(points_of([]), one_in)
    assert choose_threshold(points_of(sure(more - 1)), one_in) is None
    assert choose_threshold(points_of(sure(more)), one_in) is not None
    half = sure(more // 2)
    assert missing(points_of(half), one_in) == more - len(half)


def test_sure_fields_that_are_rare_take_longer() -> None:
    fields = sure(100) + [KeyedField(0.6, True)] * 300
    fewer = missing(points_of(sure(100)), 1000)
    assert missing(points_of(fields), 1000) == pytest.approx(4 * fewer, rel=0.02)


def test_the_lowest_threshold_that_holds_is_chosen() -> None:
    fields = sure(2000) + sure(2000, wrong=0, confidence=0.95) + sure(500, 250, confidence=0.85)
    chosen = choose_threshold(points_of(fields), 100)
    assert chosen is not None
    assert 0.85 < chosen <= 0.95


def test_the_bound_of_what_is_chosen_keeps_the_budget() -> None:
    for keyed, wrong in ((900, 0), (3000, 9), (20_000, 100)):
        points = points_of(sure(keyed, wrong))
        chosen = choose_threshold(points, 100)
        assert chosen is not None
        (point,) = [one for one in points if one.threshold == chosen]
        assert point.wrong / point.keyed <= point.bound <= 1 / 100


def test_errors_keep_a_threshold_from_being_chosen() -> None:
    assert choose_threshold(points_of(sure(3000, wrong=0)), 100) is not None
    assert choose_threshold(points_of(sure(3000, wrong=30)), 100) is None
    assert missing(points_of(sure(3000, wrong=30)), 100) > 0


def test_fields_keyed_above_a_threshold_say_nothing_of_lower_ones() -> None:
    fields = [KeyedField(0.9995, True, complete_from=0.999)] * 3000
    chosen = choose_threshold(points_of(fields), 100)
    assert chosen is not None
    assert chosen >= 0.999


def test_fields_with_enough_evidence_are_judged_by_themselves() -> None:
    least = enough_alone(100)
    evidence = {
        ("cheque", "amount"): sure(least, wrong=least // 20),  # one in twenty is wrong
        ("cheque", "date"): sure(least),
        ("form", "total"): sure(600),
        ("form", "number"): sure(600),
        ("form", "rare"): sure(49),
    }
    choices = {one.field: one for one in look(evidence, 100).choices}
    assert choices["cheque", "amount"].threshold is None
    assert choices["cheque", "date"].alone
    assert choices["cheque", "date"].threshold is not None
    for name in ("total", "number"):
        assert not choices["form", name].alone
        assert choices["form", name].threshold is not None
    assert choices["form", "rare"].threshold is None
    assert choices["form", "rare"].missing == 1


def test_what_a_person_cannot_see_is_allowed_for() -> None:
    assert Point(0.9, 1000, 0).bound == pytest.approx(0.00299 / SEEN, rel=0.01)
    assert Point(0.9, 0, 0).bound == 1.0


# --- the monitor ---


def test_no_error_is_no_alarm() -> None:
    quiet = watch([False] * 10_000, 100)
    assert (quiet.audited, quiet.wrong, quiet.evidence) == (10_000, 0, 0.0)
    assert quiet.raised_after is None


def test_a_burst_after_a_long_good_time_is_an_alarm() -> None:
    good, bad = [False] * 20_000, [False] * 19 + [True]
    found = watch(good + bad * 60, 100)
    assert found.raised_after is not None
    assert 20_000 < found.raised_after <= 21_200
    assert watch(good + bad * 60 + good, 100).raised_after == found.raised_after, "it stays due"


def test_the_monitor_may_be_looked_at_every_day() -> None:
    """Under a budget that is just kept, alarms are rare over the whole time, not each day."""
    rng = np.random.default_rng(5)
    alarms = sum(
        watch((rng.random(3000) < 1 / 50).tolist(), 50).raised_after is not None for _ in range(40)
    )
    assert alarms <= 40 * FALSE_ALARMS


def test_the_thresholds_are_fixed() -> None:
    assert list(THRESHOLDS) == sorted(THRESHOLDS, reverse=True)
    assert {0.9, 0.99, 0.999, 0.9999} < set(THRESHOLDS)
