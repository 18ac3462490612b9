"""Noise is measured, blank paper is known as blank, and levels and paper are those drawn."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.cleaning.paper import (
    estimate_noise,
    is_blank,
    measure_levels,
    paper_by_closing,
    paper_by_median,
)
from pipeline.types import Image


def as_grey(image: np.ndarray) -> Image:
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def marks(shape: tuple[int, int] = (105, 255)) -> np.ndarray:
    """A mask of a ring and a bar, 0 or 1."""
    mask = np.zeros(shape, np.uint8)
    cv2.ellipse(mask, (60, 52), (20, 30), 0, 0, 360, 1, 7)
    cv2.line(mask, (130, 22), (124, 82), 1, 7)
    return mask.astype(np.float64)


@settings(max_examples=20, deadline=None)
@given(sigma=st.floats(1.5, 25), tone=st.integers(80, 170), seed=st.integers(0, 2**32 - 1))
def test_noise_is_measured(sigma: float, tone: int, seed: int) -> None:
    noise = np.random.default_rng(seed).normal(tone, sigma, (120, 300))
    assert estimate_noise(as_grey(noise)) == pytest.approx(sigma, rel=0.15, abs=0.3)


def test_ink_and_gradients_are_no_noise() -> None:
    gradient = np.tile(np.linspace(120, 220, 255), (105, 1))
    assert estimate_noise(as_grey(gradient - 100 * marks())) < 0.6


@pytest.mark.parametrize("noise", [0, 3, 12, 30])
def test_paper_and_the_edge_of_a_shadow_are_blank(noise: float) -> None:
    rng = np.random.default_rng(int(noise))
    for shape in ((100, 400), (25, 90)):
        shade = 1 - 0.5 / (1 + np.exp(-(np.arange(shape[1]) - 60) / 8))
        assert is_blank(as_grey(np.tile(190 * shade, (shape[0], 1)) + rng.normal(0, noise, shape)))


@pytest.mark.parametrize(("noise", "faint"), [(0, 12), (4, 12), (12, 25)])
@pytest.mark.parametrize("sign", [-1, 1])
def test_faint_marks_are_not_blank(noise: float, faint: int, sign: int) -> None:
    rng = np.random.default_rng(5)
    grey = 180 + sign * faint * marks() + rng.normal(0, noise, (105, 255))
    assert not is_blank(as_grey(grey))


@pytest.mark.parametrize("shape", [(0, 0), (0, 9), (2, 50), (3, 3)])
def test_tiny_images_are_blank(shape: tuple[int, int]) -> None:
    assert is_blank(np.full(shape, 200, np.uint8))


@settings(max_examples=40, deadline=None)
@given(
    ink=st.integers(60, 230),
    floor=st.integers(0, 20),
    spread=st.floats(1.0, 6.0),
    seed=st.integers(0, 2**32 - 1),
)
def test_levels_are_those_of_paper_and_ink(ink: int, floor: int, spread: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    darkness = floor + (ink - floor) * marks() + rng.normal(0, spread, (105, 255))
    levels = measure_levels(as_grey(darkness), as_grey(-darkness))
    assert levels.floor == pytest.approx(floor, abs=1.5)
    assert levels.spread == pytest.approx(spread, abs=1.2)
    assert levels.contrast == pytest.approx(ink - floor, abs=2 * spread + 3)
    assert levels.ink_stands_out


@pytest.mark.parametrize("spread", [0.0, 2.0, 8.0])
def test_nothing_stands_out_of_noise(spread: float) -> None:
    noise = np.random.default_rng(3).normal(0, spread, (105, 255))
    assert not measure_levels(as_grey(noise), as_grey(-noise)).ink_stands_out


def test_paper_is_seen_through_the_ink() -> None:
    grey = as_grey(np.linspace(150, 220, 255) - 120 * marks())
    paper = np.tile(np.linspace(150, 220, 255), (105, 1))
    assert np.abs(paper_by_median(grey, 1.0) - paper).mean() < 6
    assert np.abs(paper_by_closing(grey, 8.0) - paper)[8:-8, 8:-8].max() < 8


def test_a_closing_leaves_the_straight_edge_of_a_shadow() -> None:
    shaded = np.where(np.arange(255) < 160, 200.0, 100.0) * (1 - 0.7 * marks())
    paper = paper_by_closing(as_grey(shaded), 8.0).astype(int)
    assert np.abs(paper[20:-20, 20:140] - 200).max() < 5
    assert np.abs(paper[20:-20, 180:-20] - 100).max() < 5
