"""What the alteration detector is shown of a field."""

from __future__ import annotations

import cv2
import numpy as np

from pipeline.cleaning.clean import clean_strip
from pipeline.readers.alteration import view_of_writing
from pipeline.readers.normalise import ROWS, normalise_strip
from pipeline.types import Image


def boxed(text: str) -> Image:
    """Return small writing at the left of a large box."""
    grey = np.full((120, 440), 245, np.uint8)
    cv2.rectangle(grey, (10, 10), (429, 109), 60.0, 2)
    cv2.putText(grey, text, (30, 78), 0, 1.2, 40.0, 2, cv2.LINE_AA)
    return grey


def test_the_writing_fills_the_rows_whatever_box_is_around_it() -> None:
    grey = boxed("415")
    view = view_of_writing(grey, clean_strip(grey))
    assert view.shape[0] == ROWS
    assert view.shape[1] < normalise_strip(grey).shape[1]
    inked = np.flatnonzero((view >= 128).any(axis=1))
    assert inked[-1] - inked[0] >= 0.6 * ROWS


def test_a_stroke_that_cleaning_takes_for_a_rule_is_shown() -> None:
    grey = boxed("415")
    cleaned = clean_strip(grey)  # of the number before it was struck out: without the stroke
    cv2.line(grey, (0, 62), (439, 66), 40.0, 2, cv2.LINE_AA)
    view = view_of_writing(grey, cleaned)
    middle = view[ROWS // 3 : 2 * ROWS // 3]
    assert (middle >= 96).any(axis=0).mean() > 0.7  # the ends are paper


def test_of_a_field_without_ink_the_whole_strip_is_shown() -> None:
    grey = np.full((40, 160), 230, np.uint8)
    assert np.array_equal(view_of_writing(grey, clean_strip(grey)), normalise_strip(grey))
