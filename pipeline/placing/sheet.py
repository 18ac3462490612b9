"""Find the sheet on a photograph: four sides, seen in perspective.

A side is looked for as a straight line that most of its samples agree on, so that what lies on
it (a thumb, a shadow, a moiré, the dots of a halftone) does not move it. Everything happens on a
small copy of the page.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.geometry import Points
from pipeline.placing.outline import (
    IMAGE_EDGE,
    MIN_AGREEMENT,
    OUTLINE_LONG_SIDE,
    SIDE_SAMPLES,
    Outline,
    StraightLine,
    fit_line,
    intersect_sides,
    is_plausible,
    smooth_copy,
)
from pipeline.types import Image

SMOOTHING: Final = 5  # pixels of the window that the copy is averaged over

_COARSE: Final = 4  # how much smaller still the copy is that the sheet is first seen on
_MIN_COVER: Final = 0.2  # of the image that a sheet covers
_MAX_COVER: Final = 0.9  # a sheet that covers more is the whole image, which is a scan
_MIN_STEP: Final = 12.0  # grey levels between the sheet and what it lies on
_MIN_SIDE_SCORE: Final = 0.75  # of the samples of each side of a sheet
_MAX_OFF: Final = 0.02  # of OUTLINE_LONG_SIDE: how far the first look may be off


def find_sheet(grey: Image) -> Outline | None:
    """Return the sheet on a photograph, (h, w) grey; None where the image shows nothing but it.

    The sheet is of one tone and what it lies on of another, lighter or darker, wherever that is
    seen. Where the photograph cuts the sheet off, the image's edge is a side.
    """
    small, scale = smooth_copy(grey, SMOOTHING)
    return best_sheet(small, scale, candidate_quads(small))


def best_sheet(small: Image, scale: float, quads: Sequence[Points]) -> Outline | None:
    """Return the best sheet near one of the candidates on a copy, in pixels of the page."""
    found = [sheet for quad in quads if (sheet := _fit_outline(small, quad))]
    if not found:
        return None
    # A part of the sheet may look as good as the whole of it, never the other way round.
    best = max(found, key=lambda sheet: sheet.score + _area(sheet.corners) / small.size)
    return Outline((best.corners + 0.5) * scale, best.score)


def candidate_quads(small: Image) -> list[Points]:
    """Return large four-sided shapes that stand out by their tone or edge, in pixels of `small`."""
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
    # Where light falls off across the picture, no level separates the sheet, but its edge does.
    for strong in (30, 60, 120):
        masks.append(cv2.dilate(_find_edges(coarse, strong), thin))
    quads = []
    for mask in masks:
        for outline in cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]:
            hull = cv2.convexHull(outline)
            if cv2.contourArea(hull) >= _MIN_COVER * coarse.size:
                quad = _approximate_quad(hull)
                if quad is not None:
                    quads.append((quad + 0.5) * _COARSE - 0.5)
    return quads


def _find_edges(coarse: cv2.typing.MatLike, strong: float) -> Image:
    """Return Canny's edges, 255 on 0, with hysteresis from half of `strong` up to it.

    Not by Intel's IPP: in OpenCV 5.0.0 its Canny writes past its buffer where edges are dense, as
    on a page of fine rules, and the process aborts later. OpenCV's own code gives the same edges.
    """
    by_ipp = cv2.ipp.useIPP()
    cv2.ipp.setUseIPP(False)  # of this thread
    try:
        return np.asarray(cv2.Canny(coarse, strong / 2, strong), np.uint8)
    finally:
        cv2.ipp.setUseIPP(by_ipp)


def _approximate_quad(hull: cv2.typing.MatLike) -> Points | None:
    """Return the four corners that a hull comes down to, or None."""
    around = cv2.arcLength(hull, closed=True)
    for share in (0.02, 0.03, 0.045, 0.065, 0.09):
        corners = cv2.approxPolyDP(hull, share * around, closed=True).reshape(-1, 2)
        if len(corners) == 4:
            return _order_clockwise(corners.astype(np.float64))
        if len(corners) < 4:
            return None
    return None


def _order_clockwise(corners: Points) -> Points:
    """Return four corners clockwise on the screen, from the top left."""
    middle = corners.mean(axis=0)
    angles = np.arctan2(*(corners - middle).T[::-1])
    ordered = corners[np.argsort(angles, kind="stable")]
    return np.roll(ordered, -int(ordered.sum(axis=1).argmin()), axis=0)


def _fit_outline(small: Image, quad: Points) -> Outline | None:
    """Return the outline whose sides run along the steps of tone near those of `quad`."""
    height, width = small.shape
    lines, scores = [], []
    for start, end in pairwise([*quad, quad[0]]):
        cut = _image_edge_along(start, end, width, height)
        if cut is not None:
            lines.append(cut)
            continue
        found = _fit_side(small, start, end)
        if found is None:
            return None
        lines.append(found[0])
        scores.append(found[1])
    corners = intersect_sides([lines[0], lines[1], lines[2], lines[3]]) if scores else None
    if corners is None or not is_plausible(corners, small.shape):
        return None
    cover = _area(corners) / small.size
    if not _MIN_COVER <= cover <= _MAX_COVER or min(scores) < _MIN_SIDE_SCORE:
        return None
    return Outline(corners, float(min(scores)))


def _area(corners: Points) -> float:
    return float(cv2.contourArea(corners.astype(np.float32)))


def _image_edge_along(
    start: NDArray[np.float64], end: NDArray[np.float64], width: int, height: int
) -> StraightLine | None:
    """Return the edge of the image that a side runs along, if it does."""
    for axis, last in ((0, width - 0.5), (1, height - 0.5)):
        for edge in (-0.5, last):
            if max(abs(start[axis] - edge), abs(end[axis] - edge)) <= IMAGE_EDGE * max(
                width, height
            ):
                point = np.array([edge, 0.0] if axis == 0 else [0.0, edge])
                return np.array([*point, axis == 1, axis == 0], np.float64)
    return None


def _fit_side(
    small: Image, start: NDArray[np.float64], end: NDArray[np.float64]
) -> tuple[StraightLine, float] | None:
    """Return the line along the step of tone near a side, and the share of samples that agree."""
    along = (end - start) / max(float(np.hypot(*(end - start))), 1e-6)
    outward = np.array([along[1], -along[0]])  # of a side that runs clockwise
    reach = round(_MAX_OFF * OUTLINE_LONG_SIDE)
    at = start + np.linspace(0.04, 0.96, SIDE_SAMPLES)[:, None] * (end - start)
    tones = _sample_tones(small, at, outward, np.arange(-2 * reach, 2 * reach + 1))
    inside, outside = tones[:, :reach].mean(axis=1), tones[:, -reach:].mean(axis=1)
    sign = np.sign(np.median(inside - outside))
    # A printed line has paper on both sides; the sheet's edge separates two tones, near and far.
    parted = sign * (inside - outside) >= _MIN_STEP
    afar = np.linspace(2 * reach, OUTLINE_LONG_SIDE / 2, 12)
    places = at[:, None] + afar[:, None] * outward
    seen = ((places >= 0) & (places < small.shape[::-1])).all(axis=2)
    other = sign * (inside[:, None] - _sample_tones(small, at, outward, afar)) >= _MIN_STEP / 2
    if seen.any() and other[seen].mean() < MIN_AGREEMENT:
        return None
    window = 4
    total = np.cumsum(np.pad(tones, ((0, 0), (1, 0))), axis=1)
    means = (total[:, window:] - total[:, :-window]) / window
    rise = sign * (means[:, :-window] - means[:, window:])
    middle = rise[:, reach : rise.shape[1] - reach]
    parted &= middle.max(axis=1) >= _MIN_STEP
    places = at + (middle.argmax(axis=1) + window - 0.5 - reach)[:, None] * outward
    within = ((places >= 0) & (places <= small.shape[::-1])).all(axis=1)
    return fit_line(places[parted], int(within.sum()))


def _sample_tones(
    small: Image, at: Points, outward: NDArray[np.float64], steps: NDArray[np.number]
) -> NDArray[np.float64]:
    """Return the tones `steps` pixels outward from each point, (points, steps)."""
    seen = (at[:, None, :] + steps[:, None] * outward).astype(np.float32)
    tones = cv2.remap(
        small, seen[..., 0], seen[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(tones, np.float64)
