"""Find one printed box or comb near where it is expected, by its lines.

A box has four sides; a comb of n cells has n + 1 upright lines at an even pitch between two level
ones. Each counts by how much of its lines is there, so that faint, dotted or crossed ones, of which
a scan has lost some, still tell the place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.types import Image

Ridges = NDArray[np.floating]

_SIZE: Final = 1.25  # how much larger or smaller than stated a mark may be
_PAPER: Final = 0.026  # of the page's width: the window whose mean is the paper
_RUN: Final = 0.012  # of the page's width: ink this long in a line is a line, not a digit's part
_SURE: Final = 0.4  # of the darkest ink: a line as dark as this along its length is wholly there
_FAINT: Final = 0.25  # an upright line of a comb that is this much there counts as wholly there
_ODD: Final = 0.9  # what a mark e times as wide as stated loses
_PAIRS: Final = 8  # pairs of level lines that are tried as top and bottom of a box


@dataclass(frozen=True, slots=True)
class Edges:
    """The four edges of an upright rectangle, in pixels of the picture that is searched."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        return self.right - self.left

    @property
    def height(self) -> float:
        return self.bottom - self.top

    def moved(self, x: float, y: float) -> Edges:
        return Edges(self.left + x, self.top + y, self.right + x, self.bottom + y)


@dataclass(frozen=True, slots=True)
class Search:
    """Where something is expected, and how far from there, in pixels, it may be.

    At the end of its `reach` it loses `pull` of its fit against what is at its place.
    """

    expected: Edges
    reach: float
    pull: float

    def moved(self, x: float, y: float) -> Search:
        return Search(self.expected.moved(x, y), self.reach, self.pull)


@dataclass(frozen=True, slots=True)
class Found:
    edges: Edges
    fit: float  # 0 to 1: how much of the mark's lines is there


@dataclass(frozen=True, slots=True)
class Lines:
    """How much each pixel lies on a thin level or upright line, 0 to 1, (h, w) both.

    `unit` is the width of the whole page in these pixels.
    """

    level: Ridges
    upright: Ridges
    unit: float


