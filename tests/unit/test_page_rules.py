"""The ruled lines of a page are found, made level, and turned with the page."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.geometry import Matrix, Points, invert, rotation, scaling, transform_points
from pipeline.placing.page_rules import (
    RULES_LONG_SIDE,
    PageRules,
    downscale,
    find_page_rules,
    find_skew,
    turn_page_rules,
)
from pipeline.types import Image

WIDTH, HEIGHT = 900, 1200
ROWS = (200, 500, 900)  # of horizontal lines, from 100 to 800
COLUMNS = (100, 450, 800)  # of vertical lines, from 200 to 900


def _draw(matrix: Matrix, size: tuple[int, int], thickness: int) -> Image:
    """Draw the lines, and strokes that are none, under a transform."""
    page = np.full(size[::-1], 240, np.uint8)
    lines = [((100, y), (800, y)) for y in ROWS] + [((x, 200), (x, 900)) for x in COLUMNS]
    _draw_lines(page, matrix, lines, 40, thickness)
    for x in range(150, 750, 90):
        at = np.rint(transform_points(matrix, [(x, 1050)])[0]).astype(int).tolist()
        cv2.ellipse(page, at, (14, 24), 20, 0, 300, 40, 4)
    return page


def _draw_lines(
    page: Image,
    matrix: Matrix,
    lines: list[tuple[tuple[int, int], tuple[int, int]]],
    tone: int,
    thickness: int,
) -> None:
    for ends in lines:
        a, b = np.rint(transform_points(matrix, ends) - 0.5).astype(int).tolist()
        cv2.line(page, a, b, tone, thickness)


def _points(mask: Image, to_page: Matrix) -> Points:
    y, x = np.nonzero(mask)
    return transform_points(to_page, np.stack([x, y], axis=1))


@settings(max_examples=8)
@given(turn=st.floats(-5, 5), scale=st.floats(0.7, 3), dark=st.booleans())
def test_lines_are_found_on_a_turned_page(turn: float, scale: float, dark: bool) -> None:
    size = (round(WIDTH * scale), round(HEIGHT * scale))
    matrix = rotation(turn, (size[0] / 2, size[1] / 2)) @ scaling(scale)
    page = _draw(matrix, size, max(2, round(2 * scale)))
    rules = find_page_rules(255 - page if dark else page)
    assert abs(rules.skew - turn) <= 0.1
    back = invert(matrix)
    near = 3 + 2 * max(1.0, max(size) / RULES_LONG_SIDE / scale)
    for mask, across, places in (
        (rules.horizontal, 1, ROWS),
        (rules.vertical, 0, COLUMNS),
    ):
        points = transform_points(back, _points(mask, rules.to_page))
        off = np.abs(points[:, across, None] - places)
        assert (off.min(axis=1) <= near).mean() >= 0.8  # little of the handwriting is left
        for place in range(3):  # every line is there nearly all along
            along = points[off[:, place] <= near, 1 - across]
            assert len(np.unique(np.rint(along / 10))) >= 66


@settings(max_examples=20)
@given(turn=st.floats(-5.5, 5.5))
def test_the_skew_is_the_angle_of_the_lines(turn: float) -> None:
    matrix = rotation(turn, (WIDTH / 2, HEIGHT / 2))
    blank = np.zeros((HEIGHT, WIDTH), np.uint8)
    horizontal, vertical = blank.copy(), blank.copy()
    _draw_lines(horizontal, matrix, [((100, y), (800, y)) for y in ROWS], 1, 1)
    _draw_lines(vertical, matrix, [((x, 200), (x, 900)) for x in COLUMNS], 1, 1)
    assert abs(find_skew(horizontal, vertical) - turn) <= 0.1
    # Three lines of one pixel tell less: they climb in steps.
    assert abs(find_skew(horizontal, blank) - turn) <= 0.2
    assert abs(find_skew(blank, vertical) - turn) <= 0.2


def test_a_page_without_lines_is_level() -> None:
    blank = np.zeros((300, 400), np.uint8)
    assert find_skew(blank, blank) == 0.0
    rules = find_page_rules(np.full((HEIGHT, WIDTH), 255, np.uint8))
    assert rules.skew == 0.0
    assert not rules.horizontal.any()
    assert not rules.vertical.any()


@pytest.mark.parametrize("shape", [(1, 1), (1, 4000), (40, 900), (3000, 2)])
def test_odd_images_have_rules_of_their_shape(shape: tuple[int, int]) -> None:
    rules = find_page_rules(np.random.default_rng(1).integers(0, 256, shape, np.uint8))
    assert rules.horizontal.shape == rules.vertical.shape
    assert max(rules.horizontal.shape) <= RULES_LONG_SIDE * 1.1


@given(
    turns=st.integers(0, 3),
    mirrored=st.booleans(),
    shape=st.tuples(st.integers(2, 9), st.integers(2, 9)),
    seed=st.integers(0, 1000),
)
def test_rules_turn_with_their_page(
    turns: int, mirrored: bool, shape: tuple[int, int], seed: int
) -> None:
    random = np.random.default_rng(seed)
    horizontal, vertical = random.integers(0, 2, (2, *shape)).astype(np.uint8)
    to_page = scaling(3.0, 2.5) @ np.array([[1.0, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    page = (round(2.5 * shape[0]), 3 * shape[1])
    turned = turn_page_rules(
        PageRules(horizontal, vertical, to_page, 1.5, page), page, turns, mirrored=mirrored
    )
    assert turned.skew == (-1.5 if mirrored else 1.5)
    before = (horizontal, vertical) if turns % 2 == 0 else (vertical, horizontal)
    for mask, old in zip((turned.horizontal, turned.vertical), before, strict=True):
        expected = _points(old, to_page)
        height, width = page
        if mirrored:
            expected[:, 0] = width - expected[:, 0]
        for _ in range(turns):
            expected = np.stack([height - expected[:, 1], expected[:, 0]], axis=1)
            height, width = width, height
        found = _points(mask, turned.to_page)
        assert {tuple(point) for point in found.round(6)} == {
            tuple(point) for point in expected.round(6)
        }


@settings(max_examples=30)
@given(ratio=st.floats(0.5, 7), width=st.integers(120, 250), height=st.integers(120, 250))
def test_a_downscaled_copy_shows_what_its_transform_says(
    ratio: float, width: int, height: int
) -> None:
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    for axis, ramp in enumerate((x, y)):
        small, to_page = downscale(ramp.astype(np.uint8), ratio)
        assert abs(max(small.shape) - max(width, height) / max(ratio, 1)) <= 1.5
        inner = np.s_[2:-2, 2:-2]
        places = np.stack(np.meshgrid(*map(np.arange, small.shape[::-1])), axis=-1)
        expected = transform_points(to_page, places).reshape(*small.shape, 2)[..., axis] - 0.5
        # Averaging, blurring and interpolation round the tones by half a level each.
        assert np.abs(small[inner] - expected[inner]).max() <= 1.5
