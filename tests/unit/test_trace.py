"""A line is followed to a fraction of a pixel, whatever else lies near it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.cleaning.trace import line_thickness, trace_line
from pipeline.types import Image


def soft_line(rows: np.ndarray, height: int, thickness: float = 2.0) -> Image:
    """A line whose middle is at `rows`, one a column: each pixel as dark as it is covered."""
    y = np.arange(height)[:, None]
    above = np.clip(rows + thickness / 2 - (y - 0.5), 0, 1)
    below = np.clip(rows - thickness / 2 - (y - 0.5), 0, 1)
    return np.rint(255 * (above - below)).astype(np.uint8)


@settings(deadline=None)
@given(
    slope=st.floats(-0.02, 0.02),
    offset=st.floats(-1, 1),
    start=st.integers(0, 60),
    length=st.integers(60, 240),
    thickness=st.floats(1.0, 4.0),
)
def test_a_straight_line_is_followed_to_a_fifth_of_a_pixel(
    slope: float, offset: float, start: int, length: int, thickness: float
) -> None:
    columns = np.arange(300)
    rows = 10 + offset + slope * (columns - 150)
    window = soft_line(rows, 21, thickness)
    window[:, :start] = window[:, start + length :] = 0
    trace = trace_line(window, 100, thickness)
    assert trace is not None
    assert (trace.start, trace.stop) == (start, min(300, start + length))
    np.testing.assert_allclose(trace.middle, 100 + rows[trace.start : trace.stop], atol=0.2)
    assert trace.coverage == 1
    assert trace.wobble < 0.3


def test_gaps_lower_the_coverage_and_nothing_else() -> None:
    window = soft_line(np.full(200, 8.0), 17)
    window[:, 60:110] = 0
    trace = trace_line(window, 0, 2.0)
    assert trace is not None
    assert trace.coverage == pytest.approx(0.75)
    np.testing.assert_allclose(trace.middle, 8, atol=0.1)


def test_other_ink_nearby_does_not_draw_the_line_aside() -> None:
    window = soft_line(np.full(200, 8.0), 25)
    window[12:16, 20:60] = window[12:16, 120:170] = 255  # the feet of digits, at a close distance
    trace = trace_line(window, 0, 2.0)
    assert trace is not None
    np.testing.assert_allclose(trace.middle, 8, atol=0.1)


def test_a_line_that_wanders_is_followed_for_two_pixels() -> None:
    columns = np.arange(400)
    rows = 10 + 1.8 * np.sin(columns / 400 * 2 * np.pi)
    trace = trace_line(soft_line(rows, 21), 0, 2.0)
    assert trace is not None
    assert np.abs(trace.middle - rows).max() < 0.7
    assert trace.wobble > 0.5


def test_too_little_ink_is_no_line() -> None:
    window = soft_line(np.full(100, 5.0), 11)
    window[:, 7:] = 0
    assert trace_line(window, 0, 2.0) is None
    assert trace_line(np.zeros((11, 100), np.uint8), 0, 2.0) is None


@given(st.integers(1, 7), st.integers(12, 40))
def test_the_thickness_is_the_usual_one(thickness: int, row: int) -> None:
    image = np.zeros((60, 200), np.uint8)
    image[row : row + thickness] = 255
    image[:, 50:60] = 255  # a stroke crosses it
    assert line_thickness(image, row + thickness // 2, 1, 8) == thickness
