"""Find a comb in a strip: a row of cells, one for each digit, between two borders.

Two horizontal lines are taken as borders, and the best grid of separators between them is sought
(`comb_grid`). Borders may be plain ink, or so faint that only their length tells them from paper.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.cleaning.comb_grid import (
    FAINT,
    MIN_CELLS,
    Floats,
    Profile,
    best_grid,
    column_profile,
    refine_grid,
)
from pipeline.cleaning.rules import Rule
from pipeline.cleaning.trace import trace_line
from pipeline.imageops import as_image
from pipeline.types import Image

_MAX_GAPS: Final = 0.12  # share of a separator's rows that may be missing
_MAX_BORDERS: Final = 5  # horizontal lines tried as borders where those of the ink do not do
_MIN_SCORE: Final = 0.45  # of that of a grid whose lines and borders are all there


@dataclass(frozen=True, slots=True)
class Comb:
    """A row of cells between the horizontal rules `top` and `bottom`.

    `separators` are the columns of the n + 1 separators of n cells, half way down; `seen` is true
    for those that are printed. They lean by `lean` columns a row. `closed` says for the first and
    the last separator whether the comb surely ends there. `inner_sides` are the columns of further
    vertical lines, where the cells are boxes with gaps between them.
    """

    top: Rule
    bottom: Rule
    separators: Floats
    seen: NDArray[np.bool_]
    lean: float
    closed: tuple[bool, bool]
    inner_sides: Floats

    @property
    def cells(self) -> int:
        return len(self.separators) - 1

    @property
    def height(self) -> float:
        return self.bottom.position - self.top.position

    def scaled(self, scale: float, width: int) -> Comb:
        """Return the comb in an image `scale` times as large, `width` pixels wide."""
        return replace(
            self,
            top=self.top.scaled(scale, width),
            bottom=self.bottom.scaled(scale, width),
            separators=(self.separators + 0.5) * scale - 0.5,
            inner_sides=(self.inner_sides + 0.5) * scale - 0.5,
        )

    def vertical_rule(self, column: float, thickness: float) -> Rule:
        """Return a rule from border to border that crosses the middle of the comb at `column`."""
        x = np.array([column])
        top, bottom = float(self.top.middle_at(x)[0]), float(self.bottom.middle_at(x)[0])
        rows = np.arange(max(0, round(top)), max(1, round(bottom) + 1))
        middle = x + self.lean * (rows - (top + bottom) / 2)
        return Rule(int(rows[0]), int(rows[-1]) + 1, middle, thickness)


def find_comb(
    shades: Image, horizontal: tuple[Rule, ...], lean: float, cells: int | None = None
) -> Comb | None:
    """Return the comb in `shades`, (h, w), ink 255 on paper 0; None where there is none.

    `horizontal` are the rules already found there, `lean` is that of vertical lines, in columns a
    row. `cells` is the number of cells where it is known; then the borders may be too faint for
    rules. Otherwise all lines of a comb must be plain.
    """
    lines = _long_horizontal_lines(shades)
    borders = _plain_borders(shades, lines, horizontal)
    apart = borders[-1].rule.position - borders[0].rule.position if borders else 0.0
    if apart < 0.5 * len(shades):
        if cells is None:
            return None
        borders = _add_faint_borders(borders, shades, lines)
    comb = _best_comb(shades, borders, lean, cells)
    if comb is None and cells is not None and sum(border.plain for border in borders) == 1:
        comb = _best_comb(shades, _add_strip_edge(borders, shades.shape), lean, cells)
    return comb


@dataclass(frozen=True, slots=True)
class _CombBorder:
    """A horizontal line that may bound a comb; `cover` is 1 in each column where it is printed."""

    rule: Rule
    cover: Floats
    plain: bool  # it was found in the ink


def _long_horizontal_lines(shades: Image) -> Image:
    """Return a mask, 0 or 1, of long horizontal lines, also those that are too faint for ink."""
    thick = cv2.dilate(shades, np.ones((3, 1), np.uint8))
    run = max(9, round(0.3 * len(shades)), round(0.12 * shades.shape[1]))
    lines = cv2.morphologyEx(thick, cv2.MORPH_OPEN, np.ones((1, run), np.uint8))
    return as_image(cv2.threshold(lines, FAINT, 1, cv2.THRESH_BINARY)[1])


def _at_rows(image: Image, rows: Floats) -> Floats:
    """Return the pixel of `image` in each column at the row nearest to that column's of `rows`."""
    index = np.clip(np.rint(rows).astype(np.intp), 0, len(image) - 1)
    return image[index, np.arange(len(rows))].astype(np.float64)


