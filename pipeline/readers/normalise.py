"""The one preprocessing of glyphs and of strips, used by training and by reading alike.

Of glyphs: what NIST's digits went through on their way into MNIST (LeCun et al. 1998, section
III-A): fit into 20 x 20 pixels keeping the aspect, then centre by centre of mass in 28 x 28.
"""

from __future__ import annotations

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

SIDE = 28
_INK_SIDE = 20
# Of the brightest pixel: fainter fringes of a soft grey stroke do not count as its extent. Digits
# of MNIST keep their published size up to 0.2; pencil needs more than 0.
_EXTENT = 0.12

ROWS = 32  # of a strip as the strip reader sees it
_COLUMNS = (32, 512)  # the fewest and the most: a number of 30 digits at 16 columns each
_STEP = 16  # columns are a multiple of this: few widths, few plans of the network's tensors
_SIDE = 8  # columns of paper at both ends: at the rim, a 1 looks like the border of a box
_PAPER = 21  # pixels at 32 rows: within this window strokes are the minority
_DARK = 80  # of 255: on darker paper the ink is light; a light edge on grey paper is no ink
_LEAST_LIGHT = 32  # of 255: noise on darker paper would be ink
_FAINT = 28.0  # of 255: ink fainter than this share of the paper is not amplified further
_ROOM = 0.14  # of the height of the ink, left free around it
_HEIGHT = 20.0  # rows of writing in a strip that is levelled,
_ZOOM = (0.75, 1.7)  # as far as it may be made lower or higher than what the ink fills
_LEVEL_RULE, _UPRIGHT_RULE = 21, 24  # pixels at 32 rows: longer strokes are no writing


def normalise_strip(grey: Image, level: bool = False) -> Image:
    """Make of one field's image what the strip reader is trained on.

    `grey` is (h, w) uint8 of any size, dark or light paper, shaded or not. Returns (32, columns)
    uint8: cropped to the rows and columns that hold ink, paper near 0, full ink near 255;
    columns are a multiple of 16 between 32 and 512, what is too long being squeezed. With `level`
    the rows are those that bring the writing to the middle and to 20 rows, whatever else is there.
    """
    if grey.size == 0:
        return np.zeros((ROWS, _COLUMNS[0]), np.uint8)
    whole = _flattened(resize_to(grey, (max(4, round(grey.shape[1] * ROWS / len(grey))), ROWS)))
    top, bottom, left, right = _extent(whole)
    first, span = float(top), float(bottom - top)
    if level:
        first, span = _rows_around_writing(whole[top:bottom, left:right])
        first += top
    unit = len(grey) / ROWS  # pixels of the image a row of `whole`
    rows = _within(first * unit, (first + span) * unit, len(grey))
    columns = _within(left * unit, right * unit, grey.shape[1])
    scale = ROWS / (span * unit)
    wide = max(4, round((right - left) * unit * scale))
    high = min(ROWS, max(1, round((rows.stop - rows.start) * scale)))
    ink = _flattened(resize_to(grey[rows, columns], (wide, high)))
    width = -(-(wide + 2 * _SIDE) // _STEP) * _STEP
    width = min(max(width, _COLUMNS[0]), _COLUMNS[1])
    if wide > width - 2 * _SIDE:
        ink = resize_to(ink, (width - 2 * _SIDE, high))
    above = min(max(0, round((rows.start / unit - first) * ROWS / span)), ROWS - high)
    before = (width - ink.shape[1]) // 2
    return np.pad(ink, ((above, ROWS - high - above), (before, width - ink.shape[1] - before)))


def stretch_strip(strip: Image, times: float) -> Image:
    """Return a normalised strip `times` as wide, as far as it may be, its writing in the middle."""
    rows, columns = strip.shape
    wide = min(max(1, round(columns * times)), _COLUMNS[1])
    ink = resize_to(strip, (wide, rows))
    room = max(_COLUMNS[0], -(-wide // _STEP) * _STEP) - wide
    return np.pad(ink, ((0, 0), (room // 2, room - room // 2)))


def _rows_around_writing(ink: Image) -> tuple[float, float]:
    """Return the first row and the number of rows to take so that the writing has its height.

    Cut out closely, digits fill all rows; with what else is in a box, half of them. Rules tell
    nothing of how high the writing is.
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
    """Return where writing has its middle and how high it is, in rows; `weight` is that of each.

    It counts for as high as even ink of that spread would be.
    """
    rows = np.arange(len(weight))
    middle = float(weight @ rows / weight.sum())
    return middle, float(np.sqrt(12 * (weight @ (rows - middle) ** 2) / weight.sum()))


def _within(first: float, past: float, size: int) -> slice:
    """Return the pixels from `first` until before `past` that an image has, at least one."""
    start = min(max(0, int(first)), size - 1)
    return slice(start, min(max(start + 1, round(past)), size))


def _flattened(small: Image) -> Image:
    """Return how much darker than its paper each pixel is (lighter, where the paper is dark)."""
    reach = _PAPER // 2
    padded = cv2.copyMakeBorder(small, reach, reach, reach, reach, cv2.BORDER_REFLECT)
    paper = np.asarray(cv2.medianBlur(padded, _PAPER), np.uint8)[reach:-reach, reach:-reach]
    if quantile(cumulative_histogram(paper), 0.5) < _DARK:
        small, paper = negative(small), negative(paper)  # white on black
    share = relative_darkness(small, paper, least_light=_LEAST_LIGHT)
    full = max(quantile(cumulative_histogram(share), 0.97), _FAINT)
    return np.asarray(cv2.convertScaleAbs(share, alpha=255 / full), np.uint8)


def _extent(ink: Image) -> tuple[int, int, int, int]:
    """Return the rows and columns (first, past the last) that hold ink, with room around them."""
    strong = np.asarray(ink >= 96)
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
    """Fit the ink of one character into the image that the CNN is trained on.

    `ink` is (h, w) uint8 of any size, ink bright on 0, soft grey or binary. Returns (28, 28) uint8:
    the ink's longest side is 20 px, its brightest pixel 255, its centre of mass in the middle.
    Without ink (or without pixels) the result is all 0.
    """
    blank = np.zeros((SIDE, SIDE), np.uint8)
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
    # A stroke thinner than a pixel after reduction comes out grey; the CNN learned it bright.
    peak = int(glyph.max())
    if 0 < peak < 255:
        glyph = np.asarray(cv2.convertScaleAbs(glyph, alpha=255.0 / peak), np.uint8)
    moments = cv2.moments(glyph)
    if moments["m00"] == 0:
        return blank
    height, width = glyph.shape
    left = round(SIDE / 2 - moments["m10"] / moments["m00"])
    top = round(SIDE / 2 - moments["m01"] / moments["m00"])
    left = min(max(left, 0), SIDE - width)
    top = min(max(top, 0), SIDE - height)
    blank[top : top + height, left : left + width] = glyph
    return blank
