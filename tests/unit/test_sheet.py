"""The sheet on a photograph is found, and its printed border; a scan is left as it is."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import TemplateError
from pipeline.files.page import decode_page
from pipeline.geometry import corners, scaling, transform_points
from pipeline.placing.border import find_border
from pipeline.placing.outline import rectify
from pipeline.placing.register import register
from pipeline.placing.sheet import find_sheet
from pipeline.placing.strips import cut_strips
from pipeline.placing.template import Template, bundled_template, parse_template
from pipeline.types import Box, Image, Page

WIDTH, HEIGHT = 1000, 640
FIELDS = {
    "amount": Box(700, 250, 240, 70),
    "number": Box(80, 470, 300, 60),
    "date": Box(640, 60, 300, 60),
    "account": Box(560, 500, 360, 70),
}


def _template(anchors: str) -> Template:
    boxes = "".join(
        f"  - {{name: {name}, grammar: digits, box: [{b.x / WIDTH}, {b.y / HEIGHT},"
        f" {b.w / WIDTH}, {b.h / HEIGHT}]}}\n"
        for name, b in FIELDS.items()
    )
    text = f"name: sheet\npage: [{WIDTH}, {HEIGHT}]\nanchors: {anchors}\nfields:\n{boxes}"
    return parse_template(text)


def _sheet(*, border: bool = False) -> Image:
    page = np.full((HEIGHT, WIDTH), 235, np.uint8)
    for line in range(5):
        cv2.putText(page, "to the order of", (60, 120 + 90 * line), 0, 1.1, 60, 2)
    for box in FIELDS.values():
        x, y, w, h = (round(side) for side in (box.x, box.y, box.w, box.h))
        cv2.rectangle(page, (x, y), (x + w, y + h), 40, 2)
    if border:
        cv2.rectangle(page, (20, 20), (WIDTH - 21, HEIGHT - 21), 50, 9)
    return page


def _photo(
    page: Image, quad: np.ndarray, size: tuple[int, int], table: int, light: float
) -> tuple[Image, np.ndarray]:
    """Photograph a page with its corners at `quad`; return the photo and the homography."""
    shape = corners(Box(0, 0, WIDTH, HEIGHT)).astype(np.float32)
    matrix = np.asarray(cv2.getPerspectiveTransform(shape, quad.astype(np.float32)))
    tone = cv2.warpPerspective(page.astype(np.float32), matrix, size)
    mask = cv2.warpPerspective(np.ones((HEIGHT, WIDTH), np.float32), matrix, size)
    photo = tone * mask + table * (1 - mask)
    photo *= np.linspace(1, light, size[0])
    photo += np.random.default_rng(4).normal(0, 4, photo.shape)
    return np.clip(photo, 0, 255).astype(np.uint8), matrix


jitter = st.tuples(*[st.floats(-0.05, 0.05)] * 8)


def _quad(moves: tuple[float, ...], size: tuple[int, int]) -> np.ndarray:
    middle = np.array([[0.1, 0.17], [0.9, 0.17], [0.9, 0.83], [0.1, 0.83]])
    return np.asarray((middle + np.reshape(moves, (4, 2))) * size)


@settings(max_examples=6, deadline=None)
@given(moves=jitter, table=st.sampled_from([20, 110, 150]), light=st.floats(0.7, 1))
def test_fields_of_a_photographed_sheet_are_found(
    moves: tuple[float, ...], table: int, light: float
) -> None:
    size = (1300, 1020)
    photo, matrix = _photo(_sheet(), _quad(moves, size), size, table, light)
    placement = register(Page(photo), _template("page"))
    _assert_placed(placement.matrix, matrix, size)


@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize("table", [20, 110])
def test_frames_are_found_on_a_photograph(side: int, table: int) -> None:
    size = (1300, 1020)
    quad = _quad(tuple(side * move for move in (0.05, 0, -0.05, 0.05, 0.05, 0, -0.05, -0.05)), size)
    photo, matrix = _photo(_sheet(), quad, size, table, 0.9)
    placement = register(Page(photo), _template("frames"))
    assert placement.score > 0.9
    _assert_placed(placement.matrix, matrix, size)


def _assert_placed(found: np.ndarray, matrix: np.ndarray, size: tuple[int, int]) -> None:
    """Every corner of every field within 1 % of the page's width of where it is."""
    for name, box in FIELDS.items():
        field = next(f for f in _template("page").fields if f.name == name)
        off = transform_points(found, corners(field.box)) - transform_points(matrix, corners(box))
        assert np.abs(off).max() <= 0.01 * 0.8 * size[0], name


@settings(max_examples=6, deadline=None)
@given(moves=jitter, table=st.sampled_from([20, 150]), light=st.floats(0.7, 1))
def test_a_printed_border_is_found_on_a_photograph(
    moves: tuple[float, ...], table: int, light: float
) -> None:
    size = (1300, 1020)
    photo, matrix = _photo(_sheet(border=True), _quad(moves, size), size, table, light)
    border = find_border(photo, (WIDTH - 40) / (HEIGHT - 40))
    assert border is not None
    wanted = transform_points(matrix, corners(Box(20, 20, WIDTH - 40, HEIGHT - 40)))
    assert np.abs(border.corners - wanted).max() <= 0.01 * 0.8 * size[0]


