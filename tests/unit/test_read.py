"""The door of the pipeline: one reading a page, errors kept with their page."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from core.errors import TemplateError
from pipeline.grammar import parse_grammar
from pipeline.read import Readers, load_readers, read_pages, read_strip
from pipeline.template import bundled_template
from pipeline.types import Page

EMPTY = Page(np.full((300, 400), 235, np.uint8))


@pytest.fixture(scope="module")
def readers() -> Readers:
    return load_readers()


def test_no_pages_give_no_readings(readers: Readers) -> None:
    assert read_pages([], None, readers) == []


def test_a_bad_page_keeps_its_error_and_the_others_go_on(readers: Readers) -> None:
    png = cv2.imencode(".png", EMPTY.grey)[1].tobytes()
    first, second, third = read_pages([png, png[:40], EMPTY], None, readers)
    assert first.error is None
    assert (first.width, first.height) == (400, 300)
    assert second.error is not None
    assert second.fields == ()
    assert third.error is None
    assert third.fields == ()


def test_too_many_pixels_is_an_error_of_the_page(readers: Readers) -> None:
    png = cv2.imencode(".png", EMPTY.grey)[1].tobytes()
    (reading,) = read_pages([png], None, readers, max_pixels=1000)
    assert reading.error is not None
    assert reading.error.code == "too-many-pixels"


def test_a_template_that_does_not_fit_is_an_error_of_the_page(readers: Readers) -> None:
    (reading,) = read_pages([EMPTY], bundled_template("nist-hsf"), readers)
    assert isinstance(reading.error, TemplateError)
    assert reading.template == "nist-hsf"
    assert reading.fields == ()


def test_stages_are_timed_only_when_asked_for(readers: Readers) -> None:
    assert read_pages([EMPTY], None, readers)[0].milliseconds == {}
    timed = read_pages([EMPTY], None, readers, timed=True)[0].milliseconds
    assert set(timed) == {"decode", "layout", "read"}


def test_a_strip_is_one_field_named_strip(readers: Readers) -> None:
    reading = read_strip(EMPTY, parse_grammar("digits(5)"), readers)
    (field,) = reading.fields
    assert (field.name, field.value, field.raw) == ("strip", "", "")
    assert read_strip(b"no image", parse_grammar("digits"), readers).error is not None


def test_the_nist_form_reads_by_its_template(readers: Readers, data_dir: Path) -> None:
    folder = data_dir / "forms"
    (reading,) = read_pages(
        [(folder / "nist_hsf_w4164.png").read_bytes()], bundled_template("nist-hsf"), readers
    )
    truth = (folder / "nist_hsf_w4164.txt").read_text().split()
    assert reading.error is None
    assert len(reading.fields) == len(truth)
    right = [field.value == text for field, text in zip(reading.fields, truth, strict=True)]
    assert sum(right) >= 26
    for field in reading.fields:
        assert sum(alternative.probability for alternative in field.alternatives) <= 1 + 1e-6
        for glyph in field.glyphs:
            assert field.box.x - 1 <= glyph.box.x
            assert glyph.box.x + glyph.box.w <= field.box.x + field.box.w + 1
