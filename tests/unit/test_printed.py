"""A printed box or comb is found near where it is expected, and a blank place fits badly."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.placing.printed import (
    Bounds,
    FoundMark,
    SearchWindow,
    find_printed_box,
    find_printed_comb,
    find_ridges,
)
from pipeline.types import Image

PAGE_WIDTH = 1000
BOX = Bounds(500, 120, 750, 160)
CELLS = 8

sizes = st.floats(0.88, 1.14)
shifts = st.floats(-30, 30)


def _paper() -> Image:
    noise = np.random.default_rng(3).normal(225, 4, (300, PAGE_WIDTH))
    return np.clip(noise, 0, 255).astype(np.uint8)


def _draw(page: Image, bounds: Bounds, cells: int = 1, *, tone: int = 90) -> None:
    a = (round(bounds.left), round(bounds.top))
    b = (round(bounds.right), round(bounds.bottom))
    cv2.rectangle(page, a, b, tone, 1)
    for cell in range(1, cells):
        x = round(bounds.left + cell * bounds.width / cells)
        cv2.line(page, (x, a[1]), (x, b[1]), tone, 1)


def _moved(x: float, y: float, wide: float, high: float) -> Bounds:
    left, top = BOX.left + x, BOX.top + y
    return Bounds(left, top, left + wide * BOX.width, top + high * BOX.height)


def _write(page: Image, bounds: Bounds) -> None:
    """Write digits in a box, some of which cross its lower side."""
    for digit in range(CELLS):
        at = (
            round(bounds.left + (digit + 0.2) * bounds.width / CELLS),
            round(bounds.bottom - 6 + 12 * (digit % 2)),
        )
        cv2.putText(page, str(digit), at, cv2.FONT_HERSHEY_SIMPLEX, 1.0, 60, 2)


def _assert_at(found: FoundMark, bounds: Bounds) -> None:
    got = (found.bounds.left, found.bounds.top, found.bounds.right, found.bounds.bottom)
    wanted = (bounds.left, bounds.top, bounds.right, bounds.bottom)
    np.testing.assert_allclose(got, wanted, atol=3.5)


@settings(max_examples=25)
@given(x=shifts, y=shifts, wide=sizes, high=sizes)
def test_a_box_is_found_near_its_place(x: float, y: float, wide: float, high: float) -> None:
    page, bounds = _paper(), _moved(x, y, wide, high)
    _draw(page, bounds)
    _write(page, bounds)
    found = find_printed_box(find_ridges(page, PAGE_WIDTH), SearchWindow(BOX, 60, 0.15))
    assert found.fit > 0.6
    _assert_at(found, bounds)


@settings(max_examples=25)
@given(x=shifts, y=shifts, wide=sizes)
def test_a_comb_is_found_near_its_place(x: float, y: float, wide: float) -> None:
    page, bounds = _paper(), _moved(x, y, wide, 1.0)
    _draw(page, bounds, CELLS)
    _write(page, bounds)
    ridges = find_ridges(page, PAGE_WIDTH)
    found = find_printed_comb(ridges, SearchWindow(BOX, 60, 0.15), CELLS)
    assert found.fit > 0.6
    _assert_at(found, bounds)


def test_a_faint_comb_with_lost_lines_is_still_found() -> None:
    page = _paper()
    _draw(page, BOX, CELLS, tone=170)
    page[100:180, 620:640] = 225  # one line and the sides beside it are lost
    ridges = find_ridges(page, PAGE_WIDTH)
    found = find_printed_comb(ridges, SearchWindow(_moved(12, -9, 1.1, 1.0), 40, 0.15), CELLS)
    assert found.fit > 0.4
    _assert_at(found, BOX)


def test_of_two_boxes_the_nearer_one_is_found() -> None:
    page = _paper()
    for y in (0, 70):
        _draw(page, _moved(0, y, 1, 1))
    ridges = find_ridges(page, PAGE_WIDTH)
    for y in (8, 62):
        found = find_printed_box(ridges, SearchWindow(_moved(0, y, 1, 1), 80, 0.3))
        _assert_at(found, _moved(0, 0 if y == 8 else 70, 1, 1))


def test_handwriting_alone_is_no_box_and_no_comb() -> None:
    page = _paper()
    _write(page, BOX)
    ridges = find_ridges(page, PAGE_WIDTH)
    assert find_printed_box(ridges, SearchWindow(BOX, 60, 0.15)).fit < 0.4
    assert find_printed_comb(ridges, SearchWindow(BOX, 60, 0.15), CELLS).fit < 0.5


def test_a_blank_place_has_no_fit() -> None:
    ridges = find_ridges(np.full((300, PAGE_WIDTH), 230, np.uint8), PAGE_WIDTH)
    assert find_printed_box(ridges, SearchWindow(BOX, 60, 0.15)).fit == 0.0
    assert find_printed_comb(ridges, SearchWindow(BOX, 60, 0.15), CELLS).fit == 0.0


@pytest.mark.parametrize("shift", [(-2000, 0), (0, -900), (0, 900)])
def test_a_place_outside_the_picture_is_no_error(shift: tuple[float, float]) -> None:
    page = _paper()
    _draw(page, BOX)
    search = SearchWindow(BOX.moved(*shift), 40, 0.15)
    ridges = find_ridges(page, PAGE_WIDTH)
    assert find_printed_box(ridges, search).fit < 0.4
    assert find_printed_comb(ridges, search, CELLS).fit < 0.4


def test_ridges_are_thin_lines_and_not_edges_of_areas() -> None:
    page = _paper()
    cv2.line(page, (100, 60), (400, 60), 90, 1)
    cv2.line(page, (100, 100), (100, 250), 90, 1)
    cv2.rectangle(page, (600, 150), (800, 250), 90, cv2.FILLED)
    ridges = find_ridges(page, PAGE_WIDTH)
    assert ridges.horizontal[60, 120:380].min() > 0.8
    assert ridges.vertical[110:240, 100].min() > 0.8
    assert ridges.horizontal[140:260, 620:780].max() < 0.4
    assert ridges.vertical[160:240, 590:810].max() < 0.4
