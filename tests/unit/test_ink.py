"""The threshold: strokes stay whole and noise stays out, at every size, on any paper."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.cleaning.ink import binarize, separate_ink
from pipeline.types import Image


def drawn(size: float, *, paper: int = 230, ink: int = 40) -> tuple[Image, Image]:
    """A ring, a bar and a hook, `size` px high; and the mask of their ink."""
    scale = size / 40
    mask = np.zeros((round(70 * scale), round(170 * scale)), np.uint8)
    thick = max(1, round(5 * scale))

    def at(*point: int) -> tuple[int, int]:
        return round(point[0] * scale), round(point[1] * scale)

    cv2.ellipse(mask, at(35, 35), at(13, 20), 0, 0, 360, 255, thick)
    cv2.line(mask, at(82, 15), at(78, 55), 255, thick)
    cv2.polylines(
        mask, [np.array([at(115, 15), at(140, 15), at(125, 55)], np.int32)], False, 255, thick
    )
    return np.where(mask > 0, ink, paper).astype(np.uint8), mask


def overlap(found: Image, true: Image) -> float:
    both = np.count_nonzero((found > 0) & (true > 0))
    return both / np.count_nonzero((found > 0) | (true > 0))


def count(mask: Image) -> int:
    return cv2.connectedComponents(mask)[0] - 1


@pytest.mark.parametrize("size", [20, 28, 56, 112, 200])
@pytest.mark.parametrize("noise", [0, 1, 4, 12])
def test_finds_three_marks_without_holes_or_specks(size: int, noise: float) -> None:
    grey, mask = drawn(size)
    rng = np.random.default_rng(size)
    grey = np.clip(grey + rng.normal(0, noise, grey.shape), 0, 255).astype(np.uint8)
    found = binarize(grey)
    assert found.shape == grey.shape
    assert set(np.unique(found)) <= {0, 255}
    assert count(found) == 3
    # At 20 px a stroke is 2.5 px wide: half a pixel of edge is much of it.
    assert overlap(found, mask) > (0.6 if size < 40 else 0.8)


def test_dark_paper_reads_like_light_paper() -> None:
    light, mask = drawn(60)
    dark, _ = drawn(60, paper=40, ink=230)
    assert overlap(binarize(light), mask) > 0.8
    assert overlap(binarize(dark), mask) > 0.8
    assert separate_ink(dark).light_on_dark
    assert not separate_ink(light).light_on_dark


@pytest.mark.parametrize("softness", [2.0, 20.0, 200.0])
def test_the_edge_of_a_shadow_is_no_ink(softness: float) -> None:
    grey, mask = drawn(60)
    x = np.arange(grey.shape[1])
    shade = 1 - 0.5 / (1 + np.exp(-(x - 100) / softness * 4))
    found = binarize((grey * shade).astype(np.uint8))
    assert overlap(found, mask) > 0.8
    assert count(found) == 3


def test_stroke_and_scale_are_measured() -> None:
    for size in (20, 80, 200):
        ink = separate_ink(drawn(size)[0])
        true = max(1, round(5 * size / 40))
        assert ink.stroke / ink.scale == pytest.approx(true, rel=0.35, abs=0.8)


@pytest.mark.parametrize("tone", [0, 3, 128, 255])
def test_paper_alone_has_no_ink(tone: int) -> None:
    assert not binarize(np.full((60, 300), tone, np.uint8)).any()


@pytest.mark.parametrize("shape", [(0, 0), (0, 9), (1, 1), (2, 50), (3, 3), (50, 2)])
def test_tiny_images_have_no_ink(shape: tuple[int, int]) -> None:
    assert not binarize(np.full(shape, 200, np.uint8)).any()


def test_a_gradient_alone_has_no_ink() -> None:
    grey = np.tile(np.linspace(90, 250, 400).astype(np.uint8), (80, 1))
    assert not binarize(grey).any()


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(1, 70),
    columns=st.integers(1, 200),
    low=st.integers(0, 255),
    high=st.integers(0, 255),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_image_gives_a_mask_of_its_size(
    rows: int, columns: int, low: int, high: int, seed: int
) -> None:
    low, high = min(low, high), max(low, high)
    grey = np.random.default_rng(seed).integers(low, high + 1, (rows, columns)).astype(np.uint8)
    mask = binarize(grey)
    assert mask.shape == grey.shape
    assert mask.dtype == np.uint8


def test_blurred_strokes_in_a_small_box_stand_out_of_noise() -> None:
    # Blur makes a fringe of half tones as large as the ink: no noise of the paper, for all that.
    grey, _ = drawn(60)
    grey = np.where(grey > 100, 200, 30)[15:95, :140].astype(np.uint8)
    rng = np.random.default_rng(3)
    blurred = cv2.GaussianBlur(grey, (0, 0), 4.5) + rng.normal(0, 6, grey.shape)
    ink = separate_ink(np.clip(blurred, 0, 255).astype(np.uint8))
    assert ink.contrast > 0.5
    assert ink.noise < 0.1 * ink.contrast
    assert count(ink.mask) == 2
