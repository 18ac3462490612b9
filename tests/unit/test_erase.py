"""Borders and ruled lines go, digits stay whole, and a 1 is no border."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.cleaning.erase import erase_rules
from pipeline.cleaning.rules import field_borders, find_strip_rules
from pipeline.types import Image

HEIGHT, WIDTH, INSET = 76, 300, 7


def without_rules(ink: Image) -> Image:
    """Return `ink` as cleaning leaves it where there is no comb."""
    rules = find_strip_rules(ink)
    return erase_rules(ink, rules, field_borders(rules, ink.shape))


def _digits(text: str, x: int, y: int, *, size: float = 1.3) -> Image:
    """Return ink of `text`, its first baseline at `x, y`."""
    ink = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.putText(ink, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, size, 255, 5)
    return ink


def _frame(width: int = 4, lean: float = 0.0, cells: int = 1) -> Image:
    ink = np.zeros((HEIGHT, WIDTH), np.uint8)
    for y in (INSET, HEIGHT - 1 - INSET):
        cv2.line(ink, (INSET, y), (WIDTH - 1 - INSET, round(y + lean)), 255, width)
    for x in np.linspace(INSET, WIDTH - 1 - INSET, cells + 1).astype(int):
        cv2.line(ink, (int(x), INSET), (int(x), HEIGHT - 1 - INSET), 255, width)
    return ink


def _iou(a: Image, b: Image) -> float:
    return float(((a > 0) & (b > 0)).sum() / max(1, ((a > 0) | (b > 0)).sum()))


@pytest.mark.parametrize("width", [1, 2, 3, 5, 7])
@pytest.mark.parametrize("text", ["0123456789", "1", "11", "7", "1 1 1 1 1"])
def test_a_frame_goes_and_the_digits_stay(text: str, width: int) -> None:
    digits = _digits(text, 20, 52, size=1.1)
    assert _iou(without_rules(digits | _frame(width)), digits) > 0.99


@pytest.mark.parametrize("text", ["0", "1", "8", "4", "253", "7117"])
@pytest.mark.parametrize("down", [0, 6, 10, 14])
def test_a_digit_that_crosses_the_border_keeps_its_pixels(text: str, down: int) -> None:
    digits = _digits(text, 60, 54 + down, size=1.4)
    cleaned = without_rules(digits | _frame())
    assert _iou(cleaned, digits) > 0.85
    pieces = cv2.connectedComponents(cleaned)[0]
    assert pieces <= cv2.connectedComponents(digits)[0] + 1


@pytest.mark.parametrize("x", [2, 250, 270])
def test_a_digit_across_a_side_keeps_its_pixels(x: int) -> None:
    digits = _digits("8", x, 54)
    assert _iou(without_rules(digits | _frame()), digits) > 0.8


@pytest.mark.parametrize("cells", [4, 8])
def test_a_comb_goes_with_its_teeth(cells: int) -> None:
    digits = np.zeros((HEIGHT, WIDTH), np.uint8)
    pitch = (WIDTH - 2 * INSET) / cells
    for cell in range(cells):
        at = round(INSET + (cell + 0.5) * pitch - 11)
        digits |= _digits("1" if cell % 2 else "5", at, 50, size=1.0)
    assert _iou(without_rules(digits | _frame(2, cells=cells)), digits) > 0.97


def test_what_is_printed_beyond_the_border_goes() -> None:
    digits = _digits("4711", 60, 52, size=1.1)
    printed = np.zeros_like(digits)
    printed[:4, 80:90] = 255
    printed[-3:, 100:130] = 255
    printed[20:50, -3:] = 255
    assert _iou(without_rules(digits | printed | _frame()), digits) > 0.99


def test_an_underline_goes() -> None:
    digits = _digits("90210", 40, 50)
    ruled = digits.copy()
    cv2.line(ruled, (0, 60), (WIDTH, 61), 255, 2)
    assert _iou(without_rules(ruled), digits) > 0.99


@pytest.mark.parametrize("text", ["1", "11", "1001", "7", "77", "111111", "2552"])
def test_digits_cut_close_are_no_borders(text: str) -> None:
    wide = np.zeros((120, 600), np.uint8)
    cv2.putText(wide, text, (30, 90), cv2.FONT_HERSHEY_SIMPLEX, 2.4, 255, 6)
    x, y, w, h = cv2.boundingRect(wide)
    tight = wide[y : y + h, x : x + w]
    np.testing.assert_array_equal(without_rules(tight), tight)


@pytest.mark.parametrize("shape", [(1, 1), (12, 12), (40, 3), (3, 400), (76, 300)])
@pytest.mark.parametrize("value", [0, 255])
def test_empty_and_full_strips_stay_of_their_size(shape: tuple[int, int], value: int) -> None:
    ink = np.full(shape, value, np.uint8)
    cleaned = without_rules(ink)
    assert cleaned.shape == shape
    assert set(np.unique(cleaned)) <= {0, 255}


def test_an_empty_box_is_empty() -> None:
    assert not without_rules(_frame()).any()


@settings(max_examples=40, deadline=None)
@given(
    text=st.text("0123456789", min_size=1, max_size=7),
    width=st.integers(2, 5),
    lean=st.floats(-2.5, 2.5),
    x=st.integers(16, 60),
    seed=st.integers(0, 2**16),
)
def test_a_leaning_speckled_frame_goes(
    text: str, width: int, lean: float, x: int, seed: int
) -> None:
    digits = _digits(text, x, 50, size=1.0)
    random = np.random.default_rng(seed)
    worn = _frame(width, lean)
    worn[random.random(worn.shape) < 0.03] = 0
    ink = digits | worn
    before = ink.copy()
    cleaned = without_rules(ink)
    np.testing.assert_array_equal(ink, before)  # arguments are never written to
    assert not ((cleaned > 0) & (ink == 0)).any()  # nothing is invented
    assert _iou(cleaned, digits) > 0.9
