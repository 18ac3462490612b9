"""A template is not read a row, a column or a frame further, and what cannot be told is refused."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import pytest

from core.errors import TemplateError
from core.policy import ReviewReason
from pipeline.geometry import scaling, transform_box
from pipeline.placing.edges import find_edges
from pipeline.placing.evidence import RuledLines, is_possible
from pipeline.placing.page_rules import find_page_rules
from pipeline.placing.register import Placement, register
from pipeline.placing.rivals import find_shifts
from pipeline.placing.template import Template, parse_template
from pipeline.sight import beyond_edge
from pipeline.types import Box, Image, Page

WIDTH, HEIGHT = 800, 1100
ROWS = [Box(500, 200 + 100 * i, 220, 60) for i in range(8)]
HEAD = [Box(60, 60, 300, 60)]


def template(boxes: Sequence[Box]) -> Template:
    fields = "".join(
        f"  - {{name: f{i}, grammar: digits, box: [{b.x / WIDTH:.5f}, {b.y / HEIGHT:.5f},"
        f" {b.w / WIDTH:.5f}, {b.h / HEIGHT:.5f}]}}\n"
        for i, b in enumerate(boxes)
    )
    return parse_template(
        f"name: rows\npage: [{WIDTH}, {HEIGHT}]\nanchors: frames\nfields:\n{fields}"
    )


def draw(boxes: Sequence[Box]) -> Image:
    page = np.full((HEIGHT, WIDTH), 245, np.uint8)
    for b in boxes:
        cv2.rectangle(page, (int(b.x), int(b.y)), (int(b.x + b.w), int(b.y + b.h)), 40, 2)
    return page


def tops(page: Image, form: Template) -> list[float]:
    placement = register(Page(page), form)
    return [transform_box(placement.matrix, spec.box).y for spec in form.fields]


@pytest.mark.parametrize("boxes", [ROWS, HEAD + ROWS], ids=["rows alone", "a head and rows"])
@pytest.mark.parametrize("cut", [280, 380])
def test_a_page_cut_off_at_the_top_is_not_read_a_row_too_low(
    boxes: Sequence[Box], cut: int
) -> None:
    found = tops(draw(boxes)[cut:], template(boxes))
    assert np.abs(np.array(found) - [box.y - cut for box in boxes]).max() <= 3


@pytest.mark.parametrize("rows", [1, -1])
def test_a_page_that_was_fed_a_row_askew_is_read_where_it_lies(rows: int) -> None:
    moved = np.roll(draw(HEAD + ROWS), 100 * rows, axis=0)
    found = tops(moved, template(HEAD + ROWS))
    assert np.abs(np.array(found) - [box.y + 100 * rows for box in HEAD + ROWS]).max() <= 3


def test_what_is_cut_off_at_both_ends_may_be_any_rows() -> None:
    with pytest.raises(TemplateError, match="its rows look alike, and the page seems") as error:
        register(Page(draw(ROWS)[280:980]), template(ROWS))
    assert error.value.code == "ambiguous-placement"
    assert "'frames'" in error.value.hint


def test_a_row_more_than_the_template_knows_may_be_any_row() -> None:
    with pytest.raises(TemplateError, match="its rows look alike") as error:
        register(Page(draw([*ROWS, Box(500, 1000, 220, 60)])), template(ROWS))
    assert error.value.code == "ambiguous-placement"


def test_where_a_strip_was_folded_away_none_of_its_rows_is_sure() -> None:
    page = draw(HEAD + ROWS)
    folded = np.concatenate([page[:470], page[570:], page[:100] * 0 + np.uint8(245)])
    assert register(Page(folded), template(HEAD + ROWS)).unsure == {f"f{i + 1}" for i in range(8)}
    assert register(Page(page), template(HEAD + ROWS)).unsure == frozenset()


def test_a_table_is_moved_onto_itself_by_rows_and_columns() -> None:
    cells = [Box(100 * x, 50 * y, 100, 50) for x in range(3) for y in range(4)]
    shifts = {(round(x), round(y)) for x, y in find_shifts(cells, np.eye(3))[:4].tolist()}
    assert shifts == {(0, 50), (0, -50), (100, 0), (-100, 0)}


@pytest.mark.parametrize(
    ("matrix", "possible"),
    [
        (scaling(1.0), True),
        (scaling(1.1, 1.0), True),
        (scaling(0.001, 1.0), False),
        (scaling(1.0, 1.3), False),
        (scaling(-1.0, 1.0), False),
        (np.array([[1.0, 0.2, 0], [0, 1, 0], [0, 0, 1]]), False),
        (np.array([[1.0, 0, 0], [0, 1, 700], [0, 0, 1]]), False),
        (np.full((3, 3), np.nan), False),
    ],
)
def test_only_possible_transforms_are_accepted(matrix: np.ndarray, possible: bool) -> None:
    lines = RuledLines.of(find_page_rules(draw(ROWS)))
    assert is_possible(matrix, (WIDTH, HEIGHT), lines) is possible


def test_frames_share_edges_and_know_their_own() -> None:
    edges = find_edges([Box(0, 0, 10, 5), Box(0, 5, 10, 5)], np.eye(3))
    assert edges.count == 7
    assert edges.of_frame[0][1] == edges.of_frame[1][0]


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        (Box(0.1, 0.1, 0.2, 0.1), None),
        (Box(0.805, 0.1, 0.2, 0.1), None),  # a few pixels of its border
        (Box(0.85, 0.1, 0.2, 0.1), ReviewReason.CUT),
        (Box(-0.05, 0.1, 0.2, 0.1), ReviewReason.CUT),
        (Box(0.1, 0.95, 0.2, 0.1), ReviewReason.CUT),
        (Box(0.99, 0.1, 0.2, 0.1), ReviewReason.OFF_PAGE),
        (Box(0.1, -0.3, 0.2, 0.1), ReviewReason.OFF_PAGE),
    ],
)
def test_a_field_across_the_edge_is_cut_and_one_beyond_it_is_off_the_page(
    box: Box, reason: ReviewReason | None
) -> None:
    spec = template(ROWS).fields[0]
    placement = Placement(scaling(500, 1000), 1.0, boxes={spec.name: box})
    assert beyond_edge(Page(np.full((1000, 500), 250, np.uint8)), placement, spec) is reason
