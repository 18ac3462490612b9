"""`template new` finds the boxes printed on a page, and what it writes reads that page."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cli.template_check import check_template
from cli.template_new import new_template
from core.errors import InputError, TemplateError
from pipeline.files.page import decode_page
from pipeline.geometry import (
    corners,
    invert,
    iou,
    rotation,
    scaling,
    transform_box,
    transform_points,
)
from pipeline.placing.propose import Kind, Proposals, propose_fields
from pipeline.placing.template import bundled_template, parse_template
from pipeline.read import read_pages
from pipeline.readers.loaded import load_readers
from pipeline.types import Box, Image, Page
from tests.samples import NIST_FORM
from training.synthesis.form import BOXES, COMBS, HEIGHT, WIDTH, render_form
from training.synthesis.hand import DigitSet


def _digits() -> DigitSet:
    images = np.zeros((10, 28, 28), np.uint8)
    for digit in range(10):
        cv2.putText(images[digit], str(digit), (5, 24), cv2.FONT_HERSHEY_SIMPLEX, 0.9, 255, 2)
    return DigitSet(images, np.arange(10, dtype=np.int64))


@pytest.fixture(scope="module")
def form() -> Image:
    """The demo form, filled in: digits stand in every box."""
    values = {name: "12345678"[: COMBS.get(name, 4)] for name in BOXES}
    picture = render_form(values, _digits(), np.random.default_rng(2))
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8)


def _write(image: Image, path: Path) -> Path:
    path.write_bytes(cv2.imencode(".png", image)[1].tobytes())
    return path


def _assert_form(proposals: Proposals, to_image: np.ndarray, *, extra: int = 0) -> None:
    """The boxes of the form, where they are, with their cells; `extra` more may be there."""
    back = invert(to_image @ scaling(WIDTH, HEIGHT)) @ proposals.to_page
    found = [(transform_box(back, one.box), one) for one in proposals.found]
    assert len(found) <= len(BOXES) + extra
    places = []
    for name, true in BOXES.items():
        wanted = Box(true.x / WIDTH, true.y / HEIGHT, true.w / WIDTH, true.h / HEIGHT)
        place = max(range(len(found)), key=lambda i: iou(found[i][0], wanted))
        box, one = found[place]
        assert iou(box, wanted) > 0.85, name
        assert one.kind is (Kind.COMB if name in COMBS else Kind.BOX), name
        assert one.cells == COMBS.get(name, 1), name
        places.append(place)
    assert places == sorted(places)  # in reading order


def test_the_demo_forms_boxes_are_found(form: Image) -> None:
    _assert_form(propose_fields(Page(form)), np.eye(3))


@settings(max_examples=6, deadline=None)
@given(turn=st.floats(-4, 4), scale=st.floats(0.5, 1.5), shade=st.floats(0.6, 1))
def test_boxes_are_found_on_a_turned_scan(
    form: Image, turn: float, scale: float, shade: float
) -> None:
    size = (round(WIDTH * scale), round(HEIGHT * scale))
    matrix = rotation(turn, (size[0] / 2, size[1] / 2)) @ scaling(scale)
    grey = cv2.warpAffine(form, matrix[:2], size, flags=cv2.INTER_AREA, borderValue=245)
    grey = (grey * np.linspace(shade, 1, size[0])).astype(np.uint8)
    # Print between rules may look like one more small box.
    _assert_form(propose_fields(Page(np.asarray(grey, np.uint8))), matrix, extra=1)


def test_boxes_are_found_on_a_photograph(form: Image) -> None:
    quad = np.float32([[150, 60], [1250, 90], [1300, 1720], [90, 1700]])  # type: ignore[arg-type]
    whole = corners(Box(0, 0, WIDTH, HEIGHT)).astype(np.float32)
    matrix = np.asarray(cv2.getPerspectiveTransform(whole, np.asarray(quad)))
    photo = cv2.warpPerspective(form, matrix, (1400, 1800), flags=cv2.INTER_AREA, borderValue=50)
    _assert_form(propose_fields(Page(np.asarray(photo, np.uint8))), matrix)


def test_an_underlined_blank_is_found_right_of_its_caption() -> None:
    page = np.full((1100, 850), 245, np.uint8)
    for row, text in enumerate(("Account", "Branch", "Name of payee")):
        y = 200 + 120 * row
        cv2.putText(page, text, (60, y), cv2.FONT_HERSHEY_SIMPLEX, 0.8, 30, 2)
        end = 60 + cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.8, 2)[0][0]
        cv2.line(page, (end + 8, y), (end + 300, y), 60, 2)
    cv2.line(page, (60, 700), (800, 700), 60, 2)  # a rule across the page is no blank
    for row in range(8):
        text = "and many words of small print that nobody reads, line by line"
        cv2.putText(page, text, (60, 800 + 25 * row), cv2.FONT_HERSHEY_PLAIN, 1, 40, 1)
    found = propose_fields(Page(page)).found
    assert [one.kind for one in found] == [Kind.BLANK] * 3
    feet = [(one.box.y + one.box.h) * 1100 for one in found]
    np.testing.assert_allclose(feet, (200, 320, 440), atol=5)


@pytest.mark.parametrize("shape", [(1, 1), (5, 700), (700, 5), (300, 300)])
def test_odd_pages_have_no_fields(shape: tuple[int, int]) -> None:
    noise = np.random.default_rng(3).integers(0, 256, shape, np.uint8)
    for grey in (noise, np.zeros(shape, np.uint8), np.full(shape, 255, np.uint8)):
        assert propose_fields(Page(grey)).found == ()


def test_a_new_template_reads_its_own_page(form: Image, tmp_path: Path) -> None:
    image = _write(form, tmp_path / "tally.png")
    told = new_template(image, tmp_path / "new.yaml", None, None, as_json=False)
    assert "10 fields (8 boxes, 2 combs)" in told
    text = (tmp_path / "new.yaml").read_text(encoding="utf-8")
    template = parse_template(text)
    assert template.name == "tally"
    assert [field.name for field in template.fields] == [f"field-{n}" for n in range(1, 11)]
    assert template.fields[1].grammar.name == "digits(8)"
    assert "date(DDMMYYYY)" in text
    assert decode_page((tmp_path / "new.png").read_bytes()).grey.shape == form.shape
    assert "no mistakes" in check_template(str(tmp_path / "new.yaml"), image, tmp_path / "placed")
    (reading,) = read_pages([Page(form)], template, load_readers())
    assert reading.error is None
    assert reading.template_score is not None
    assert reading.template_score > 0.95
    by_name = dict(zip(BOXES, reading.fields, strict=True))
    for name, true in BOXES.items():
        assert iou(by_name[name].box, true) > 0.7, name  # a strip has a margin around its box


def test_deleted_fields_still_place_the_page(form: Image, tmp_path: Path) -> None:
    image = _write(form, tmp_path / "tally.png")
    new_template(image, tmp_path / "new.yaml", None, None, as_json=False)
    text = (tmp_path / "new.yaml").read_text(encoding="utf-8")
    start = text.index("  - name: field-2 ")
    (tmp_path / "one.yaml").write_text(text[:start], encoding="utf-8")
    told = check_template(str(tmp_path / "one.yaml"), image, tmp_path / "placed.png")
    assert "1 fields" in told
    assert "score of 1.00" in told


def test_machines_get_an_object(form: Image, tmp_path: Path) -> None:
    image = _write(form, tmp_path / "tally.png")
    out, picture = tmp_path / "a.yaml", tmp_path / "b.png"
    told = json.loads(new_template(image, out, picture, "clinic", as_json=True))
    assert told["template"] == str(out)
    assert told["picture"] == str(picture)
    assert told["name"] == "clinic"
    assert told["anchors"] == "frames"
    assert told["fields"][0] | {"box": 0} == {
        "name": "field-1",
        "kind": "comb",
        "cells": 6,
        "grammar": "digits(6)",
        "box": 0,
    }


def test_what_goes_wrong_is_said_plainly_and_nothing_is_written(
    form: Image, tmp_path: Path
) -> None:
    out = tmp_path / "new.yaml"
    image = _write(form, tmp_path / "tally.png")
    blank = _write(np.full((300, 400), 255, np.uint8), tmp_path / "blank.png")
    text = tmp_path / "page.txt"
    text.write_text("no image", encoding="utf-8")
    for path, words in (
        (tmp_path / "none.png", "cannot be read"),
        (tmp_path, "cannot be read"),
        (text, "not an image"),
        (blank, "No boxes"),
    ):
        with pytest.raises(InputError, match=words):
            new_template(path, out, None, None, as_json=False)
    with pytest.raises(TemplateError, match="cannot be named 'a b'"):
        new_template(image, out, None, "a b", as_json=False)
    with pytest.raises(InputError, match="cannot be written"):
        new_template(image, tmp_path / "no" / "new.yaml", None, None, as_json=False)
    assert not out.exists()
    out.write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match="already a file"):
        new_template(image, out, None, None, as_json=False)
    assert out.read_text(encoding="utf-8") == "mine"


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
