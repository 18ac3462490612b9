"""A page drawn as its template lays it out: level, flat and cut to the template's page."""

from __future__ import annotations

import cv2
import numpy as np

from pipeline.geometry import Matrix, invert, scaling, translation
from pipeline.types import Image, Page


def level_page(page: Page, matrix: Matrix, size: tuple[float, float], long_side: int) -> Image:
    """Return what the template's page covers of `page`, (h, w) grey, `long_side` at most.

    `matrix` maps fractions of the template's page to pixels of `page`, as `Placement.matrix` and
    `Proposals.to_page` do; `size` is width and height of the template's page, of which the ratio
    counts. What lies beyond the image is white.
    """
    # Never larger than the page, and as high or wide as its longer side where that is less.
    longest = min(long_side, max(page.grey.shape))
    scale = longest / max(size)
    width, height = (max(1, round(side * scale)) for side in size)
    to_page = matrix @ scaling(1 / width, 1 / height)
    grey = page.grey
    shrink = longest / max(grey.shape)
    if shrink < 1:  # averaged first, or thin lines would be lost between the samples
        small = [max(1, round(side * shrink)) for side in grey.shape[::-1]]
        to_page = scaling(small[0] / grey.shape[1], small[1] / grey.shape[0]) @ to_page
        grey = np.asarray(cv2.resize(grey, small, interpolation=cv2.INTER_AREA), np.uint8)
    half = translation(0.5, 0.5)  # OpenCV counts from the middles of pixels
    flat = cv2.warpPerspective(
        grey,
        invert(half) @ to_page @ half,
        (width, height),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=255,
    )
    return np.asarray(flat, np.uint8)
