"""Find the sheet on a photograph: four sides, seen in perspective.

A side is looked for as a straight line that most of its samples agree on, so that what lies on
it (a thumb, a shadow, a moiré, the dots of a halftone) does not move it. Everything happens on a
small copy of the page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.geometry import Matrix, Points, invert
from pipeline.types import Image

SIDE: Final = 1000  # pixels of the longer side of the small copy

_COARSE: Final = 4  # how much smaller still the copy is that the sheet is first seen on
_LEAST: Final = 0.2  # of the image that a sheet covers
_FILLS: Final = 0.9  # a sheet that covers so much is the image, as a scan is
EDGE: Final = 0.015  # of the image's side: a side as near as this to its rim is cut there
_STEP: Final = 12.0  # grey levels between the sheet and what it lies on
AGREED: Final = 0.6  # of a side's samples, that it is one
_SEEN: Final = 0.75  # of the samples of each side of a sheet that is seen
SAMPLES: Final = 64
_NEAR: Final = 0.02  # of SIDE: how far the first look may be off
_WORST: Final = 0.25  # how much shorter a side may look than the one across from it, at most

Line = NDArray[np.float64]  # (4,): a point, and a direction of length 1


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


def find_sheet(grey: Image) -> Outline | None:
    """Return the sheet on a photograph, (h, w) grey; None where the image shows nothing but it.

    The sheet is of one tone and what it lies on of another, lighter or darker, all the way round
    or where it is seen; where the photograph is cut at the sheet, its rim is the side.
    """
    small, scale = shrink(grey, 5)
    found = [sheet for quad in rough_quads(small) if (sheet := _fitted(small, quad))]
    if not found:
        return None
    # A part of the sheet may look as good as the whole of it, never the other way round.
    best = max(found, key=lambda sheet: sheet.score + _area(sheet.corners) / small.size)
    return Outline((best.corners + 0.5) * scale, best.score)


def flatten(grey: Image, outline: Outline) -> tuple[Image, Matrix]:
    """Return what the outline holds as an upright image of about the same resolution.

    Also the homography from its pixels to those of `grey`.
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


def shrink(grey: Image, smooth: int) -> tuple[Image, float]:
    """Return a small, smoothed copy, and how many pixels of the page one of its pixels is."""
    scale = max(1.0, max(grey.shape) / SIDE)
    size = (max(1, round(grey.shape[1] / scale)), max(1, round(grey.shape[0] / scale)))
    small = cv2.resize(grey, size, interpolation=cv2.INTER_AREA) if scale > 1 else grey
    return np.asarray(cv2.blur(small, (smooth, smooth)), np.uint8), scale


# The sheet


def rough_quads(small: Image) -> list[Points]:
    """Return large four-sided shapes that stand out by their tone or edge, in its pixels."""
    size = [max(1, round(side / _COARSE)) for side in small.shape[::-1]]
    coarse = cv2.resize(small, size, interpolation=cv2.INTER_AREA)
    otsu = cv2.threshold(coarse, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)[0]
    levels = {round(otsu), *(round(level) for level in np.percentile(coarse, (15, 30, 45, 60)))}
    masks = []
    wide, thin = np.ones((7, 7), np.uint8), np.ones((3, 3), np.uint8)
    for level in sorted(levels):
        for kind in (cv2.THRESH_BINARY, cv2.THRESH_BINARY_INV):
            mask = cv2.threshold(coarse, level, 1, kind)[1]
            mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, wide)
            masks.append(cv2.morphologyEx(mask, cv2.MORPH_OPEN, wide))
    # Where light falls off across the picture no level parts the sheet, but its edge still closes.
    for strong in (30, 60, 120):
        edges = cv2.dilate(cv2.Canny(coarse, strong / 2, strong), thin)
        masks.append(edges)
    quads = []
    for mask in masks:
        for outline in cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]:
            hull = cv2.convexHull(outline)
            if cv2.contourArea(hull) >= _LEAST * coarse.size:
                quad = _four_corners(hull)
                if quad is not None:
                    quads.append((quad + 0.5) * _COARSE - 0.5)
    return quads


def _four_corners(hull: cv2.typing.MatLike) -> Points | None:
    around = cv2.arcLength(hull, closed=True)
    for share in (0.02, 0.03, 0.045, 0.065, 0.09):
        corners = cv2.approxPolyDP(hull, share * around, closed=True).reshape(-1, 2)
        if len(corners) == 4:
            return _clockwise(corners.astype(np.float64))
        if len(corners) < 4:
            return None
    return None


def _clockwise(corners: Points) -> Points:
    """Return four corners clockwise on the screen, from the top left."""
    middle = corners.mean(axis=0)
    angles = np.arctan2(*(corners - middle).T[::-1])
    ordered = corners[np.argsort(angles, kind="stable")]
    return np.roll(ordered, -int(ordered.sum(axis=1).argmin()), axis=0)


def _fitted(small: Image, quad: Points) -> Outline | None:
    """Return the outline whose sides run along the steps of tone near those of `quad`."""
    height, width = small.shape
    lines, scores = [], []
    for start, end in pairwise([*quad, quad[0]]):
        cut = _at_the_rim(start, end, width, height)
        if cut is not None:
            lines.append(cut)
            continue
        found = _side(small, start, end)
        if found is None:
            return None
        lines.append(found[0])
        scores.append(found[1])
    corners = crossings([lines[0], lines[1], lines[2], lines[3]]) if scores else None
    if corners is None or not like_a_sheet(corners, small.shape):
        return None
    if not _LEAST * small.size <= _area(corners) <= _FILLS * small.size or min(scores) < _SEEN:
        return None
    return Outline(corners, float(min(scores)))


