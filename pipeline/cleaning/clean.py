"""Clean a field: what was printed is painted over with paper, what was written stays.

Once for both readers, from one separation of ink and paper: the strip reader gets the grey image
without borders, base lines, combs and the print beyond them, the glyph reader the ink without.

What is dropped: rules, the separators of a comb also where they are faint, all that lies wholly
beyond the box (captions under it, words and currency signs beside it, parts of neighbouring
fields), and captions of the same light small print in most cells of a comb. What is not: a
currency sign within the box, printed or drawn, and a `/-` or `=` at the end. A digit may stand
just so, and losing one is worse; the strip reader is trained to read these signs as nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.cleaning.captions import drop_captions
from pipeline.cleaning.comb import FEWEST, Comb, find_comb, lean_of
from pipeline.cleaning.erase import erase_rules
from pipeline.cleaning.ink import Ink, separate_ink
from pipeline.cleaning.rules import Rule, Ruling, Sides, find_ruling, sides_of
from pipeline.grammar.base import Grammar
from pipeline.imageops import as_image, fill_with_paper
from pipeline.types import Image


@dataclass(frozen=True, slots=True)
class CleanStrip:
    """A field without its print: `grey` (h, w) as cut, `ink` at its own scale, and its comb."""

    grey: Image
    ink: Ink
    comb: Comb | None = None  # in pixels of `grey`


def cell_count(grammar: Grammar) -> int | None:
    """Return how many cells a comb for `grammar` has, where that is one number."""
    if grammar.min_length == grammar.max_length or grammar.name.startswith("date("):
        return grammar.min_length  # of a date: without its separators
    return None


def clean_strip(grey: Image, *, ruled: bool = True, cells: int | None = None) -> CleanStrip:
    """Return `grey`, (h, w) uint8 of any size, dark or light paper, without what is printed on it.

    Without `ruled` it holds no rules, and nothing is looked for. `cells` is the number of a comb's
    cells where it is known. A strip in which nothing is found comes back as it is.
    """
    ink = separate_ink(grey)
    if not ruled or not ink.mask.any():
        return CleanStrip(grey, ink)
    ruling = find_ruling(ink.mask)
    height, width = ink.mask.shape
    unit = max(1, int(ink.scale))  # a whole number: reducing by it is quick
    size = (width // unit, height // unit)
    shades = ink.soft[: size[1] * unit, : size[0] * unit]
    if unit > 1:
        shades = np.asarray(cv2.resize(shades, size, interpolation=cv2.INTER_AREA), np.uint8)
    level = tuple(rule.scaled(1 / unit, size[0]) for rule in ruling.level)
    if cells == 1:
        cells = None  # a box: nothing parts its cells
    comb = None
    if cells is not None or len(ruling.upright) >= FEWEST:  # of an unknown comb all is plain
        comb = find_comb(shades, level, lean_of(ruling), cells)
    own = None
    if comb is not None:
        own = comb.scaled(unit / ink.scale, grey.shape[1])
        comb = comb.scaled(unit, width)
        ruling, sides = _with_comb(ruling, comb, height)
    else:
        sides = sides_of(ruling, ink.mask.shape)
    if not ruling:
        return CleanStrip(grey, ink)
    mask = erase_rules(ink.mask, ruling, sides)
    if comb is not None:
        mask = drop_captions(mask, ink.soft, comb)
    painted = _painted(grey, ink.mask, mask, ruling, sides)
    return CleanStrip(painted, ink.with_mask(mask), own)


def _with_comb(ruling: Ruling, comb: Comb, height: int) -> tuple[Ruling, Sides]:
    """Return `ruling` with the separators of `comb` in place of others, and the box they make.

    `height` is that of the image: a comb may be cut off by its edge.
    """
    near = max(2.0, 0.06 * comb.height)
    thickness = float(np.median([rule.thickness for rule in (*ruling.upright, comb.top)]))
    posts: list[Rule | None] = []
    for index, seen in enumerate(comb.seen.tolist()):
        at = [rule for rule in ruling.upright if abs(rule.place - comb.edges[index]) <= near]
        drawn = comb.rule(float(comb.edges[index]), thickness).cut(height) if seen else None
        posts.append(at[0] if at else drawn)
    borders = tuple(
        rule
        for rule in (comb.top, comb.bottom)
        if rule.thickness > 0  # not the edge of the strip
        and all(abs(rule.place - known.place) > near for known in ruling.level)
    )
    sides = Sides(
        (comb.top,) if comb.top.thickness > 0 else (),
        (comb.bottom,) if comb.bottom.thickness > 0 else (),
        (posts[0],) if posts[0] is not None and comb.closed[0] else (),
        (posts[-1],) if posts[-1] is not None and comb.closed[1] else (),
    )
    uprights = tuple(post for post in posts if post is not None)
    uprights += tuple(comb.rule(float(c), thickness).cut(height) for c in comb.others)
    return Ruling(ruling.level + borders, uprights), sides


def _painted(grey: Image, before: Image, after: Image, ruling: Ruling, sides: Sides) -> Image:
    """Return `grey` with paper where ink went from `before` to `after`, on rules, and beyond.

    Around the ink that stays nothing is painted: the soft edge of a stroke is the stroke's.
    """
    shape, scale = grey.shape, before.shape[1] / grey.shape[1]
    kept = _at_size(after, shape, scale)
    gone = _at_size(before & ~after, shape, scale)
    paper = (kept | gone) == 0
    for rule in ruling.level:
        _draw(gone, _course(rule, scale), rule.thickness / scale)
    for rule in ruling.upright:
        _draw(gone, _course(rule, scale)[:, ::-1], rule.thickness / scale)
    _fill_beyond(gone, sides, scale)
    paint = (gone > 0) & (kept == 0)
    paper &= ~paint
    window = 2 * max(4, round(0.15 * shape[0])) + 1
    mean = cv2.mean(grey, as_image(paper))[0]
    return fill_with_paper(grey, paint, paper, window=window, least_share=0.02, otherwise=mean)


def _at_size(mask: Image, shape: tuple[int, ...], scale: float) -> Image:
    """Return `mask` at the size of the strip, `scale` times smaller, and a pixel wider there."""
    wide = np.ones((2 * max(1, round(scale)) + 1,) * 2, np.uint8)
    dilated = cv2.dilate(mask, wide)
    return np.asarray(
        cv2.resize(dilated, (shape[1], shape[0]), interpolation=cv2.INTER_NEAREST), np.uint8
    )


def _course(rule: Rule, scale: float) -> NDArray[np.float64]:
    """Return points (n, 2) along a level rule in pixels of the strip, `scale` times smaller."""
    step = max(1, min(24, len(rule.middle) - 1))
    index = np.append(np.arange(0, len(rule.middle) - 1, step), len(rule.middle) - 1)
    return (np.stack([rule.start + index, rule.middle[index]], axis=1) + 0.5) / scale - 0.5


def _draw(canvas: Image, points: NDArray[np.float64], thickness: float) -> None:
    """Draw a rule and a pixel on either side, where it is soft."""
    lines = [np.rint(points).astype(np.int32)]
    cv2.polylines(canvas, lines, False, 255.0, max(1, round(thickness) + 2))


def _fill_beyond(canvas: Image, sides: Sides, scale: float) -> None:
    """Fill the part of the strip that lies beyond the sides of the field."""
    height, width = canvas.shape
    for rules, far, upright in (
        (sides.top, -1, False),
        (sides.bottom, height, False),
        (sides.left, -1, True),
        (sides.right, width, True),
    ):
        for rule in rules:
            points = _course(rule, scale)
            first, last = [-1, points[0, 1]], [max(canvas.shape), points[-1, 1]]
            corners = [[last[0], far], [first[0], far]]
            shape = np.rint(np.array([first, *points.tolist(), last, *corners])).astype(np.int32)
            cv2.fillPoly(canvas, [shape[:, ::-1].copy() if upright else shape], 255.0)
