"""The border printed around a page is found: whole, dotted, leaning, photographed or cut off."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.geometry import corners, rotation, transform_points
from pipeline.placing.border import find_border
from pipeline.types import Image
from tests.drawing_pages import SHEET_BORDER, SHEET_SIZE, draw_sheet, photograph, quad_in

WIDTH, HEIGHT = SHEET_SIZE
RATIO = SHEET_BORDER.w / SHEET_BORDER.h
EDGES = corners(SHEET_BORDER)


def _dotted(step: int, mark: int) -> Image:
    """Draw a border of marks `mark` pixels long, `step` pixels apart."""
    page = draw_sheet()
    for x in range(20, WIDTH - 20, step):
        for y in (20, HEIGHT - 21):
            cv2.line(page, (x, y), (min(x + mark, WIDTH - 21), y), 50, 9)
    for y in range(20, HEIGHT - 20, step):
        for x in (20, WIDTH - 21):
            cv2.line(page, (x, y), (x, min(y + mark, HEIGHT - 21)), 50, 9)
    return page


@settings(max_examples=6)
@given(
    moves=st.tuples(*[st.floats(-0.05, 0.05)] * 8),
    table=st.sampled_from([20, 150]),
    light=st.floats(0.7, 1),
)
def test_a_border_is_found_on_a_photograph(
    moves: tuple[float, ...], table: int, light: float
) -> None:
    size = (1300, 1020)
    photo, matrix = photograph(draw_sheet(border=True), quad_in(size, moves), size, table, light)
    border = find_border(photo, RATIO)
    assert border is not None
    assert np.abs(border.corners - transform_points(matrix, EDGES)).max() <= 0.01 * 0.8 * size[0]


@settings(max_examples=15)
@given(turn=st.floats(-4, 4), scale=st.floats(0.6, 2), shade=st.floats(0.7, 1))
def test_a_border_is_found_on_a_scan(turn: float, scale: float, shade: float) -> None:
    large = cv2.copyMakeBorder(
        draw_sheet(border=True), 60, 60, 60, 60, cv2.BORDER_CONSTANT, value=235
    )
    matrix = rotation(turn, (WIDTH / 2 + 60, HEIGHT / 2 + 60))
    matrix = np.diag([scale, scale, 1.0]) @ matrix
    size = (round((WIDTH + 120) * scale), round((HEIGHT + 120) * scale))
    scan = cv2.warpAffine(large, matrix[:2], size, flags=cv2.INTER_AREA, borderValue=235)
    grey = (scan * np.linspace(shade, 1, size[0])).astype(np.uint8)
    border = find_border(grey, RATIO)
    assert border is not None
    expected = transform_points(matrix, EDGES + 60)
    assert np.abs(border.corners - expected).max() <= 0.006 * size[0]


@pytest.mark.parametrize(("step", "mark"), [(24, 6), (40, 26), (30, 15)])
def test_a_border_of_dots_or_dashes_is_a_border(step: int, mark: int) -> None:
    border = find_border(_dotted(step, mark), RATIO)
    assert border is not None
    assert np.abs(border.corners - EDGES).max() <= 6


def test_a_border_that_is_cut_off_below_or_above_is_completed_by_its_ratio() -> None:
    page = draw_sheet(border=True)
    for top, foot in ((0, HEIGHT - 40), (40, HEIGHT)):
        border = find_border(page[top:foot], RATIO)
        assert border is not None
        assert np.abs(border.corners + np.array([0, top]) - EDGES).max() <= 6


def test_a_border_that_lacks_a_short_side_is_not_completed() -> None:
    page = draw_sheet(border=True)
    assert find_border(np.ascontiguousarray(page[:, 40:]), RATIO) is None


def test_a_side_that_the_image_would_show_is_not_completed() -> None:
    page = draw_sheet(border=True)
    page[HEIGHT - 60 :] = 235  # the lower side was never printed
    tall = np.vstack([page, np.full((200, WIDTH), 235, np.uint8)])
    assert find_border(tall, RATIO) is None


def test_a_page_without_a_border_has_none() -> None:
    assert find_border(draw_sheet(), RATIO) is None
    page = draw_sheet()
    cv2.line(page, (20, HEIGHT - 21), (WIDTH - 21, HEIGHT - 21), 50, 9)  # one line is no border
    assert find_border(page, RATIO) is None


@pytest.mark.parametrize("shape", [(1, 1), (3, 900), (900, 3), (40, 40)])
def test_odd_images_have_no_border(shape: tuple[int, int]) -> None:
    noise = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    for image in (noise, np.zeros(shape, np.uint8)):
        assert find_border(image, 1.5) is None