def _plain_borders(shades: Image, lines: Image, horizontal: tuple[Rule, ...]) -> list[_CombBorder]:
    """Return the rules as borders, downwards."""
    columns = np.arange(shades.shape[1])
    thick = as_image(cv2.dilate(shades, np.ones((3, 1), np.uint8)))
    borders = []
    for rule in horizontal:
        middle = rule.middle_at(columns)
        between_ends = (columns >= rule.start) & (columns < rule.stop)
        # The borders of boxes with gaps are too short for long lines, but together they are a rule.
        printed = between_ends & (_at_rows(thick, middle) > FAINT)
        cover = np.maximum(_at_rows(lines, middle), printed)
        # Beyond its ends the line is fainter, or something else.
        cover[~between_ends] *= 0.7
        borders.append(_CombBorder(rule, cover, True))
    return sorted(borders, key=lambda border: border.rule.position)


def _add_faint_borders(plain: list[_CombBorder], shades: Image, lines: Image) -> list[_CombBorder]:
    """Return `plain` and the longest other lines, downwards."""
    height, width = lines.shape
    length = cv2.reduce(lines, 1, cv2.REDUCE_SUM, dtype=cv2.CV_32S).ravel()
    borders = list(plain)
    for _ in range(2 * _MAX_BORDERS):
        top = int(length.argmax())
        if length[top] < 0.3 * width or len(borders) == _MAX_BORDERS:
            break
        fall = np.flatnonzero(length[top:] < 0.9 * length[top])
        row = top + ((int(fall[0]) if len(fall) else height - top) - 1) // 2
        first, last = max(0, row - 3), min(height, row + 4)
        length[max(0, top - 2) : row + 4] = 0
        near = shades[first:last] * lines[first:last]
        # It is amplified to full ink: that it is a line is known, and only its course is sought.
        full = max(float(near.max()), 1.0)
        trace = trace_line(as_image(cv2.convertScaleAbs(near, alpha=255 / full)), first, 2.0)
        if trace is None:
            continue
        rule = Rule(trace.start, trace.stop, trace.middle, 2.0)
        if all(abs(rule.position - border.rule.position) > 3 for border in borders):
            cover = _at_rows(lines, rule.middle_at(np.arange(width)))
            borders.append(_CombBorder(rule, cover, False))
    return sorted(borders, key=lambda border: border.rule.position)


def _add_strip_edge(borders: list[_CombBorder], shape: tuple[int, ...]) -> list[_CombBorder]:
    """Return `borders` and the edge of the strip, in place of a border that was cut off."""
    plain = next(border for border in borders if border.plain)
    height, width = shape
    rows = np.full(width, height - 1.0)
    if plain.rule.position > height / 2:
        return [_CombBorder(Rule(0, width, 0 * rows, 0.0), plain.cover, False), *borders]
    return [*borders, _CombBorder(Rule(0, width, rows, 0.0), plain.cover, False)]


def _best_comb(
    shades: Image, borders: list[_CombBorder], lean: float, cells: int | None
) -> Comb | None:
    """Return the best comb between any two of the borders."""
    found = [
        ((top, bottom), _fit_comb(shades, top, bottom, lean, cells))
        for top, bottom in itertools.combinations(borders, 2)
        if bottom.rule.position - top.rule.position >= max(8.0, 0.2 * len(shades))
        # A faint line may be the feet of digits: together with a plain one it is a border.
        and (top.plain or bottom.plain or not any(border.plain for border in borders))
    ]
    # Two plain borders that hold a comb leave no doubt.
    if any(comb is not None and top.plain and bottom.plain for (top, bottom), (_, comb) in found):
        found = [item for item in found if item[0][0].plain and item[0][1].plain]
    return max((scored for _, scored in found), key=itemgetter(0), default=(0.0, None))[1]


