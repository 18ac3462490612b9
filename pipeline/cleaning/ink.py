"""Ink from paper: an adaptive threshold scaled to the stroke and the noise of the image.

The seed method thresholds with a fixed block and a fixed constant. Strokes wider than the block
then turn hollow, and noise above the constant turns to ink. Here a first rough pass over a
flattened background measures three things, contrast, noise and stroke width, and the second pass
works at the scale where a stroke is `STROKE` pixels wide with a block and a constant made of
them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.imageops import (
    as_image,
    grouped_quantile,
    histogram,
    kth_smallest,
    negative,
    quantile,
    relative_darkness,
    resize,
)
from pipeline.types import Image

STROKE = 5.0  # pixels: a stroke's width at the working scale
MAX_ENLARGE = 3.0  # nothing is gained beyond: the scan holds no more
MAX_WORK_PIXELS = 4_000_000
FIRST_PASS_PIXELS = 60_000
NOISE_PIXELS = 50_000  # enough to measure the noise
SMALL = 64  # pixels: lower strips are enlarged already to be measured
BACKGROUND_REACH = 200  # pixels: a shadow is wider than this, a digit's ink is not
LEAST_LIGHT = 16  # of 255: noise on darker paper would be ink
MIN_CONTRAST = 16.0  # of 255: fainter marks are the texture of the paper
_TONES = np.arange(256.0)
NOISE_MARGIN = 4.5  # standard deviations: one false pixel in 150,000 before smoothing


@dataclass(frozen=True, slots=True)
class Ink:
    """The ink of one image at its working scale: 1 pixel of the image is `scale` pixels here.

    `mask` is (h, w), 255 ink on 0. `soft` is the same in shades, 255 full ink, noise at 0.
    `stroke` is the width of a stroke in pixels of `mask`. `contrast` and `noise` are shares of
    the paper's brightness. `light_on_dark`: the paper is the darker one.
    """

    mask: Image
    soft: Image
    scale: float
    stroke: float
    contrast: float
    noise: float
    light_on_dark: bool

    def with_mask(self, mask: Image) -> Ink:
        """Return this ink less what `mask` (h, w) leaves out."""
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

    Without `enlarge` the working scale is at most 1, and the first pass sees every pixel: for a
    whole page, whose strokes are thin against it.
    """
    if grey.size == 0 or min(grey.shape) < 3:
        return _no_ink(grey)
    rough = _rough_pass(grey, FIRST_PASS_PIXELS if enlarge else MAX_WORK_PIXELS, page=not enlarge)
    if rough is None:
        return _no_ink(grey)
    stroke, thickest, sigma, light_on_dark = rough
    most = MAX_ENLARGE if enlarge else 1.0
    scale = min(most, STROKE / stroke, (MAX_WORK_PIXELS / grey.size) ** 0.5)
    if 0.8 < scale < 1.25:
        scale = 1.0  # resampling would only cost time and sharpness
    work = resize(grey, scale)
    if light_on_dark:
        work = negative(work)
    # Little: the network reads a noisy stroke better than a blurred one (measured at 20 px).
    quiet = _smoothed(work, 0.15 * stroke * scale * min(1.0, sigma / 8))
    paper = _paper_by_closing(quiet, thickest * scale)
    darkness = relative_darkness(quiet, paper, least_light=LEAST_LIGHT)
    return _second_pass(darkness, stroke * scale, scale, light_on_dark) or _no_ink(grey)


