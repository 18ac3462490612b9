"""Find the printed box around one digit, and where the digit's own strokes run along it.

A box is a closed outline, straight on all four sides. The rules of a wide field are found by their
length (`cleaning.rules`); the sides of a box that is higher than wide are no longer than the
strokes of a digit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.imageops import as_image
from pipeline.types import Image

_MIN_SIDE: Final = 0.45  # of the strip: a smaller outline may be the loop of a digit
_MAX_OFF: Final = 0.06  # of a side: how far a printed one may be off its straight course
_FOLLOWED: Final = 1.5  # times as thick: no press prints one side so much thicker
_MIN_STRAIGHT: Final = 0.75  # of a side's columns; the others may be touched by the digit


@dataclass(frozen=True, slots=True)
class DigitBox:
    """The room within a box, in pixels: rows `top` to `bottom`, columns `left` to `right`.

    The ends are exclusive. `unevenness` is the thickness of the thickest side in thicknesses of the
    thinnest: 1.25 at most in 95 % of drawn empty boxes, 1.8 in the median where a digit was drawn
    along the box. With `followed`, a side is thick along half of its length, as if a stroke of the
    digit had been drawn on it.
    """

    top: int
    bottom: int
    left: int
    right: int
    unevenness: float
    followed: bool


def find_digit_box(mask: Image) -> DigitBox | None:
    """Return the box that surrounds the middle of `mask`, ink (h, w) 255 on 0."""
    height, width = mask.shape
    paper = as_image(cv2.bitwise_not(cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT)))
    outside = paper.copy()
    cv2.floodFill(outside, None, (0, 0), 0)  # what is left is enclosed by ink
    beyond = (paper > 0) & (outside == 0)
    beyond = beyond[1:-1, 1:-1]
    solid = as_image((~beyond).astype(np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(solid, connectivity=4)
    if count < 2:
        return None
    best = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    x, y, w, h, area = stats[best].tolist()
    if w < _MIN_SIDE * width or h < _MIN_SIDE * height or area < 0.85 * w * h:
        return None
    ink_x, ink_y, ink_w, ink_h = cv2.boundingRect(mask)
    if ink_x < x and ink_y < y and ink_x + ink_w > x + w and ink_y + ink_h > y + h:
        return None  # ink of a fainter box surrounds this one, which is a digit
    ink = (mask[y : y + h, x : x + w] > 0) & (labels[y : y + h, x : x + w] == best)
    sides = [_side(turned) for turned in (ink, ink[::-1], ink.T, ink.T[::-1])]
    if any(side is None for side in sides):
        return None
    thinnest = max(1.0, min(side.thickest for side in sides if side is not None))
    found = top, bottom, left, right = [side for side in sides if side is not None]
    return DigitBox(
        y + top.inner,
        y + h - bottom.inner,
        x + left.inner,
        x + w - right.inner,
        max(side.thickest for side in found) / thinnest,
        max(side.thickness for side in found) >= _FOLLOWED * thinnest,
    )


@dataclass(frozen=True, slots=True)
class _Side:
    inner: int  # rows from the edge of the box to the room within
    thickness: float  # pixels, half way along the sorted columns
    thickest: float  # pixels, of its thicker fifth


def _side(ink: NDArray[np.bool_]) -> _Side | None:
    """Measure the upper side of the box in `ink`; None where it is not straight."""
    rows, columns = ink.shape
    spare = max(1, round(0.08 * columns))
    part = ink[:, spare : columns - spare]
    if part.size == 0 or not part.any(axis=0).all():
        return None
    first = part.argmax(axis=0)
    below = np.take_along_axis(np.cumsum(~part, axis=0), first[None, :], axis=0)
    gone = (np.cumsum(~part, axis=0) - below > 0) & (np.arange(rows)[:, None] > first)
    last = np.where(gone.any(axis=0), gone.argmax(axis=0), rows)
    thickness = last - first
    usual = float(np.quantile(thickness, 0.3))
    course = np.polyfit(np.arange(len(first)), first, 1)
    off = np.abs(first - np.polyval(course, np.arange(len(first))))
    if (off <= max(1.5, _MAX_OFF * rows)).mean() < _MIN_STRAIGHT or usual > 0.2 * rows:
        return None
    inner = int(np.ceil(np.quantile(first, 0.95) + usual)) + 1
    return _Side(inner, float(np.median(thickness)), float(np.quantile(thickness, 0.8)))
