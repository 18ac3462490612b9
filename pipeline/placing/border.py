"""Find the border printed around a page: a dark band along its four edges, seen in perspective."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from pipeline.geometry import Points, transform_points
from pipeline.placing.outline import (
    IMAGE_EDGE,
    MIN_AGREEMENT,
    SIDE_SAMPLES,
    Outline,
    StraightLine,
    fit_line,
    intersect_lines,
    intersect_sides,
    is_plausible,
    rectify,
    smooth_copy,
)
from pipeline.placing.sheet import SMOOTHING, best_sheet, candidate_quads
from pipeline.types import Image

_REACH: Final = 0.15  # of the page: its printed border lies no farther from the edge
_MAX_LEAN: Final = 6.0  # degrees
_MAX_THICKNESS: Final = 0.03  # of the longer side: a border is thinner
_MIN_STRENGTH: Final = 0.4  # of the ink across the other sides
_UNRIVALLED: Final = 0.9  # the score at which no rival is looked for


def find_border(grey: Image, ratio: float) -> Outline | None:
    """Return the outermost border printed around a page, (h, w) grey; None where there is none.

    It is a dark band along all four edges of the page, or of the sheet on a photograph: solid, or
    of dots and dashes. The outline runs along the middle of the band. `ratio` is the border's width
    over its height: where one long side is cut off, it tells where that side was.
    """
    best = _find_bands(grey, ratio)
    if best is not None and best.score >= _UNRIVALLED:
        return best
    small, scale = smooth_copy(grey, SMOOTHING)
    quads = candidate_quads(small)
    sheet = best_sheet(small, scale, quads)
    # A sliver of what the sheet lies on would look like a border.
    places = [] if sheet is None else [_scaled_outline(sheet.corners, 0.99)]
    # Where the table hides the edge of the sheet, the border may still be seen.
    for quad in quads:
        place = _scaled_outline((quad + 0.5) * scale, 1.1)
        if is_plausible(place.corners, grey.shape):
            places.append(place)
    for place in places:
        flat, to_page = rectify(grey, place)
        found = _find_bands(flat)
        if found is not None and (best is None or found.score > best.score):
            best = Outline(transform_points(to_page, found.corners), found.score)
            if best.score >= _UNRIVALLED:
                break
    return best


def _scaled_outline(corners: Points, factor: float) -> Outline:
    middle = corners.mean(axis=0)
    return Outline(middle + factor * (corners - middle), 0.0)


@dataclass(frozen=True, slots=True)
class _Band:
    """A dark band: `share` of it agrees on `line`; `strength` is how much ink lies across it."""

    line: StraightLine
    share: float
    strength: float


def _find_bands(grey: Image, ratio: float | None = None) -> Outline | None:
    """Return the outline of the dark bands along the four edges of an image.

    With `ratio`, three of them are enough.
    """
    small, scale = smooth_copy(grey, max(3, round(max(grey.shape) / 400) | 1))
    height, width = small.shape
    low, middle = np.percentile(small[::3, ::3], (2, 50))
    least = max(6.0, 0.2 * float(middle - low))
    # Turned counter-clockwise, the right side comes up second, then the lower, then the left.
    bands = [_find_top_band(np.ascontiguousarray(np.rot90(small, n)), least) for n in range(4)]
    kept = {side: band for side, band in enumerate(bands) if band is not None}
    usual = float(np.median([band.strength for band in kept.values()] or [0.0]))
    # A line to write on, near where the border was cut off, has less ink than the border.
    kept = {side: band for side, band in kept.items() if band.strength >= _MIN_STRENGTH * usual}
    lines = {side: _turn_line_back(band.line, side, width, height) for side, band in kept.items()}
    corners = intersect_sides([lines[side] for side in range(4)]) if len(kept) == 4 else None
    if ratio is not None and (
        len(kept) == 3 or (corners is not None and not _has_aspect(corners, ratio))
    ):
        if len(kept) == 4:
            weakest = min(kept, key=lambda side: kept[side].strength)
            del kept[weakest], lines[weakest]
        corners = _complete_rectangle(lines, ratio, (width, height))
    if corners is None or not is_plausible(corners, small.shape):
        return None
    share = float(np.mean([band.share for band in kept.values()]))
    return Outline((corners + 0.5) * scale, share if len(kept) == 4 else 0.9 * share)


def _has_aspect(corners: Points, ratio: float) -> bool:
    width, height = Outline(corners, 0.0).size()
    return 0.87 < width / max(height, 1e-6) / ratio < 1.15


def _complete_rectangle(
    kept: dict[int, StraightLine], ratio: float, size: tuple[int, int]
) -> Points | None:
    """Return the corners where one long side is missing, by the length of the short ones.

    That length follows from `ratio`. None where the image, of (width, height), would show the
    missing side. A missing short side is not completed: its place would be uncertain by a hundredth
    of the width, as cheques and perspectives differ.
    """
    missing = next(side for side in range(4) if side not in kept)
    if (ratio >= 1) is not (missing % 2 == 0):
        return None
    # Named as if the missing side were the upper one.
    right, lower, left = (kept[(missing + turn) % 4] for turn in (1, 2, 3))
    feet = (intersect_lines(right, lower), intersect_lines(lower, left))
    if feet[0] is None or feet[1] is None:
        return None
    length = float(np.hypot(*(feet[0] - feet[1]))) * (ratio if missing % 2 else 1 / ratio)
    outward = np.array([[0, -1], [1, 0], [0, 1], [-1, 0]])[missing]
    tops = [
        foot + length * np.sign(side[2:] @ outward) * side[2:]
        for foot, side in zip(feet, (right, left), strict=True)
    ]
    rim = ((0, 0), (size[0], 0), (0, size[1]), (0, 0))[missing]
    if min((top - rim) @ outward for top in tops) < -IMAGE_EDGE * max(size):
        return None
    return np.roll(np.array([tops[1], tops[0], feet[0], feet[1]]), missing, axis=0)


def _find_top_band(image: Image, least: float) -> _Band | None:
    """Return the outermost dark band that runs along the upper edge.

    It is `least` grey levels darker than what is above and below it, as far as the image shows.
    """
    width = image.shape[1]
    reach = round(_REACH * image.shape[0])
    if min(reach, width) < 8:
        return None
    part = image[: 2 * reach]
    height = part.shape[0]
    # What is thicker than the kernel is no band: a table that the sheet lies on.
    kernel = np.ones((max(5, round(_MAX_THICKNESS * max(image.shape))), 1), np.uint8)
    dark = cv2.morphologyEx(part, cv2.MORPH_BLACKHAT, kernel)
    dark = np.asarray(cv2.threshold(dark, least, 0, cv2.THRESH_TOZERO)[1], np.uint8)
    ink = np.asarray(cv2.dilate((dark > 0).astype(np.uint8), np.ones((3, 1), np.uint8)))
    columns = np.linspace(0.06 * width, 0.94 * width, 80).astype(np.intp)
    slopes = np.tan(np.radians(np.arange(-_MAX_LEAN, _MAX_LEAN + 0.01, 0.5)))
    drops = np.rint(slopes[:, None] * (columns - width / 2)).astype(np.intp)
    # Rows are those of the line's middle; beyond the image there is no ink.
    most = int(drops.max())
    blank = np.pad(ink[:, columns], ((most, most + reach), (0, 0)))
    rows = np.arange(most, most + reach)[None, :, None] + drops[:, None, :]
    covered = blank[rows, np.arange(len(columns))].mean(axis=2)  # (slopes, rows)
    some = np.flatnonzero(covered.max(axis=0) >= MIN_AGREEMENT)
    if len(some) == 0:
        return None
    band = covered[:, : int(some[0]) + max(4, width // 100)]
    slope, row = np.unravel_index(int(band.argmax()), band.shape)
    # The middle of the band, column by column.
    near = max(3, width // 120)
    offsets = np.arange(-near, near + 1)
    columns = np.linspace(0.02 * width, 0.98 * width, 4 * SIDE_SAMPLES).astype(np.intp)
    lines = row + slopes[slope] * (columns - width / 2)
    rows = np.clip(np.rint(lines).astype(np.intp)[:, None] + offsets, 0, height - 1)
    weight = dark[rows, columns[:, None]].astype(np.float64)
    total = weight.sum(axis=1)
    middle = (weight * rows).sum(axis=1) / np.maximum(total, 1e-9)
    points = np.stack([columns, middle], axis=1)[total > 0]
    found = fit_line(points, len(columns))
    return None if found is None else _Band(*found, float(np.median(total)))


def _turn_line_back(line: StraightLine, turns: int, width: int, height: int) -> StraightLine:
    """Return a line of an image turned counter-clockwise by quarter turns, in the image itself."""
    x, y, dx, dy = line
    for quarter in range(turns, 0, -1):
        # The image before this turn was as wide as the turned one is high.
        before = width if quarter % 2 == 1 else height
        x, y, dx, dy = before - 1 - y, x, -dy, dx
    return np.array([x, y, dx, dy])