def _second_pass(darkness: Image, stroke: float, scale: float, light_on_dark: bool) -> Ink | None:
    levels = _levels(darkness)
    if levels.contrast < max(MIN_CONTRAST, NOISE_MARGIN * levels.spread):
        return None
    table = np.clip((np.arange(256) - levels.floor) * (255 / levels.contrast), 0, 255)
    shades = as_image(cv2.LUT(darkness, table.astype(np.uint8)))
    noise = levels.spread / levels.contrast
    block = 2 * round(4 * max(stroke, 2.0)) + 1
    above = _above_mean(shades, block)
    mask = _hysteresis(
        _darker(above, min(max(0.15, 2.2 * noise), 0.4)),
        _darker(above, min(max(0.25, 3.5 * noise), 0.5)),
    )
    # Deep inside a blot the mean of the block sinks to ink: what is dark enough is ink anyhow.
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

    The mean is taken at half the size: it is far too smooth to lose anything.
    """
    rows, columns = shades.shape
    half = cv2.resize(
        shades, (max(1, columns // 2), max(1, rows // 2)), interpolation=cv2.INTER_AREA
    )
    sigma = 0.5 * (0.3 * ((block - 1) / 2 - 1) + 0.8)  # OpenCV's own for such a block
    size = 2 * (block // 4) + 1
    wide = half.astype(np.float32)  # of bytes it takes twice as long
    mean = cv2.GaussianBlur(wide, (size, size), sigma, borderType=cv2.BORDER_REPLICATE)
    mean = cv2.resize(cv2.convertScaleAbs(mean), (columns, rows), interpolation=cv2.INTER_LINEAR)
    return as_image(cv2.subtract(shades, mean))


def _darker(above: Image, constant: float) -> Image:
    """Return what is above the mean by `constant` of full ink or more."""
    return as_image(cv2.threshold(above, int(constant * 255) - 1, 255, cv2.THRESH_BINARY)[1])


def _hysteresis(weak: Image, strong: Image) -> Image:
    """Return the pieces of `weak` that hold some of `strong`: faint strokes, but no noise."""
    count, labels = cv2.connectedComponents(weak, connectivity=8)
    held = np.bincount(labels[strong > 0], minlength=count) > 1
    if held[1:].all():
        return weak
    tones = np.where(held, np.uint8(255), np.uint8(0))
    tones[0] = 0
    # Quicker than an index, which looks for negative ones.
    kept: Image = tones.take(np.asarray(labels, np.int32), mode="clip")
    return kept


def _rough_pass(
    grey: Image, most_pixels: int, *, page: bool
) -> tuple[float, float, float, bool] | None:
    """Return stroke width and greatest thickness in pixels of `grey`, noise, and the polarity.

    None where nothing stands out of the paper. On a `page` there may be bars and logos; each
    length of a stroke counts there, not each pixel, or one black bar would set the width.
    """
    sigma = noise_of(grey)
    scale = min(2.0, max((most_pixels / grey.size) ** 0.5, min(1.0, SMALL / min(grey.shape))))
    scale = scale if scale < 1 or min(grey.shape) < SMALL else 1.0
    small = _smoothed(resize(grey, scale), 0.8 * max(scale, 1.0) * min(1.0, sigma / 6))
    paper = _paper_by_median(small, scale)
    standing_out = max(3 * sigma, 12.0)
    dark, light = cv2.subtract(paper, small), cv2.subtract(small, paper)
    light_on_dark = _above(light, standing_out) > _above(dark, standing_out)
    if light_on_dark:
        small, paper = negative(small), negative(paper)
    darkness = relative_darkness(small, paper, least_light=LEAST_LIGHT)
    lightness = relative_darkness(paper, small, least_light=LEAST_LIGHT)
    levels = _levels(darkness, lightness)
    if levels.contrast < max(MIN_CONTRAST, NOISE_MARGIN * levels.spread):
        return None
    half = levels.floor + 0.5 * levels.contrast
    mask = cv2.threshold(darkness, half, 255, cv2.THRESH_BINARY)[1]
    depth = cv2.distanceTransform(
        cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT), cv2.DIST_L2, 3
    )
    inside = depth[depth > 0]
    if inside.size < 4:
        return None
    # In a line of width w the distance to its edge is w/4 on average, and half a pixel more.
    stroke = max(1.0, 4 * float(inside.mean()) - 2.0)
    if page:
        ridge = depth[(depth > 0) & (depth >= np.asarray(cv2.dilate(depth, np.ones((3, 3)))))]
        stroke = max(1.0, min(stroke, 2 * float(np.median(ridge)) - 0.5))
    most = int(0.99 * (inside.size - 1))
    thickest = max(stroke, 2 * kth_smallest(inside, most))
    if page:
        thickest = min(thickest, 4 * stroke)
    return stroke / scale, thickest / scale, sigma, light_on_dark


def _above(difference: Image | cv2.typing.MatLike, level: float) -> float:
    return float(cv2.sumElems(cv2.threshold(difference, level, 0, cv2.THRESH_TOZERO)[1])[0])


def noise_of(grey: Image) -> float:
    """Return the standard deviation of the pixel noise of `grey`, in grey levels.

    Immerkær's difference of two Laplacians, which cancels paper and gradients, with the median
    in place of the mean so that ink does not count (Immerkær 1996; Donoho 1994 for the 0.6745).
    """
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    # Rows apart are enough of a large image.
    step = max(1, grey.size // NOISE_PIXELS)
    response = np.abs(cv2.filter2D(grey, cv2.CV_16S, kernel)[::step])
    counts = np.cumsum(np.bincount(response.ravel()))  # a quarter of the time of a median
    return quantile(counts, 0.5, "inverted_cdf") / (6 * 0.6745)


def is_flat(grey: Image) -> bool:
    """Say whether `grey` (h, w) is surely paper alone: no mark, light or dark, beyond its noise.

    Stricter than `separate_ink`, which may miss a mark that a person sees; the soft edge of a
    shadow is flat.
    """
    if grey.size == 0 or min(grey.shape) < 3:
        return True
    small = resize(grey, min(1.0, (FIRST_PASS_PIXELS / grey.size) ** 0.5))
    # Blurring by a pixel and a half leaves a fifth of white noise, and any stroke.
    noise = 0.2 * noise_of(small)
    smooth = _smoothed(small, 1.5)
    size = 2 * max(4, min(small.shape) // 6) + 1
    kernel = np.ones((size, size), np.uint8)
    for operation in (cv2.MORPH_BLACKHAT, cv2.MORPH_TOPHAT):
        marks = cv2.morphologyEx(smooth, operation, kernel, borderType=cv2.BORDER_REPLICATE)
        if float(np.percentile(marks, 99.5)) > max(MIN_CONTRAST / 2, 8 * noise):
            return False
    return True


@dataclass(frozen=True, slots=True)
class _Levels:
    """Of the darkness of an image, 0 to 255: the paper's, its spread, and the ink's above it."""

    contrast: float
    floor: float
    spread: float


def _levels(darkness: Image, lightness: Image | None = None) -> _Levels:
    """Measure `darkness`; `lightness` is the same of what is lighter than the paper, if any is."""
    darker = histogram(darkness)
    split = _otsu(darker)
    lighter = np.zeros(255, np.intp)
    if lightness is not None:
        lighter = histogram(lightness)[:0:-1]
        darker[0] -= lighter.sum()
    below = np.cumsum(np.concatenate([lighter, darker]))  # of the levels -255 to 255
    # Where ink is rare Otsu splits the noise of the paper; what noise does not reach is ink.
    floor = spread = 0.0
    for _ in range(2):
        paper = below[: 256 + split]
        floor = grouped_quantile(paper, 0.5) - 255
        above = grouped_quantile(paper, 0.84) - 255 - floor
        # The soft edges of blurred strokes lie among the darker half of the paper; where they
        # are many, the lighter half knows better.
        under = floor - (grouped_quantile(paper, 0.16) - 255)
        spread = min(above, 1.5 * under + 0.5)
        split = max(split, int(floor + max(NOISE_MARGIN * spread, MIN_CONTRAST)))
    floor = max(floor, 0.0)
    ink = below[255:] - below[min(255 + split, 510)]
    if ink[-1] <= 0:
        return _Levels(0.0, floor, spread)
    return _Levels(grouped_quantile(np.maximum(ink, 0), 0.8) - floor, floor, spread)


def _otsu(counts: NDArray[np.intp]) -> int:
    """Return the level that splits best in two (Otsu 1979)."""
    weight = np.cumsum(counts, dtype=np.float64)
    mean = np.cumsum(counts * _TONES)
    # On either side of an empty part nothing is divided: the variance between is 0.
    parted = np.maximum(weight * (weight[-1] - weight), 1.0)
    return int(np.argmax((mean[-1] / weight[-1] * weight - mean) ** 2 / parted))


def _paper_by_median(small: Image, scale: float) -> Image:
    """Return the paper's brightness under `small`: within a window, paper is the majority."""
    rows, columns = small.shape
    reach = min(BACKGROUND_REACH * scale, 0.75 * min(rows, columns))
    reduction = min(1.0, 24 / max(reach, 1.0))
    tiny = resize(small, reduction)
    kernel = 2 * round(reach * reduction / 2) + 1
    paper = cv2.medianBlur(tiny, max(3, kernel))
    return as_image(cv2.resize(paper, (columns, rows), interpolation=cv2.INTER_LINEAR))


def _paper_by_closing(grey: Image, thickest: float) -> Image:
    """Return the paper's brightness, true also along the edge of a shadow.

    A closing wider than the thickest stroke fills ink in and leaves a straight edge where it is.
    """
    size = 2 * round(0.7 * thickest + 1) + 1
    kernel = np.ones((size, size), np.uint8)
    closed = cv2.morphologyEx(grey, cv2.MORPH_CLOSE, kernel, borderType=cv2.BORDER_REPLICATE)
    return as_image(cv2.blur(closed, (size, size), borderType=cv2.BORDER_REPLICATE))


def _smoothed(grey: Image, sigma: float) -> Image:
    return as_image(cv2.GaussianBlur(grey, (0, 0), sigma)) if sigma > 0.25 else grey


def _no_ink(grey: Image) -> Ink:
    empty = np.zeros(grey.shape, np.uint8)
    return Ink(empty, empty, 1.0, 1.0, 0.0, 0.0, False)
