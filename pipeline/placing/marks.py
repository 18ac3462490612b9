"""Find the marks of a template whose frames are loose: each may lie a little off its place.

On forms of one kind from many printers the date comb and the amount box are in the same corner,
but neither at the same place to the millimetre nor of the same size. So each is looked for by
itself, in a part of a small copy of the page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from pipeline.geometry import Matrix, invert, rotation, scaling, transform_box, translation
from pipeline.placing.page_rules import downscale, find_skew
from pipeline.placing.printed import (
    Bounds,
    FoundMark,
    RidgeMaps,
    SearchWindow,
    find_printed_box,
    find_printed_comb,
    find_ridges,
)
from pipeline.placing.template import Mark
from pipeline.types import Box, Image

_COPY_WIDTH: Final = 1000  # pixels: on a copy this wide a line of 0.2 mm is one pixel
_MIN_WIDTH: Final = 200  # pixels of a page, below which a comb's lines run together
_MAX_ASPECT: Final = 1.3  # how much longer or wider than stated a page may be
_REACH: Final = 0.04  # of the page's width: how far from its place a mark may lie
_REACH_NEXT: Final = 0.02  # the same, once another mark has shown how the page lies
_PULL: Final = 0.3  # what a mark loses at the end of its reach; the first mark loses half of it
_MIN_GUIDE: Final = 0.4  # the fit of a mark that shows how the page lies
_UNRIVALLED: Final = 0.8  # the score at which the marks are not looked for in another order
_APART_LOSS: Final = 0.1  # what marks lose whose shifts differ by `_REACH_NEXT`
_MIN_SKEW: Final = 0.5  # degrees: less need not be undone, a mark leans by a pixel or two
_RIDGE: Final = 0.4  # of a whole line: the skew is measured on pixels above this
_SKEW_POINTS: Final = 1500


@dataclass(frozen=True, slots=True)
class MarksMatch:
    """Where the marks of a template lie on a scan.

    `matrix` takes fractions of the template's page to the scan. For each mark, `boxes` has its box
    as found, in the same fractions, and `fits` how well it was found, 0 to 1.
    """

    matrix: Matrix
    boxes: tuple[Box, ...]
    fits: tuple[float, ...]

    @property
    def score(self) -> float:
        """The mean fit, 0 to 1."""
        return float(np.mean(self.fits))


def match_marks(grey: Image, marks: Sequence[Mark], page: tuple[float, float]) -> MarksMatch:
    """Find every mark near its place on a page, (h, w) grey, turned up to 6 degrees.

    `page` is the (width, height) of the template's page in any unit.
    """
    rows, columns = grey.shape
    ratio = page[1] / page[0]
    if columns < _MIN_WIDTH or abs(np.log(rows / columns / ratio)) > np.log(_MAX_ASPECT):
        return MarksMatch(np.eye(3), tuple(mark.box for mark in marks), (0.0,) * len(marks))
    width = min(columns, _COPY_WIDTH)
    # A page that was cut short or fed askew keeps its scale: its width counts, not its height.
    to_page = scaling(columns, columns * ratio)
    on_page = {mark.name: _to_bounds(mark.box, width, ratio) for mark in marks}
    left, top, right, bottom = _window(list(on_page.values()), width)
    size = (right - left, bottom - top)
    ridges = find_ridges(_cut_level(grey, width, 0.0, (left, top), size), width)
    horizontal, vertical = (
        (ridge > _RIDGE).astype(np.uint8) for ridge in (ridges.horizontal, ridges.vertical)
    )
    skew = find_skew(horizontal, vertical, points=_SKEW_POINTS, least=_MIN_SKEW)
    if abs(skew) >= _MIN_SKEW:
        ridges = find_ridges(_cut_level(grey, width, skew, (left, top), size), width)
        to_page = rotation(skew, (columns / 2, rows / 2)) @ to_page
    places = {name: bounds.moved(-left, -top) for name, bounds in on_page.items()}
    # Boxes first: a comb half a cell off its place still looks like one.
    order = sorted(marks, key=lambda mark: mark.cells is not None)
    best, score = _find_all(ridges, order, places)
    if score < _UNRIVALLED and len(marks) > 1:
        other, rival = _find_all(ridges, order[::-1], places)
        if rival > score:
            best = other
    boxes = tuple(_to_box(best[mark.name].bounds.moved(left, top), width, ratio) for mark in marks)
    return MarksMatch(to_page, boxes, tuple(best[mark.name].fit for mark in marks))


def _find_all(
    ridges: RidgeMaps, marks: Sequence[Mark], places: Mapping[str, Bounds]
) -> tuple[dict[str, FoundMark], float]:
    """Find one mark after the other; the first that fits shows where the next ones are expected.

    Returns them with their mean fit, less a loss by how much their shifts differ.
    """
    found: dict[str, FoundMark] = {}
    shifts: list[tuple[float, float]] = []
    x = y = 0.0
    near = _REACH_NEXT * ridges.page_width
    reach, pull = _REACH * ridges.page_width, _PULL / 2
    for mark in marks:
        place = places[mark.name]
        search = SearchWindow(place.moved(x, y), reach, pull)
        if mark.cells is None:
            seen = find_printed_box(ridges, search)
        else:
            seen = find_printed_comb(ridges, search, mark.cells)
        found[mark.name] = seen
        bounds = seen.bounds
        shift = (
            (bounds.left + bounds.right - place.left - place.right) / 2,
            (bounds.top + bounds.bottom - place.top - place.bottom) / 2,
        )
        shifts.append(shift)
        if seen.fit >= _MIN_GUIDE and reach > near:
            (x, y), reach, pull = shift, near, _PULL
    apart = float(np.ptp(np.array(shifts), axis=0).max()) / near
    return found, float(np.mean([f.fit for f in found.values()])) - _APART_LOSS * apart


def _to_bounds(box: Box, width: float, ratio: float) -> Bounds:
    """Return a box in fractions of the page in pixels of the copy, which is `width` wide."""
    height = width * ratio
    right, bottom = (box.x + box.w) * width, (box.y + box.h) * height
    # The middle of a pixel is half a pixel from its edges.
    return Bounds(box.x * width, box.y * height, right, bottom).moved(-0.5, -0.5)


def _to_box(bounds: Bounds, width: float, ratio: float) -> Box:
    """Undo `_to_bounds`."""
    height = width * ratio
    return Box(
        (bounds.left + 0.5) / width,
        (bounds.top + 0.5) / height,
        bounds.width / width,
        bounds.height / height,
    )


def _window(places: Sequence[Bounds], width: float) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of where the marks may be, with as much again around."""
    around = 2 * _REACH * width
    return (
        max(0, int(min(place.left for place in places) - around)),
        max(0, int(min(place.top for place in places) - around)),
        min(round(width), int(max(place.right for place in places) + around)),
        int(max(place.bottom for place in places) + around),
    )


