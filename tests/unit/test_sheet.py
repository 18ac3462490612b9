"""The sheet on a photograph is found, and templates are placed on it; a scan is left as it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import TemplateError
from pipeline.files.page import decode_page
from pipeline.geometry import Matrix, corners, transform_points
from pipeline.placing.register import register
from pipeline.placing.sheet import candidate_quads, find_sheet
from pipeline.placing.strips import cut_strips
from pipeline.placing.template import Template, bundled_template, parse_template
from pipeline.types import Page
from tests.drawing_pages import SHEET_FIELDS, SHEET_SIZE, draw_sheet, photograph, quad_in

WIDTH, HEIGHT = SHEET_SIZE
PHOTO = (1300, 1020)

moves = st.tuples(*[st.floats(-0.05, 0.05)] * 8)


def _template(anchors: str) -> Template:
    boxes = "".join(
        f"  - {{name: {name}, grammar: digits, box: [{b.x / WIDTH}, {b.y / HEIGHT},"
        f" {b.w / WIDTH}, {b.h / HEIGHT}]}}\n"
        for name, b in SHEET_FIELDS.items()
    )
    text = f"name: sheet\npage: [{WIDTH}, {HEIGHT}]\nanchors: {anchors}\nfields:\n{boxes}"
    return parse_template(text)


def _assert_placed(found: Matrix, matrix: Matrix) -> None:
    """Every corner of every field is within 1 % of the page's width of where it is."""
    fields = {field.name: field for field in _template("page").fields}
    for name, box in SHEET_FIELDS.items():
        placed = transform_points(found, corners(fields[name].box))
        off = placed - transform_points(matrix, corners(box))
        assert np.abs(off).max() <= 0.01 * 0.8 * PHOTO[0], name


@settings(max_examples=6)
@given(moves=moves, table=st.sampled_from([20, 110, 150]), light=st.floats(0.7, 1))
def test_fields_of_a_photographed_sheet_are_found(
    moves: tuple[float, ...], table: int, light: float
) -> None:
    photo, matrix = photograph(draw_sheet(), quad_in(PHOTO, moves), PHOTO, table, light)
    placement = register(Page(photo), _template("page"))
    _assert_placed(placement.matrix, matrix)


@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize("table", [20, 110])
def test_frames_are_found_on_a_photograph(side: int, table: int) -> None:
    leaning = [side * move for move in (0.05, 0, -0.05, 0.05, 0.05, 0, -0.05, -0.05)]
    photo, matrix = photograph(draw_sheet(), quad_in(PHOTO, leaning), PHOTO, table, 0.9)
    placement = register(Page(photo), _template("frames"))
    assert placement.score > 0.9
    _assert_placed(placement.matrix, matrix)


def test_where_a_photograph_cuts_the_sheet_off_its_edge_is_a_side() -> None:
    quad = np.array([[0.0, 150], [1000, 170], [1000, 800], [0, 790]])
    photo, _ = photograph(draw_sheet(), quad, (1000, 950), 30, 1)
    sheet = find_sheet(photo)
    assert sheet is not None
    np.testing.assert_allclose(sheet.corners, quad, atol=8)


def test_a_scan_shows_no_sheet() -> None:
    assert find_sheet(draw_sheet()) is None
    assert find_sheet(draw_sheet(border=True)) is None
    assert find_sheet(np.full((300, 400), 255, np.uint8)) is None
    tinted = np.full((800, 600), 200, np.uint8)
    tinted[120:160] = 40  # a dark bar across a form
    assert find_sheet(tinted) is None


@pytest.mark.parametrize("shape", [(1, 1), (3, 900), (900, 3), (40, 40)])
def test_odd_images_have_no_sheet(shape: tuple[int, int]) -> None:
    noise = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    for image in (noise, np.zeros(shape, np.uint8)):
        assert find_sheet(image) is None


def test_a_strip_is_cut_upright_out_of_a_perspective() -> None:
    page = np.full((HEIGHT, WIDTH), 235, np.uint8)
    box = SHEET_FIELDS["amount"]
    inner = page[round(box.y) : round(box.y + box.h), round(box.x) : round(box.x + box.w)]
    inner[:, ::20] = 30
    quad = quad_in(PHOTO, (0.05, -0.05, -0.05, 0.05, 0.05, 0.02, -0.02, 0.0))
    photo, _ = photograph(page, quad, PHOTO, 60, 1)
    template = _template("page")
    placement = register(Page(photo), template)
    strip = next(s for s in cut_strips(Page(photo), template, placement) if s.name == "amount")
    rows = strip.grey[round(strip.grey.shape[0] * 0.2) : round(strip.grey.shape[0] * 0.8)]
    # Upright lines stay upright: the columns of the strip are dark or light all the way.
    assert np.abs(rows.mean(axis=0) - rows[len(rows) // 2]).mean() < 12
    assert (rows.mean(axis=0) < 160).sum() >= 12


def test_amounts_of_photographed_us_cheques_lie_in_their_box(data_dir: Path) -> None:
    """All the dark ink right of the dollar sign is in the strip: nothing is cut at its rim."""
    template = bundled_template("check-us")
    labels = json.loads((data_dir / "checks_us" / "labels.json").read_text(encoding="utf-8"))
    for label in labels:
        page = decode_page((data_dir / "checks_us" / label["file"]).read_bytes())
        placement = register(page, template)
        assert placement.score > 0.9
        strip = cut_strips(page, template, placement)[0].grey
        smooth = cv2.GaussianBlur(strip, (0, 0), strip.shape[0] / 40)
        paper = np.median(smooth)
        ink = smooth < 0.7 * paper
        assert ink.any(), label["file"]
        rim = np.concatenate([ink[0], ink[-1], ink[:, 0], ink[:, -1]])
        assert not rim.any(), label["file"]
        columns = np.flatnonzero(ink.any(axis=0))
        assert np.ptp(columns) > 0.4 * ink.shape[1], label["file"]  # six characters


def test_a_page_without_the_border_says_so() -> None:
    photo, _ = photograph(draw_sheet(), quad_in(PHOTO), PHOTO, 30, 1)
    for page in (photo, draw_sheet(), np.full((500, 1100), 255, np.uint8)):
        with pytest.raises(TemplateError, match="check-us") as caught:
            register(Page(page), bundled_template("check-us"))
        assert caught.value.code == "template-mismatch"


def test_edges_are_found_without_ipp(monkeypatch: pytest.MonkeyPatch) -> None:
    """IPP's Canny in OpenCV 5.0.0 writes past its buffer on this page of fine rules."""
    canny, by_ipp = cv2.Canny, []

    def watched(*arguments: Any) -> Any:
        by_ipp.append(cv2.ipp.useIPP())
        return canny(*arguments)

    monkeypatch.setattr(cv2, "Canny", watched)
    before = cv2.ipp.useIPP()
    rules = np.full((1000, 750), 255, np.uint8)
    rules[::20] = 0
    rules[:, ::20] = 0
    candidate_quads(rules)
    assert by_ipp
    assert not any(by_ipp)
    assert cv2.ipp.useIPP() == before
