"""The pages of the benchmark of alterations: as many numbers as asked for, altered on the page."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import cv2
import numpy as np
import pytest

from benchmarks.alterations import Seen
from benchmarks.struck_pages import (
    PENS,
    WAYS,
    DrawnPage,
    MarkedDigits,
    intact_pages,
    overwritten_pages,
    struck_pages,
)
from core.policy import ReviewReason
from pipeline.files.page import decode_page
from pipeline.types import Box
from tests.samples import DATA
from training.synthesis.hand import DigitSet, load_mnist

Draw = Callable[[int, DigitSet, np.random.Generator], Iterator[DrawnPage]]


@pytest.fixture(scope="module")
def digits() -> DigitSet:
    return load_mnist(DATA)


@pytest.mark.parametrize("draw", [struck_pages, overwritten_pages, intact_pages])
def test_as_many_numbers_are_drawn_as_asked_for(draw: Draw, digits: DigitSet) -> None:
    (page,) = draw(3, digits, np.random.default_rng(4))
    assert page.template == "demo-form"
    assert len(page.altered) == 3
    assert set(page.altered) <= set(page.fields)
    assert decode_page(page.image).grey.shape == (2339, 1654)


@pytest.mark.parametrize("way", WAYS)
def test_a_stroke_lies_over_the_number(way: str) -> None:
    for seed in range(20):
        ink = Box(200, 100, 160, 60)
        points = np.concatenate(WAYS[way](ink, np.random.default_rng(seed)))
        left, top = points.min(axis=0)
        right, foot = points.max(axis=0)
        assert left < 240
        assert right > 320
        assert top > 40
        assert foot < 220


@pytest.mark.slow
def test_every_way_is_drawn_with_every_pen_and_always_the_same(digits: DigitSet) -> None:
    numbers = len(WAYS) * len(PENS)
    pages, again = (list(struck_pages(numbers, digits, np.random.default_rng(1))) for _ in range(2))
    pairs = [pair for page in pages for pair in page.altered.values()]
    assert len(set(pairs)) == numbers
    assert [page.image for page in pages] == [page.image for page in again]


def test_a_crossed_digit_has_more_ink_than_a_plain_one(digits: DigitSet) -> None:
    marked = MarkedDigits(digits.images, digits.labels)
    for digit in "70":
        plain = [digits.pick(digit, np.random.default_rng(seed)) for seed in range(30)]
        crossed = [marked.pick(digit, np.random.default_rng(seed)) for seed in range(30)]
        inked = [cv2.countNonZero(np.asarray(image > 100, np.uint8)) for image in plain + crossed]
        assert sum(inked[30:]) > 1.05 * sum(inked[:30])


def test_without_the_detector_what_it_blocked_is_released_by_its_confidence() -> None:
    struck = Seen("line", "pencil", True, "415", 0.95, ReviewReason.STRUCK_OUT)
    assert not struck.released(0.9)
    assert struck.released(0.9, detector=False)
    assert not struck.released(0.99, detector=False)
    unseen = Seen("line", "pencil", False, None, 0.95, ReviewReason.TOO_DARK)
    assert not unseen.released(0.9, detector=False)
