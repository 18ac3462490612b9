"""Intervals, edits, calibration and risk, against brute force and constructed truth."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.evaluation.metrics import (
    calibration_error,
    character_error_rate,
    edit_distance,
    released_surely,
    released_within,
    releases,
    reliability,
    wilson,
)

READINGS = st.lists(
    st.tuples(st.sampled_from((0.0, 0.2, 0.5, 0.9, 0.97, 1.0)), st.booleans(), st.booleans()),
    max_size=60,
)
WORDS = st.text("0123.", max_size=6)


def columns(readings: list[tuple[float, bool, bool]]) -> tuple[list[float], ...]:
    return tuple([reading[i] for reading in readings] for i in range(3))


def test_known_intervals() -> None:
    assert wilson(0, 0) == (0, 1)
    assert wilson(10, 100) == pytest.approx((0.0552, 0.1744), abs=1e-4)


@given(WORDS, WORDS)
def test_the_edit_distance_is_that_of_its_definition(read: str, truth: str) -> None:
    @cache
    def slowly(i: int, j: int) -> int:
        if not i or not j:
            return i + j
        differ = read[i - 1] != truth[j - 1]
        return min(slowly(i - 1, j) + 1, slowly(i, j - 1) + 1, slowly(i - 1, j - 1) + differ)

    assert edit_distance(read, truth) == slowly(len(read), len(truth))
    assert edit_distance(read, truth) == edit_distance(truth, read)


def test_the_character_error_rate_counts_characters_of_the_truth() -> None:
    assert character_error_rate([("12", "123"), ("9", "9")]) == 0.25
    assert character_error_rate([]) == 0
    assert character_error_rate([("1", "")]) == 1


@given(READINGS)
def test_the_curve_agrees_with_every_threshold_tried(
    readings: list[tuple[float, bool, bool]],
) -> None:
    curve = releases(*columns(readings))
    tried = []
    for threshold in sorted({sure for sure, _, valued in readings if valued}, reverse=True):
        out = [right for sure, right, valued in readings if valued and sure >= threshold]
        tried.append((threshold, len(out), out.count(False), len(readings)))
    assert [(r.threshold, r.released, r.wrong, r.count) for r in curve] == tried
    assert all(a.released < b.released and a.wrong <= b.wrong for a, b in pairwise(curve))
    for budget in (0.0, 0.1, 1.0):
        kept = [r for r in curve if r.wrong <= budget * r.released]
        best = released_within(curve, budget)
        assert (best.released if best else 0) == max((r.released for r in kept), default=0)
        proven = [r.released for r in curve if r.bound <= budget]
        sure = released_surely(curve, budget)
        assert (sure.released if sure else 0) == max(proven, default=0)


def test_proof_needs_more_than_luck() -> None:
    curve = releases(np.linspace(1, 0.5, 400), np.arange(400) < 350, np.ones(400, bool))
    observed, proven = released_within(curve, 0.01), released_surely(curve, 0.01)
    assert observed is not None
    assert observed.released == 353, "three wrong of 353 are less than 1 %"
    assert proven is not None
    assert proven.released == 350, "none of 350 wrong: at most 0.85 %"
    assert released_surely(curve, 0.001) is None, "that takes 2,995 without a mistake"


def test_perfect_calibration_has_no_error() -> None:
    sure = np.repeat([0.0, 0.25, 0.5, 0.75, 1.0], 40)
    right = np.concatenate([np.arange(40) < 40 * share for share in (0, 0.25, 0.5, 0.75, 1)])
    bins = reliability(sure, right, bins=5)
    assert [part.count for part in bins] == [40] * 5
    assert calibration_error(bins) == 0
    assert calibration_error(reliability(sure, 1 - right, bins=5)) == pytest.approx(0.6)


@given(READINGS, st.randoms(use_true_random=False))
def test_the_order_of_readings_does_not_matter(
    readings: list[tuple[float, bool, bool]], random: object
) -> None:
    shuffled = list(readings)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one, other = (reliability(*columns(some)[:2], bins=4) for some in (readings, shuffled))
    assert calibration_error(one) == pytest.approx(calibration_error(other))
    assert sum(part.count for part in one) == len(readings)
    assert all(0 <= part.accuracy <= 1 for part in one)
    if one:
        assert max(p.count for p in one) - min(p.count for p in one) <= 1


def test_bins_hold_enough_to_say_something() -> None:
    assert len(reliability(np.linspace(0, 1, 19), np.ones(19))) == 1
    assert len(reliability(np.linspace(0, 1, 100), np.ones(100))) == 5
    assert len(reliability(np.linspace(0, 1, 10_000), np.ones(10_000))) == 15
    assert reliability([], []) == []
