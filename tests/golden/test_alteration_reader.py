"""Numbers that are struck out on whole pages are never released; intact ones are left alone."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from core.policy import ReviewReason, review_reason
from pipeline.files.documents import DocumentLimits, open_document
from pipeline.files.page import decode_page
from pipeline.grammar.base import ANY_DIGITS
from pipeline.placing.template import bundled_template
from pipeline.read import read_pages, read_strip
from pipeline.readers.loaded import Readers, load_readers
from pipeline.types import Box, Image, Page
from tests.samples import DEMO

ALTERED = (ReviewReason.STRUCK_OUT, ReviewReason.OVERWRITTEN)
Points = NDArray[np.float64]


@pytest.fixture(scope="module")
def readers() -> Readers:
    return load_readers()


@pytest.fixture(scope="module")
def form() -> Image:
    """The first of the bundled clinic forms, a fax."""
    (page, *_) = open_document(DEMO / "clinic-forms.tif", DocumentLimits())
    assert page.data is not None
    return decode_page(page.data).grey


@pytest.fixture(scope="module")
def numbers(form: Image, readers: Readers) -> dict[str, Box]:
    """Where the ink of each number in a plain box is."""
    (reading,) = read_pages([Page(form)], bundled_template("demo-form"), readers)
    assert [field.name for field in reading.fields if field.blocked] == []
    return {field.name: ink_in(form, field.box) for field in reading.fields if len(field.raw) < 6}


def ink_in(grey: Image, box: Box) -> Box:
    """Return the extent of the ink inside a box with a margin and a border."""
    room = 0.2 * box.h
    x, y = round(box.x + room), round(box.y + room)
    part = grey[y : round(box.y + box.h - room), x : round(box.x + box.w - room)]
    left, top, wide, high = cv2.boundingRect(np.asarray(part < 128, np.uint8))
    return Box(x + left, y + top, wide, high)


def line(ink: Box) -> list[Points]:
    y = ink.y + 0.55 * ink.h
    return [np.array([[ink.x - 0.4 * ink.h, y + 2], [ink.x + ink.w + 0.4 * ink.h, y - 3]])]


def cross(ink: Box) -> list[Points]:
    left, right = ink.x - 0.3 * ink.h, ink.x + ink.w + 0.3 * ink.h
    top, foot = ink.y - 0.1 * ink.h, ink.y + 1.1 * ink.h
    return [np.array([[left, foot], [right, top]]), np.array([[left, top], [right, foot]])]


def zigzag(ink: Box) -> list[Points]:
    count = 2 + 2 * round(1.2 * ink.w / ink.h)
    x = np.linspace(ink.x - 0.3 * ink.h, ink.x + ink.w + 0.3 * ink.h, count + 1)
    y = np.where(np.arange(count + 1) % 2, ink.y, ink.y + ink.h)
    return [np.stack([x, y], axis=1)]


def runs_on(ink: Box) -> list[Points]:
    """A line far beyond the box on either side."""
    y = ink.y + 0.5 * ink.h
    return [np.array([[ink.x - 250.0, y - 6], [ink.x + ink.w + 450.0, y + 6]])]


def strike(grey: Image, strokes: list[Points], width: int) -> None:
    paths = [np.rint(stroke * 16).astype(np.int32) for stroke in strokes]
    cv2.polylines(grey, paths, False, 0.0, width, cv2.LINE_8, 4)


@pytest.mark.parametrize("way", [line, cross, zigzag, runs_on])
@pytest.mark.parametrize("width", [3, 6])
def test_what_is_struck_out_is_never_released(
    way: Callable[[Box], list[Points]],
    width: int,
    form: Image,
    numbers: dict[str, Box],
    readers: Readers,
) -> None:
    struck = form.copy()
    for ink in numbers.values():
        strike(struck, way(ink), width)
    (reading,) = read_pages([Page(struck)], bundled_template("demo-form"), readers)
    fields = {field.name: field for field in reading.fields}
    for name in numbers:
        field = fields[name]
        reason = review_reason(
            field.value, field.confidence, 0.9, required=True, blocked=field.blocked
        )
        assert reason is not None, (name, field.value, field.confidence)
    named = sum(fields[name].blocked in ALTERED for name in numbers)
    assert named >= len(numbers) - 1
    assert all(field.blocked is None for name, field in fields.items() if name not in numbers)


@pytest.mark.parametrize("text", ["5", "28", "40716"])
def test_a_whole_image_is_looked_at_too(text: str, readers: Readers) -> None:
    grey = np.full((90, 60 + 46 * len(text)), 240, np.uint8)
    for place, digit in enumerate(text):
        cv2.putText(grey, digit, (30 + 46 * place, 68), 0, 1.7, 40.0, 3, cv2.LINE_AA)
    (intact,) = read_strip(Page(grey), ANY_DIGITS, readers).fields
    assert intact.blocked is None
    strike(grey, line(Box(30, 28, 46 * len(text) - 8, 40)), 3)
    (struck,) = read_strip(Page(grey), ANY_DIGITS, readers).fields
    assert struck.blocked in ALTERED
