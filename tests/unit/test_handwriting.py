"""Print is told from handwriting by how level it stands."""

from __future__ import annotations

import pytest

from pipeline.handwriting import LineShape, are_handwritten, line_shape
from pipeline.types import Box, Character

UNEVEN = LineShape(digits=4, height=40, unevenness=0.2)
EVEN = LineShape(digits=4, height=40, unevenness=0.01)


def _glyphs(*tops_and_heights: tuple[float, float]) -> list[Character]:
    return [
        Character(Box(30.0 * i, top, 20, height), "8", 1.0)
        for i, (top, height) in enumerate(tops_and_heights)
    ]


def test_digits_on_a_sloping_line_are_even() -> None:
    shape = line_shape(_glyphs((0, 40), (5, 40), (10, 40), (15, 40)))
    assert (shape.digits, shape.height) == (4, 40)
    assert shape.unevenness < 0.01


@pytest.mark.parametrize(
    "glyphs",
    [((0, 40), (0, 46), (0, 38)), ((0, 40), (6, 40), (0, 40)), ((0, 40), (0, 46))],
    ids=["heights", "base line", "two digits"],
)
def test_a_hand_is_uneven(glyphs: tuple[tuple[float, float], ...]) -> None:
    assert line_shape(_glyphs(*glyphs)).unevenness > 0.06


def test_no_digits_are_no_hand() -> None:
    assert are_handwritten([line_shape([])], []) == [False]


def test_a_pixel_more_or_less_is_not_a_hand() -> None:
    assert line_shape(_glyphs((0, 20), (0, 21), (1, 20))).unevenness == 0


def test_an_uneven_line_is_written_and_an_even_one_is_not() -> None:
    assert are_handwritten([UNEVEN], []) == [True]
    assert are_handwritten([EVEN], []) == [False]


def test_one_uneven_line_among_many_even_ones_is_badly_cut_print() -> None:
    assert are_handwritten([EVEN, EVEN, UNEVEN], []) == [False] * 3
    small = LineShape(digits=4, height=20, unevenness=0.01)
    assert are_handwritten([small, small, UNEVEN], []) == [False, False, True]


def test_a_single_digit_is_written_where_numbers_of_its_size_are() -> None:
    single = LineShape(digits=1, height=42, unevenness=0, left=900, right=930)
    assert are_handwritten([single], []) == [False]
    assert are_handwritten([single, UNEVEN, UNEVEN], []) == [True] * 3
    assert are_handwritten([single, UNEVEN, UNEVEN], [45.0]) == [False, True, True]
    assert are_handwritten([single, UNEVEN, UNEVEN], [20.0]) == [True] * 3


def test_row_numbers_beside_handwriting_of_their_size_are_print() -> None:
    rows = [LineShape(1, 40, 0, left=50, right=70 + i % 2) for i in range(5)]
    written = [LineShape(1, 36.0 + 2 * i, 0, left=400, right=430) for i in range(5)]
    found = are_handwritten([*rows, *written, UNEVEN, UNEVEN], [])
    assert found == [False] * 5 + [True] * 7
