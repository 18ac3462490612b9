"""Lines are fitted and meet where they should; an outline maps to the page and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.geometry import Points, transform_points
from pipeline.placing.outline import (
    MIN_AGREEMENT,
    Outline,
    fit_line,
    intersect_lines,
    intersect_sides,
    is_plausible,
    rectify,
    smooth_copy,
)
from tests.drawing_pages import SHEET_SIZE, draw_sheet, photograph, quad_in

angles = st.floats(-np.pi, np.pi)
coordinates = st.floats(-500, 500)
jitter = st.tuples(*[st.floats(-0.05, 0.05)] * 8)


@given(coordinates, coordinates, angles, st.floats(0.3, 2.8), coordinates, coordinates)
def test_two_lines_meet_at_the_point_that_both_go_through(
    x: float, y: float, angle: float, between: float, along: float, beyond: float
) -> None:
    lines = []
    for turn, shift in ((angle, along), (angle + between, beyond)):
        way = np.array([np.cos(turn), np.sin(turn)])
        lines.append(np.array([*(np.array([x, y]) + shift * way), *way]))
    meeting = intersect_lines(*lines)
    assert meeting is not None
    np.testing.assert_allclose(meeting, (x, y), atol=1e-6)


@given(coordinates, coordinates, angles, st.floats(-0.1, 0.1))
def test_lines_that_run_almost_alike_do_not_meet(
    x: float, y: float, angle: float, between: float
) -> None:
    one = np.array([x, y, np.cos(angle), np.sin(angle)])
    other = np.array([y, x, np.cos(angle + between), np.sin(angle + between)])
    assert intersect_lines(one, other) is None


@given(jitter)
def test_the_corners_of_a_quadrilateral_are_where_its_sides_meet(moves: tuple[float, ...]) -> None:
    quad = quad_in((1300, 1020), moves)
    ways = np.roll(quad, -1, axis=0) - quad
    ways /= np.hypot(*ways.T)[:, None]
    found = intersect_sides(list(np.hstack([quad, ways])))
    assert found is not None
    np.testing.assert_allclose(found, quad, atol=1e-6)


@given(coordinates, coordinates, angles, st.floats(0, 0.35), st.integers(0, 2**32 - 1))
def test_a_line_is_fitted_through_outliers(
    x: float, y: float, angle: float, share: float, seed: int
) -> None:
    random = np.random.default_rng(seed)
    way = np.array([np.cos(angle), np.sin(angle)])
    points = np.array([x, y]) + np.linspace(-400, 400, 64)[:, None] * way
    outliers = random.permutation(64)[: int(share * 64)]
    points[outliers] += random.uniform(20, 60, (len(outliers), 1)) * [-way[1], way[0]]
    found = fit_line(points, len(points))
    assert found is not None
    line, agreed = found
    assert agreed == pytest.approx(1 - len(outliers) / 64)
    off = (line[0] - x) * way[1] - (line[1] - y) * way[0]
    assert abs(off) < 4
    assert abs(line[2:] @ way) > 0.999


def test_too_few_points_make_no_line() -> None:
    points = np.stack([np.arange(30.0), np.zeros(30)], axis=1)
    assert fit_line(points, 30) is not None
    assert fit_line(points, int(30 / MIN_AGREEMENT) + 2) is None
    assert fit_line(points[:7], 7) is None
    scattered = np.random.default_rng(2).uniform(0, 500, (64, 2))
    assert fit_line(scattered, 64) is None


def test_a_plausible_outline_is_convex_near_the_image_and_not_too_flat() -> None:
    quad = quad_in((1300, 1020))
    shape = (1020, 1300)
    assert is_plausible(quad, shape)
    assert not is_plausible(quad[[0, 2, 1, 3]], shape)  # its sides cross
    assert not is_plausible(np.add(quad, (800, 0)), shape)
    assert not is_plausible(np.full((4, 2), np.nan), shape)
    assert not is_plausible(_flattened(quad, 0.2), shape)
    assert is_plausible(_flattened(quad, 0.3), shape)


def _flattened(quad: Points, share: float) -> Points:
    """Shorten the upper side to a share of the lower one."""
    flat = quad.copy()
    middle = flat[:2].mean(axis=0)
    flat[:2] = middle + share * (flat[:2] - middle)
    return flat


@given(jitter)
def test_the_matrix_maps_the_unit_square_onto_the_corners(moves: tuple[float, ...]) -> None:
    quad = quad_in((1300, 1020), moves)
    mapped = transform_points(Outline(quad, 1.0).matrix(), [[0, 0], [1, 0], [1, 1], [0, 1]])
    np.testing.assert_allclose(mapped, quad, atol=1e-2)


def test_a_rectified_sheet_is_the_sheet_and_leads_back_to_the_photograph() -> None:
    size = (1300, 1020)
    quad = quad_in(size, (0.03, -0.02, 0.0, 0.04, -0.02, 0.0, 0.01, -0.03))
    sheet = draw_sheet()
    photo, _ = photograph(sheet, quad, size, 30, 1)
    flat, to_page = rectify(photo, Outline(quad, 1.0))
    height, width = flat.shape
    assert abs(width / height - SHEET_SIZE[0] / SHEET_SIZE[1]) < 0.1
    ends = transform_points(to_page, [[0, 0], [width, 0], [width, height], [0, height]])
    np.testing.assert_allclose(ends, quad, atol=1e-3)
    # Most of what is outside the sheet is dark here, and none of that is left.
    assert np.percentile(flat, 2) > 50


@pytest.mark.parametrize("shape", [(3000, 2000), (700, 999), (1, 1), (1, 5000)])
def test_a_smooth_copy_has_at_most_a_thousand_pixels(shape: tuple[int, int]) -> None:
    small, scale = smooth_copy(np.full(shape, 77, np.uint8), 5)
    assert max(small.shape) == min(1000, max(shape))
    assert scale == pytest.approx(max(1.0, max(shape) / 1000))
    assert (small == 77).all()
