"""`template new` writes a template of the boxes printed on a page, and it reads that page."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest

from cli.template_check import check_templates
from cli.template_new import new_template
from core.errors import InputError, TemplateError
from pipeline.files.page import decode_page
from pipeline.geometry import iou
from pipeline.placing.template import parse_template
from pipeline.read import read_pages
from pipeline.readers.loaded import load_readers
from pipeline.types import Image, Page
from tests.drawing_pages import TALLY_BOXES, draw_tally


@pytest.fixture(scope="module")
def tally() -> Image:
    return draw_tally()


def _write(image: Image, path: Path) -> Path:
    path.write_bytes(cv2.imencode(".png", image)[1].tobytes())
    return path


def test_a_new_template_reads_its_own_page(tally: Image, tmp_path: Path) -> None:
    image = _write(tally, tmp_path / "tally.png")
    told = new_template(image, tmp_path / "new.yaml", None, None, as_json=False)
    assert "10 fields (8 boxes, 2 combs)" in told
    text = (tmp_path / "new.yaml").read_text(encoding="utf-8")
    template = parse_template(text)
    assert template.name == "tally"
    assert [field.name for field in template.fields] == [f"field-{n}" for n in range(1, 11)]
    assert template.fields[1].grammar.name == "digits(8)"
    assert "date(DDMMYYYY)" in text
    assert decode_page((tmp_path / "new.png").read_bytes()).grey.shape == tally.shape
    assert "no mistakes" in check_templates(
        [str(tmp_path / "new.yaml")], image, tmp_path / "placed"
    )
    (reading,) = read_pages([Page(tally)], template, load_readers())
    assert reading.error is None
    assert reading.template_score is not None
    assert reading.template_score > 0.95
    by_name = dict(zip(TALLY_BOXES, reading.fields, strict=True))
    for name, true in TALLY_BOXES.items():
        assert iou(by_name[name].box, true) > 0.7, name  # a strip has a margin around its box


def test_deleted_fields_still_place_the_page(tally: Image, tmp_path: Path) -> None:
    image = _write(tally, tmp_path / "tally.png")
    new_template(image, tmp_path / "new.yaml", None, None, as_json=False)
    text = (tmp_path / "new.yaml").read_text(encoding="utf-8")
    start = text.index("  - name: field-2 ")
    (tmp_path / "one.yaml").write_text(text[:start], encoding="utf-8")
    told = check_templates([str(tmp_path / "one.yaml")], image, tmp_path / "placed.png")
    assert "1 fields" in told
    assert "score of 1.00" in told


def test_machines_get_an_object(tally: Image, tmp_path: Path) -> None:
    image = _write(tally, tmp_path / "tally.png")
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
    tally: Image, tmp_path: Path
) -> None:
    out = tmp_path / "new.yaml"
    image = _write(tally, tmp_path / "tally.png")
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


def test_a_template_of_a_page_of_a_pdf(tally: Image, tmp_path: Path) -> None:
    pages = [PIL.Image.new("L", (400, 300), 255), PIL.Image.fromarray(tally)]
    path = tmp_path / "handbook.pdf"
    pages[0].save(path, "PDF", save_all=True, append_images=pages[1:], resolution=200)
    told = new_template(path, tmp_path / "new.yaml", None, None, as_json=False, number=2)
    assert "10 fields (8 boxes, 2 combs)" in told
    with pytest.raises(InputError, match=r"no page 3 in .*: it has 2 pages"):
        new_template(path, tmp_path / "other.yaml", None, None, as_json=False, number=3)
