"""Numbers that are struck out, overwritten or corrected, as the alteration detector learns them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from pipeline.readers.alteration import CLASSES
from training.alteration.augment import thinly_struck
from training.alteration.train import batches, label_of
from training.strip.pool import join_strips
from training.synthesis.alterations import (
    WAYS,
    correct_above,
    overwrite,
    strike_out,
)
from training.synthesis.amounts import Line, Token
from training.synthesis.strings import Handwriting, draw_hand, write
from training.synthesis.strips import StripSynthesizer

HEIGHT = 40.0


def written(text: str, seed: int = 1) -> Handwriting:
    rng = np.random.default_rng(seed)
    line = Line(tuple(Token(digit, digit) for digit in text), frozenset())
    return write(line, draw_hand(None, rng), HEIGHT, rng)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("text", ["5", "415", "7204418"])
def test_a_stroke_runs_through_the_digits(way: str, text: str) -> None:
    ink = written(text)
    struck, chosen = strike_out(ink, HEIGHT, np.random.default_rng(3), way)
    assert chosen == way
    assert (struck.cover > 0).sum() > (ink.cover > 0).sum()
    # The digits keep their place in the larger picture: their own ink is still there.
    (_, before), (_, after) = ink.written[0], struck.written[0]
    dx, dy = round(after.x - before.x), round(after.y - before.y)
    rows, columns = ink.cover.shape
    top, left = max(0, -dy), max(0, -dx)
    kept = struck.cover[dy + top : dy + rows, dx + left : dx + columns]
    own = ink.cover[top : top + kept.shape[0], left : left + kept.shape[1]]
    assert (kept >= own).all()
    # And more than that is inked between the top and the foot of the digits.
    digits = slice(max(0, round(struck.base - HEIGHT)), round(struck.base))
    assert (struck.cover[digits] > 0).sum() > (own > 0).sum()


def test_an_overwritten_number_has_another_digit_on_it() -> None:
    ink, over = written("1111"), written("8").cover
    rng = np.random.default_rng(2)
    changed = overwrite(ink, "8", over, HEIGHT, rng)
    assert changed.cover.sum() > ink.cover.sum()
    assert overwrite(ink, "1", over, HEIGHT, rng) is ink  # the same digit alters nothing


def test_a_correction_stands_above() -> None:
    ink = written("415")
    corrected = correct_above(ink, written("83"), HEIGHT, np.random.default_rng(4))
    added = corrected.cover.shape[0] - ink.cover.shape[0]
    assert added > 0
    assert corrected.base == ink.base + added
    assert corrected.cover[:added].any()


def test_the_synthesizer_alters_a_share_and_names_it() -> None:
    synthesizer = StripSynthesizer(empties=0.0, altered=0.5)
    rng = np.random.default_rng(5)
    labels = [label_of(synthesizer(rng).traits) for _ in range(60)]
    assert set(labels) == set(CLASSES)
    assert 15 <= labels.count(CLASSES[0]) <= 45


def test_numbers_that_may_be_altered_are_also_cut_as_fields_are() -> None:
    """Their strokes may leave the strip, and their box stands where a template's margin ends."""
    synthesizer = StripSynthesizer(empties=0.0, altered=1.0)
    rng = np.random.default_rng(6)
    strips = [synthesizer(rng) for _ in range(60)]
    fields = [strip for strip in strips if "field" in strip.traits]
    assert 8 <= len(fields) <= 40
    assert all(min(strip.grey.shape) >= 12 for strip in fields)
    unaltered = StripSynthesizer(empties=0.0)
    assert not any("field" in unaltered(rng).traits for _ in range(20))


def test_batches_hold_every_strip_once_with_its_class() -> None:
    strips = [(np.full((32, 64 + 16 * (n % 3)), n, np.uint8), CLASSES[n % 3]) for n in range(1, 20)]
    seen = []
    for images, labels in batches(join_strips(strips), 4, np.random.default_rng(0)):
        assert images.shape[1] == 32
        assert images.shape[2] % 32 == 0
        for image, label in zip(images[..., 0], labels, strict=True):
            number = round(float(image.max()) ** 2 * 255)
            assert CLASSES[label] == CLASSES[number % 3]
            seen.append(number)
    assert sorted(seen) == list(range(1, 20))
    assert cv2.countNonZero(images[0, ..., 0]) > 0


def test_an_intact_strip_is_struck_out_by_a_thin_pen() -> None:
    cover = written("4173").cover
    high, wide = cover.shape
    small = cv2.resize(cover, (round(wide * 24 / high), 24))
    strip = np.pad(small, ((4, 4), (12, 12))).astype(np.uint8)
    for seed in range(20):
        struck = thinly_struck(strip, np.random.default_rng(seed))
        assert struck is not None
        assert struck.shape == strip.shape
        added = struck.astype(int) - strip
        assert added.min() >= -1  # but for rounding
        assert added.sum() > 255 * 8
    assert thinly_struck(np.zeros((32, 96), np.uint8), np.random.default_rng(0)) is None
