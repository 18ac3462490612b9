"""`cheque-in`: a comb and a box near their place, the E-13B line, and what is no such cheque."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import TemplateError
from pipeline.files.page import decode_page
from pipeline.geometry import (
    Matrix,
    corners,
    intersection,
    iou,
    rotation,
    scaling,
    transform_box,
    transform_points,
)
from pipeline.placing.register import register, turn_page
from pipeline.placing.template import bundled_template
from pipeline.read import read_pages
from pipeline.readers.loaded import Readers, load_readers
from pipeline.types import Box, FieldReading, Image, Page
from tests.samples import DEMO, NIST_FORM
from training.synthesis.micr import Wear, render_line

TEMPLATE = bundled_template("cheque-in")
WIDTH, HEIGHT = 1600, 733
NUMBERS = {"cheque-number": "083660", "sort-code": "500025033", "transaction-code": "31"}


@pytest.fixture(scope="module")
def readers() -> Readers:
    return load_readers()


def _cheque(matrix: Matrix, size: tuple[int, int], comb: Box, box: Box) -> Image:
    """Draw a cheque with writing under `matrix`, its pixels at 200 dpi to those of the image."""
    page = np.full((HEIGHT, WIDTH), 225, np.uint8)
    random = np.random.default_rng(5)
    for x in np.linspace(comb.x, comb.x + comb.w, 9):
        cv2.line(page, (round(x), round(comb.y)), (round(x), round(comb.y + comb.h)), 60, 2)
    for y in (comb.y, comb.y + comb.h):
        cv2.line(page, (round(comb.x), round(y)), (round(comb.x + comb.w), round(y)), 60, 2)
    at = (round(box.x), round(box.y)), (round(box.x + box.w), round(box.y + box.h))
    cv2.rectangle(page, *at, 60, 2)
    divider = round(box.x + 0.2 * box.w)
    cv2.line(page, (divider, at[0][1]), (divider, at[1][1]), 60, 2)
    for y in (190, 265):  # the payee's lines, up to the box
        cv2.line(page, (60, y), (1080, y), 60, 2)
    for i in range(8):
        stroke = random.uniform((0.2, 0.2), (0.8, 0.8), (6, 2)) * (comb.w / 8, comb.h)
        stroke += (comb.x + i * comb.w / 8, comb.y)
        cv2.polylines(page, [np.rint(stroke).astype(np.int32)], False, 40, 3)
        stroke = random.uniform((0, 0.2), (0.8, 0.8), (6, 2)) * (40, box.h)
        stroke += (divider + 10 + 36 * i, box.y)
        cv2.polylines(page, [np.rint(stroke).astype(np.int32)], False, 40, 3)
    for y in range(330, 560, 30):
        text = "printed words that are no frame"
        cv2.putText(page, text, (80, y), cv2.FONT_HERSHEY_PLAIN, 1.6, 70, 1, cv2.LINE_AA)
    scaled = cv2.warpAffine(page, matrix[:2], size, flags=cv2.INTER_LINEAR, borderValue=225)
    return np.asarray(scaled, np.uint8)


def _expected(matrix: Matrix, box: Box) -> Image:
    return np.asarray(transform_points(matrix, corners(box)))


@settings(max_examples=12, deadline=None)
@given(
    turn=st.floats(-5, 5),
    scale=st.floats(0.6, 1.8),
    shift=st.tuples(st.floats(-0.015, 0.015), st.floats(-0.01, 0.02)),
    size=st.floats(0.95, 1.1),
    apart=st.floats(-0.006, 0.006),
)
def test_comb_and_box_are_found_each_by_itself(
    turn: float,
    scale: float,
    shift: tuple[float, float],
    size: float,
    apart: float,
) -> None:
    left, top = shift[0] * WIDTH, shift[1] * WIDTH
    comb = Box(1219 + left + apart * WIDTH, 58 + top, 328 * size, 43)
    box = Box(1147 + left, 269 + top, 403, 69)
    canvas = (round(WIDTH * scale), round(HEIGHT * scale))
    matrix = rotation(turn, (canvas[0] / 2, canvas[1] / 2)) @ scaling(scale)
    grey = _cheque(matrix, canvas, comb, box)
    placement = register(Page(grey), TEMPLATE)
    assert placement.score > 0.7
    for spec, drawn in zip(TEMPLATE.fields, (comb, box), strict=False):
        found = transform_points(placement.matrix, corners(placement.box(spec)))
        assert np.abs(found - _expected(matrix, drawn)).max() <= 0.006 * canvas[0] + 1


STANDARD = (Box(1219, 58, 328, 43), Box(1147, 269, 403, 69))


@pytest.mark.parametrize("turn", [1, 2, 3])
def test_a_cheque_is_righted_and_its_boxes_are_those_of_the_scan(
    turn: int, readers: Readers
) -> None:
    grey = _cheque(np.eye(3), (WIDTH, HEIGHT), *STANDARD)
    scan = turn_page(Page(_with_line(grey)), -turn)
    upright, turned = read_pages([turn_page(scan, turn), scan], TEMPLATE, readers)
    assert (upright.turn, turned.turn) == (0, turn)
    assert [f.value for f in upright.fields][2:] == [f.value for f in turned.fields][2:]
    assert _values(upright.fields) == NUMBERS
    for field in turned.fields:
        x, y, w, h = (round(side) for side in (field.box.x, field.box.y, field.box.w, field.box.h))
        assert (h > w) == (turn % 2 == 1)
        part = scan.grey[y : y + h, x : x + w]
        assert part.shape == (h, w)
        assert part.min() < 100


def _values(fields: tuple[FieldReading, ...]) -> dict[str, str | None]:
    return {field.name: field.value for field in fields if field.name in NUMBERS}


def _with_line(grey: Image, text: str = "⑈083660⑈ 500025033⑆ 31") -> Image:
    """Return the cheque with an E-13B line at its foot."""
    line = render_line(text, 200, Wear(), np.random.default_rng(0)).grey
    page = grey.copy()
    page[600:, :] = 250
    height, width = line.shape
    foot = page[615 : 615 + height, 420 : 420 + width]
    np.minimum(foot, line, out=foot)
    return page


def test_a_mirror_image_of_a_cheque_is_told() -> None:
    grey = _cheque(np.eye(3), (WIDTH, HEIGHT), *STANDARD)
    for turn in range(4):
        with pytest.raises(TemplateError) as error:
            register(turn_page(Page(np.ascontiguousarray(grey[:, ::-1])), turn), TEMPLATE)
        assert error.value.code == "mirrored-page"


def _strange_pages() -> dict[str, Image]:
    size = (HEIGHT, WIDTH)
    stripes = np.full(size, 255, np.uint8)
    stripes[::3] = 0
    grid = np.full(size, 255, np.uint8)
    grid[::36], grid[:, ::36] = 0, 0
    return {
        "white": np.full(size, 255, np.uint8),
        "black": np.zeros(size, np.uint8),
        "noise": np.random.default_rng(1).integers(0, 256, size, np.uint8),
        "stripes": stripes,
        "grid": grid,
        "a pixel": np.zeros((1, 1), np.uint8),
        "two pixels": np.zeros((1, 2), np.uint8),
        "a thumbnail": np.full((22, 48), 200, np.uint8),
        "an A4 page": np.full((1169, 827), 255, np.uint8),
    }


@pytest.mark.parametrize("kind", _strange_pages())
def test_another_page_is_refused_in_words(kind: str, readers: Readers) -> None:
    (reading,) = read_pages([Page(_strange_pages()[kind])], TEMPLATE, readers)
    assert reading.error is not None
    assert reading.error.code == "template-mismatch"
    assert reading.error.hint
    assert reading.fields == ()


def test_a_cheque_of_another_land_is_refused_by_its_line(readers: Readers) -> None:
    grey = _cheque(np.eye(3), (WIDTH, HEIGHT), *STANDARD)
    faint = np.asarray(225 - 0.12 * (225.0 - grey), np.uint8)  # and so the fit is doubtful
    faint[50:110, 1210:1560] = 225
    american = _with_line(faint, "⑆021000021⑆ 123456789⑈ 1001")
    (reading,) = read_pages([Page(american)], TEMPLATE, readers)
    assert reading.error is not None
    assert reading.error.code == "template-mismatch"


def test_what_is_not_on_the_line_is_empty_and_what_cannot_be_read_has_no_value(
    readers: Readers,
) -> None:
    grey = _cheque(np.eye(3), (WIDTH, HEIGHT), *STANDARD)
    lined = _with_line(grey)
    (reading,) = read_pages([Page(lined)], TEMPLATE, readers)
    fields = {field.name: field for field in reading.fields}
    assert list(fields) == [spec.name for spec in TEMPLATE.fields]
    assert _values(reading.fields) == NUMBERS
    assert {field.reader for field in reading.fields[2:]} == {"micr"}
    assert fields["account"].value == ""
    assert fields["account"].confidence > 0.9
    blotted = lined.copy()
    blotted[640:700, 520:560] = 20
    (reading,) = read_pages([Page(blotted)], TEMPLATE, readers)
    fields = {field.name: field for field in reading.fields}
    assert (fields["cheque-number"].value, fields["cheque-number"].confidence) == (None, 0.0)
    all_required = replace(
        TEMPLATE, fields=tuple(replace(spec, required=True) for spec in TEMPLATE.fields)
    )
    (reading,) = read_pages([Page(lined)], all_required, readers)
    account = next(field for field in reading.fields if field.name == "account")
    # It is never left out, so a part of the line must be hidden.
    assert (account.value, account.confidence, account.required) == (None, 0.0, True)
    gap = _with_line(grey, "⑈083660⑈ 500025033⑆ 42 6160⑈ 31")  # it is there, but not read
    (reading,) = read_pages([Page(gap)], TEMPLATE, readers)
    assert _values(reading.fields) == NUMBERS | {"transaction-code": None}
    account = next(field for field in reading.fields if field.name == "account")
    assert (account.value, account.confidence) == (None, 0.0)
    (reading,) = read_pages([Page(grey)], TEMPLATE, readers)  # no line at all
    for field in reading.fields[2:]:
        assert (field.value, field.confidence) == (None, 0.0)
        assert field.box.h > 0


# Real cheques


def test_real_cheques_of_four_banks_are_read_however_they_lie(
    data_dir: Path, readers: Readers
) -> None:
    for path in sorted((data_dir / "cheques_in" / "fullres").glob("*.jpg")):
        page = decode_page(path.read_bytes())
        pages = [page, *(turn_page(page, turn) for turn in (1, 2, 3))]
        for turn, reading in zip((0, 3, 2, 1), read_pages(pages, TEMPLATE, readers), strict=True):
            assert (reading.error, reading.turn) == (None, turn)
            assert reading.template_score is not None
            assert reading.template_score > 0.9
            assert _values(reading.fields)["cheque-number"] == path.stem


def test_fields_of_small_scans_lie_where_their_labels_do(data_dir: Path) -> None:
    folder = data_dir / "cheques_in"
    for item in json.loads((folder / "labels.json").read_text("utf-8"))[::4]:
        placement = register(decode_page((folder / item["file"]).read_bytes()), TEMPLATE)
        for spec in TEMPLATE.fields[:2]:
            found = transform_box(placement.matrix, placement.box(spec))
            # The labels were drawn by hand, around what was written as often as around the box.
            label = Box(*item["boxes"][spec.name])
            middle = Box(label.x + 0.4 * label.w, label.y + 0.45 * label.h, 0.2 * label.w, 1)
            assert intersection(found, middle) is not None, item["file"]
            assert iou(found, label) > 0.2, item["file"]


def refused(paths: Sequence[Path], readers: Readers) -> None:
    images = [path.read_bytes() for path in paths]
    for path, reading in zip(paths, read_pages(images, TEMPLATE, readers), strict=True):
        assert reading.error is not None, path
        assert reading.error.code == "template-mismatch", path


def test_pages_of_other_kinds_are_refused(readers: Readers) -> None:
    refused([NIST_FORM, *sorted(DEMO.glob("*.jpg"))], readers)


def test_photographs_of_us_cheques_are_refused(data_dir: Path, readers: Readers) -> None:
    refused(sorted((data_dir / "checks_us" / "images").iterdir())[:3], readers)
