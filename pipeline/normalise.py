"""The one preprocessing of a glyph, used by training and by reading alike.

What NIST's digits went through on their way into MNIST (LeCun et al. 1998, section III-A): fit into
20 x 20 pixels keeping the aspect, then centre by centre of mass in 28 x 28.
"""

from __future__ import annotations

import cv2
import numpy as np

from pipeline.types import Image

SIDE = 28
_INK_SIDE = 20
# Of the brightest pixel: fainter fringes of a soft grey stroke do not count as its extent. Digits
# of MNIST keep their published size up to 0.2; pencil needs more than 0.
_EXTENT = 0.12


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
        way = cv2.INTER_AREA if longest > _INK_SIDE else cv2.INTER_LINEAR
        glyph = np.asarray(cv2.resize(glyph, size, interpolation=way), np.uint8)
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
