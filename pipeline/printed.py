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

Ridges = NDArray[np.float32]

_SIZE: Final = 1.25  # how much larger or smaller than stated a mark may be
_PAPER: Final = 0.026  # of the page's width: the window whose mean is the paper
_RUN: Final = 0.012  # of the page's width: ink this long in a line is a line, not a digit's part
_SURE: Final = 0.4  # of the darkest ink: a line as dark as this along its length is wholly there
_FAINT: Final = 0.25  # an upright line of a comb that is this much there counts as wholly there
_AWAY: Final = 0.3  # what a mark at the end of its range loses against one at its place
_ODD: Final = 0.9  # what a mark e times as wide as stated loses
_PAIRS: Final = 12  # pairs of level lines that are tried as top and bottom of a box


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


def find_box(lines: Lines, expected: Edges, *, reach: float) -> Found:
    """Return the box with four sides near where it is expected.

    `reach` is how far its place may be from there, in pixels.
    """
    return _cut_out(lines, expected, reach, _box)


def find_comb(lines: Lines, expected: Edges, cells: int, *, reach: float) -> Found:
    """Return the comb of that many cells of equal width; the rest as of `find_box`."""
    return _cut_out(lines, expected, reach, partial(_comb, cells=cells))


def _cut_out(lines: Lines, expected: Edges, reach: float, find: Callable[..., Found]) -> Found:
    """Look for a mark in the part of the picture where it can be."""
    rows, columns = lines.level.shape
    wide, high = reach + 0.2 * expected.width, reach + expected.height
    left = min(max(0, int(expected.left - wide)), columns - 1)
    top = min(max(0, int(expected.top - high)), rows - 1)
    right, bottom = max(left, int(expected.right + wide)), max(top, int(expected.bottom + high))
    part = np.s_[top : bottom + 1, left : right + 1]
    found = find(
        Lines(lines.level[part], lines.upright[part], lines.unit),
        expected.moved(-left, -top),
        reach=reach,
    )
    return Found(found.edges.moved(left, top), found.fit)


def _comb(lines: Lines, expected: Edges, *, cells: int, reach: float) -> Found:
    step = max(1, round(lines.unit / 400))
    middle = (expected.top + expected.bottom) / 2
    coarse = _Comb(lines, expected, cells, reach, step)
    row, left, width, _ = coarse.best(
        _range(middle - reach, middle + reach, step, lines.level.shape[0]),
        _range(expected.left - reach, expected.left + reach, step, lines.level.shape[1]),
        np.arange(expected.width / _SIZE, expected.width * _SIZE, 2 * step),
    )
    fine = _Comb(lines, expected, cells, reach, 1)
    row, left, width, fit = fine.best(
        _range(row - step, row + step, 1, lines.level.shape[0]),
        _range(left - step, left + step, 1, lines.level.shape[1]),
        np.arange(width - 2 * step, width + 2 * step + 0.1),
    )
    profile = lines.level[:, left : round(left + width) + 1].mean(axis=1)
    height = expected.height
    top = _peak(profile, row - 0.7 * height, row - 0.35 * height)
    bottom = _peak(profile, row + 0.35 * height, row + 0.7 * height)
    return Found(Edges(left, top, left + width, bottom), max(fit, 0.0))


class _Comb:
    """What each place, row of the middle by left edge by width, has of a comb."""

    def __init__(
        self, lines: Lines, expected: Edges, cells: int, reach: float, blur: int
    ) -> None:
        self._expected, self._cells, self._reach = expected, cells, reach
        height = expected.height
        # An upright line may be aside: the pitch is no whole number of pixels.
        wide = cv2.dilate(lines.upright, np.ones((1, 2 * blur + 1), np.uint8))
        # Printed lines run from top to bottom, strokes of digits seldom do. Faint lines count as much as
        # strokes do.
        third = max(2, round(0.28 * height))
        parts = np.minimum(cv2.blur(wide, (1, third)) / _FAINT, 1)
        self._teeth = np.minimum(np.minimum(_lower(parts, -third), _lower(parts, third)), parts)
        # Above and below, where a line of any likely height may be.
        tall = np.ones((max(3, round(0.3 * height)), 1), np.uint8)
        level = cv2.dilate(lines.level, tall)
        half = round(0.52 * height)
        self._beams = _summed((_lower(level, -half) + _lower(level, half)) / 2)

    def best(
        self, rows: NDArray[np.intp], lefts: NDArray[np.intp], widths: NDArray[np.float64]
    ) -> tuple[int, int, float, float]:
        """Return the row, left edge and width of the best place, and how much is there of it."""
        expected, cells = self._expected, self._cells
        last = self._teeth.shape[1] - 1
        teeth, beams = self._teeth[rows], self._beams[rows]
        down = np.abs(rows - (expected.top + expected.bottom) / 2)[:, None]
        centre = (expected.left + expected.right) / 2
        highest, found = -np.inf, (0, 0, 0.0, 0.0)
        for width in widths:
            pitch = width / cells
            steps = np.r_[-0.25, np.arange(cells + 1), cells + 0.25]
            places = np.clip(np.rint(lefts[:, None] + pitch * steps).astype(np.intp), 0, last)
            there = teeth[:, places[:, 1:-1]].mean(axis=2)
            before, starts, ends, after = (beams[:, places[:, i]] for i in (0, 1, -2, -1))
            beam = (ends - starts) / width
            # Just outside, its level lines must have ended; further off there may be print.
            beyond = (starts - before + after - ends) / (pitch / 4)
            fit = 0.6 * there + 0.4 * beam - 0.2 * beyond
            far = np.maximum(np.abs(lefts + width / 2 - centre)[None, :], down) / self._reach
            rank = fit - _AWAY * far - _ODD * abs(np.log(width / expected.width))
            place = int(rank.argmax())
            if rank.flat[place] > highest:
                highest = float(rank.flat[place])
                row, left = divmod(place, len(lefts))
                found = int(rows[row]), int(lefts[left]), float(width), float(fit.flat[place])
        return found


