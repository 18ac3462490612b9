"""Follow one printed line through the rows around it, to a fraction of a pixel.

The line is nearly horizontal. It is first laid straight through the ink, and then bent to where the
ink really is, because paper and presses wander.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.imageops import median_high
from pipeline.types import Image

Floats = NDArray[np.float64]

FULL_INK: Final = 76  # of 255: a line of one pixel in a reduction by three
_MAX_SLOPE: Final = 0.03  # rows a column: more than registration leaves
_FIT_POINTS: Final = 100  # points are enough to lay a line through
_MIN_COLUMNS: Final = 8  # columns with ink, or there is nothing to follow
_MAX_WANDER: Final = 2  # pixels that a line may be off its straight course


@dataclass(frozen=True, slots=True)
class Trace:
    """The course of a line from column `start` to `stop` (exclusive).

    `middle` is the row of its middle in each column. `coverage` is the share of the columns that
    hold ink, `wobble` the standard deviation of the ink about a straight line, in pixels.
    """

    start: int
    stop: int
    middle: Floats
    coverage: float
    wobble: float


def trace_line(window: Image, top: int, thickness: float) -> Trace | None:
    """Follow the line in `window`, (h, w) shades of ink, whose first row is row `top` of the strip.

    `thickness` is that of the line in pixels. Returns None where too few columns hold ink.
    """
    rows, width = window.shape
    shades = window.astype(np.float32)
    x, y = _ink_centres(shades)
    if len(x) < _MIN_COLUMNS:
        return None
    slope, offset, residuals = _fit_line(x, y)
    if np.abs(residuals).max() > 1:
        # Other ink nearby, print or the foot of a digit, must not draw the line aside.
        course = np.float32(slope) * np.arange(width, dtype=np.float32) + np.float32(offset)
        distance = np.abs(np.arange(rows, dtype=np.float32)[:, None] - course)
        shades *= distance <= thickness / 2 + 2
        x, y = _ink_centres(shades)
        if len(x) < _MIN_COLUMNS:
            return None
        slope, offset, residuals = _fit_line(x, y)
    wobble = float(np.sqrt(median_high(residuals * residuals)) * 1.48)
    start, stop = int(x[0]), int(x[-1]) + 1
    middle = np.asarray(top + offset + slope * np.arange(start, stop), np.float64)
    if wobble > 0.5:
        wander = np.clip(residuals, -_MAX_WANDER, _MAX_WANDER)
        middle += _smooth_wander(x, wander, start, stop, min(window.shape))
    return Trace(start, stop, middle, len(x) / (stop - start), wobble)


def _smooth_wander(
    x: NDArray[np.intp], wander: Floats, start: int, stop: int, height: int
) -> Floats:
    """Return how far the line is off its straight course in each column, by running medians."""
    step = max(1, max(9, 2 * height) // 8)
    nodes = np.arange(0, stop - start, step)
    course = np.interp(start + nodes, x, wander)
    padded = np.concatenate([np.repeat(course[0], 4), course, np.repeat(course[-1], 4)])
    windows = padded[np.arange(len(nodes))[:, None] + np.arange(9)]
    return np.interp(np.arange(stop - start), nodes, np.partition(windows, 4, axis=1)[:, 4])


def _ink_centres(shades: NDArray[np.float32]) -> tuple[NDArray[np.intp], Floats]:
    """Return the columns that hold ink, and the row of the ink's centre of mass in each."""
    weight = shades.sum(axis=0)
    x = np.flatnonzero(weight >= FULL_INK)
    return x, ((np.arange(len(shades), dtype=np.float32) @ shades)[x] / weight[x]).astype(float)


def _fit_line(x: NDArray[np.intp], y: Floats) -> tuple[float, float, Floats]:
    """Fit a line to most of the points: its slope, its offset, and the residual of each point.

    Least squares, reweighted so that points far off hardly count.
    """
    step = max(1, len(x) // _FIT_POINTS)
    some, own = x[::step].astype(np.float64), y[::step]
    slope, offset = 0.0, median_high(own)
    weights = 1 / (1 + (own - offset) ** 2)
    for _ in range(3):
        total = float(weights.sum())
        mean_x, mean_y = float(weights @ some) / total, float(weights @ own) / total
        from_mean = some - mean_x
        weighted = weights * from_mean
        spread = float(weighted @ from_mean)
        slope = float(weighted @ own) / spread if spread > 0 else 0.0
        slope = min(max(slope, -_MAX_SLOPE), _MAX_SLOPE)
        offset = mean_y - slope * mean_x
        squares = own - (slope * some + offset)
        squares *= squares
        if squares.max() < 1:
            break  # no point is far off
        weights = 1 / (1 + squares)
    return slope, offset, y - (slope * x + offset)


def line_thickness(shades: Image, row: int, drift: int, max_thickness: int) -> float:
    """Return the usual thickness of the line near `row`, which drifts by up to `drift` rows."""
    reach = 4 * drift + max_thickness
    window = shades[max(0, row - reach) : row + reach + 1]
    passing = cv2.reduce(shades[max(0, row - drift) : row + drift + 1], 0, cv2.REDUCE_MAX).ravel()
    sums = cv2.reduce(window, 0, cv2.REDUCE_SUM, dtype=cv2.CV_32S).ravel()[passing >= FULL_INK]
    return median_high(sums.astype(np.float64)) / 255 if len(sums) else 1.0
