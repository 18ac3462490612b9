"""Clean a field: what was printed is painted over with paper, what was written stays.

This is done once for both readers, from one separation of ink and paper. The strip reader gets the
grey image without borders, base lines, combs and the print beyond them; the glyph reader gets the
ink without them.

Erased are rules, the separators of a comb even where they are faint, all that lies wholly beyond
the box (captions under it, words and currency signs beside it, parts of neighbouring fields), and
captions of one size that are printed lightly in most cells of a comb. A currency sign within the
box, printed or drawn, stays, and so does a `/-` or `=` at the end: a digit may stand in just that
place, and losing a digit is worse. The strip reader is trained to read these signs as nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.cleaning.box import DigitBox, find_digit_box
from pipeline.cleaning.captions import erase_captions
from pipeline.cleaning.comb import Comb, find_comb
from pipeline.cleaning.comb_grid import MIN_CELLS
from pipeline.cleaning.erase import erase_rules
from pipeline.cleaning.ink import Ink, separate_ink
from pipeline.cleaning.rules import (
    FieldBorders,
    Rule,
    StripRules,
    field_borders,
    find_strip_rules,
)
from pipeline.grammar.base import Grammar
from pipeline.imageops import Mask, as_image, fill_with_paper
from pipeline.types import Image


@dataclass(frozen=True, slots=True)
class CleanStrip:
    """A field without its print: `grey` (h, w) as cut, `ink` at its working scale, and its comb.

    `box` is the printed box around a field of one digit, in pixels of the ink.
    """

    grey: Image
    ink: Ink
    comb: Comb | None = None  # in pixels of `grey`
    box: DigitBox | None = None


def cell_count(grammar: Grammar) -> int | None:
    """Return how many cells a comb for `grammar` has, where that is one number."""
    if grammar.min_length == grammar.max_length or grammar.name.startswith("date("):
        return grammar.min_length  # of a date: without its separators
    return None


def clean_strip(grey: Image, *, ruled: bool = True, cells: int | None = None) -> CleanStrip:
    """Return `grey`, (h, w) uint8 of any size on dark or light paper, without its print.

    A strip that is not `ruled` holds no rules, and none are looked for but a box around one digit.
    `cells` is the number of a comb's cells where it is known. A strip in which nothing is found
    comes back as it is.
    """
    ink = separate_ink(grey)
    if cells == 1 and (box := find_digit_box(ink.mask)) is not None:
        return _within_box(grey, ink, box)
    if not ruled or not ink.mask.any():
        return CleanStrip(grey, ink)
    rules = find_strip_rules(ink.mask)
    height, width = ink.mask.shape
    reduction = max(1, int(ink.scale))  # a whole number makes reducing quick
    comb = _find_comb(ink, rules, reduction, cells)
    if comb is None:
        borders = field_borders(rules, ink.mask.shape)
        comb_of_grey = None
    else:
        comb_of_grey = comb.scaled(reduction / ink.scale, grey.shape[1])
        comb = comb.scaled(reduction, width)
        rules, borders = _with_comb(rules, comb, height)
    if not rules:
        return CleanStrip(grey, ink)
    mask = erase_rules(ink.mask, rules, borders)
    if comb is not None:
        mask = erase_captions(mask, ink.soft, comb)
    painted = _paint_over(grey, ink.mask, mask, rules, borders)
    return CleanStrip(painted, ink.with_mask(mask), comb_of_grey)


def _within_box(grey: Image, ink: Ink, box: DigitBox) -> CleanStrip:
    """Return the strip with paper in place of the box and of all beyond it."""
    room = np.s_[box.top : box.bottom, box.left : box.right]
    mask = np.zeros_like(ink.mask)
    mask[room] = ink.mask[room]
    inside = np.zeros_like(ink.mask)
    inside[room] = 255
    size = grey.shape[::-1]
    outside: Mask = cv2.resize(inside, size, interpolation=cv2.INTER_NEAREST) == 0
    written: Mask = _mask_on_strip(ink.mask, grey.shape, ink.scale) > 0
    window = 2 * max(4, round(0.15 * len(grey))) + 1
    mean = cv2.mean(grey, as_image((~outside & ~written).astype(np.uint8)))[0]
    painted = fill_with_paper(
        grey, outside, ~outside & ~written, window=window, least_share=0.02, otherwise=mean
    )
    return CleanStrip(painted, ink.with_mask(mask), box=box)


def _find_comb(ink: Ink, rules: StripRules, reduction: int, cells: int | None) -> Comb | None:
    """Return the comb, in pixels of the ink's image reduced by `reduction`."""
    if cells == 1:
        cells = None  # a box: no separators
    if cells is None and len(rules.vertical) < MIN_CELLS:
        return None  # all lines of a comb with an unknown number of cells are plain
    height, width = (side // reduction for side in ink.mask.shape)
    shades = ink.soft[: height * reduction, : width * reduction]
    if reduction > 1:
        shades = as_image(cv2.resize(shades, (width, height), interpolation=cv2.INTER_AREA))
    horizontal = tuple(rule.scaled(1 / reduction, width) for rule in rules.horizontal)
    return find_comb(shades, horizontal, rules.lean, cells)


def _with_comb(rules: StripRules, comb: Comb, height: int) -> tuple[StripRules, FieldBorders]:
    """Return `rules` with the lines of `comb` in place of other vertical ones, and its borders.

    `height` is that of the image, whose edge may cut off the comb.
    """
    near = max(2.0, 0.06 * comb.height)
    thickness = float(np.median([rule.thickness for rule in (*rules.vertical, comb.top)]))
    separators: list[Rule | None] = []
    for column, seen in zip(comb.separators.tolist(), comb.seen.tolist(), strict=True):
        known = [rule for rule in rules.vertical if abs(rule.position - column) <= near]
        drawn = comb.vertical_rule(column, thickness).clipped(height) if seen else None
        separators.append(known[0] if known else drawn)
    new_borders = tuple(
        rule
        for rule in (comb.top, comb.bottom)
        if rule.thickness > 0  # not the edge of the strip
        and all(abs(rule.position - known.position) > near for known in rules.horizontal)
    )
    borders = FieldBorders(
        (comb.top,) if comb.top.thickness > 0 else (),
        (comb.bottom,) if comb.bottom.thickness > 0 else (),
        (separators[0],) if separators[0] is not None and comb.closed[0] else (),
        (separators[-1],) if separators[-1] is not None and comb.closed[1] else (),
    )
    vertical = tuple(rule for rule in separators if rule is not None)
    vertical += tuple(
        comb.vertical_rule(column, thickness).clipped(height)
        for column in comb.inner_sides.tolist()
    )
    return StripRules(rules.horizontal + new_borders, vertical), borders


def _paint_over(
    grey: Image, before: Image, after: Image, rules: StripRules, borders: FieldBorders
) -> Image:
    """Return `grey` with paper where ink was erased, on rules, and beyond the borders.

    `before` and `after` are the ink at its working scale. Nothing is painted around the ink that
    stays: the soft edge of a stroke belongs to the stroke.
    """
    shape, scale = grey.shape, before.shape[1] / grey.shape[1]
    kept = _mask_on_strip(after, shape, scale)
    erased = _mask_on_strip(before & ~after, shape, scale)
    paper = (kept | erased) == 0
    for rule in rules.horizontal:
        _draw_line(erased, _course(rule, scale), rule.thickness / scale)
    for rule in rules.vertical:
        _draw_line(erased, _course(rule, scale)[:, ::-1], rule.thickness / scale)
    _fill_beyond(erased, borders, scale)
    painted: Mask = (erased > 0) & (kept == 0)
    paper &= ~painted
    window = 2 * max(4, round(0.15 * shape[0])) + 1
    mean = cv2.mean(grey, as_image(paper))[0]
    return fill_with_paper(grey, painted, paper, window=window, least_share=0.02, otherwise=mean)


def _mask_on_strip(mask: Image, shape: tuple[int, ...], scale: float) -> Image:
    """Return `mask` at the size of the strip, `scale` times smaller, and a pixel wider there."""
    wide = np.ones((2 * max(1, round(scale)) + 1,) * 2, np.uint8)
    dilated = cv2.dilate(mask, wide)
    return as_image(cv2.resize(dilated, shape[::-1], interpolation=cv2.INTER_NEAREST))


def _course(rule: Rule, scale: float) -> NDArray[np.float64]:
    """Return points x, y along a horizontal rule in pixels of the strip, `scale` times smaller."""
    step = max(1, min(24, len(rule.middle) - 1))
    index = np.append(np.arange(0, len(rule.middle) - 1, step), len(rule.middle) - 1)
    return (np.stack([rule.start + index, rule.middle[index]], axis=1) + 0.5) / scale - 0.5


def _draw_line(canvas: Image, points: NDArray[np.float64], thickness: float) -> None:
    """Draw a rule, and a pixel on either side for its soft edges."""
    lines = [np.rint(points).astype(np.int32)]
    cv2.polylines(canvas, lines, False, 255.0, max(1, round(thickness) + 2))


def _fill_beyond(canvas: Image, borders: FieldBorders, scale: float) -> None:
    """Fill the part of the strip that lies beyond the borders of the field."""
    height, width = canvas.shape
    for rules, far, vertical in (
        (borders.top, -1, False),
        (borders.bottom, height, False),
        (borders.left, -1, True),
        (borders.right, width, True),
    ):
        for rule in rules:
            points = _course(rule, scale)
            first, last = [-1, points[0, 1]], [max(canvas.shape), points[-1, 1]]
            corners = [[last[0], far], [first[0], far]]
            shape = np.rint(np.array([first, *points.tolist(), last, *corners])).astype(np.int32)
            cv2.fillPoly(canvas, [shape[:, ::-1].copy() if vertical else shape], 255.0)
