"""The one preprocessing of a glyph."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.readers.normalise import normalise_glyph


@given(
    height=st.integers(1, 90),
    width=st.integers(1, 90),
    seed=st.integers(0, 999),
    share=st.floats(0, 1),
)
@settings(max_examples=80, deadline=None)
def test_any_ink_fits_and_fills_its_place(height: int, width: int, seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    ink = rng.integers(0, 256, (height, width)).astype(np.uint8)
    ink[rng.uniform(size=ink.shape) > share] = 0
    before = ink.copy()
    glyph = normalise_glyph(ink)
    assert glyph.shape == (28, 28)
    assert glyph.dtype == np.uint8
    assert np.array_equal(ink, before)
    if ink.any():
        assert glyph.max() == 255
        assert max(cv2.boundingRect(glyph)[2:]) <= 20
    else:
        assert not glyph.any()


@pytest.mark.parametrize("shape", [(0, 0), (0, 7), (7, 0), (1, 1), (30, 4)])
def test_without_ink_all_is_zero(shape: tuple[int, int]) -> None:
    assert not normalise_glyph(np.zeros(shape, np.uint8)).any()


def test_place_and_size_on_the_paper_do_not_matter() -> None:
    small = np.zeros((60, 60), np.uint8)
    cv2.putText(small, "4", (12, 45), cv2.FONT_HERSHEY_SIMPLEX, 1.2, 255, 3)
    large = np.zeros((400, 500), np.uint8)
    large[150:330, 290:470] = cv2.resize(small, (180, 180), interpolation=cv2.INTER_NEAREST)
    difference = np.abs(normalise_glyph(small).astype(int) - normalise_glyph(large))
    assert difference.mean() < 3


def test_a_thin_stroke_is_as_bright_as_a_thick_one() -> None:
    ink = np.zeros((200, 200), np.uint8)
    cv2.circle(ink, (100, 100), 90, 255, 2)
    assert normalise_glyph(ink).max() == 255


def test_a_published_digit_stays_as_it_is(digits_dir: Path) -> None:
    with np.load(digits_dir / "mnist.npz") as stored:
        digits = stored["x_test"][:500]
    moved = np.mean([np.abs(normalise_glyph(d).astype(int) - d).mean() > 2 for d in digits])
    assert moved < 0.05
