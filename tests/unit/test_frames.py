"""Frames are found among the ruled lines of a page, and not among others."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.geometry import Matrix, corners, scaling, transform_box, transform_points, translation
from pipeline.placing.frames import match_frames
from pipeline.placing.page_rules import PageRules
from pipeline.types import Box

PAGE = (210.0, 297.0)
FRAMES = (
    Box(0.68, 0.08, 0.25, 0.04),
    Box(0.07, 0.08, 0.36, 0.04),
    Box(0.07, 0.26, 0.19, 0.04),
    Box(0.36, 0.26, 0.19, 0.04),
    Box(0.65, 0.36, 0.28, 0.04),
    Box(0.51, 0.84, 0.42, 0.05),
)
SHAPE = (1280, 905)
WHOLE = scaling(SHAPE[1], SHAPE[0])


def _draw(matrix: Matrix, frames: tuple[Box, ...] = FRAMES) -> PageRules:
    """Draw frames as ruled lines under a transform from fractions to pixels of the masks."""
    horizontal, vertical = np.zeros((2, *SHAPE), np.uint8)
    for frame in frames:
        box = transform_box(matrix, frame)
        x, right = round(box.x), round(box.x + box.w)
        y, bottom = round(box.y), round(box.y + box.h)
        for row in (y, bottom):
            horizontal[max(0, row - 1) : row + 1, max(0, x) : max(0, right)] = 1
        for column in (x, right):
            vertical[max(0, y) : max(0, bottom), max(0, column - 1) : column + 1] = 1
    return PageRules(horizontal, vertical, np.eye(3), 0.0, SHAPE)


def _match(rules: PageRules, frames: tuple[Box, ...] = FRAMES) -> tuple[Matrix, float]:
    found = match_frames(rules, frames, PAGE)
    return (np.eye(3), 0.0) if found is None else (found.matrix, found.score)


def _off(found: Matrix, matrix: Matrix) -> float:
    return max(
        float(np.abs(transform_points(found, quad) - transform_points(matrix, quad)).max())
        for quad in map(corners, FRAMES)
    )


@settings(max_examples=25)
@given(
    scale=st.floats(0.6, 1.0),
    stretch=st.floats(0.98, 1.02),
    shift=st.tuples(st.floats(-0.03, 0.05), st.floats(-0.03, 0.05)),
)
def test_frames_are_found_at_any_scale_and_place(
    scale: float, stretch: float, shift: tuple[float, float]
) -> None:
    matrix = (
        translation(shift[0] * SHAPE[1], shift[1] * SHAPE[0])
        @ scaling(scale * stretch, scale)
        @ WHOLE
    )
    found, score = _match(_draw(matrix))
    assert score > 0.9
    assert _off(found, matrix) <= 2


def test_a_page_that_leans_by_less_than_the_skew_that_is_undone_is_fitted() -> None:
    lean = np.array([[1.0, -0.004, 6], [0.004, 1.0, -3], [0, 0, 1]])
    matrix = lean @ scaling(0.9) @ WHOLE
    rules = _draw(matrix)
    found, score = _match(rules)
    assert score > 0.9
    assert _off(found, matrix) <= 4


def test_the_score_is_the_share_of_edges_that_are_there() -> None:
    some, score = _match(_draw(WHOLE, FRAMES[:5]))
    assert abs(score - 20 / 24) <= 1 / 24
    assert _off(some, WHOLE) <= 4


def test_other_frames_and_blank_pages_score_low() -> None:
    other = tuple(Box(0.05, 0.05 + 0.11 * row, 0.9, 0.08) for row in range(8))
    assert _match(_draw(WHOLE, other))[1] < 0.5
    assert _match(_draw(WHOLE, ()))[1] == 0.0


def test_lines_everywhere_are_noise_and_not_frames() -> None:
    full = np.ones(SHAPE, np.uint8)
    assert _match(PageRules(full, full, np.eye(3), 0.0, SHAPE))[1] == 0.0


def test_frames_that_share_an_edge_count_it_once() -> None:
    table = (Box(0.125, 0.25, 0.5, 0.125), Box(0.125, 0.375, 0.5, 0.125))
    rules = _draw(WHOLE, table)
    # Of 7 edges, 3 horizontal and 4 vertical, one is missing.
    rules.horizontal[477:483] = 0
    _, score = _match(rules, table)
    assert abs(score - 6 / 7) < 1e-9
