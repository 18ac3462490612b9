"""Read a digit that was drawn along straight guides, as on a seven-segment display.

Some forms print dots or a frame along which people draw their digits. Such digits look like none
that the networks have learnt: an 8 becomes two boxes, a 9 looks like a 4. What tells them apart is
which of the seven segments are drawn.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.types import Image

_NEAR: Final = 0.16  # of the digit's width: how far ink may be off its segment
_DRAWN, _LEFT_OUT = 0.85, 0.35  # shares of a segment's length that hold ink
_MIN_ON_GUIDES: Final = 0.9  # share of the ink that lies on the drawn segments and their ends
_SAMPLES: Final = 21
_RANGE: Final = (0.35, 1.1)  # widths over heights of such digits, but for a 1

# Segments in the order top, upper left, upper right, middle, lower left, lower right, bottom.
_DIGITS: Final = MappingProxyType(
    {
        "1110111": "0",
        "1011101": "2",
        "1011011": "3",
        "0111010": "4",
        "1101011": "5",
        "1101111": "6",
        "0101111": "6",
        "1010010": "7",
        "1110010": "7",
        "1111111": "8",
        "1111011": "9",
        "1111010": "9",
    }
)
_TOP, _MIDDLE, _BOTTOM = 0.0, 0.5, 1.0
_ENDS: Final = (  # x, y of both ends, in shares of the digit's box
    ((0.0, _TOP), (1.0, _TOP)),
    ((0.0, _TOP), (0.0, _MIDDLE)),
    ((1.0, _TOP), (1.0, _MIDDLE)),
    ((0.0, _MIDDLE), (1.0, _MIDDLE)),
    ((0.0, _MIDDLE), (0.0, _BOTTOM)),
    ((1.0, _MIDDLE), (1.0, _BOTTOM)),
    ((0.0, _BOTTOM), (1.0, _BOTTOM)),
)


def read_segments(mask: Image, stroke: float) -> str | None:
    """Return the digit whose segments are drawn in `mask`, ink (h, w) 255 on 0.

    `stroke` is the width of a stroke in pixels. Returns None where the ink is no such digit.
    """
    ys, xs = np.nonzero(mask)
    if len(xs) < 4:
        return None
    half = stroke / 2
    left, right = xs.min() + half, xs.max() - half
    top, bottom = ys.min() + half, ys.max() - half
    width, height = right - left, bottom - top
    if height <= 0 or not _RANGE[0] <= width / height <= _RANGE[1]:
        return None
    near = max(_NEAR * width, 1.0)
    points = np.stack([xs - left, ys - top], axis=1).astype(np.float32)
    drawn = ""
    on_guides = np.zeros(len(points), bool)
    for first, last in _ENDS:
        a = np.array(first) * (width, height)
        b = np.array(last) * (width, height)
        distance, share = _to_segment(points, a, b)
        own = distance <= near + half
        length = float(np.hypot(*(b - a)))
        inner = own & (share * length > near + half) & ((1 - share) * length > near + half)
        bins = np.unique((share[inner] * _SAMPLES).astype(int))
        room = np.arange(_SAMPLES) / _SAMPLES * length
        possible = (room > near + half) & (room < length - near - half - length / _SAMPLES)
        covered = np.isin(np.arange(_SAMPLES), bins)[possible].mean() if possible.any() else 0.0
        if _LEFT_OUT < covered < _DRAWN:
            return None
        drawn += "1" if covered >= _DRAWN else "0"
        ends = np.minimum(np.hypot(*(points - a).T), np.hypot(*(points - b).T)) <= near + half
        on_guides |= ends | own if covered >= _DRAWN else ends
    if on_guides.mean() < _MIN_ON_GUIDES:
        return None
    return _DIGITS.get(drawn)


def _to_segment(
    points: NDArray[np.float32], a: NDArray[np.float64], b: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return how far each point is from the segment, and where along it its foot lies, 0 to 1."""
    along = b - a
    share = np.clip((points - a) @ along / float(along @ along), 0, 1)
    distance = np.hypot(*(points - (a + share[:, None] * along)).T)
    return distance, share
