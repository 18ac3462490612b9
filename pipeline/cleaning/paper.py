"""What the paper of an image is like: its brightness, its noise, and how far ink stands out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from pipeline.imageops import (
    Counts,
    as_image,
    grouped_quantile,
    histogram,
    quantile,
    resize,
)
from pipeline.types import Image

LEAST_LIGHT: Final = 16  # of 255: on darker paper, noise would be taken for ink
_MIN_CONTRAST: Final = 16.0  # of 255: fainter marks are the texture of the paper
_NOISE_MARGIN: Final = 4.5  # standard deviations: one false pixel in 150,000 before smoothing
_NOISE_PIXELS: Final = 50_000  # pixels are enough to measure the noise
_BLANK_PIXELS: Final = 60_000  # pixels are enough to see any mark
_SHADOW_REACH: Final = 200  # pixels: a shadow is wider than this, the ink of a digit is not
_TONES: Final = np.arange(256.0)


def estimate_noise(grey: Image) -> float:
    """Return the standard deviation of the pixel noise of `grey`, in grey levels.

    Immerkær's difference of two Laplacians, which cancels paper and gradients, with the median
    in place of the mean so that ink does not count (Immerkær 1996; Donoho 1994 for the 0.6745).
    """
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    step = max(1, grey.size // _NOISE_PIXELS)  # of a large image, some rows are enough
    response = np.abs(cv2.filter2D(grey, cv2.CV_16S, kernel)[::step])
    counts = np.cumsum(np.bincount(response.ravel()))  # a quarter of the time of a median
    return quantile(counts, 0.5, "inverted_cdf") / (6 * 0.6745)


def is_blank(grey: Image) -> bool:
    """Say whether `grey`, (h, w), is surely paper alone: no mark, light or dark, beyond its noise.

    This is stricter than `separate_ink`, which may miss a mark that a person sees. The soft edge of
    a shadow is not a mark.
    """
    if grey.size == 0 or min(grey.shape) < 3:
        return True
    small = resize(grey, min(1.0, (_BLANK_PIXELS / grey.size) ** 0.5))
    # Blurring by a pixel and a half leaves a fifth of white noise, and any stroke.
    noise = 0.2 * estimate_noise(small)
    blurred = smooth(small, 1.5)
    size = 2 * max(4, min(small.shape) // 6) + 1
    kernel = np.ones((size, size), np.uint8)
    for operation in (cv2.MORPH_BLACKHAT, cv2.MORPH_TOPHAT):
        marks = cv2.morphologyEx(blurred, operation, kernel, borderType=cv2.BORDER_REPLICATE)
        if float(np.percentile(marks, 99.5)) > max(_MIN_CONTRAST / 2, 8 * noise):
            return False
    return True


@dataclass(frozen=True, slots=True)
class DarknessLevels:
    """The levels of a darkness image, 0 to 255."""

    contrast: float  # of the ink, above `floor`
    floor: float  # the paper's darkness
    spread: float  # of the paper, as a standard deviation

    @property
    def ink_stands_out(self) -> bool:
        return self.contrast >= max(_MIN_CONTRAST, _NOISE_MARGIN * self.spread)


def measure_levels(darkness: Image, lightness: Image | None = None) -> DarknessLevels:
    """Measure `darkness`, (h, w). `lightness` says how much lighter than the paper each pixel is.

    Without `lightness` no pixel is taken for lighter than the paper.
    """
    darker = histogram(darkness)
    split = _otsu(darker)
    lighter = np.zeros(255, np.intp)
    if lightness is not None:
        lighter = histogram(lightness)[:0:-1]
        darker[0] -= lighter.sum()
    cumulative = np.cumsum(np.concatenate([lighter, darker]))  # of the levels -255 to 255
    # Where ink is rare, Otsu splits the noise of the paper; ink is what the noise does not reach.
    floor = spread = 0.0
    for _ in range(2):
        paper = cumulative[: 256 + split]
        floor = grouped_quantile(paper, 0.5) - 255
        above = grouped_quantile(paper, 0.84) - 255 - floor
        # The soft edges of blurred strokes lie among the darker half of the paper; where they
        # are many, the lighter half says more about the noise.
        below = floor - (grouped_quantile(paper, 0.16) - 255)
        spread = min(above, 1.5 * below + 0.5)
        split = max(split, int(floor + max(_NOISE_MARGIN * spread, _MIN_CONTRAST)))
    floor = max(floor, 0.0)
    ink = cumulative[255:] - cumulative[min(255 + split, 510)]
    if ink[-1] <= 0:
        return DarknessLevels(0.0, floor, spread)
    return DarknessLevels(grouped_quantile(np.maximum(ink, 0), 0.8) - floor, floor, spread)


def _otsu(counts: Counts) -> int:
    """Return the level that splits a histogram best in two (Otsu 1979)."""
    weight = np.cumsum(counts, dtype=np.float64)
    mean = np.cumsum(counts * _TONES)
    # Where one side of a level is empty, the variance between the sides is 0: nothing is divided.
    product = np.maximum(weight * (weight[-1] - weight), 1.0)
    return int(np.argmax((mean[-1] / weight[-1] * weight - mean) ** 2 / product))


def paper_by_median(small: Image, scale: float) -> Image:
    """Return the paper's brightness at each pixel: in a large window, most pixels are paper.

    `scale` is that of `small` to the scan.
    """
    rows, columns = small.shape
    reach = min(_SHADOW_REACH * scale, 0.75 * min(rows, columns))
    reduction = min(1.0, 24 / max(reach, 1.0))
    tiny = resize(small, reduction)
    kernel = 2 * round(reach * reduction / 2) + 1
    paper = cv2.medianBlur(tiny, max(3, kernel))
    return as_image(cv2.resize(paper, (columns, rows), interpolation=cv2.INTER_LINEAR))


def paper_by_closing(grey: Image, thickest: float) -> Image:
    """Return the paper's brightness at each pixel, true also along the edge of a shadow.

    A closing that is wider than the thickest stroke (in pixels) fills the ink with paper and leaves
    a straight edge where it is.
    """
    size = 2 * round(0.7 * thickest + 1) + 1
    kernel = np.ones((size, size), np.uint8)
    closed = cv2.morphologyEx(grey, cv2.MORPH_CLOSE, kernel, borderType=cv2.BORDER_REPLICATE)
    return as_image(cv2.blur(closed, (size, size), borderType=cv2.BORDER_REPLICATE))


def smooth(grey: Image, sigma: float) -> Image:
    """Return `grey` under a Gaussian blur, or as it is where the blur would hardly change it."""
    return as_image(cv2.GaussianBlur(grey, (0, 0), sigma)) if sigma > 0.25 else grey
