"""Tell numbers that a hand wrote from print, on a page without a template.

Type stands on straight lines: the tops and the bottoms of its digits are level to a few hundredths
of their height. Hands are not so steady. Only what shows a hand counts as written by one, because a
printed number that is released was never filled in by anybody.

Measured (docs/benchmarks.md): of the 1,072 amounts of ORAND-CAR-A with three digits or more, the
heights in 95 % differ by 0.06 of the height or more (three digits) to 0.17 (six); of 660 printed
numbers of three digits or more in 40 fonts, 97 % are level to 0.06, and the others are badly cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from pipeline.types import Character

UNEVEN: Final = 0.06  # of the height: no type is so uneven, but for faults of the segmentation
_EVEN: Final = 0.03  # of the height: few hands are so even
_PIXEL: Final = 1.5  # what the rounding of boxes adds, in pixels
_SAME_SIZE: Final = 1.25  # times as high: two numbers in one hand, or in one type
_SAME_TYPE: Final = 1.3  # times as high: capitals, digits and letters of one type
_MIN_MAJORITY: Final = 3  # uneven lines for each line of letters of that size
_COLUMN: Final = 0.12  # of the height: how far off numbers are that stand in one column
_MIN_COLUMN: Final = 3  # others in a column
_MIN_SHARE: Final = 0.6  # of the lines of a size that must be uneven
_MIN_ALIKE: Final = 2  # uneven lines of a size that speak for one without evidence of its own
ENOUGH_DIGITS: Final = 3


@dataclass(frozen=True, slots=True)
class LineShape:
    """How the digits of a line stand.

    `height` is theirs in pixels of the page. `unevenness` is, in heights, how far they are from
    equal in height and level at top and bottom: the largest of the three ranges.
    """

    digits: int
    height: float
    unevenness: float
    left: float = 0.0  # pixels of the page
    right: float = 0.0


def line_shape(glyphs: Sequence[Character]) -> LineShape:
    """Measure the digits of a line, whose boxes are in pixels of the page."""
    boxes = np.array([(g.box.x + g.box.w / 2, g.box.y, g.box.y + g.box.h) for g in glyphs])
    if len(boxes) == 0:
        return LineShape(0, 0.0, 0.0)
    middles, tops, bottoms = boxes.T
    heights = bottoms - tops
    height = max(float(np.median(heights)), 1.0)
    ranges = [np.ptp(heights), *(np.ptp(_off_line(middles, ends)) for ends in (tops, bottoms))]
    uneven = max(0.0, float(max(ranges)) - _PIXEL) / height
    left = min(g.box.x for g in glyphs)
    right = max(g.box.x + g.box.w for g in glyphs)
    return LineShape(len(boxes), height, uneven, left, right)


def _off_line(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return how far y is off the straight line through it; of two, off a level one."""
    if len(x) < 3:
        return y
    return np.asarray(y - np.polyval(np.polyfit(x, y, 1), x))


def are_handwritten(lines: Sequence[LineShape], letters: Sequence[float]) -> list[bool]:
    """Say of each line of a page whether it shows a hand.

    `letters` are the heights of the letters in lines of text on the page. A line of three digits
    or more shows a hand by being uneven, unless most lines of its size on the page are even: then
    it is more likely badly cut. Any other line is written if lines of its size are uneven, hardly
    any letters of that size stand on the page, and it stands in no column of short numbers of one
    height. Two digits or more that are quite even are not written.
    """
    return [_is_handwritten(line, lines, letters) for line in lines]


def _is_handwritten(line: LineShape, lines: Sequence[LineShape], letters: Sequence[float]) -> bool:
    alike = [
        other
        for other in lines
        if other.digits >= ENOUGH_DIGITS and _within(_SAME_SIZE, line.height, other.height)
    ]
    uneven = sum(other.unevenness >= UNEVEN for other in alike)
    if not line.digits or uneven < _MIN_SHARE * len(alike):
        return False
    if line.digits >= ENOUGH_DIGITS and line.unevenness >= UNEVEN:
        return True
    if (line.digits > 1 and line.unevenness < _EVEN) or _is_in_column(line, lines):
        return False
    printed = sum(_within(_SAME_TYPE, line.height, letter) for letter in letters)
    return uneven >= max(_MIN_ALIKE, _MIN_MAJORITY * printed)


def _is_in_column(line: LineShape, lines: Sequence[LineShape]) -> bool:
    """Say whether `line` stands in a column of short numbers of one height, such as row numbers."""
    off = _COLUMN * line.height
    alike = [
        other
        for other in lines
        if other is not line
        and other.digits < ENOUGH_DIGITS
        and min(abs(other.left - line.left), abs(other.right - line.right)) <= off
        and abs(other.height - line.height) <= max(_PIXEL, _EVEN * line.height)
    ]
    return len(alike) >= _MIN_COLUMN


def _within(ratio: float, a: float, b: float) -> bool:
    return a <= ratio * b and b <= ratio * a