def find_lines(grey: Image, unit: float) -> Lines:
    """Return the thin dark lines of a picture (h, w) of a page that is `unit` pixels wide."""
    window = 2 * round(_PAPER * unit / 2) + 1
    dark = cv2.subtract(cv2.blur(grey, (window, window)), grey)
    # Measured by the darkest ink; on a page with hardly any, by what paper alone does not reach.
    counts = np.cumsum(cv2.calcHist([dark], [0], None, [256], [0, 256]))
    full = _SURE * max(60.0, float(np.searchsorted(counts, 0.99 * dark.size)))
    ink = cv2.LUT(dark, np.clip(np.arange(256) * (255 / full), 0, 255).astype(np.uint8))
    run, side = max(5, round(_RUN * unit)), max(2, round(0.003 * unit))
    rise = max(3, run // 2)
    ridges = []
    for size, down, across in (((run, 1), side, 0), ((1, rise), 0, side)):
        along = cv2.blur(ink, size)
        rows, columns = along.shape
        around = cv2.copyMakeBorder(along, side, side, side, side, cv2.BORDER_REPLICATE)
        before = around[side - down :, side - across :][:rows, :columns]
        after = around[side + down :, side + across :][:rows, :columns]
        ridge = cv2.subtract(along, cv2.max(before, after))
        ridges.append(cv2.convertScaleAbs(ridge, alpha=1.5).astype(np.float32) / 255)
    return Lines(ridges[0], ridges[1], unit)


def find_box(lines: Lines, search: Search) -> Found:
    """Return the box with four sides near where it is expected."""
    return _cut_out(lines, search, _box)


def find_comb(lines: Lines, search: Search, cells: int) -> Found:
    """Return the comb of that many cells of equal width near where it is expected."""
    return _cut_out(lines, search, partial(_comb, cells=cells))


def _cut_out(lines: Lines, search: Search, find: Callable[[Lines, Search], Found]) -> Found:
    """Look in the part of the picture where it can be."""
    rows, columns = lines.level.shape
    expected = search.expected
    wide, high = search.reach + 0.2 * expected.width, search.reach + expected.height
    left = min(max(0, int(expected.left - wide)), columns - 1)
    top = min(max(0, int(expected.top - high)), rows - 1)
    right, bottom = max(left, int(expected.right + wide)), max(top, int(expected.bottom + high))
    part = np.s_[top : bottom + 1, left : right + 1]
    cut = Lines(lines.level[part], lines.upright[part], lines.unit)
    found = find(cut, search.moved(-left, -top))
    return Found(found.edges.moved(left, top), found.fit)


def _comb(lines: Lines, search: Search, *, cells: int) -> Found:
    rows, columns = lines.level.shape
    expected, reach = search.expected, search.reach
    step = max(1, round(lines.unit / 400))
    middle = (expected.top + expected.bottom) / 2
    row, left, width, _ = _best_comb(
        lines,
        search,
        cells,
        _range(middle - reach, middle + reach, step, rows),
        _range(expected.left - reach, expected.left + reach, step, columns),
        np.arange(expected.width / _SIZE, expected.width * _SIZE, 2 * step),
        step,
    )
    row, left, width, fit = _best_comb(
        lines,
        search,
        cells,
        _range(row - step, row + step, 1, rows),
        _range(left - step, left + step, 1, columns),
        np.arange(width - 2 * step, width + 2 * step + 0.1),
        1,
    )
    profile = lines.level[:, left : round(left + width) + 1].mean(axis=1)
    half, near = 0.5 * expected.height, 0.12 * expected.height
    top, bottom = _line_at(profile, row - half, near), _line_at(profile, row + half, near)
    return Found(Edges(left, top, left + width, bottom), max(fit, 0.0))


def _best_comb(
    lines: Lines,
    search: Search,
    cells: int,
    rows: NDArray[np.intp],
    lefts: NDArray[np.intp],
    widths: NDArray[np.float64],
    aside: int,
) -> tuple[int, int, float, float]:
    """Return the row of the middle, the left edge and the width of the best comb, and its fit.

    `aside` is how far from its place each of its lines may be.
    """
    expected = search.expected
    height = expected.height
    first = max(0, int(rows[0] - height))
    part = np.s_[first : int(rows[-1] + height) + 1]
    rows = rows - first
    # Printed lines run from top to bottom, strokes of digits seldom do. Faint lines count as much
    # as strokes do.
    third = max(2, round(0.28 * height))
    wide = cv2.dilate(lines.upright[part], np.ones((1, 2 * aside + 1), np.uint8))
    parts = cv2.blur(wide, (1, third))
    last = len(parts) - 1
    thirds = [parts[np.clip(rows + off, 0, last)] for off in (-third, 0, third)]
    teeth = np.minimum(np.minimum.reduce(thirds) * np.float32(1 / _FAINT), np.float32(1))
    # Above and below, where a line of any likely height may be.
    tall = np.ones((max(3, round(0.3 * height)), 1), np.uint8)
    level = cv2.dilate(lines.level[part], tall)
    half = round(0.52 * height)
    above, below = (level[np.clip(rows + off, 0, last)] for off in (-half, half))
    beams = _summed((above + below) / 2)

    # All widths by all left edges, side by side: (rows, widths * lefts).
    left = np.tile(lefts, len(widths))
    width = np.repeat(widths, len(lefts))
    pitch = width / cells
    edge = teeth.shape[1] - 1

    def places(tooth: float) -> NDArray[np.intp]:
        return np.clip(np.rint(left + tooth * pitch).astype(np.intp), 0, edge)

    there = teeth.take(left, axis=1)
    for tooth in range(1, cells + 1):
        there += teeth.take(places(tooth), axis=1)
    before, after, starts, ends = (
        beams.take(column, axis=1)
        for column in (places(-0.25), places(cells + 0.25), left, places(cells))
    )
    # Just outside, its level lines must have ended; further off there may be print.
    along = (0.4 / width).astype(np.float32)
    beyond = (0.2 * 4 / pitch).astype(np.float32)
    fit = there * np.float32(0.6 / (cells + 1)) + (ends - starts) * along
    fit -= (starts - before + after - ends) * beyond
    down = np.abs(rows + first - (expected.top + expected.bottom) / 2)[:, None]
    aside_by = np.abs(left + width / 2 - (expected.left + expected.right) / 2)[None, :]
    off = np.maximum(aside_by.astype(np.float32), down.astype(np.float32))
    odd = (_ODD * np.abs(np.log(width / expected.width))).astype(np.float32)
    rank = fit - off * np.float32(search.pull / search.reach) - odd
    best = int(rank.argmax())
    row, column = divmod(best, len(left))
    return (int(rows[row]) + first, int(left[column]), float(width[column]), float(fit.flat[best]))


def _box(lines: Lines, search: Search) -> Found:
    expected, reach = search.expected, search.reach
    rows, columns = lines.level.shape
    level = cv2.dilate(lines.level, np.ones((3, 1), np.uint8))
    upright = cv2.dilate(lines.upright, np.ones((1, 3), np.uint8))
    aside = 0.2 * expected.width
    first, last = round(expected.left + aside), round(expected.right - aside)
    profile = level[:, max(0, first) : max(1, last)].mean(axis=1)
    tops = _range(expected.top - reach, expected.top + reach, 1, rows)
    bottoms = _range(expected.bottom - reach, expected.bottom + reach, 1, rows)
    ratio = (bottoms[None, :] - tops[:, None]) / expected.height
    both = profile[tops][:, None] + profile[bottoms][None, :]
    both[(ratio < 1 / _SIZE) | (ratio > _SIZE)] = -1
    step = max(1, round(lines.unit / 500))
    lefts = _range(expected.left - reach, expected.left + reach, step, columns)
    rights = _range(expected.right - reach, expected.right + reach, step, columns)
    width = np.maximum(rights[None, :] - lefts[:, None], 1).astype(np.float32)
    middle = np.float32((expected.left + expected.right) / 2)
    far = np.abs((lefts[:, None] + rights[None, :]).astype(np.float32) / 2 - middle)
    odd = _ODD * np.abs(np.log(width / np.float32(expected.width)))
    outside = round(0.02 * lines.unit)
    beyond = np.clip(rights + outside, 0, columns - 1)
    pairs: list[tuple[int, int]] = []
    while len(pairs) < _PAIRS:
        i, j = divmod(int(both.argmax()), len(bottoms))
        if both[i, j] < 0:
            break
        both[max(0, i - 1) : i + 2, max(0, j - 1) : j + 2] = -1
        pairs.append((int(tops[i]), int(bottoms[j])))
    if not pairs:
        return Found(expected, 0.0)
    top, bottom = np.array(pairs).T
    side = np.stack([upright[first:last].mean(axis=0) for first, last in pairs])
    beams = _summed((level[top] + level[bottom]) / 2)
    beam = (beams[:, None, rights + 1] - beams[:, lefts, None]) / width
    # On the left the lines of the payee often run up to the box.
    after = (beams[:, beyond + 1] - beams[:, rights + 1]) / np.float32(outside)
    fit = 0.5 * beam + 0.25 * (side[:, lefts, None] + (side[:, rights] - 0.6 * after)[:, None])
    off = (np.abs(top + bottom - expected.top - expected.bottom) / 2).astype(np.float32)
    rank = fit - odd - np.float32(search.pull / reach) * np.maximum(far, off[:, None, None])
    n, k, m = np.unravel_index(int(rank.argmax()), rank.shape)
    edges = Edges(float(lefts[k]), float(top[n]), float(rights[m]), float(bottom[n]))
    return Found(edges, max(0.0, float(fit[n, k, m])))


def _range(first: float, last: float, step: int, length: int) -> NDArray[np.intp]:
    """Return the indices from `first` to `last` that there are; at least one."""
    low = min(max(0, round(first)), length - 1)
    return np.arange(low, max(low, min(length - 1, round(last))) + 1, step)


def _summed(ridges: Ridges) -> Ridges:
    """Return the sums of the first 0, 1, ... columns."""
    sums = np.zeros((len(ridges), ridges.shape[1] + 1), ridges.dtype)
    np.cumsum(ridges, axis=1, out=sums[:, 1:])
    return sums


def _line_at(profile: NDArray[np.float32], expected: float, near: float) -> float:
    """Return the row of a level line near `expected`, or `expected` where there is none."""
    low, high = max(0, round(expected - near)), min(len(profile) - 1, round(expected + near))
    if high < low or profile[low : high + 1].max() < _FAINT:
        return expected
    return float(low + profile[low : high + 1].argmax())
