"""Lines of a page without a template."""

import cv2
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.placing.layout import find_text_lines, group_into_lines
from pipeline.types import Box, Page


def row(y: float, count: int, *, height: float = 40, x: float = 50) -> list[Box]:
    return [Box(x + 45 * i, y + (i % 3) * 4, 30, height - (i % 2) * 8) for i in range(count)]


@settings(max_examples=50, deadline=None)
@given(counts=st.lists(st.integers(1, 10), min_size=1, max_size=6), data=st.data())
def test_rows_of_boxes_become_lines_in_any_order(counts: list[int], data: st.DataObject) -> None:
    pieces = [box for i, count in enumerate(counts) for box in row(100 * i, count)]
    shuffled = data.draw(st.permutations(pieces))
    lines = sorted(group_into_lines(shuffled), key=lambda line: shuffled[line[0]].y)
    assert [len(line) for line in lines] == counts


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.builds(Box, st.floats(0, 900), st.floats(0, 900), st.floats(1, 200), st.floats(1, 200)),
        max_size=30,
    )
)
def test_every_piece_lies_in_one_line(pieces: list[Box]) -> None:
    assert sorted(i for line in group_into_lines(pieces) for i in line) == list(range(len(pieces)))


def test_numbers_far_apart_on_a_row_are_two_lines() -> None:
    assert len(group_into_lines(row(0, 3) + row(0, 3, x=600))) == 2


def test_a_box_around_the_digits_is_no_part_of_the_line() -> None:
    grey = np.full((600, 900), 235, np.uint8)
    cv2.rectangle(grey, (90, 180), (500, 260), 60, 2)
    for i in range(5):
        cv2.ellipse(grey, (140 + 70 * i, 220), (14, 22), 10, 0, 300, 40, 4)
    (strip,) = find_text_lines(Page(grey))
    assert strip.name == "line-1"
    assert strip.box.x > 95
    assert strip.box.x + strip.box.w < 495


def test_an_empty_page_has_no_lines() -> None:
    assert find_text_lines(Page(np.full((500, 400), 240, np.uint8))) == []
