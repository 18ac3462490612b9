"""Strings of real digits of one hand, moved together until their ink is one piece.

The bounding boxes of neighbours overlap, so that no contour separates them: this happens when the
pen stays on the paper, or when a box is too small for its digits.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from pipeline.imageops import as_image, interpolation
from pipeline.types import Image

_HALF = 128  # of 255: ink is at least this strong
_DEEPEST = 0.4  # share of the narrower digit's width that may overlap the other


def join_digits(digits: Sequence[Image], scale: float, rng: np.random.Generator) -> Image | None:
    """Return `digits`, (28, 28) uint8 with ink 255 on 0, as one piece of ink: (h, w) uint8.

    They stand from left to right, `scale` times as large. Returns None if they stay apart.
    """
    inks = [_ink(digit, scale) for digit in digits]
    if not all(ink.size for ink in inks):
        return None
    rows = 2 * max(ink.shape[0] for ink in inks)
    canvas = np.zeros((rows, sum(ink.shape[1] for ink in inks) + 4), np.uint8)
    start, end = 0, 0  # of the previous digit
    for ink in inks:
        tall, wide = ink.shape
        y = rows - tall - round(rng.uniform(0, 0.12) * tall)
        x = end
        if end:
            x = _place(canvas, ink, y, start, end)
            x -= round(rng.uniform(0, 0.06) * tall)
            if end - x > _DEEPEST * min(end - start, wide) or x < 0:
                return None
        part = canvas[y : y + tall, x : x + wide]
        np.maximum(part, ink, out=part)
        start, end = x, x + wide
    pieces = cv2.connectedComponents(np.asarray(canvas >= _HALF, np.uint8), connectivity=8)[0] - 1
    if pieces != 1:
        return None
    return _cut(canvas, canvas)


def _ink(image: Image, scale: float) -> Image:
    """Return one digit in its final size, cropped to its ink."""
    way = interpolation(scale)
    sized = as_image(cv2.resize(image, None, fx=scale, fy=scale, interpolation=way))
    return _cut(sized, np.asarray(sized >= _HALF, np.uint8))


def _cut(image: Image, ink: Image) -> Image:
    """Crop `image` to where `ink` is not 0; to an empty image if it is 0 everywhere."""
    x, y, w, h = cv2.boundingRect(ink)
    return image[y : y + h, x : x + w]


def _place(canvas: Image, ink: Image, y: int, start: int, end: int) -> int:
    """Return the rightmost column at which `ink` touches other ink and their boxes overlap."""
    tall, wide = ink.shape
    ink_there = np.asarray(canvas >= _HALF, np.uint8)
    there = np.asarray(cv2.dilate(ink_there, np.ones((3, 3), np.uint8))) > 0
    mask = ink >= _HALF
    for x in range(end - 1, start, -1):
        if (there[y : y + tall, x : x + wide] & mask[:, : there.shape[1] - x]).any():
            return x
    return start