def _fit_comb(
    shades: Image, top: _CombBorder, bottom: _CombBorder, lean: float, cells: int | None
) -> tuple[float, Comb | None]:
    """Return the score of the best comb with these borders, and the comb."""
    height = bottom.rule.position - top.rule.position
    profile = column_profile(
        _column_darkness(shades, top.rule.position, bottom.rule.position, lean)
    )
    if len(profile.peaks) < 3:
        return 0.0, None
    score, grid = best_grid(profile, (top.cover + bottom.cover) / 2, height, cells)
    if grid is None:
        return 0.0, None
    separators = refine_grid(grid, profile)
    seen = profile.hits()[profile.at(separators)] >= 0.5
    inside = slice(max(0, round(separators[0])), max(1, round(separators[-1])))
    bordered = min(top.cover[inside].mean(), bottom.cover[inside].mean())
    if bordered < 0.5 or not _is_comb(seen, cells):
        return 0.0, None
    # A cell is about as wide as high; the captions under a comb make a flatter grid.
    pitch = float(separators[-1] - separators[0]) / (len(separators) - 1)
    score -= 2 * abs(float(np.log(pitch / height)))
    if score < _MIN_SCORE * (len(separators) - 0.5):
        return 0.0, None
    if not _holds_main_line(shades, top.rule, bottom.rule, inside):
        return 0.0, None
    cover = np.maximum(top.cover, bottom.cover)
    before = slice(max(0, round(separators[0] - pitch)), inside.start)
    after = slice(inside.stop, inside.stop + round(pitch))
    rows = slice(round(top.rule.position) + 2, max(0, round(bottom.rule.position) - 1))
    closed = (
        bool(seen[0]) and not _may_be_cell(shades[rows, before], cover[before][::-1]),
        bool(seen[-1]) and not _may_be_cell(shades[rows, after], cover[after]),
    )
    inner_sides = _inner_sides(profile.peaks, separators, pitch)
    comb = Comb(top.rule, bottom.rule, separators, seen, lean, closed, inner_sides)
    darkness = float(profile.darkness[profile.at(separators)].mean())
    return score + 4 * float(bordered) + darkness / 64, comb


def _column_darkness(shades: Image, top: float, bottom: float, lean: float) -> Profile:
    """Return how dark nearly all rows of each column are, above the columns beside it.

    Only the rows from `top` to `bottom` count; columns lean by `lean` a row.
    """
    inset = 0.06 * (bottom - top) + 1
    first, last = max(0, round(top + inset)), min(len(shades), round(bottom - inset) + 1)
    part = shades[first:last]
    if len(part) < 4:
        return np.zeros(shades.shape[1], np.float32)
    if abs(lean) * len(part) > 1:
        shift = -lean * ((top + bottom) / 2 - first)
        matrix = np.array([[1, lean, shift], [0, 1, 0]], np.float64)
        how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        part = as_image(cv2.warpAffine(part, matrix, part.shape[::-1], flags=how))
    # Dots a pixel or two apart are a line, and so are pixels that are a column aside.
    part = as_image(cv2.morphologyEx(part, cv2.MORPH_CLOSE, np.ones((3, 1), np.uint8)))
    part = as_image(cv2.blur(part, (3, 1)))
    gaps = int(_MAX_GAPS * len(part))
    darkness = np.partition(part, gaps, axis=0)[gaps].astype(np.float32)
    window = 2 * max(2, round(0.07 * (bottom - top))) + 1
    above = cv2.morphologyEx(darkness[None], cv2.MORPH_TOPHAT, np.ones((1, window), np.uint8))
    return np.asarray(above, np.float32).ravel()


def _is_comb(seen: NDArray[np.bool_], cells: int | None) -> bool:
    """Say whether enough of the separators are printed: half of them where `cells` is known."""
    inner = seen[1:-1]
    if cells is not None and len(seen) == cells + 1:
        return bool(inner.mean() >= 0.5 and seen.mean() >= 0.5)
    return bool(len(seen) > MIN_CELLS and inner.mean() >= 0.85 and seen[[0, -1]].any())


def _holds_main_line(shades: Image, top: Rule, bottom: Rule, columns: slice) -> bool:
    """Say whether there is no much heavier line of writing above or below the comb."""
    part = np.ascontiguousarray(shades[:, columns])
    weight = cv2.reduce(part, 1, cv2.REDUCE_SUM, dtype=cv2.CV_32F).ravel()
    first, last = max(0, round(top.position) - 1), round(bottom.position) + 2
    above, below = weight[:first].sum(), weight[last:].sum()
    return bool(weight[first + 3 : max(0, last - 3)].sum() >= 0.6 * max(above, below))


def _may_be_cell(shades: Image, cover: Floats) -> bool:
    """Say whether the place beside a comb may be one more cell with a digit in it.

    `cover` is 1 where a border is printed, from the comb outwards.
    """
    half = max(1, len(cover) // 2)
    if shades.size == 0 or cover[:half].mean() < 0.8:
        return False
    inked = np.concatenate([[False], (shades > 100).any(axis=1), [False]])
    ends = np.flatnonzero(np.diff(inked))
    return len(ends) > 0 and int((ends[1::2] - ends[::2]).max()) >= 0.55 * len(shades)


def _inner_sides(peaks: NDArray[np.intp], separators: Floats, pitch: float) -> Floats:
    """Return the peaks close beside the separators, if most separators have one: sides of boxes."""
    distance = np.abs(peaks[:, None] - separators).min(axis=1)
    beside = (distance > 2.5) & (distance < 0.3 * pitch)
    enough = beside.sum() >= 0.6 * (len(separators) - 1)
    return peaks[beside].astype(np.float64) if enough else np.zeros(0)
