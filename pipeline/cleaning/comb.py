"""Find the cells of a comb: a box for each digit, between separators at a regular distance.

A separator may be faint or dotted, and none of the threshold's ink; but it is there in nearly
every row of the box, as no stroke of a digit is, and its neighbours stand at the same distance.
So the columns are judged by the darkness that nearly all of their rows have, and then the grid is
sought that has the most of its lines on such columns.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.cleaning.rules import Floats, Rule, Ruling, trace
from pipeline.types import Image

FEWEST: Final = 4  # cells: fewer are no grid
MOST: Final = 20
FAINT: Final = 10.0  # of 255: a separator of a 25th of the ink's darkness is one still
_ROWS: Final = 0.12  # share of a separator's rows that may be missing
_PITCH: Final = (0.55, 2.4)  # a cell's width over its height
_LEVELS: Final = 5  # level lines looked at where the borders are not plain
_PLAIN: Final = 0.45  # of a grid whose lines and borders are all there
_PEAKS: Final = 20  # the strongest: a comb's lines and some spare


@dataclass(frozen=True, slots=True)
class Comb:
    """A row of cells between the level rules `top` and `bottom`.

    `edges` are the columns of the n + 1 separators half way down, `seen` where one is printed.
    `lean` is columns a row, 0 where upright. `closed` says of the first and the last edge whether
    the box surely ends there.
    """

    top: Rule
    bottom: Rule
    edges: Floats
    seen: NDArray[np.bool_]
    lean: float
    closed: tuple[bool, bool]
    others: Floats  # the columns of further sides, where the cells are boxes apart

    @property
    def cells(self) -> int:
        return len(self.edges) - 1

    @property
    def height(self) -> float:
        return self.bottom.place - self.top.place

    def scaled(self, scale: float, width: int) -> Comb:
        """Return the comb in an image `scale` times as large, `width` pixels wide."""
        return replace(
            self,
            top=self.top.scaled(scale, width),
            bottom=self.bottom.scaled(scale, width),
            edges=(self.edges + 0.5) * scale - 0.5,
            others=(self.others + 0.5) * scale - 0.5,
        )

    def rule(self, column: float, thickness: float) -> Rule:
        """Return a separator at `column` half way down as an upright rule."""
        x = np.array([column])
        top, bottom = float(self.top.at(x)[0]), float(self.bottom.at(x)[0])
        rows = np.arange(max(0, round(top)), max(1, round(bottom) + 1))
        middle = x + self.lean * (rows - (top + bottom) / 2)
        return Rule(int(rows[0]), int(rows[-1]) + 1, middle, thickness)


def find_comb(
    shades: Image, level: tuple[Rule, ...], lean: float, cells: int | None = None
) -> Comb | None:
    """Return the comb in `shades`, (h, w), 255 full ink and paper at 0; None where there is none.

    `level` are the level rules already found there, `lean` is that of upright ones, in columns a
    row. `cells` is how many there should be, where that is known: then the borders may be too
    faint for rules. Otherwise all lines of a comb must be plain.
    """
    height, width = shades.shape
    lines, columns = _level_lines(shades), np.arange(width)
    borders = []
    for rule in level:
        # A row of boxes apart has borders too short for lines, but as a whole it is a rule.
        inked = _cover(np.asarray(cv2.dilate(shades, np.ones((3, 1), np.uint8))), rule.at(columns))
        own = (columns >= rule.start) & (columns < rule.stop) & (inked > FAINT)
        cover = np.maximum(_cover(lines, rule.at(columns)), own)
        # Beyond its ends it is fainter, or something else.
        cover[(columns < rule.start) | (columns >= rule.stop)] *= 0.7
        borders.append(_Border(rule, cover, True))
    borders.sort(key=lambda border: border.rule.place)
    if len(borders) < 2 or borders[-1].rule.place - borders[0].rule.place < 0.5 * height:
        if cells is None:
            return None
        borders = _borders(shades, lines, borders)
    best = _best_comb(shades, borders, lean, cells)
    if best is None and cells is not None and sum(border.known for border in borders) == 1:
        best = _best_comb(shades, _with_edge(borders, shades.shape), lean, cells)
    return best


def _best_comb(
    shades: Image, borders: list[_Border], lean: float, cells: int | None
) -> Comb | None:
    found = [
        ((top, bottom), _comb_between(shades, top, bottom, lean, cells))
        for top, bottom in itertools.combinations(borders, 2)
        if bottom.rule.place - top.rule.place >= max(8.0, 0.2 * len(shades))
        # What is faint may be the feet of digits: together with a plain one it is a border.
        and (top.known or bottom.known or not any(border.known for border in borders))
    ]
    # Two plain borders that hold a comb leave no doubt.
    if any(comb is not None and top.known and bottom.known for (top, bottom), (_, comb) in found):
        found = [item for item in found if item[0][0].known and item[0][1].known]
    return max((scored for _, scored in found), key=itemgetter(0), default=(0.0, None))[1]


@dataclass(frozen=True, slots=True)
class _Border:
    """A level line; `cover` has 1 in each column of the strip where it is printed."""

    rule: Rule
    cover: Floats
    known: bool  # it is plain ink


def _level_lines(shades: Image) -> Image:
    """Return the darkness of what is level and long in `shades`, also if too faint for ink."""
    thick = cv2.dilate(shades, np.ones((3, 1), np.uint8))
    run = max(9, round(0.3 * len(shades)), round(0.12 * shades.shape[1]))
    lines = cv2.morphologyEx(thick, cv2.MORPH_OPEN, np.ones((1, run), np.uint8))
    return np.asarray(cv2.threshold(lines, FAINT, 1, cv2.THRESH_BINARY)[1], np.uint8)


def _cover(lines: Image, rows: Floats) -> Floats:
    index = np.clip(np.rint(rows).astype(np.intp), 0, len(lines) - 1)
    return lines[index, np.arange(len(rows))].astype(np.float64)


def _borders(shades: Image, lines: Image, known: list[_Border]) -> list[_Border]:
    """Return `known` and the other longest level lines, downwards."""
    height, width = lines.shape
    length = cv2.reduce(lines, 1, cv2.REDUCE_SUM, dtype=cv2.CV_32S).ravel()
    borders = list(known)
    for _ in range(2 * _LEVELS):
        top = int(length.argmax())
        if length[top] < 0.3 * width or len(borders) == _LEVELS:
            break
        fall = np.flatnonzero(length[top:] < 0.9 * length[top])
        row = top + ((int(fall[0]) if len(fall) else height - top) - 1) // 2
        first, last = max(0, row - 3), min(height, row + 4)
        length[max(0, top - 2) : row + 4] = 0
        near = shades[first:last] * lines[first:last]
        # As if it were full ink: it is known to be a line, and only its course is sought.
        full = max(float(near.max()), 1.0)
        inked = np.asarray(cv2.convertScaleAbs(near, alpha=255 / full), np.uint8)
        traced = trace(inked, first, 2.0)
        if traced is None:
            continue
        rule = traced[0]
        if all(abs(rule.place - border.rule.place) > 3 for border in borders):
            borders.append(_Border(rule, _cover(lines, rule.at(np.arange(width))), False))
    return sorted(borders, key=lambda border: border.rule.place)


def _with_edge(borders: list[_Border], shape: tuple[int, ...]) -> list[_Border]:
    """Return `borders` and the edge of the strip, in place of a border that was cut off."""
    plain = next(border for border in borders if border.known)
    height, width = shape
    rows = np.full(width, height - 1.0)
    if plain.rule.place > height / 2:
        return [_Border(Rule(0, width, 0 * rows, 0.0), plain.cover, False), *borders]
    return [*borders, _Border(Rule(0, width, rows, 0.0), plain.cover, False)]


def _comb_between(
    shades: Image, top: _Border, bottom: _Border, lean: float, cells: int | None
) -> tuple[float, Comb | None]:
    """Return how plain the best comb with these borders is, and the comb."""
    strength = _columns(shades, top.rule.place, bottom.rule.place, lean)
    least = max(FAINT, 4 * float(np.median(strength)))  # in the columns of texture, if any
    peaks = _peaks(strength, least)
    if len(peaks) < 3:
        return 0.0, None
    # A line that is a pixel off is on the grid still.
    near = np.asarray(cv2.dilate(strength[None], np.ones((1, 3), np.uint8))).ravel()
    hits = np.clip(near / least - 0.5, 0, 1)
    cover = (top.cover + bottom.cover) / 2
    score, edges = _best_grid(peaks, hits, cover, bottom.rule.place - top.rule.place, cells)
    if edges is None:
        return 0.0, None
    edges = _refined(edges, strength, least)
    last = shades.shape[1] - 1
    seen = hits[np.clip(np.rint(edges), 0, last).astype(np.intp)] >= 0.5
    inside = slice(max(0, round(edges[0])), max(1, round(edges[-1])))
    bordered = min(top.cover[inside].mean(), bottom.cover[inside].mean())
    if bordered < 0.5 or not _is_comb(edges, seen, cells):
        return 0.0, None
    dark = float(strength[np.clip(np.rint(edges), 0, last).astype(np.intp)].mean())
    # A cell is about as wide as high; the captions under a comb are a flatter grid.
    pitch = float(edges[-1] - edges[0]) / (len(edges) - 1)
    score -= 2 * abs(float(np.log(pitch / (bottom.rule.place - top.rule.place))))
    if score < _PLAIN * (len(edges) - 0.5):
        return 0.0, None
    if not _holds_most(shades, top.rule, bottom.rule, inside):
        return 0.0, None
    on = np.maximum(top.cover, bottom.cover)
    before = slice(max(0, round(edges[0] - pitch)), inside.start)
    after = slice(inside.stop, inside.stop + round(pitch))
    rows = slice(round(top.rule.place) + 2, max(0, round(bottom.rule.place) - 1))
    closed = (
        bool(seen[0]) and not _may_hold(shades[rows, before], on[before][::-1]),
        bool(seen[-1]) and not _may_hold(shades[rows, after], on[after]),
    )
    others = _other_sides(peaks, edges, pitch)
    comb = Comb(top.rule, bottom.rule, edges, seen, lean, closed, others)
    return score + 4 * float(bordered) + dark / 64, comb


def _other_sides(peaks: NDArray[np.intp], edges: Floats, pitch: float) -> Floats:
    """Return the peaks close beside the edges, where most edges have one."""
    off = np.abs(peaks[:, None] - edges).min(axis=1)
    aside = (off > 2.5) & (off < 0.3 * pitch)
    enough = aside.sum() >= 0.6 * (len(edges) - 1)
    return peaks[aside].astype(np.float64) if enough else np.zeros(0)


def _holds_most(shades: Image, top: Rule, bottom: Rule, columns: slice) -> bool:
    """Say whether there is no much heavier line of writing above or below the comb."""
    weight = cv2.reduce(
        np.ascontiguousarray(shades[:, columns]), 1, cv2.REDUCE_SUM, dtype=cv2.CV_32F
    ).ravel()
    first, last = max(0, round(top.place) - 1), round(bottom.place) + 2
    above, below = weight[:first].sum(), weight[last:].sum()
    return bool(weight[first + 3 : max(0, last - 3)].sum() >= 0.6 * max(above, below))


def _may_hold(shades: Image, cover: Floats) -> bool:
    """Say whether what lies beside a comb may be one more cell with a digit in it.

    `cover` tells where its border is, from the comb outwards.
    """
    half = max(1, len(cover) // 2)
    if shades.size == 0 or cover[:half].mean() < 0.8:
        return False
    inked = np.concatenate([[False], (shades > 100).any(axis=1), [False]])
    edges = np.flatnonzero(np.diff(inked))
    return len(edges) > 0 and int((edges[1::2] - edges[::2]).max()) >= 0.55 * len(shades)


def lean_of(ruling: Ruling) -> float:
    """Return how many columns a row the upright rules lean."""
    slopes = [
        float(rule.middle[-1] - rule.middle[0]) / max(1, len(rule.middle) - 1)
        for rule in ruling.upright
    ]
    return float(np.median(slopes)) if slopes else 0.0


def _columns(shades: Image, top: float, bottom: float, lean: float) -> NDArray[np.float32]:
    """Return for each column how dark nearly all its rows are, beyond the columns beside it."""
    inset = 0.06 * (bottom - top) + 1
    first, last = max(0, round(top + inset)), min(len(shades), round(bottom - inset) + 1)
    part = shades[first:last]
    if len(part) < 4:
        return np.zeros(shades.shape[1], np.float32)
    if abs(lean) * len(part) > 1:
        shift = -lean * ((top + bottom) / 2 - first)
        size = (part.shape[1], len(part))
        matrix = np.array([[1, lean, shift], [0, 1, 0]], np.float64)
        part = np.asarray(
            cv2.warpAffine(part, matrix, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP),
            np.uint8,
        )
    # Dots a pixel or two apart are a line, and so are pixels a column aside.
    part = np.asarray(cv2.morphologyEx(part, cv2.MORPH_CLOSE, np.ones((3, 1), np.uint8)), np.uint8)
    part = np.asarray(cv2.blur(part, (3, 1)), np.uint8)
    missing = int(_ROWS * len(part))
    level = np.partition(part, missing, axis=0)[missing].astype(np.float32)
    wide = 2 * max(2, round(0.07 * (bottom - top))) + 1
    beyond = cv2.morphologyEx(level[None], cv2.MORPH_TOPHAT, np.ones((1, wide), np.uint8))
    return np.asarray(beyond, np.float32).ravel()


def _peaks(strength: NDArray[np.float32], least: float) -> NDArray[np.intp]:
    high = np.asarray(cv2.dilate(strength[None], np.ones((1, 5), np.uint8))).ravel()
    peaks = np.flatnonzero((strength >= high) & (strength >= 0.75 * least))
    if len(peaks) > 1:  # a plateau is one peak
        peaks = peaks[np.concatenate([[True], np.diff(peaks) > 2])]
    strongest = peaks[np.argsort(-strength[peaks], kind="stable")[:_PEAKS]]
    return np.sort(strongest)


def _best_grid(
    peaks: NDArray[np.intp],
    hits: NDArray[np.float32],
    cover: Floats,
    high: float,
    cells: int | None,
) -> tuple[float, Floats | None]:
    """Return the grid on which the most lines are, of `cells` cells where known, and its score.

    A line that is not there costs what one that is there gains, and so does a cell without a
    border above and below.
    """
    width = len(hits)
    first, second = np.triu_indices(len(peaks), 1)
    apart = (peaks[second] - peaks[first]).astype(np.float64)
    pitch = apart[:, None] / np.arange(1, (cells or MOST) + 1)
    fits = (pitch >= _PITCH[0] * high) & (pitch <= _PITCH[1] * high) & (pitch >= 6)
    if cells is not None:
        fits &= pitch * (cells - 0.5) <= width
    chosen, _ = np.nonzero(fits)
    if len(chosen) == 0:
        return 0.0, None
    pitches = pitch[fits]
    numbers = np.arange(-2, int(width / pitches.min()) + 3)
    places = (peaks[first[chosen]] % pitches)[:, None] + pitches[:, None] * numbers
    index = np.rint(places).astype(np.intp)
    within = np.clip(index, 0, width - 1)
    gains = np.where(index == within, hits[within], 0) - 0.5
    sums = np.concatenate([np.zeros((len(gains), 1)), np.cumsum(gains, axis=1)], axis=1)
    covered = np.concatenate([[0.0], np.cumsum(cover)])[np.clip(index, 0, width)]
    beside = np.diff(covered, axis=1) / pitches[:, None]  # the cover after each line
    best: tuple[float, Floats | None] = (0.0, None)
    for count in [cells] if cells is not None else range(FEWEST, MOST + 1):
        last = gains.shape[1] - count - 1  # the first line is one of 1 to last - 1
        if last < 2:
            break
        totals = sums[:, count + 2 : count + 1 + last] - sums[:, 1:last]
        inside = covered[:, count + 1 : count + last] - covered[:, 1:last]
        totals += inside / pitches[:, None] - 0.5 * count
        # The borders end with the comb.
        totals -= beside[:, : last - 1] + beside[:, count + 1 : count + last]
        row, column = np.unravel_index(int(totals.argmax()), totals.shape)
        total = float(totals[row, column])
        if total > best[0]:
            best = total, places[row, column + 1 : column + count + 2]
    return best


def _refined(edges: Floats, strength: NDArray[np.float32], least: float) -> Floats:
    """Return the lines moved to the columns that are darkest near them, all by one straight fit."""
    reach = np.arange(-3, 4)
    index = np.rint(edges)[:, None].astype(np.intp) + reach
    inside = (index >= 0) & (index < len(strength))
    around = np.where(inside, strength[np.clip(index, 0, len(strength) - 1)], 0)
    found = around.max(axis=1) >= 0.75 * least
    weight = around.sum(axis=1)
    own = np.rint(edges) + (around @ reach) / np.maximum(weight, 1e-6)
    if found.sum() < 3:
        return edges
    numbers = np.arange(len(edges))
    slope, offset = np.polyfit(numbers[found], own[found], 1)
    straight = offset + slope * numbers
    # Each stands where it is printed; one that is not seen stands where the others say.
    return np.asarray(np.where(found & (np.abs(own - straight) <= 2), own, straight))


def _is_comb(edges: Floats, seen: NDArray[np.bool_], cells: int | None) -> bool:
    inner = seen[1:-1]
    if cells is not None and len(edges) == cells + 1:
        return bool(inner.mean() >= 0.5 and seen.mean() >= 0.5)
    return bool(len(edges) > FEWEST and inner.mean() >= 0.85 and seen[[0, -1]].any())
