"""Find one printed box or comb near where it is expected, by its lines.

A box has four sides. A comb of n cells has n + 1 vertical lines at an even pitch between two
horizontal ones. Each line counts by how much of it is there, so that lines that are faint, dotted,
crossed or partly lost in the scan still contribute.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.imageops import as_image, cumulative_histogram, quantile
from pipeline.types import Image

FloatImage = NDArray[np.floating]

_MAX_RESIZE: Final = 1.25  # how much larger or smaller than stated a mark may be
_PAPER_WINDOW: Final = 0.026  # of the page's width: the window whose mean is the paper
_MIN_RUN: Final = 0.012  # of the page's width: ink in a shorter line may be part of a digit
_SOLID: Final = 0.4  # of the darkest ink: a line this dark along its length is wholly there
_FAINT: Final = 0.25  # a vertical line of a comb that is this much there counts as wholly there
_WIDTH_LOSS: Final = 0.9  # what a mark e times as wide as stated loses
_PAIRS: Final = 8  # pairs of horizontal lines that are tried as top and bottom of a box


@dataclass(frozen=True, slots=True)
class Bounds:
    """The four sides of an upright rectangle, in pixels of the picture that is searched."""

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

    def moved(self, x: float, y: float) -> Bounds:
        return Bounds(self.left + x, self.top + y, self.right + x, self.bottom + y)


@dataclass(frozen=True, slots=True)
class SearchWindow:
    """Where a mark is expected, and how many pixels from there it may be.

    A mark at the end of the `reach` loses `pull` of its fit against one at the expected place.
    """

    expected: Bounds
    reach: float
    pull: float

    def moved(self, x: float, y: float) -> SearchWindow:
        return SearchWindow(self.expected.moved(x, y), self.reach, self.pull)


@dataclass(frozen=True, slots=True)
class FoundMark:
    bounds: Bounds
    fit: float  # 0 to 1: how much of the mark's lines is there


@dataclass(frozen=True, slots=True)
class RidgeMaps:
    """How much each pixel lies on a thin horizontal or vertical line, 0 to 1, (h, w) both.

    `page_width` is the width of the whole page in these pixels.
    """

    horizontal: FloatImage
    vertical: FloatImage
    page_width: float


def find_ridges(grey: Image, page_width: float) -> RidgeMaps:
    """Return the thin dark lines of a picture, (h, w), of a page that is so many pixels wide."""
    window = 2 * round(_PAPER_WINDOW * page_width / 2) + 1
    dark = cv2.subtract(cv2.blur(grey, (window, window)), grey)
    # Relative to the darkest ink; on a page with hardly any, to what paper alone does not reach.
    counts = cumulative_histogram(as_image(dark))
    full = _SOLID * max(60.0, quantile(counts, 0.99, "inverted_cdf"))
    ink = cv2.LUT(dark, np.clip(np.arange(256) * (255 / full), 0, 255).astype(np.uint8))
    run, side = max(5, round(_MIN_RUN * page_width)), max(2, round(0.003 * page_width))
    rise = max(3, run // 2)
    maps = []
    for size, down, across in (((run, 1), side, 0), ((1, rise), 0, side)):
        along = cv2.blur(ink, size)
        rows, columns = along.shape
        around = cv2.copyMakeBorder(along, side, side, side, side, cv2.BORDER_REPLICATE)
        before = around[side - down :, side - across :][:rows, :columns]
        after = around[side + down :, side + across :][:rows, :columns]
        ridge = cv2.subtract(along, cv2.max(before, after))
        maps.append(cv2.convertScaleAbs(ridge, alpha=1.5).astype(np.float32) / 255)
    return RidgeMaps(maps[0], maps[1], page_width)


def find_printed_box(ridges: RidgeMaps, search: SearchWindow) -> FoundMark:
    """Return the box with four sides near where it is expected."""
    return _crop_and_find(ridges, search, _find_box)


def find_printed_comb(ridges: RidgeMaps, search: SearchWindow, cells: int) -> FoundMark:
    """Return the comb of so many cells of equal width near where it is expected."""
    return _crop_and_find(ridges, search, partial(_find_comb, cells=cells))


def _crop_and_find(
    ridges: RidgeMaps,
    search: SearchWindow,
    find: Callable[[RidgeMaps, SearchWindow], FoundMark],
) -> FoundMark:
    """Look only at the part of the picture where the mark can be."""
    rows, columns = ridges.horizontal.shape
    expected = search.expected
    wide, high = search.reach + 0.2 * expected.width, search.reach + expected.height
    left = min(max(0, int(expected.left - wide)), columns - 1)
    top = min(max(0, int(expected.top - high)), rows - 1)
    right, bottom = max(left, int(expected.right + wide)), max(top, int(expected.bottom + high))
    part = np.s_[top : bottom + 1, left : right + 1]
    crop = RidgeMaps(ridges.horizontal[part], ridges.vertical[part], ridges.page_width)
    found = find(crop, search.moved(-left, -top))
    return FoundMark(found.bounds.moved(left, top), found.fit)


def _find_comb(ridges: RidgeMaps, search: SearchWindow, *, cells: int) -> FoundMark:
    rows, columns = ridges.horizontal.shape
    expected, reach = search.expected, search.reach
    step = max(1, round(ridges.page_width / 400))
    middle = (expected.top + expected.bottom) / 2
    row, left, width, _ = _best_fit(
        ridges,
        search,
        cells,
        _indices(middle - reach, middle + reach, step, rows),
        _indices(expected.left - reach, expected.left + reach, step, columns),
        np.arange(expected.width / _MAX_RESIZE, expected.width * _MAX_RESIZE, 2 * step),
        step,
    )
    row, left, width, fit = _best_fit(
        ridges,
        search,
        cells,
        _indices(row - step, row + step, 1, rows),
        _indices(left - step, left + step, 1, columns),
        np.arange(width - 2 * step, width + 2 * step + 0.1),
        1,
    )
    profile = ridges.horizontal[:, left : round(left + width) + 1].mean(axis=1)
    half, near = 0.5 * expected.height, 0.12 * expected.height
    top, bottom = _line_near(profile, row - half, near), _line_near(profile, row + half, near)
    return FoundMark(Bounds(left, top, left + width, bottom), max(fit, 0.0))


def _best_fit(
    ridges: RidgeMaps,
    search: SearchWindow,
    cells: int,
    rows: NDArray[np.intp],
    lefts: NDArray[np.intp],
    widths: NDArray[np.float64],
    aside: int,
) -> tuple[int, int, float, float]:
    """Return the middle row, the left edge and the width of the best comb, and its fit.

    `rows`, `lefts` and `widths` are those that are tried, all with all; each line of a comb may
    be up to `aside` pixels from its place.
    """
    expected = search.expected
    height = expected.height
    first = max(0, int(rows[0] - height))
    part = np.s_[first : int(rows[-1] + height) + 1]
    rows = rows - first
    # Printed lines run from top to bottom, strokes of digits seldom do. Faint lines count as much
    # as strokes do.
    third = max(2, round(0.28 * height))
    wide = cv2.dilate(ridges.vertical[part], np.ones((1, 2 * aside + 1), np.uint8))
    parts = cv2.blur(wide, (1, third))
    last = len(parts) - 1
    thirds = [parts[np.clip(rows + off, 0, last)] for off in (-third, 0, third)]
    teeth = np.minimum(np.minimum.reduce(thirds) * np.float32(1 / _FAINT), np.float32(1))
    # Above and below, where a line of any likely height may be.
    tall = np.ones((max(3, round(0.3 * height)), 1), np.uint8)
    horizontal = cv2.dilate(ridges.horizontal[part], tall)
    half = round(0.52 * height)
    above, below = (horizontal[np.clip(rows + off, 0, last)] for off in (-half, half))
    beams = _prefix_sums((above + below) / 2)

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
    # Its horizontal lines must end just outside of it; farther off there may be print.
    along = (0.4 / width).astype(np.float32)
    beyond = (0.2 * 4 / pitch).astype(np.float32)
    fit = there * np.float32(0.6 / (cells + 1)) + (ends - starts) * along
    fit -= (starts - before + after - ends) * beyond
    down = np.abs(rows + first - (expected.top + expected.bottom) / 2)[:, None]
    sideways = np.abs(left + width / 2 - (expected.left + expected.right) / 2)[None, :]
    off = np.maximum(sideways.astype(np.float32), down.astype(np.float32))
    loss = (_WIDTH_LOSS * np.abs(np.log(width / expected.width))).astype(np.float32)
    rank = fit - off * np.float32(search.pull / search.reach) - loss
    best = int(rank.argmax())
    row, column = divmod(best, len(left))
    return (int(rows[row]) + first, int(left[column]), float(width[column]), float(fit.flat[best]))


def _find_box(ridges: RidgeMaps, search: SearchWindow) -> FoundMark:
    expected, reach = search.expected, search.reach
    rows, columns = ridges.horizontal.shape
    horizontal = cv2.dilate(ridges.horizontal, np.ones((3, 1), np.uint8))
    vertical = cv2.dilate(ridges.vertical, np.ones((1, 3), np.uint8))
    aside = 0.2 * expected.width
    first, last = round(expected.left + aside), round(expected.right - aside)
    profile = horizontal[:, max(0, first) : max(1, last)].mean(axis=1)
    tops = _indices(expected.top - reach, expected.top + reach, 1, rows)
    bottoms = _indices(expected.bottom - reach, expected.bottom + reach, 1, rows)
    ratio = (bottoms[None, :] - tops[:, None]) / expected.height
    both = profile[tops][:, None] + profile[bottoms][None, :]
    both[(ratio < 1 / _MAX_RESIZE) | (ratio > _MAX_RESIZE)] = -1
    step = max(1, round(ridges.page_width / 500))
    lefts = _indices(expected.left - reach, expected.left + reach, step, columns)
    rights = _indices(expected.right - reach, expected.right + reach, step, columns)
    width = np.maximum(rights[None, :] - lefts[:, None], 1).astype(np.float32)
    middle = np.float32((expected.left + expected.right) / 2)
    far = np.abs((lefts[:, None] + rights[None, :]).astype(np.float32) / 2 - middle)
    loss = _WIDTH_LOSS * np.abs(np.log(width / np.float32(expected.width)))
    outside = round(0.02 * ridges.page_width)
    beyond = np.clip(rights + outside, 0, columns - 1)
    pairs: list[tuple[int, int]] = []
    while len(pairs) < _PAIRS:
        i, j = divmod(int(both.argmax()), len(bottoms))
        if both[i, j] < 0:
            break
        both[max(0, i - 1) : i + 2, max(0, j - 1) : j + 2] = -1
        pairs.append((int(tops[i]), int(bottoms[j])))
    if not pairs:
        return FoundMark(expected, 0.0)
    top, bottom = np.array(pairs).T
    side = np.stack([vertical[first:last].mean(axis=0) for first, last in pairs])
    beams = _prefix_sums((horizontal[top] + horizontal[bottom]) / 2)
    beam = (beams[:, None, rights + 1] - beams[:, lefts, None]) / width
    # On the left the lines of the payee often run up to the box.
    after = (beams[:, beyond + 1] - beams[:, rights + 1]) / np.float32(outside)
    fit = 0.5 * beam + 0.25 * (side[:, lefts, None] + (side[:, rights] - 0.6 * after)[:, None])
    off = (np.abs(top + bottom - expected.top - expected.bottom) / 2).astype(np.float32)
    rank = fit - loss - np.float32(search.pull / reach) * np.maximum(far, off[:, None, None])
    n, k, m = np.unravel_index(int(rank.argmax()), rank.shape)
    bounds = Bounds(float(lefts[k]), float(top[n]), float(rights[m]), float(bottom[n]))
    return FoundMark(bounds, max(0.0, float(fit[n, k, m])))


def _indices(first: float, last: float, step: int, length: int) -> NDArray[np.intp]:
    """Return every `step`-th index from `first` to `last` within `length`; at least one."""
    low = min(max(0, round(first)), length - 1)
    return np.arange(low, max(low, min(length - 1, round(last))) + 1, step)


def _prefix_sums(ridges: FloatImage) -> FloatImage:
    """Return the sums of the first 0, 1, ... columns."""
    sums = np.zeros((len(ridges), ridges.shape[1] + 1), ridges.dtype)
    np.cumsum(ridges, axis=1, out=sums[:, 1:])
    return sums


def _line_near(profile: NDArray[np.float32], expected: float, near: float) -> float:
    """Return the row of a horizontal line near `expected`, or `expected` where there is none."""
    low, high = max(0, round(expected - near)), min(len(profile) - 1, round(expected + near))
    if high < low or profile[low : high + 1].max() < _FAINT:
        return expected
    return float(low + profile[low : high + 1].argmax())