def _cut_level(
    grey: Image, width: float, skew: float, at: tuple[int, int], size: tuple[int, int]
) -> Image:
    """Return the part of `size` at `at` of a copy of the page that is `width` wide and level."""
    scale = grey.shape[1] / width
    window = Box(*at, *size)
    if skew == 0:
        return _cut_small(grey, scale, window)
    middle = (width / 2, grey.shape[0] / scale / 2)
    turn = rotation(skew, middle)
    around = transform_box(turn, window)
    origin = (max(0, int(around.x)), max(0, int(around.y)))
    part = _cut_small(grey, scale, Box(*origin, around.w + 1, around.h + 1))
    if part.size == 0:
        return np.full(size[::-1], 255, np.uint8)
    half = translation(0.5, 0.5)  # OpenCV counts from pixels' middles
    level = cv2.warpAffine(
        part,
        (invert(half) @ translation(-origin[0], -origin[1]) @ turn @ translation(*at) @ half)[:2],
        size,
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderValue=float(np.median(part[::8, ::8])),
    )
    return np.asarray(level, np.uint8)


def _cut_small(grey: Image, scale: float, window: Box) -> Image:
    """Return a window of a copy of the page that is `scale` times smaller."""
    left, top = round(window.x * scale), round(window.y * scale)
    right, bottom = round((window.x + window.w) * scale), round((window.y + window.h) * scale)
    return downscale(grey[top:bottom, left:right], scale)[0]
