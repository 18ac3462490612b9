"""Separate ink from paper: an adaptive threshold that fits the strokes and noise of the image.

The seed method thresholds with a fixed block and a fixed constant. Strokes wider than the block
then turn hollow, and noise above the constant turns to ink. Here a first pass, over a flattened
background, measures contrast, noise and stroke width. The second pass works at the scale where a
stroke is `STROKE` pixels wide, and derives block and constant from what was measured.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np

from pipeline.cleaning.paper import (
    LEAST_LIGHT,
    estimate_noise,
    measure_levels,
    paper_by_closing,
    paper_by_median,
    smooth,
)
from pipeline.imageops import as_image, kth_smallest, negative, relative_darkness, resize
from pipeline.types import Image

STROKE: Final = 5.0  # pixels: a stroke's width at the working scale
MAX_ENLARGEMENT: Final = 3.0  # more gains nothing: the scan holds no more
MAX_WORK_PIXELS: Final = 4_000_000
FIRST_PASS_PIXELS: Final = 60_000
ENLARGED_BELOW: Final = 64  # pixels: lower strips are enlarged for the first pass too


@dataclass(frozen=True, slots=True)
class Ink:
    """The ink of an image at its working scale: `scale` pixels here are one pixel of the image.

    `mask` is (h, w), ink 255 on 0. `soft` holds the same in shades, full ink 255, noise 0.
    `stroke` is the width of a stroke in pixels of `mask`. `contrast` and `noise` are shares of
    the paper's brightness. With `light_on_dark` the paper is darker than the ink.
    """

    mask: Image
    soft: Image
    scale: float
    stroke: float
    contrast: float
    noise: float
    light_on_dark: bool

    def with_mask(self, mask: Image) -> Ink:
        """Return this ink with another `mask` (h, w)."""
        return replace(self, mask=mask)


def binarize(grey: Image) -> Image:
    """Return the ink of `grey` (h, w) as (h, w), 255 on 0. Paper may be light or dark."""
    ink = separate_ink(grey)
    if ink.mask.shape == grey.shape:
        return ink.mask
    size = (grey.shape[1], grey.shape[0])
    resized = cv2.resize(ink.mask, size, interpolation=cv2.INTER_LINEAR)
    return as_image(cv2.threshold(resized, 127, 255, cv2.THRESH_BINARY)[1])


def separate_ink(grey: Image, *, enlarge: bool = True) -> Ink:
    """Return the ink of `grey`, (h, w) uint8 of any size, also empty paper or pure noise.

    Without `enlarge` the working scale is at most 1, and the first pass sees every pixel. That is
    for a whole page, whose strokes are thin in proportion.
    """
    if grey.size == 0 or min(grey.shape) < 3:
        return _no_ink(grey)
    max_pixels = FIRST_PASS_PIXELS if enlarge else MAX_WORK_PIXELS
    strokes = _measure_strokes(grey, max_pixels, page=not enlarge)
    if strokes is None:
        return _no_ink(grey)
    max_scale = MAX_ENLARGEMENT if enlarge else 1.0
    scale = min(max_scale, STROKE / strokes.width, (MAX_WORK_PIXELS / grey.size) ** 0.5)
    if 0.8 < scale < 1.25:
        scale = 1.0  # resampling would only cost time and sharpness
    work = resize(grey, scale)
    if strokes.light_on_dark:
        work = negative(work)
    # Only a little: the network reads a noisy stroke better than a blurred one (measured at 20 px).
    work = smooth(work, 0.15 * strokes.width * scale * min(1.0, strokes.noise / 8))
    paper = paper_by_closing(work, strokes.thickest * scale)
    darkness = relative_darkness(work, paper, least_light=LEAST_LIGHT)
    ink = _threshold(darkness, strokes.width * scale, scale, strokes.light_on_dark)
    return ink or _no_ink(grey)


@dataclass(frozen=True, slots=True)
class _Strokes:
    """What the first pass measures, in pixels and grey levels of the image."""

    width: float
    thickest: float
    noise: float
    light_on_dark: bool


def _measure_strokes(grey: Image, max_pixels: int, *, page: bool) -> _Strokes | None:
    """Measure the strokes of `grey`. Return None where nothing stands out from the paper.

    A `page` may have bars and logos. On it each length of a stroke counts, not each pixel, or one
    black bar would set the width.
    """
    noise = estimate_noise(grey)
    low = min(grey.shape) < ENLARGED_BELOW
    scale = min(
        2.0, max((max_pixels / grey.size) ** 0.5, min(1.0, ENLARGED_BELOW / min(grey.shape)))
    )
    scale = scale if scale < 1 or low else 1.0
    small = smooth(resize(grey, scale), 0.8 * max(scale, 1.0) * min(1.0, noise / 6))
    paper = paper_by_median(small, scale)
    threshold = max(3 * noise, 12.0)
    dark, light = cv2.subtract(paper, small), cv2.subtract(small, paper)
    light_on_dark = _sum_above(light, threshold) > _sum_above(dark, threshold)
    if light_on_dark:
        small, paper = negative(small), negative(paper)
    darkness = relative_darkness(small, paper, least_light=LEAST_LIGHT)
    lightness = relative_darkness(paper, small, least_light=LEAST_LIGHT)
    levels = measure_levels(darkness, lightness)
    if not levels.ink_stands_out:
        return None
    half = levels.floor + 0.5 * levels.contrast
    mask = cv2.threshold(darkness, half, 255, cv2.THRESH_BINARY)[1]
    padded = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT)
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, 3)
    inside = depth[depth > 0]
    if inside.size < 4:
        return None
    # In a line of width w the distance to its edge is w/4 on average, and half a pixel more.
    width = max(1.0, 4 * float(inside.mean()) - 2.0)
    if page:
        ridge = depth[(depth > 0) & (depth >= np.asarray(cv2.dilate(depth, np.ones((3, 3)))))]
        width = max(1.0, min(width, 2 * float(np.median(ridge)) - 0.5))
    thickest = max(width, 2 * kth_smallest(inside, int(0.99 * (inside.size - 1))))
    if page:
        thickest = min(thickest, 4 * width)
    return _Strokes(width / scale, thickest / scale, noise, light_on_dark)


def _sum_above(difference: cv2.typing.MatLike, threshold: float) -> float:
    """Return the sum of the pixels above the threshold."""
    return float(cv2.sumElems(cv2.threshold(difference, threshold, 0, cv2.THRESH_TOZERO)[1])[0])


def _threshold(darkness: Image, stroke: float, scale: float, light_on_dark: bool) -> Ink | None:
    """Return the ink in `darkness`, or None where nothing stands out from the paper."""
    levels = measure_levels(darkness)
    if not levels.ink_stands_out:
        return None
    table = np.clip((np.arange(256) - levels.floor) * (255 / levels.contrast), 0, 255)
    shades = as_image(cv2.LUT(darkness, table.astype(np.uint8)))
    noise = levels.spread / levels.contrast
    block = 2 * round(4 * max(stroke, 2.0)) + 1
    above = _above_mean(shades, block)
    mask = _hysteresis(
        _at_least(above, min(max(0.15, 2.2 * noise), 0.4)),
        _at_least(above, min(max(0.25, 3.5 * noise), 0.5)),
    )
    # Deep inside a blot the mean of the block comes close to ink: dark enough is ink anyway.
    full = cv2.threshold(shades, 165, 255, cv2.THRESH_BINARY)[1]
    return Ink(
        mask=as_image(cv2.bitwise_or(mask, full)),
        soft=shades,
        scale=scale,
        stroke=stroke,
        contrast=levels.contrast / 255,
        noise=levels.spread / 255,
        light_on_dark=light_on_dark,
    )


def _above_mean(shades: Image, block: int) -> Image:
    """Return how much darker each pixel is than the Gaussian mean of the `block` around it.

    The mean is taken at half the size: it is so smooth that nothing is lost.
    """
    rows, columns = shades.shape
    half = cv2.resize(
        shades, (max(1, columns // 2), max(1, rows // 2)), interpolation=cv2.INTER_AREA
    )
    sigma = 0.5 * (0.3 * ((block - 1) / 2 - 1) + 0.8)  # OpenCV's own for such a block
    size = 2 * (block // 4) + 1
    wide = half.astype(np.float32)  # blurring bytes takes twice as long
    mean = cv2.GaussianBlur(wide, (size, size), sigma, borderType=cv2.BORDER_REPLICATE)
    mean = cv2.resize(cv2.convertScaleAbs(mean), (columns, rows), interpolation=cv2.INTER_LINEAR)
    return as_image(cv2.subtract(shades, mean))


def _at_least(above: Image, share: float) -> Image:
    """Return 255 where `above` is at least this share of full ink, and 0 elsewhere."""
    return as_image(cv2.threshold(above, int(share * 255) - 1, 255, cv2.THRESH_BINARY)[1])


def _hysteresis(weak: Image, strong: Image) -> Image:
    """Return the pieces of `weak` that hold some of `strong`: faint strokes, but no noise."""
    count, labels = cv2.connectedComponents(weak, connectivity=8)
    kept = np.bincount(labels[strong > 0], minlength=count) > 1
    if kept[1:].all():
        return weak
    tones = np.where(kept, np.uint8(255), np.uint8(0))
    tones[0] = 0
    # Quicker than indexing, which checks for negative indices.
    mask: Image = tones.take(np.asarray(labels, np.int32), mode="clip")
    return mask


def _no_ink(grey: Image) -> Ink:
    empty = np.zeros(grey.shape, np.uint8)
    return Ink(empty, empty, 1.0, 1.0, 0.0, 0.0, False)
