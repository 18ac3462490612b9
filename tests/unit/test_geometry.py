"""Transforms undo themselves, boxes map as their corners do, and reading order is stable."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import geometry
from pipeline.types import Box

coordinates = st.floats(-1e4, 1e4)
sizes = st.floats(0.01, 1e4)
angles = st.floats(-180, 180)
boxes = st.builds(Box, coordinates, coordinates, sizes, sizes)
points = st.lists(st.tuples(coordinates, coordinates), min_size=1, max_size=8)
matrices = st.builds(
    lambda angle, scale, dx, dy: (
        geometry.translation(dx, dy) @ geometry.rotation(angle) @ geometry.scaling(scale)
    ),
    angles,
    st.floats(0.1, 10),
    coordinates,
    coordinates,
)


@given(matrices, points)
def test_a_transform_and_its_inverse_change_nothing(
    matrix: geometry.Matrix, at: list[tuple[float, float]]
) -> None:
    there = geometry.transform_points(matrix, at)
    back = geometry.transform_points(geometry.invert(matrix), there)
    np.testing.assert_allclose(back, at, atol=1e-5)


@given(angles, st.tuples(coordinates, coordinates))
def test_a_rotation_keeps_its_middle_and_lengths(angle: float, middle: tuple[float, float]) -> None:
    turn = geometry.rotation(angle, middle)
    moved = geometry.transform_points(turn, [middle, (middle[0] + 3, middle[1] + 4)])
    np.testing.assert_allclose(moved[0], middle, atol=1e-6)
    assert np.hypot(*(moved[1] - moved[0])) == pytest.approx(5)


def test_a_positive_angle_turns_clockwise_on_the_screen() -> None:
    np.testing.assert_allclose(
        geometry.transform_points(geometry.rotation(90), [[1, 0]]), [[0, 1]], atol=1e-12
    )


@given(boxes)
def test_a_box_is_the_bounding_box_of_its_corners(box: Box) -> None:
    assert _near(geometry.bounding_box(geometry.corners(box)), box)


@given(st.lists(boxes, min_size=1, max_size=6))
def test_a_union_is_the_smallest_box_that_holds_all(some: list[Box]) -> None:
    whole = geometry.union(some)
    assert whole.x == min(box.x for box in some)
    assert whole.y == min(box.y for box in some)
    assert whole.x + whole.w == pytest.approx(max(box.x + box.w for box in some))
    assert whole.y + whole.h == pytest.approx(max(box.y + box.h for box in some))


@given(boxes, st.floats(0.1, 10), coordinates, coordinates)
def test_scaling_and_shifting_a_box_is_exact(box: Box, scale: float, dx: float, dy: float) -> None:
    matrix = geometry.translation(dx, dy) @ geometry.scaling(scale)
    expected = Box(box.x * scale + dx, box.y * scale + dy, box.w * scale, box.h * scale)
    assert _near(geometry.transform_box(matrix, box), expected)


@given(boxes, angles)
def test_a_turn_box_holds_its_corners(box: Box, angle: float) -> None:
    turn = geometry.rotation(angle)
    outer = geometry.transform_box(turn, box)
    for x, y in geometry.transform_points(turn, geometry.corners(box)):
        assert outer.x - 1e-6 <= x <= outer.x + outer.w + 1e-6
        assert outer.y - 1e-6 <= y <= outer.y + outer.h + 1e-6


@given(boxes)
def test_the_whole_of_a_box_is_the_box(box: Box) -> None:
    assert geometry.from_fractions(Box(0, 0, 1, 1), box) == box
    half = geometry.from_fractions(Box(0.5, 0, 0.5, 1), box)
    assert _near(half, Box(box.x + box.w / 2, box.y, box.w / 2, box.h))


@given(boxes, boxes)
def test_overlap_is_symmetric_and_bounded(a: Box, b: Box) -> None:
    assert 0 <= geometry.iou(a, b) <= 1 + 1e-9
    assert geometry.iou(a, b) == pytest.approx(geometry.iou(b, a))
    assert geometry.iou(a, a) == pytest.approx(1)
    shared = geometry.intersection(a, b)
    assert (shared is None) == (geometry.iou(a, b) == 0)


@given(boxes, st.floats(0, 100), st.floats(0, 100))
def test_a_grown_box_holds_the_box(box: Box, dx: float, dy: float) -> None:
    shared = geometry.intersection(geometry.expand(box, dx, dy), box)
    assert shared is not None
    assert _near(shared, box)


@given(st.lists(st.integers(1, 6), min_size=1, max_size=6), st.floats(-1.5, 1.5), st.randoms())
def test_reading_order_of_lines_that_lean(lines: list[int], lean: float, random: object) -> None:
    expected = [
        Box(100.0 * column, 100.0 * row + lean * column, 60.0, 40.0 - 3 * (column % 2))
        for row, count in enumerate(lines)
        for column in range(count)
    ]
    mixed = list(expected)
    random.shuffle(mixed)  # type: ignore[attr-defined]
    assert [mixed[i] for i in geometry.reading_order(mixed)] == expected


@given(st.lists(boxes, max_size=12))
def test_reading_order_names_each_box_once(some: list[Box]) -> None:
    assert sorted(geometry.reading_order(some)) == list(range(len(some)))


def _near(a: Box, b: Box) -> bool:
    first, second = (np.array([box.x, box.y, box.w, box.h]) for box in (a, b))
    return bool(np.allclose(first, second, atol=1e-5))


@given(boxes, st.integers(-8, 8), st.tuples(sizes, sizes))
def test_a_box_turns_with_its_page_and_back(
    box: Box, turns: int, page: tuple[float, float]
) -> None:
    there = geometry.turn_box(box, turns, page)
    turned = page[::-1] if turns % 2 else page
    back = geometry.turn_box(there, -turns, turned)
    np.testing.assert_allclose(
        (back.x, back.y, back.w, back.h), (box.x, box.y, box.w, box.h), atol=1e-6
    )


def test_a_box_at_the_upper_left_is_at_the_upper_right_after_a_quarter_turn() -> None:
    assert geometry.turn_box(Box(1, 2, 10, 4), 1, (100, 50)) == Box(44, 1, 4, 10)
    assert geometry.turn_box(Box(1, 2, 10, 4), 2, (100, 50)) == Box(89, 44, 10, 4)
