"""Erase printed borders and ruled lines from the ink of a strip, and leave the digits whole.

Where nothing else touches a rule, its pixels go. Where a stroke comes in on one side and goes
out on the other, the pixels between the two are the stroke's and stay; where a stroke ends on
the rule, the half of the rule next to it stays, so that the belly of a 0 resting on a line is not
cut open. Only the narrow bands of the rules are looked at.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.cleaning.rules import Rule, Ruling, Sides, find_ruling, sides_of, transposed
from pipeline.types import Image

Mask = NDArray[np.bool_]


def remove_rules(ink: Image) -> Image:
    """Return `ink`, (h, w) 255 on 0, without box borders, ruled lines and what lies beyond them.

    Rules must be within about a degree of level or upright. Ink outside a box is dropped unless
    it belongs to a stroke that comes from within.
    """
    ruling = find_ruling(ink)
    return erase_rules(ink, ruling, sides_of(ruling, ink.shape))


def erase_rules(ink: Image, ruling: Ruling, sides: Sides) -> Image:
    """Return `ink`, (h, w) 255 on 0, less the rules and the ink that lies wholly beyond `sides`."""
    if not ruling:
        return ink.copy()
    height, width = ink.shape
    turned = transposed(ink)
    lines = [_band(rule, height) for rule in ruling.level]
    posts = [_band(rule, width) for rule in ruling.upright]
    ruled, posted = _drawn(ink.shape, lines), transposed(_drawn(turned.shape, posts))
    # A border that another one ends on is no stroke that ends on it: each is judged without.
    gone: Image = ruled & posted
    gone |= _erasable(np.asarray(cv2.subtract(ink, posted), np.uint8), lines)
    without = np.asarray(cv2.subtract(turned, transposed(ruled)), np.uint8)
    gone |= transposed(_erasable(without, posts))
    rest = ink & ~gone
    _drop_pieces(rest, gone, ruling, sides)
    return rest


@dataclass(frozen=True, slots=True)
class _Band:
    """The pixels of a rule: `first` and `last` row in each of its columns, a pixel to spare."""

    rule: Rule
    first: NDArray[np.intp]
    last: NDArray[np.intp]
    top: int  # the least of `first`
    mask: Mask  # from row `top` and column `rule.start`


def _band(rule: Rule, height: int) -> _Band:
    half = rule.thickness / 2 + 0.5
    first = np.floor(rule.middle - half + 0.5).astype(np.intp)
    last = np.ceil(rule.middle + half - 0.5).astype(np.intp)
    np.minimum(np.maximum(first, 0, out=first), height, out=first)
    np.minimum(np.maximum(last, -1, out=last), height - 1, out=last)
    top = int(first.min())
    rows = np.arange(top, int(last.max()) + 1)[:, None]
    return _Band(rule, first, last, top, (rows >= first) & (rows <= last))


def _drawn(shape: tuple[int, ...], bands: list[_Band]) -> Image:
    mask = np.zeros(shape, np.uint8)
    for band in bands:
        rows = slice(band.top, band.top + len(band.mask))
        mask[rows, band.rule.start : band.rule.stop][band.mask] = 255
    return mask


def _erasable(ink: Image, bands: list[_Band]) -> Image:
    """Return the pixels that are a level rule's and not also a stroke's."""
    gone = np.zeros(ink.shape, np.uint8)
    padded = np.asarray(cv2.copyMakeBorder(ink, 3, 3, 0, 0, cv2.BORDER_CONSTANT), np.uint8)
    for band in bands:
        strokes = _strokes(padded, band)
        own = band.mask if strokes is None else band.mask & ~strokes
        rows = slice(band.top, band.top + len(band.mask))
        gone[rows, band.rule.start : band.rule.stop][own] = 255
    return gone


def _strokes(padded: Image, band: _Band) -> Mask | None:
    """Return where in the band strokes cross the rule, or end on it; None where none does.

    `padded` is the ink with three empty rows above and below.
    """
    first, last, rule = band.first, band.last, band.rule
    columns = np.arange(rule.start, rule.stop)
    width, flat = padded.shape[1], padded.ravel()
    # Two pixels beyond the band: one is the roughness of the rule's own edge.
    place = (first + 2) * width + columns
    above = (flat[place] & flat[place - width]) > 0
    place = (last + 4) * width + columns
    below = (flat[place] & flat[place + width]) > 0
    if not above.any() and not below.any():
        return None
    top = band.top
    keep = np.zeros(band.mask.shape, np.uint8)
    reach = round(rule.thickness) + 2
    runs_above, runs_below = _runs(above, reach), _runs(below, reach)
    for a_start, a_stop in runs_above:
        for b_start, b_stop in runs_below:
            if a_start - reach < b_stop and b_start - reach < a_stop:
                quad = [
                    (a_start, first[a_start] - top),
                    (a_stop - 1, first[a_stop - 1] - top),
                    (b_stop - 1, last[b_stop - 1] - top),
                    (b_start, last[b_start] - top),
                ]
                cv2.fillConvexPoly(keep, np.array(quad, np.int32), 1)
    middle = np.rint(rule.middle).astype(np.intp)
    rows = np.arange(top, top + len(keep))[:, None]
    for runs, from_row, to_row in ((runs_above, first, middle), (runs_below, middle, last + 1)):
        for start, stop in runs:
            own = (rows >= from_row[start:stop]) & (rows < to_row[start:stop])
            keep[:, start:stop] |= own
    return keep > 0


def _runs(row: Mask, gap: int) -> list[tuple[int, int]]:
    """Return start and stop of the runs in `row`; gaps of up to `gap` part none."""
    edges = np.flatnonzero(np.diff(row.astype(np.int8), prepend=0, append=0))
    runs: list[tuple[int, int]] = []
    for start, stop in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        if runs and start - runs[-1][1] <= gap:
            runs[-1] = (runs[-1][0], stop)
        else:
            runs.append((start, stop))
    return runs


def _drop_pieces(rest: Image, gone: Image, ruling: Ruling, sides: Sides) -> None:
    """Drop from `rest`, in place, the pieces beyond the outer rules, remainders, and burrs.

    A remainder lies wholly on a rule; burrs are the specks left on its rough edge: small, and
    touching what was erased.
    """
    # Outlines cost a tenth of labels.
    outlines, nested = cv2.findContours(rest, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    if not outlines:
        return
    boxes = np.array([cv2.boundingRect(outline) for outline in outlines])
    thickness = max(rule.thickness for rule in ruling.level + ruling.upright)
    beyond = _beyond(boxes, sides)
    for rule in ruling.level:
        spare = rule.thickness / 2 + max(1.5, rule.thickness / 2)
        off = boxes[:, 1] - rule.at(boxes[:, 0] + boxes[:, 2] / 2)
        beyond |= (off >= -spare) & (off + boxes[:, 3] - 1 <= spare)
    small = boxes[:, 2:].min(axis=1) <= max(2.0, 0.6 * thickness)
    small &= boxes[:, 2:].max(axis=1) <= 5 * thickness
    for index in np.flatnonzero((small | beyond) & (nested[0, :, 3] < 0)).tolist():
        x, y, w, h = boxes[index].tolist()
        if beyond[index] or gone[max(0, y - 1) : y + h + 1, max(0, x - 1) : x + w + 1].any():
            cv2.drawContours(rest, outlines, index, 0.0, cv2.FILLED)


def _beyond(boxes: NDArray[np.int_], sides: Sides) -> Mask:
    """Say of each piece whether it lies wholly outside the box that `sides` make."""
    x, y, right, bottom = (*boxes[:, :2].T, *(boxes[:, :2] + boxes[:, 2:] - 1).T)
    across, down = (x + right) / 2, (y + bottom) / 2
    beyond = np.zeros(len(boxes), bool)
    for rule in sides.top:
        beyond |= bottom <= rule.at(across)
    for rule in sides.bottom:
        beyond |= y >= rule.at(across)
    for rule in sides.left:
        beyond |= right <= rule.at(down)
    for rule in sides.right:
        beyond |= x >= rule.at(down)
    return beyond
