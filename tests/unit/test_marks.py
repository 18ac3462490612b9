"""Loose frames are found each for itself, on pages that lean and whose printers differ."""

from __future__ import annotations

import cv2
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.geometry import corners, rotation, transform_points
from pipeline.placing.marks import match_marks
from pipeline.placing.register import MIN_FIT_OF_MARK
from pipeline.placing.template import Mark
from pipeline.types import Box, Image

PAGE = (8.0, 3.667)
WIDTH, HEIGHT = 1200, 550
COMB = Mark("comb", Box(0.76, 0.08, 0.20, 0.06), 8)
FRAME = Mark("box", Box(0.72, 0.37, 0.25, 0.09))
MARKS = (COMB, FRAME)

# All marks lie off their places together, and each a little by itself.
shifts = st.tuples(st.floats(-0.015, 0.015), st.floats(-0.03, 0.03))
offsets = st.tuples(st.floats(-0.006, 0.006), st.floats(-0.01, 0.01))


def _draw(boxes: dict[str, Box]) -> Image:
    """Draw a cheque with its comb and its box, in fractions of the page, and print beside them."""
    page = np.full((HEIGHT, WIDTH), 228, np.uint8)
    for name, box in boxes.items():
        x, y = round(box.x * WIDTH), round(box.y * HEIGHT)
        right, bottom = round((box.x + box.w) * WIDTH), round((box.y + box.h) * HEIGHT)
        cv2.rectangle(page, (x, y), (right, bottom), 80, 2)
        for cell in range(1, 8 if name == "comb" else 0):
            middle = round((box.x + cell * box.w / 8) * WIDTH)
            cv2.line(page, (middle, y), (middle, bottom), 80, 2)
        cv2.putText(page, "12345", (x + 8, bottom - 6), cv2.FONT_HERSHEY_SIMPLEX, 1, 50, 2)
    for row, text in enumerate(("PAY", "RUPEES", "A/C No.")):
        y = 150 + 80 * row
        cv2.putText(page, text, (40, y), cv2.FONT_HERSHEY_SIMPLEX, 0.8, 60, 2)
        cv2.line(page, (180, y), (780, y), 110, 1)
    return page


def _shifted(mark: Mark, offset: tuple[float, float], size: float) -> Box:
    box = mark.box
    return Box(box.x + offset[0], box.y + offset[1], box.w * size, box.h)


@settings(max_examples=15)
@given(
    shift=shifts,
    comb=offsets,
    box=offsets,
    size=st.floats(0.95, 1.03),
    turn=st.floats(-4, 4),
    small=st.booleans(),
)
def test_marks_are_found_a_little_off_their_places_on_a_page_that_leans(
    shift: tuple[float, float],
    comb: tuple[float, float],
    box: tuple[float, float],
    size: float,
    turn: float,
    small: bool,
) -> None:
    true = {
        mark.name: _shifted(mark, (shift[0] + own[0], shift[1] + own[1]), size)
        for mark, own in ((COMB, comb), (FRAME, box))
    }
    matrix = rotation(turn, (WIDTH / 2, HEIGHT / 2))
    page = cv2.warpAffine(_draw(true), matrix[:2], (WIDTH, HEIGHT), borderValue=228)
    grey = np.asarray(page, np.uint8)
    if small:
        grey = np.asarray(cv2.resize(grey, (720, 330), interpolation=cv2.INTER_AREA), np.uint8)
    match = match_marks(grey, MARKS, PAGE)
    assert match.score > 0.6
    ratio = grey.shape[1] / WIDTH
    for mark, place in zip(MARKS, match.boxes, strict=True):
        pixels = transform_points(match.matrix, corners(place)) / ratio
        stated = corners(true[mark.name]) * (WIDTH, HEIGHT)
        off = np.abs(pixels - transform_points(matrix, stated))
        assert off.max() <= 0.012 * WIDTH, mark.name


def test_a_page_without_the_marks_scores_low() -> None:
    assert match_marks(_draw({}), MARKS, PAGE).score < 0.4
    assert match_marks(np.full((HEIGHT, WIDTH), 255, np.uint8), MARKS, PAGE).score == 0.0


def test_a_page_of_another_shape_or_too_small_is_not_searched() -> None:
    for shape in ((HEIGHT, HEIGHT), (1, 1), (60, 131)):
        page = np.asarray(cv2.resize(_draw({}), shape[::-1]), np.uint8)
        match = match_marks(page, MARKS, PAGE)
        assert match.score == 0.0
        assert match.boxes == tuple(mark.box for mark in MARKS)


def test_one_mark_may_be_the_only_one() -> None:
    true = _shifted(FRAME, (0.012, -0.02), 1.0)
    match = match_marks(_draw({"box": true}), (FRAME,), PAGE)
    assert match.score > 0.6
    got, wanted = corners(match.boxes[0]) * (WIDTH, HEIGHT), corners(true) * (WIDTH, HEIGHT)
    # The page's height is taken from its width.
    assert np.abs(got - wanted).max() <= 5


def test_a_mark_that_is_not_there_fits_badly() -> None:
    match = match_marks(_draw({"box": FRAME.box}), MARKS, PAGE)
    fits = dict(zip((mark.name for mark in MARKS), match.fits, strict=True))
    assert fits["box"] > 0.6
    assert fits["comb"] < MIN_FIT_OF_MARK
