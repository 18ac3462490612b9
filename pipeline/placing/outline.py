"""Four straight sides seen in perspective: what a sheet and a printed border have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.geometry import Matrix, Points, invert
from pipeline.imageops import resize_to
from pipeline.types import Image

OUTLINE_LONG_SIDE: Final = (
    1000  # pixels of the longer side of the copy that sides are looked for on
)
IMAGE_EDGE: Final = 0.015  # of the image's longer side: a side this near the edge is cut off there
MIN_AGREEMENT: Final = 0.6  # of the samples of a side, or there is no such line
SIDE_SAMPLES: Final = 64

# A sheet is a little curved, and a lens curves it a little more.
_TOLERANCE: Final = 0.004 * OUTLINE_LONG_SIDE
_MIN_FORESHORTENING: Final = 0.25  # of a side's length, as seen, to that of the opposite side

StraightLine = NDArray[np.float64]  # (4,): a point, and a direction of length 1


@dataclass(frozen=True, slots=True)
class Outline:
    """Four corners in pixels of the page, clockwise from the top left, and how sure they are."""

    corners: Points  # (4, 2); the first pixel covers 0 to 1
    score: float  # 0 to 1: the share of samples on the sides that agree with them

    def matrix(self) -> Matrix:
        """Return the homography from fractions of the outline to pixels of the page."""
        unit = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
        matrix = cv2.getPerspectiveTransform(unit, self.corners.astype(np.float32))
        return np.asarray(matrix / matrix[2, 2], np.float64)

    def size(self) -> tuple[float, float]:
        """Return the mean width and height in pixels."""
        top, right, bottom, left = np.hypot(*(np.roll(self.corners, -1, axis=0) - self.corners).T)
        return float(top + bottom) / 2, float(left + right) / 2


def rectify(grey: Image, outline: Outline) -> tuple[Image, Matrix]:
    """Return what the outline holds as an upright image of about the same resolution.

    The matrix is the homography from its pixels to those of `grey`.
    """
    width, height = (max(1, round(side)) for side in outline.size())
    to_page = outline.matrix() @ np.diag([1 / width, 1 / height, 1.0])
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1.0]])  # OpenCV counts from pixels' middles
    flat = cv2.warpPerspective(
        grey,
        invert(half) @ to_page @ half,
        (width, height),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(flat, np.uint8), np.asarray(to_page, np.float64)


def smooth_copy(grey: Image, window: int) -> tuple[Image, float]:
    """Return a copy of at most OUTLINE_LONG_SIDE pixels, averaged over `window` by `window` pixels.

    The number is how many pixels of the page one pixel of the copy is wide.
    """
    scale = max(1.0, max(grey.shape) / OUTLINE_LONG_SIDE)
    size = (max(1, round(grey.shape[1] / scale)), max(1, round(grey.shape[0] / scale)))
    return np.asarray(cv2.blur(resize_to(grey, size), (window, window)), np.uint8), scale


def is_plausible(corners: Points, shape: tuple[int, ...]) -> bool:
    """Say whether four corners may be those of a sheet in an image of `shape`, (h, w).

    They are convex, in the image or near it, and not foreshortened too much.
    """
    size = np.array(shape[::-1])
    lengths = np.hypot(*(np.roll(corners, -1, axis=0) - corners).T)
    across = np.minimum(lengths[:2], lengths[2:]) / np.maximum(lengths[:2], lengths[2:])
    return bool(
        np.isfinite(corners).all()
        and (corners >= -0.25 * size).all()
        and (corners <= 1.25 * size).all()
        and cv2.isContourConvex(corners.astype(np.float32))
        and lengths.min() >= 0.05 * size.max()
        and across.min() >= _MIN_FORESHORTENING
    )


def fit_line(points: Points, expected: int) -> tuple[StraightLine, float] | None:
    """Return the line that most points lie on, and their share of `expected` points.

    None where that share is below MIN_AGREEMENT, or the points are fewer than eight.
    """
    kept = points
    for _ in range(4):
        if len(kept) < MIN_AGREEMENT * expected or len(kept) < 8:
            return None
        fitted = cv2.fitLine(kept.astype(np.float32), cv2.DIST_HUBER, 0, 0.001, 0.001)
        dx, dy, x, y = (float(value) for value in fitted.ravel())
        off = np.abs((points[:, 0] - x) * dy - (points[:, 1] - y) * dx)
        kept = points[off <= max(_TOLERANCE, float(np.median(off)))]
    agreed = int((off <= _TOLERANCE).sum()) / max(expected, 1)
    return (np.array([x, y, dx, dy]), min(agreed, 1.0)) if agreed >= MIN_AGREEMENT else None


def intersect_sides(lines: Sequence[StraightLine]) -> Points | None:
    """Return the corners where the upper, right, lower and left side meet.

    They are clockwise from the top left; None where two neighbours run almost alike.
    """
    corners = [
        intersect_lines(one, other)
        for one, other in zip([lines[3], *lines[:3]], lines, strict=True)
    ]
    found = [corner for corner in corners if corner is not None]
    return np.array(found) if len(found) == 4 else None


def intersect_lines(one: StraightLine, other: StraightLine) -> NDArray[np.float64] | None:
    """Return where two lines meet, (2,), or None where they run almost alike."""
    system = np.array([[one[2], -other[2]], [one[3], -other[3]]])
    if abs(np.linalg.det(system)) < 0.2:
        return None
    along = np.linalg.solve(system, other[:2] - one[:2])[0]
    return np.asarray(one[:2] + along * one[2:])
