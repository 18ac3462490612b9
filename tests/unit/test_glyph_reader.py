"""What the glyph reader makes of strips on which little or nothing is written."""

import cv2
import numpy as np
import pytest

from pipeline.cleaning.ink import separate_ink
from pipeline.fields import clean_fields
from pipeline.grammar.base import ANY_DIGITS
from pipeline.readers.base import FieldStrip, Hypotheses
from pipeline.readers.glyph import EMPTY_BOX, beside_straight_runs, read_glyphs
from pipeline.readers.loaded import Readers, load_readers
from pipeline.types import Box, Image, Strip


@pytest.fixture(scope="module")
def readers() -> Readers:
    return load_readers()


def read(grey: Image, readers: Readers, *, ruled: bool) -> Hypotheses:
    strip = Strip("number", Box(0, 0, grey.shape[1], grey.shape[0]), grey)
    fields = [FieldStrip(strip, ANY_DIGITS, ruled=ruled)]
    return read_glyphs(fields, clean_fields(fields), readers.glyph)[0]


def box(paper: int = 230) -> Image:
    grey = np.full((70, 200), paper, np.uint8)
    cv2.rectangle(grey, (6, 6), (193, 63), 50.0, 3)
    return grey


def test_flat_paper_is_surely_empty(readers: Readers) -> None:
    rng = np.random.default_rng(1)
    grey = np.clip(rng.normal(200, 5, (70, 200)), 0, 255).astype(np.uint8)
    seen = read(grey, readers, ruled=True)
    assert (seen.raw, seen.empty) == ("", 1.0)


def test_an_empty_box_is_empty_but_less_surely(readers: Readers) -> None:
    seen = read(box(), readers, ruled=True)
    assert (seen.raw, seen.empty) == ("", EMPTY_BOX)


def test_marks_too_faint_to_read_are_not_surely_nothing(readers: Readers) -> None:
    grey = np.full((70, 200), 200, np.uint8)
    cv2.putText(grey, "53", (60, 50), cv2.FONT_HERSHEY_SIMPLEX, 1.3, 187.0, 4)
    seen = read(grey, readers, ruled=True)
    assert seen.raw or seen.empty < 0.5


def test_what_is_no_straight_run_stays_when_all_else_fails() -> None:
    written = box()
    cv2.ellipse(written, (60, 35), (12, 22), 0, 0, 360, 50.0, 4)
    ink = separate_ink(written)
    rest = beside_straight_runs(ink)
    x, _, w, h = cv2.boundingRect(rest)
    assert h > 0.5 * 44 * ink.scale
    assert 40 * ink.scale < x
    assert (x + w) < 80 * ink.scale
    assert not beside_straight_runs(separate_ink(box())).any()