def _area(corners: Points) -> float:
    return float(cv2.contourArea(corners.astype(np.float32)))


def _at_the_rim(
    start: NDArray[np.float64], end: NDArray[np.float64], width: int, height: int
) -> Line | None:
    """Return the rim of the image that a side runs along, if it does."""
    for axis, last in ((0, width - 0.5), (1, height - 0.5)):
        for rim in (-0.5, last):
            if max(abs(start[axis] - rim), abs(end[axis] - rim)) <= EDGE * max(width, height):
                point = np.array([rim, 0.0] if axis == 0 else [0.0, rim])
                return np.array([*point, axis == 1, axis == 0], np.float64)
    return None


def _side(
    small: Image, start: NDArray[np.float64], end: NDArray[np.float64]
) -> tuple[Line, float] | None:
    """Return the line of the step of tone near a side, and the share of samples that agree."""
    along = (end - start) / max(float(np.hypot(*(end - start))), 1e-6)
    outward = np.array([along[1], -along[0]])  # of a side that runs clockwise
    reach = round(_NEAR * SIDE)
    at = start + np.linspace(0.04, 0.96, SAMPLES)[:, None] * (end - start)
    tones = _tones(small, at, outward, np.arange(-2 * reach, 2 * reach + 1))
    inside, outside = tones[:, :reach].mean(axis=1), tones[:, -reach:].mean(axis=1)
    sign = np.sign(np.median(inside - outside))
    # A printed line has paper on both sides; the sheet's edge parts two tones, further off too.
    parted = sign * (inside - outside) >= _STEP
    afar = np.linspace(2 * reach, SIDE / 2, 12)
    places = at[:, None] + afar[:, None] * outward
    seen = ((places >= 0) & (places < small.shape[::-1])).all(axis=2)
    other = sign * (inside[:, None] - _tones(small, at, outward, afar)) >= _STEP / 2
    if seen.any() and other[seen].mean() < AGREED:
        return None
    window = 4
    total = np.cumsum(np.pad(tones, ((0, 0), (1, 0))), axis=1)
    means = (total[:, window:] - total[:, :-window]) / window
    rise = sign * (means[:, :-window] - means[:, window:])
    middle = rise[:, reach : rise.shape[1] - reach]
    parted &= middle.max(axis=1) >= _STEP
    places = at + (middle.argmax(axis=1) + window - 0.5 - reach)[:, None] * outward
    within = ((places >= 0) & (places <= small.shape[::-1])).all(axis=1)
    return fit_line(places[parted], int(within.sum()))


def _tones(
    small: Image, at: Points, outward: NDArray[np.float64], steps: NDArray[np.number]
) -> NDArray[np.float64]:
    """Return the tones at `steps` outward from each point, (points, steps)."""
    seen = (at[:, None, :] + steps[:, None] * outward).astype(np.float32)
    tones = cv2.remap(
        small, seen[..., 0], seen[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(tones, np.float64)


def like_a_sheet(corners: Points, shape: tuple[int, ...]) -> bool:
    """Say whether four corners may be those of a sheet: convex, near the image, not too flat."""
    size = np.array(shape[::-1])
    lengths = np.hypot(*(np.roll(corners, -1, axis=0) - corners).T)
    across = np.minimum(lengths[:2], lengths[2:]) / np.maximum(lengths[:2], lengths[2:])
    return bool(
        np.isfinite(corners).all()
        and (corners >= -0.25 * size).all()
        and (corners <= 1.25 * size).all()
        and cv2.isContourConvex(corners.astype(np.float32))
        and lengths.min() >= 0.05 * size.max()
        and across.min() >= _WORST
    )


# Lines


def fit_line(points: Points, expected: int) -> tuple[Line, float] | None:
    """Return the line most points lie on, and their share of `expected`; None below `AGREED`."""
    tolerance = 0.004 * SIDE  # a sheet is a little curved, and so is what a lens makes of it
    kept = points
    for _ in range(4):
        if len(kept) < AGREED * expected or len(kept) < 8:
            return None
        fitted = cv2.fitLine(kept.astype(np.float32), cv2.DIST_HUBER, 0, 0.001, 0.001)
        dx, dy, x, y = (float(value) for value in fitted.ravel())
        off = np.abs((points[:, 0] - x) * dy - (points[:, 1] - y) * dx)
        kept = points[off <= max(tolerance, float(np.median(off)))]
    agreed = int((off <= tolerance).sum()) / max(expected, 1)
    return (np.array([x, y, dx, dy]), min(agreed, 1.0)) if agreed >= AGREED else None


def crossings(lines: Sequence[Line]) -> Points | None:
    """Return where each side meets the one before it, clockwise from the top left.

    `lines` are the upper, right, lower and left side.
    """
    corners = [
        crossing(one, other) for one, other in zip([lines[3], *lines[:3]], lines, strict=True)
    ]
    found = [corner for corner in corners if corner is not None]
    return np.array(found) if len(found) == 4 else None


def crossing(one: Line, other: Line) -> NDArray[np.float64] | None:
    """Return where two sides meet, or None where they run almost alike."""
    system = np.array([[one[2], -other[2]], [one[3], -other[3]]])
    if abs(np.linalg.det(system)) < 0.2:
        return None
    along = np.linalg.solve(system, other[:2] - one[:2])[0]
    return np.asarray(one[:2] + along * one[2:])
