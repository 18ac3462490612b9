"""A digit that follows its box or the guides in it is not taken for the box."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from core.policy import ReviewReason
from pipeline.cleaning.box import find_digit_box
from pipeline.cleaning.clean import clean_strip
from pipeline.fields import clean_fields, doubt_one_digit
from pipeline.grammar.parse import parse_grammar
from pipeline.readers.base import FieldStrip
from pipeline.readers.segments import read_segments
from pipeline.types import Alternative, Box, FieldReading, Image, Strip

ONE_DIGIT = parse_grammar("digits(1)")
# Which of six dots, two a row, are joined for each digit.
PATHS = {
    "0": (0, 1, 3, 5, 4, 2, 0),
    "2": (0, 1, 3, 2, 4, 5),
    "3": (0, 1, 3, 2, 3, 5, 4),
    "4": (0, 2, 3, 1, 5),
    "5": (1, 0, 2, 3, 5, 4),
    "6": (1, 0, 2, 4, 5, 3, 2),
    "7": (0, 1, 5),
    "8": (0, 1, 3, 5, 4, 2, 0, 2, 3),
    "9": (3, 2, 0, 1, 5),
}


def _draw(digit: str, room: Box, *, boxed: bool = True) -> Image:
    """Draw a digit along the guides of `room`, in a box of 60 by 90 pixels."""
    page = np.full((130, 100), 230, np.uint8)
    if boxed:
        cv2.rectangle(page, (20, 20), (80, 110), 70, 3)
    dots = [
        (round(room.x + x * room.w), round(room.y + y * room.h))
        for y in (0, 0.5, 1)
        for x in (0, 1)
    ]
    for a, b in zip(PATHS[digit], PATHS[digit][1:], strict=False):
        cv2.line(page, dots[a], dots[b], 40, 4)
    return page


WITHIN = Box(33, 35, 34, 60)
ON_THE_BOX = Box(23, 23, 54, 84)


def _field(grey: Image) -> FieldStrip:
    box = Box(0, 0, grey.shape[1], grey.shape[0])
    return FieldStrip(Strip("digit", box, grey), ONE_DIGIT, ruled=False)


def _doubted(grey: Image, value: str) -> FieldReading:
    field = _field(grey)
    read = FieldReading("digit", value, value, 0.99, (Alternative(value, 0.99),), field.strip.box)
    (clean,) = clean_fields([field])
    return doubt_one_digit(read, field, clean)


@pytest.mark.parametrize("digit", PATHS)
def test_a_digit_along_guides_is_read_by_its_segments(digit: str) -> None:
    clean = clean_strip(_draw(digit, WITHIN), ruled=False, cells=1)
    assert clean.box is not None
    assert read_segments(clean.ink.mask, clean.ink.stroke) == digit


def test_a_curve_is_no_digit_along_guides() -> None:
    mask = np.zeros((100, 80), np.uint8)
    cv2.line(mask, (15, 10), (60, 90), 255, 5)
    cv2.ellipse(mask, (40, 40), (25, 25), 0, 90, 300, 255, 5)
    assert read_segments(mask, 5.0) is None


def test_the_box_of_a_digit_is_found_and_painted_over() -> None:
    grey = _draw("3", WITHIN)
    clean = clean_strip(grey, ruled=False, cells=1)
    assert (clean.grey[:28] > 200).all()
    assert (clean.grey[:, :28] > 200).all()
    assert (clean.grey < 100).any()
    assert clean_strip(grey, ruled=False, cells=4).box is None


def test_a_digit_without_a_box_is_not_taken_for_one() -> None:
    for digit in PATHS:
        clean = clean_strip(_draw(digit, Box(25, 15, 50, 100), boxed=False), cells=1)
        assert clean.box is None or digit in "08"
    faint = np.zeros((130, 100), np.uint8)  # the ink of a box that is fainter than the 0 within
    cv2.rectangle(faint, (30, 30), (70, 100), 255, 5)
    for corner in ((20, 20), (80, 20), (20, 110), (80, 110)):
        cv2.circle(faint, corner, 3, 255, cv2.FILLED)
    assert find_digit_box(faint) is None


def test_the_wrong_reading_of_a_guided_digit_goes_to_review() -> None:
    doubted = _doubted(_draw("9", WITHIN), "4")
    assert doubted.blocked is ReviewReason.FOLLOWS_BOX
    assert doubted.confidence < 0.5
    assert _doubted(_draw("9", WITHIN), "9").blocked is None


def test_a_guided_digit_is_not_nothing() -> None:
    doubted = _doubted(_draw("8", WITHIN), "")
    assert (doubted.value, doubted.blocked) == ("8", ReviewReason.FOLLOWS_BOX)


@pytest.mark.parametrize("digit", ["3", "4", "5", "7"])
def test_a_digit_drawn_on_its_box_goes_to_review(digit: str) -> None:
    assert _doubted(_draw(digit, ON_THE_BOX), "").blocked is ReviewReason.FOLLOWS_BOX


def test_an_empty_box_is_empty() -> None:
    grey = np.full((130, 100), 230, np.uint8)
    cv2.rectangle(grey, (20, 20), (80, 110), 70, 3)
    assert _doubted(grey, "").blocked is None
    assert _doubted(np.full((130, 100), 230, np.uint8), "").blocked is None
