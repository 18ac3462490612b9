"""The preprocessing of glyphs and of strips, the same in training and in reading.

Glyphs are prepared as NIST's digits were for MNIST (LeCun et al. 1998, section III-A): fitted into
20 x 20 pixels with their aspect kept, then centred by their centre of mass in 28 x 28.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.imageops import (
    cumulative_histogram,
    negative,
    quantile,
    relative_darkness,
    resize_to,
)
from pipeline.types import Image

GLYPH_SIDE: Final = 28  # pixels
_INK_SIDE: Final = 20
# A share of the brightest pixel: fainter fringes of a soft grey stroke do not count as its extent.
# Digits of MNIST keep their published size up to 0.2; pencil needs more than 0.
_EXTENT: Final = 0.12

ROWS: Final = 32  # of a strip as the strip reader sees it
_COLUMNS: Final = (32, 512)  # the fewest and the most: a number of 30 digits at 16 columns each
_STEP: Final = 16  # columns are a multiple of this, since the runtime plans its tensors by width
_MARGIN: Final = 8  # columns of paper at both ends: at the rim, a 1 looks like the border of a box
_PAPER: Final = 21  # pixels at 32 rows: within this window strokes are the minority
_DARK: Final = 80  # of 255: on darker paper the ink is the light part
_LEAST_LIGHT: Final = 32  # of 255: noise on darker paper would become ink
_FAINT: Final = 28.0  # of 255: fainter ink, relative to the paper, is not amplified further
_INK: Final = 96  # of 255: pixels from which on the extent of the ink is measured
_ROOM: Final = 0.14  # of the height of the ink, left free above and below it, and twice beside it
_HEIGHT: Final = 20.0  # rows of writing in a levelled strip
_ZOOM: Final = (0.75, 1.7)  # how far levelling may lower and raise the writing
_LEVEL_RULE, _UPRIGHT_RULE = 21, 24  # pixels at 32 rows: longer straight strokes are rules


@dataclass(frozen=True, slots=True, eq=False)
class PlacedStrip:
    """A normalised strip, and where its columns lie in the image that it was made of.

    Column c shows what is at `start + c * step` there.
    """

    image: Image  # (32, columns)
    start: float
    step: float


def normalise_strip(grey: Image, *, level: bool = False) -> Image:
    """Prepare the image of a field for the strip reader, as `place_strip` does."""
    return place_strip(grey, level=level).image


def place_strip(grey: Image, *, level: bool = False) -> PlacedStrip:
    """Prepare the image of a field for the strip reader.

    `grey` is (h, w) uint8 of any size, dark or light paper, shaded or not. The result is cropped
    to the ink, paper near 0 and full ink near 255. The columns are a multiple of 16 between 32 and
    512; a longer strip is squeezed. With `level` the rows are chosen so that the
    writing lies in the middle and is 20 rows high, whatever else is in the strip.
    """
    if grey.size == 0:
        return PlacedStrip(np.zeros((ROWS, _COLUMNS[0]), np.uint8), 0.0, 0.0)
    whole = _flattened(resize_to(grey, (max(4, round(grey.shape[1] * ROWS / len(grey))), ROWS)))
    top, bottom, left, right = _extent(whole)
    first, span = float(top), float(bottom - top)
    if level:
        first, span = _rows_around_writing(whole[top:bottom, left:right])
        first += top
    unit = len(grey) / ROWS  # rows of the image to one of `whole`
    rows = _within(first * unit, (first + span) * unit, len(grey))
    columns = _within(left * unit, right * unit, grey.shape[1])
    scale = ROWS / (span * unit)
    wide = max(4, round((right - left) * unit * scale))
    high = min(ROWS, max(1, round((rows.stop - rows.start) * scale)))
    ink = _flattened(resize_to(grey[rows, columns], (wide, high)))
    width = -(-(wide + 2 * _MARGIN) // _STEP) * _STEP
    width = min(max(width, _COLUMNS[0]), _COLUMNS[1])
    if wide > width - 2 * _MARGIN:
        ink = resize_to(ink, (width - 2 * _MARGIN, high))
    above = min(max(0, round((rows.start / unit - first) * ROWS / span)), ROWS - high)
    before = (width - ink.shape[1]) // 2
    image = np.pad(ink, ((above, ROWS - high - above), (before, width - ink.shape[1] - before)))
    step = (columns.stop - columns.start) / ink.shape[1]
    return PlacedStrip(image, columns.start - before * step, step)


def stretch_strip(strip: Image, times: float) -> Image:
    """Return a normalised strip `times` as wide, up to 512 columns, its writing in the middle."""
    rows, columns = strip.shape
    wide = min(max(1, round(columns * times)), _COLUMNS[1])
    ink = resize_to(strip, (wide, rows))
    room = max(_COLUMNS[0], -(-wide // _STEP) * _STEP) - wide
    return np.pad(ink, ((0, 0), (room // 2, room - room // 2)))


def _rows_around_writing(ink: Image) -> tuple[float, float]:
    """Return the first row to take, and how many, so that the writing gets its usual height.

    In a strip cut closely the digits fill all rows; with the rest of a box around them, half of the
    rows. Rules are left out, since they say nothing about the height of the writing.
    """
    written = ink
    for shape in ((1, _LEVEL_RULE), (_UPRIGHT_RULE, 1)):
        rules = cv2.morphologyEx(written, cv2.MORPH_OPEN, np.ones(shape, np.uint8))
        written = np.asarray(cv2.subtract(written, rules), np.uint8)
    middle, high = middle_and_height((written.astype(np.float32) ** 2).sum(axis=1) + 1.0)
    fewest, most = (len(ink) / zoom for zoom in reversed(_ZOOM))
    span = min(max(high * ROWS / _HEIGHT, fewest), most)
    return middle + 0.5 - span / 2, span


def middle_and_height(weight: NDArray[np.floating]) -> tuple[float, float]:
    """Return the middle and the height of writing in rows; `weight` (rows,) is the ink of each row.

    The height is that of evenly spread ink with the same variance.
    """
    rows = np.arange(len(weight))
    middle = float(weight @ rows / weight.sum())
    return middle, float(np.sqrt(12 * (weight @ (rows - middle) ** 2) / weight.sum()))


def _within(first: float, past: float, size: int) -> slice:
    """Return the slice from `first` to `past` (exclusive) within 0 to `size`, at least one long."""
    start = min(max(0, int(first)), size - 1)
    return slice(start, min(max(start + 1, round(past)), size))


def _flattened(small: Image) -> Image:
    """Return how much darker than its paper each pixel is (or lighter, where the paper is dark)."""
    reach = _PAPER // 2
    padded = cv2.copyMakeBorder(small, reach, reach, reach, reach, cv2.BORDER_REFLECT)
    paper = np.asarray(cv2.medianBlur(padded, _PAPER), np.uint8)[reach:-reach, reach:-reach]
    if quantile(cumulative_histogram(paper), 0.5) < _DARK:
        small, paper = negative(small), negative(paper)  # white on black
    share = relative_darkness(small, paper, least_light=_LEAST_LIGHT)
    full = max(quantile(cumulative_histogram(share), 0.97), _FAINT)
    return np.asarray(cv2.convertScaleAbs(share, alpha=255 / full), np.uint8)


def _extent(ink: Image) -> tuple[int, int, int, int]:
    """Return top, bottom, left and right (exclusive) of the ink, with room around it."""
    strong = np.asarray(ink >= _INK)
    bounds = []
    for axis, size in ((1, ink.shape[0]), (0, ink.shape[1])):
        found = np.flatnonzero(strong.sum(axis=axis) >= 1)
        bounds.append((int(found[0]), int(found[-1]) + 1) if len(found) else (0, size))
    (top, bottom), (left, right) = bounds
    room = max(1, round(_ROOM * (bottom - top)))
    return (
        max(0, top - room),
        min(ink.shape[0], bottom + room),
        max(0, left - 2 * room),
        min(ink.shape[1], right + 2 * room),
    )


def normalise_glyph(ink: Image) -> Image:
    """Prepare the ink of one character for the CNN.

    `ink` is (h, w) uint8 of any size, bright on 0, soft grey or binary. Returns (28, 28) uint8: the
    longer side of the ink has 20 pixels, its brightest pixel is 255, its centre of mass in the
    middle. Without ink (or without pixels) the result is all 0.
    """
    blank = np.zeros((GLYPH_SIDE, GLYPH_SIDE), np.uint8)
    if ink.size == 0:
        return blank
    peak = int(ink.max())
    if peak == 0:
        return blank
    extent = cv2.threshold(ink, max(0, int(peak * _EXTENT)), 255, cv2.THRESH_BINARY)[1]
    x, y, w, h = cv2.boundingRect(extent)
    longest = max(w, h)
    glyph = ink[y : y + h, x : x + w]
    if longest != _INK_SIDE:
        size = (
            max(1, round(w * _INK_SIDE / longest)),
            max(1, round(h * _INK_SIDE / longest)),
        )
        glyph = resize_to(glyph, size)
    # A stroke reduced to less than a pixel comes out grey; the CNN was trained on bright ones.
    peak = int(glyph.max())
    if 0 < peak < 255:
        glyph = np.asarray(cv2.convertScaleAbs(glyph, alpha=255.0 / peak), np.uint8)
    moments = cv2.moments(glyph)
    if moments["m00"] == 0:
        return blank
    height, width = glyph.shape
    left = round(GLYPH_SIDE / 2 - moments["m10"] / moments["m00"])
    top = round(GLYPH_SIDE / 2 - moments["m01"] / moments["m00"])
    left = min(max(left, 0), GLYPH_SIDE - width)
    top = min(max(top, 0), GLYPH_SIDE - height)
    blank[top : top + height, left : left + width] = glyph
    return blank