def _box(lines: Lines, expected: Edges, *, reach: float) -> Found:
    rows, columns = lines.level.shape
    level = cv2.dilate(lines.level, np.ones((3, 1), np.uint8))
    upright = cv2.dilate(lines.upright, np.ones((1, 3), np.uint8))
    sums, stacks = _summed(level), _summed(upright.T).T
    aside = 0.2 * expected.width
    first, last = round(expected.left + aside), round(expected.right - aside)
    profile = level[:, max(0, first) : max(1, last)].mean(axis=1)
    tops = _range(expected.top - reach, expected.top + reach, 1, rows)
    bottoms = _range(expected.bottom - reach, expected.bottom + reach, 1, rows)
    ratio = (bottoms[None, :] - tops[:, None]) / expected.height
    both = profile[tops][:, None] + profile[bottoms][None, :]
    both[(ratio < 1 / _SIZE) | (ratio > _SIZE)] = -1
    lefts = _range(expected.left - reach, expected.left + reach, 1, columns)
    rights = _range(expected.right - reach, expected.right + reach, 1, columns)
    width = np.maximum(rights[None, :] - lefts[:, None], 1).astype(np.float32)
    far = np.abs(lefts[:, None] + rights[None, :] - expected.left - expected.right) / 2
    odd = _ODD * np.abs(np.log(width / np.float32(expected.width)))
    outside = round(0.02 * lines.unit)
    beyond = np.clip(rights + outside, 0, columns - 1)
    best, found = -np.inf, Found(expected, 0.0)
    for _ in range(_PAIRS):
        place = int(both.argmax())
        i, j = divmod(place, len(bottoms))
        if both[i, j] < 0:
            break
        both[max(0, i - 1) : i + 2, max(0, j - 1) : j + 2] = -1
        top, bottom = int(tops[i]), int(bottoms[j])
        side = (stacks[bottom] - stacks[top]) / (bottom - top)
        beams = (sums[top] + sums[bottom]) / 2
        beam = (beams[rights + 1][None, :] - beams[lefts][:, None]) / width
        # On the left the lines of the payee often run up to the box.
        after = (beams[beyond + 1] - beams[rights + 1]) / outside
        fit = 0.5 * beam + 0.25 * (side[lefts][:, None] + side[rights] - 0.6 * after)
        down = abs(top + bottom - expected.top - expected.bottom) / 2
        rank = fit - odd - _AWAY * np.maximum(far, down) / reach
        place = int(rank.argmax())
        if rank.flat[place] > best:
            best = float(rank.flat[place])
            k, m = divmod(place, len(rights))
            edges = Edges(float(lefts[k]), float(top), float(rights[m]), float(bottom))
            found = Found(edges, max(0.0, float(fit.flat[place])))
    return found


def _range(first: float, last: float, step: int, length: int) -> NDArray[np.intp]:
    """Return the indices from `first` to `last` that there are; at least one."""
    low = min(max(0, round(first)), length - 1)
    return np.arange(low, max(low, min(length - 1, round(last))) + 1, step)


def _lower(ridges: Ridges, by: int) -> Ridges:
    """Return what is `by` rows further down."""
    return ridges[np.clip(np.arange(len(ridges)) + by, 0, len(ridges) - 1)]


def _summed(ridges: Ridges) -> Ridges:
    """Return the sums of the first 0, 1, ... columns."""
    return np.pad(ridges.cumsum(axis=1), ((0, 0), (1, 0)))


def _peak(profile: NDArray[np.float32], first: float, last: float) -> float:
    low, high = max(0, round(first)), min(len(profile) - 1, round(last))
    if high <= low:
        return (first + last) / 2
    return float(low + profile[low : high + 1].argmax())
