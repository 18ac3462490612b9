"""Boxes, combs and underlined blanks are found on a page, however it was scanned."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.files.page import decode_page
from pipeline.geometry import (
    Matrix,
    corners,
    invert,
    iou,
    rotation,
    scaling,
    transform_box,
    transform_points,
)
from pipeline.placing.propose import Kind, Proposals, propose_fields
from pipeline.placing.template import bundled_template
from pipeline.types import Box, Image, Page
from tests.drawing_pages import TALLY_BOXES, TALLY_COMBS, TALLY_SIZE, draw_tally, photograph, scan
from tests.samples import NIST_FORM

WIDTH, HEIGHT = TALLY_SIZE


@pytest.fixture(scope="module")
def tally() -> Image:
    return draw_tally()


def _assert_tally(proposals: Proposals, to_image: Matrix) -> None:
    """The boxes of the form and nothing else are found, where they are, with their cells."""
    back = invert(to_image @ scaling(WIDTH, HEIGHT)) @ proposals.to_page
    found = [(transform_box(back, one.box), one) for one in proposals.found]
    assert len(found) == len(TALLY_BOXES)
    # Both are in reading order.
    for (box, one), (name, true) in zip(found, TALLY_BOXES.items(), strict=True):
        wanted = Box(true.x / WIDTH, true.y / HEIGHT, true.w / WIDTH, true.h / HEIGHT)
        assert iou(box, wanted) > 0.85, name
        assert one.kind is (Kind.COMB if name in TALLY_COMBS else Kind.BOX), name
        assert one.cells == TALLY_COMBS.get(name, 1), name


def test_the_boxes_of_a_form_are_found(tally: Image) -> None:
    _assert_tally(propose_fields(Page(tally)), np.eye(3))


@settings(max_examples=6, deadline=None)
@given(turn=st.floats(-4, 4), scale=st.floats(0.5, 1.5), shade=st.floats(0.6, 1))
@example(turn=0.25, scale=0.69, shade=0.84)  # a faint rule broken by its lean, taken for a blank
@example(turn=-3.1954, scale=0.5229, shade=0.898)  # a caption taken for the upper side of a box
def test_boxes_are_found_on_a_turned_scan(
    tally: Image, turn: float, scale: float, shade: float
) -> None:
    grey, matrix = scan(tally, turn, scale, shade)
    _assert_tally(propose_fields(Page(grey)), matrix)


def test_boxes_are_found_on_a_photograph(tally: Image) -> None:
    quad = np.array([[150.0, 60], [1250, 90], [1300, 1720], [90, 1700]])
    photo, matrix = photograph(tally, quad, (1400, 1800), table=50, light=0.9)
    _assert_tally(propose_fields(Page(photo)), matrix)


def _write_captions(page: Image) -> list[int]:
    """Print three captions, 120 pixels apart; return where each ends."""
    ends = []
    for row, text in enumerate(("Account", "Branch", "Name of payee")):
        cv2.putText(page, text, (60, 200 + 120 * row), cv2.FONT_HERSHEY_SIMPLEX, 0.8, 30, 2)
        ends.append(60 + cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.8, 2)[0][0])
    return ends


def test_an_underlined_blank_is_found_right_of_its_caption() -> None:
    page = np.full((1100, 850), 245, np.uint8)
    for row, end in enumerate(_write_captions(page)):
        y = 200 + 120 * row
        cv2.line(page, (end + 8, y), (end + 300, y), 60, 2)
    cv2.line(page, (60, 700), (800, 700), 60, 2)  # a rule across the page is no blank
    for row in range(8):
        text = "and many words of small print that nobody reads, line by line"
        cv2.putText(page, text, (60, 800 + 25 * row), cv2.FONT_HERSHEY_PLAIN, 1, 40, 1)
    found = propose_fields(Page(page)).found
    assert [one.kind for one in found] == [Kind.BLANK] * 3
    feet = [(one.box.y + one.box.h) * 1100 for one in found]
    np.testing.assert_allclose(feet, (200, 320, 440), atol=5)


@pytest.mark.parametrize("turn", [0.0, 0.2, 0.25, -0.2])
@pytest.mark.parametrize("tone", [120, 214])
def test_a_blank_begins_and_ends_where_its_line_does(turn: float, tone: int) -> None:
    """Also where a faint line leans, and is broken where it passes from row to row of pixels."""
    page = np.full((1100, 850), 245, np.uint8)
    ends = _write_captions(page)
    for row, end in enumerate(ends):
        y = 200 + 120 * row
        cv2.line(page, (end + 8, y), (end + 400, y), tone, 1)
    grey = cv2.warpAffine(page, rotation(turn, (425, 550))[:2], (850, 1100), borderValue=245)
    proposals = propose_fields(Page(np.asarray(grey, np.uint8)))
    assert [one.kind for one in proposals.found] == [Kind.BLANK] * 3
    for end, one in zip(ends, proposals.found, strict=True):
        np.testing.assert_allclose((one.box.x * 850, one.box.w * 850), (end + 8, 392), atol=9)


def test_a_rule_under_the_rows_of_a_table_is_no_blank() -> None:
    """It begins left of the words above it, however faint it is and however little it leans."""
    page = np.full((1100, 850), 245, np.uint8)
    for row in range(6):
        y = 200 + 120 * row
        cv2.putText(page, f"{row + 1}  Doses given", (80, y - 12), 0, 0.8, 30, 2)
        cv2.line(page, (60, y), (790, y), 214, 1)
    for turn in (-0.3, -0.2, 0.0, 0.15, 0.25):
        grey = cv2.warpAffine(page, rotation(turn, (425, 550))[:2], (850, 1100), borderValue=245)
        assert propose_fields(Page(np.asarray(grey, np.uint8))).found == ()


def test_of_nested_boxes_the_inner_ones_are_proposed() -> None:
    page = np.full((1100, 850), 245, np.uint8)
    cv2.rectangle(page, (60, 200), (700, 320), 30, 2)
    cv2.rectangle(page, (100, 230), (300, 290), 30, 2)
    cv2.rectangle(page, (400, 230), (660, 290), 30, 2)
    found = propose_fields(Page(page)).found
    assert [round(one.box.x * 850) for one in found] == pytest.approx([100, 400], abs=3)


def test_cells_joined_by_a_lost_border_still_count_as_two() -> None:
    page = np.full((1100, 850), 245, np.uint8)
    cv2.rectangle(page, (100, 200), (500, 250), 30, 2)
    for number in (1, 2, 3, 5, 6, 7):  # the fourth is not printed
        cv2.line(page, (100 + 50 * number, 200), (100 + 50 * number, 250), 30, 2)
    (comb,) = propose_fields(Page(page)).found
    assert (comb.kind, comb.cells) == (Kind.COMB, 8)


@pytest.mark.parametrize("shape", [(1, 1), (5, 700), (700, 5), (300, 300)])
def test_odd_pages_have_no_fields(shape: tuple[int, int]) -> None:
    noise = np.random.default_rng(3).integers(0, 256, shape, np.uint8)
    for grey in (noise, np.zeros(shape, np.uint8), np.full(shape, 255, np.uint8)):
        assert propose_fields(Page(grey)).found == ()


def test_every_field_of_the_nist_form_is_proposed() -> None:
    page = decode_page(NIST_FORM.read_bytes())
    proposals = propose_fields(page)
    height, width = page.grey.shape
    found = [transform_box(proposals.to_page, one.box) for one in proposals.found]
    for field in bundled_template("nist-hsf").fields:
        ends = transform_points(scaling(width, height), corners(field.box))
        true = Box(*ends[0], *(ends[2] - ends[0]))
        assert max(iou(true, box) for box in found) > 0.75, field.name


def test_combs_and_boxes_of_indian_cheques_are_proposed(data_dir: Path) -> None:
    """On scans of full resolution the date is a comb of at least seven cells."""
    images = sorted((data_dir / "cheques_in" / "fullres").glob("*.jpg"))
    assert images
    for path in images:
        proposals = propose_fields(decode_page(path.read_bytes()))
        assert max(one.cells for one in proposals.found) >= 7, path.name
        assert sum(one.kind is Kind.BOX for one in proposals.found) >= 2, path.name
