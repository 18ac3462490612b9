"""Find the marks of a template that lie only about where it says.

On forms of one kind but of many printers the date comb and the amount box are in the same corner,
but neither at the same place to the millimetre nor of the same size. So each is looked for by
itself, in a part of a small copy of the page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import cv2
import numpy as np

from pipeline.geometry import Matrix, invert, rotation, scaling, transform_box, translation
from pipeline.placing.frames import find_skew, shrink
from pipeline.placing.printed import Edges, Found, Lines, Search, find_box, find_comb, find_lines
from pipeline.placing.template import Mark
from pipeline.types import Box, Image

WIDTH: Final = 1000  # pixels that the page is brought to: a line 0.2 mm wide is one of them

_LEAST: Final = 200  # pixels of width, below which a comb's lines run together
_SHAPE: Final = 1.3  # how much longer or wider than stated a page may be
_REACH: Final = 0.04  # of the page's width: how far from its place a mark may lie
_NEXT: Final = 0.02  # the same, once another mark has told how the page lies
_PULL: Final = (
    0.3  # what a mark loses at the end of that; of the first, at the end of its reach, half
)
_TELLS: Final = 0.4  # the fit of a mark that tells how the page lies
_GOOD: Final = 0.8  # the score at which the marks are not looked for in another order
_APART: Final = 0.1  # what marks lose that lie as far apart as `_NEXT` from what is stated
_LEVEL: Final = 0.5  # degrees of turn that need not be undone: a mark leans by a pixel or two
_INK: Final = 0.4  # of a whole line: what the turn is measured by
_POINTS: Final = 1500


def match_marks(
    grey: Image, marks: Sequence[Mark], page: tuple[float, float]
) -> tuple[Matrix, tuple[Box, ...], float]:
    """Find every mark near its place on a page, (h, w) grey, turned up to 6 degrees.

    `page` is the size of the template's page. Returns the transform from fractions of it to the
    scan, the box of each mark as found, in those fractions, and the mean fit, 0 to 1.
    """
    rows, columns = grey.shape
    ratio = page[1] / page[0]
    if columns < _LEAST or abs(np.log(rows / columns / ratio)) > np.log(_SHAPE):
        return np.eye(3), tuple(mark.box for mark in marks), 0.0
    unit = min(columns, WIDTH)
    # A page that was cut or fed askew keeps its scale: its width is what it is.
    to_page = scaling(columns, columns * ratio)
    place = {mark.name: _edges(mark.box, unit, ratio) for mark in marks}
    left, top, right, bottom = _window(list(place.values()), unit)
    size = (right - left, bottom - top)
    lines = find_lines(_cut(grey, unit, 0.0, (left, top), size), unit)
    level, upright = ((ridges > _INK).astype(np.uint8) for ridges in (lines.level, lines.upright))
    skew = find_skew(level, upright, points=_POINTS, least=_LEVEL)
    if abs(skew) >= _LEVEL:
        lines = find_lines(_cut(grey, unit, skew, (left, top), size), unit)
        to_page = rotation(skew, (columns / 2, rows / 2)) @ to_page
    places = {name: edges.moved(-left, -top) for name, edges in place.items()}
    # Boxes first: a comb half a cell off its place still looks like one.
    order = sorted(marks, key=lambda mark: mark.cells is not None)
    best, score = _find_all(lines, order, places)
    if score < _GOOD and len(marks) > 1:
        other, rival = _find_all(lines, order[::-1], places)
        if rival > score:
            best = other
    boxes = tuple(_box_of(best[mark.name].edges.moved(left, top), unit, ratio) for mark in marks)
    return to_page, boxes, float(np.mean([found.fit for found in best.values()]))


def _find_all(
    lines: Lines, marks: Sequence[Mark], places: Mapping[str, Edges]
) -> tuple[dict[str, Found], float]:
    """Find one mark after the other; the first that is sure tells where the next ones are.

    Returns them with their mean fit, less what they disagree about how the page lies.
    """
    found: dict[str, Found] = {}
    shifts: list[tuple[float, float]] = []
    x = y = 0.0
    near = _NEXT * lines.unit
    reach, pull = _REACH * lines.unit, _PULL / 2
    for mark in marks:
        place = places[mark.name]
        search = Search(place.moved(x, y), reach, pull)
        cells = mark.cells
        seen = find_box(lines, search) if cells is None else find_comb(lines, search, cells)
        found[mark.name] = seen
        edges = seen.edges
        shift = (
            (edges.left + edges.right - place.left - place.right) / 2,
            (edges.top + edges.bottom - place.top - place.bottom) / 2,
        )
        shifts.append(shift)
        if seen.fit >= _TELLS and reach > near:
            (x, y), reach, pull = shift, near, _PULL
    apart = float(np.ptp(np.array(shifts), axis=0).max()) / near
    return found, float(np.mean([f.fit for f in found.values()])) - _APART * apart


def _edges(box: Box, unit: float, ratio: float) -> Edges:
    # The middle of a pixel is half a pixel from its edges.
    high = unit * ratio
    return Edges(box.x * unit, box.y * high, (box.x + box.w) * unit, (box.y + box.h) * high).moved(
        -0.5, -0.5
    )


def _box_of(edges: Edges, unit: float, ratio: float) -> Box:
    high = unit * ratio
    return Box(
        (edges.left + 0.5) / unit, (edges.top + 0.5) / high, edges.width / unit, edges.height / high
    )


def _window(places: Sequence[Edges], unit: float) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of where all the marks may be, with what is beside."""
    around = 2 * _REACH * unit
    return (
        max(0, int(min(place.left for place in places) - around)),
        max(0, int(min(place.top for place in places) - around)),
        min(round(unit), int(max(place.right for place in places) + around)),
        int(max(place.bottom for place in places) + around),
    )


def _cut(
    grey: Image, unit: float, skew: float, at: tuple[int, int], size: tuple[int, int]
) -> Image:
    """Return a part of the page, of `size` at `at`, `unit` pixels to its width, turned level."""
    scale = grey.shape[1] / unit
    window = Box(*at, *size)
    if skew == 0:
        return _part(grey, scale, window)
    middle = (unit / 2, grey.shape[0] / scale / 2)
    turn = rotation(skew, middle)
    around = transform_box(turn, window)
    origin = (max(0, int(around.x)), max(0, int(around.y)))
    part = _part(grey, scale, Box(*origin, around.w + 1, around.h + 1))
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


def _part(grey: Image, scale: float, window: Box) -> Image:
    left, top = round(window.x * scale), round(window.y * scale)
    right, bottom = round((window.x + window.w) * scale), round((window.y + window.h) * scale)
    return shrink(grey[top:bottom, left:right], scale)[0]
