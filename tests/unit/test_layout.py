"""Lines of digits are found on a page without a template, and cut out clean."""

from __future__ import annotations

import cv2
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.placing.layout import (
    MAX_DIGIT_HEIGHT,
    Probabilities,
    find_text_lines,
    group_into_lines,
)
from pipeline.types import Box, Image, Page, Strip


def _row(y: float, count: int, *, height: float = 40, x: float = 50) -> list[Box]:
    return [Box(x + 45 * i, y + (i % 3) * 4, 30, height - (i % 2) * 8) for i in range(count)]


def _known(glyphs: Image) -> NDArray[np.float32]:
    """A network that takes every glyph for a 7."""
    return np.tile(np.eye(10, dtype=np.float32)[7], (len(glyphs), 1))


def _unknown(glyphs: Image) -> NDArray[np.float32]:
    """A network that knows no glyph."""
    return np.full((len(glyphs), 10), 0.1, np.float32)


def _paper(rows: int = 600, columns: int = 900) -> Image:
    return np.full((rows, columns), 235, np.uint8)


def _write(page: Image, x: int, y: int, count: int, *, size: int = 22) -> None:
    """Write digits of twice `size` in height, their middles at `y`, the first at `x`."""
    for i in range(count):
        cv2.ellipse(
            page, (x + 3 * size * i, y), (round(0.6 * size), size), 10, 0, 300, 40, size // 5
        )


def _strips(page: Image, network: Probabilities = _known) -> list[Strip]:
    return [line.strip for line in find_text_lines(Page(page), network).lines]


@settings(max_examples=50)
@given(counts=st.lists(st.integers(1, 10), min_size=1, max_size=6), data=st.data())
def test_rows_of_boxes_become_lines_in_any_order(counts: list[int], data: st.DataObject) -> None:
    pieces = [box for i, count in enumerate(counts) for box in _row(100 * i, count)]
    shuffled = data.draw(st.permutations(pieces))
    lines = sorted(group_into_lines(shuffled), key=lambda line: shuffled[line[0]].y)
    assert [len(line) for line in lines] == counts


@settings(max_examples=50)
@given(
    st.lists(
        st.builds(Box, st.floats(0, 900), st.floats(0, 900), st.floats(1, 200), st.floats(1, 200)),
        max_size=30,
    )
)
def test_every_piece_lies_in_one_line(pieces: list[Box]) -> None:
    lines = group_into_lines(pieces)
    assert sorted(i for line in lines for i in line) == list(range(len(pieces)))


def test_numbers_far_apart_on_a_row_are_two_lines() -> None:
    assert len(group_into_lines(_row(0, 3) + _row(0, 3, x=600))) == 2


def test_lines_come_in_reading_order_and_hold_their_digits() -> None:
    page = _paper()
    _write(page, 100, 400, 3)
    _write(page, 500, 120, 4)
    _write(page, 100, 120, 5)
    strips = _strips(page)
    assert [strip.name for strip in strips] == ["line-1", "line-2", "line-3"]
    for strip, (x, y, count) in zip(
        strips, ((100, 120, 5), (500, 120, 4), (100, 400, 3)), strict=True
    ):
        box = strip.box
        assert box.x < x - 13 < x + 66 * (count - 1) + 13 < box.x + box.w
        assert box.y < y - 22 < y + 22 < box.y + box.h
        assert box.w < 66 * count + 40
        assert strip.grey.shape == (box.h, box.w)


def test_a_box_around_the_digits_is_no_part_of_the_line() -> None:
    page = _paper()
    cv2.rectangle(page, (90, 180), (500, 260), 60, 2)
    _write(page, 140, 220, 5)
    (strip,) = _strips(page)
    assert strip.box.x > 95
    assert strip.box.x + strip.box.w < 495


def test_a_rule_is_painted_over_and_the_digits_on_it_are_not() -> None:
    page = _paper()
    _write(page, 140, 220, 5)
    alone = _strips(page)[0].grey
    cv2.line(page, (60, 225), (800, 225), 60, 2)
    (strip,) = _strips(page)
    rule = 225 - round(strip.box.y)
    columns = strip.grey[rule - 1 : rule + 2].min(axis=0)
    assert (columns > 200).mean() > 0.5  # between the digits there is paper
    assert (strip.grey < 120).sum() > 0.85 * (alone < 120).sum()


def test_a_neighbour_is_painted_over() -> None:
    page = _paper()
    _write(page, 140, 220, 4)
    cv2.rectangle(page, (357, 205), (369, 250), 30, cv2.FILLED)  # solid: no digit
    (strip,) = _strips(page)
    assert strip.box.x + strip.box.w > 360
    assert strip.grey[:, 355 - round(strip.box.x) :].min() > 200


def test_a_line_that_the_network_knows_little_of_is_print_if_it_is_long_enough_to_tell() -> None:
    page = _paper()
    _write(page, 100, 120, 9)
    _write(page, 100, 400, 3)
    assert len(_strips(page)) == 2
    (short,) = _strips(page, _unknown)
    assert short.box.y > 300


def test_large_digits_are_reduced() -> None:
    page = _paper(1500, 1800)
    _write(page, 300, 700, 4, size=100)
    (strip,) = _strips(page)
    assert strip.box.h > 200
    reduction = strip.grey.shape[0] / strip.box.h
    assert abs(reduction * 200 - MAX_DIGIT_HEIGHT) < 8


def test_an_empty_page_has_no_lines() -> None:
    assert _strips(np.full((500, 400), 240, np.uint8)) == []


def test_the_height_of_letters_that_were_left_out_is_known() -> None:
    page = _paper()
    _write(page, 100, 120, 9)
    (height,) = find_text_lines(Page(page), _unknown).text_heights
    assert abs(height - 48) < 6


def test_a_piece_with_other_ink_close_below_is_torn() -> None:
    page = _paper()
    _write(page, 140, 120, 3)
    _write(page, 140, 300, 3)
    cv2.line(page, (200, 330), (214, 330), 40, 4)  # too low for a digit, and so not of the line
    above, below = find_text_lines(Page(page), _known).lines
    assert not above.torn
    assert below.torn


def test_the_outline_of_a_box_fits_no_number() -> None:
    page = _paper()
    cv2.rectangle(page, (140, 200), (170, 230), 40, 2)
    _write(page, 140, 400, 1)
    box, digit = find_text_lines(Page(page), _known).lines
    assert box.misfit
    assert not digit.misfit


def test_text_on_its_side_fits_no_number() -> None:
    text = np.full((60, 500), 235, np.uint8)
    cv2.putText(text, "enormous zero", (10, 40), cv2.FONT_HERSHEY_SIMPLEX, 1.2, 40, 3)
    page = _paper(900, 900)
    page[200:700, 50:110] = cv2.rotate(text, cv2.ROTATE_90_COUNTERCLOCKWISE)
    for row in range(5):  # a column of written digits does not stand on a line
        _write(page, 500 + 9 * (row * row % 4), 100 + 80 * row, 1)
    lines = find_text_lines(Page(page), _known).lines
    sideways = [line for line in lines if line.strip.box.x < 200]
    assert len(sideways) > 4
    assert all(line.misfit for line in sideways)
    assert not any(line.misfit for line in lines if line.strip.box.x > 200)
