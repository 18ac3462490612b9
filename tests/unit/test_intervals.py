"""Bounds of shares, against their definition and known values."""

from __future__ import annotations

from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.intervals import at_most, upper_bound


@given(st.integers(1, 80).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_bound_is_where_so_few_are_just_credible(part_of: tuple[int, int]) -> None:
    part, count = part_of
    bound = upper_bound(part, count)
    assert part / count <= bound <= 1
    if part < count:
        tail = sum(comb(count, k) * bound**k * (1 - bound) ** (count - k) for k in range(part + 1))
        assert tail == pytest.approx(0.05, abs=1e-9)
        assert at_most(part, count, bound) == pytest.approx(tail)


def test_known_bounds() -> None:
    assert upper_bound(0, 299) <= 0.01 < upper_bound(0, 298)  # the rule of three
    assert upper_bound(0, 0) == upper_bound(3, 3) == 1
    assert upper_bound(40, 100_000) == pytest.approx(5.2e-4, rel=0.02)
    assert upper_bound(1, 10) == pytest.approx(0.3942, abs=1e-4)  # a table of Clopper and Pearson
    assert upper_bound(0, 10, 0.99) == pytest.approx(1 - 0.01**0.1)
    with pytest.raises(ValueError):
        upper_bound(2, 1)


def test_chances_at_the_ends() -> None:
    assert at_most(0, 5, 0.0) == at_most(5, 5, 1.0) == pytest.approx(at_most(5, 5, 0.3)) == 1.0
    assert at_most(4, 5, 1.0) == 0.0
    assert at_most(60_000, 100_000, 0.5) == pytest.approx(1.0)