def test_a_border_cut_off_below_is_where_its_shape_says() -> None:
    ratio = (WIDTH - 40) / (HEIGHT - 40)
    page = _sheet(border=True)
    wanted = corners(Box(20, 20, WIDTH - 40, HEIGHT - 40))
    for top, foot in ((0, HEIGHT - 40), (40, HEIGHT)):
        border = find_border(page[top:foot], ratio)
        assert border is not None
        assert np.abs(border.corners + np.array([0, top]) - wanted).max() <= 6
    assert find_border(np.ascontiguousarray(page[:, 40:]), ratio) is None


def test_a_photograph_cut_at_the_sheet_has_its_rim_as_a_side() -> None:
    photo, _ = _photo(
        _sheet(), np.array([[0, 150], [1000, 170], [1000, 800], [0, 790]]), (1000, 950), 30, 1
    )
    sheet = find_sheet(photo)
    assert sheet is not None
    wanted = [[0, 150], [1000, 170], [1000, 800], [0, 790]]
    np.testing.assert_allclose(sheet.corners, wanted, atol=8)


def test_a_scan_is_its_own_sheet() -> None:
    assert find_sheet(_sheet()) is None
    assert find_sheet(_sheet(border=True)) is None
    assert find_sheet(np.full((300, 400), 255, np.uint8)) is None
    tinted = np.full((800, 600), 200, np.uint8)
    tinted[120:160] = 40  # a dark bar across a form
    assert find_sheet(tinted) is None


@pytest.mark.parametrize("shape", [(1, 1), (3, 900), (900, 3), (40, 40)])
def test_odd_images_have_no_sheet(shape: tuple[int, int]) -> None:
    noise = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    for image in (noise, np.zeros(shape, np.uint8)):
        assert find_sheet(image) is None
        assert find_border(image, 1.5) is None


def test_a_flattened_sheet_leads_back_to_the_photograph() -> None:
    size = (1300, 1020)
    quad = _quad((0.03, -0.02, 0.0, 0.04, -0.02, 0.0, 0.01, -0.03), size)
    photo, _ = _photo(_sheet(), quad, size, 30, 1)
    sheet = find_sheet(photo)
    assert sheet is not None
    flat, to_page = rectify(photo, sheet)
    height, width = flat.shape
    assert abs(width / height - WIDTH / HEIGHT) < 0.1
    ends = transform_points(to_page, [[0, 0], [width, 0], [width, height], [0, height]])
    np.testing.assert_allclose(ends, sheet.corners, atol=1e-6)
    # Most of what is outside the sheet is dark here, and none of that is left.
    assert np.percentile(flat, 2) > 50


def test_a_strip_is_cut_upright_out_of_a_perspective() -> None:
    size = (1300, 1020)
    quad = _quad((0.05, -0.05, -0.05, 0.05, 0.05, 0.02, -0.02, 0.0), size)
    page = np.full((HEIGHT, WIDTH), 235, np.uint8)
    box = FIELDS["amount"]
    inner = page[round(box.y) : round(box.y + box.h), round(box.x) : round(box.x + box.w)]
    inner[:, ::20] = 30
    photo, _ = _photo(page, quad, size, 60, 1)
    template = _template("page")
    placement = register(Page(photo), template)
    strip = next(s for s in cut_strips(Page(photo), template, placement) if s.name == "amount")
    rows = strip.grey[round(strip.grey.shape[0] * 0.2) : round(strip.grey.shape[0] * 0.8)]
    # Upright lines stay upright: the columns of the strip are dark or light all the way.
    assert np.abs(rows.mean(axis=0) - rows[len(rows) // 2]).mean() < 12
    assert (rows.mean(axis=0) < 160).sum() >= 12


def test_a_page_without_the_border_says_so() -> None:
    photo, _ = _photo(_sheet(), _quad((0.0,) * 8, (1300, 1020)), (1300, 1020), 30, 1)
    for page in (photo, _sheet(), np.full((500, 1100), 255, np.uint8)):
        with pytest.raises(TemplateError, match="check-us") as caught:
            register(Page(page), bundled_template("check-us"))
        assert caught.value.code == "template-mismatch"


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


def test_a_unit_matrix_maps_the_page_onto_its_outline() -> None:
    photo, _ = _photo(_sheet(), _quad((0.01,) * 8, (1300, 1020)), (1300, 1020), 30, 1)
    sheet = find_sheet(photo)
    assert sheet is not None
    mapped = transform_points(sheet.matrix() @ scaling(1), [[0, 0], [1, 0], [1, 1], [0, 1]])
    np.testing.assert_allclose(mapped, sheet.corners, atol=1e-3)
