"""Erase printed borders and ruled lines from the ink of a strip, and leave the digits whole.

Where nothing else touches a rule, its pixels go. Where a stroke enters on one side and leaves on
the other, the pixels in between belong to the stroke and stay. Where a stroke ends on the rule, the
half of the rule next to the stroke stays, so that the belly of a 0 that rests on a line is not cut
open. Only the narrow bands of the rules are looked at.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.cleaning.rules import FieldBorders, Rule, StripRules, transpose
from pipeline.imageops import Mask, as_image
from pipeline.types import Image


def erase_rules(ink: Image, rules: StripRules, borders: FieldBorders) -> Image:
    """Return `ink`, (h, w) 255 on 0, without the rules and without what lies beyond the borders.

    Ink beyond a border goes unless it belongs to a stroke that comes from within.
    """
    if not rules:
        return ink.copy()
    height, width = ink.shape
    turned = transpose(ink)
    horizontal = [_band(rule, height) for rule in rules.horizontal]
    vertical = [_band(rule, width) for rule in rules.vertical]
    all_horizontal = _draw_bands(ink.shape, horizontal)
    all_vertical = transpose(_draw_bands(turned.shape, vertical))
    # A rule that another one ends on must not take it for a stroke: each is judged without those
    # of the other direction.
    erased: Image = all_horizontal & all_vertical
    erased |= _erasable(as_image(cv2.subtract(ink, all_vertical)), horizontal)
    erased |= transpose(
        _erasable(as_image(cv2.subtract(turned, transpose(all_horizontal))), vertical)
    )
    rest = ink & ~erased
    _drop_remnants(rest, erased, rules, borders)
    return rest


@dataclass(frozen=True, slots=True)
class _Band:
    """The pixels of a horizontal rule, with half a pixel to spare on either side."""

    rule: Rule
    first: NDArray[np.intp]  # row in each column of the rule
    last: NDArray[np.intp]
    top: int  # the smallest of `first`
    mask: Mask  # its first row is `top`, its first column `rule.start`


def _band(rule: Rule, height: int) -> _Band:
    half = rule.thickness / 2 + 0.5
    first = np.floor(rule.middle - half + 0.5).astype(np.intp)
    last = np.ceil(rule.middle + half - 0.5).astype(np.intp)
    np.minimum(np.maximum(first, 0, out=first), height, out=first)
    np.minimum(np.maximum(last, -1, out=last), height - 1, out=last)
    top = int(first.min())
    rows = np.arange(top, int(last.max()) + 1)[:, None]
    return _Band(rule, first, last, top, (rows >= first) & (rows <= last))


def _draw_bands(shape: tuple[int, ...], bands: list[_Band]) -> Image:
    """Return an image, 255 on the pixels of the bands."""
    drawn = np.zeros(shape, np.uint8)
    for band in bands:
        rows = slice(band.top, band.top + len(band.mask))
        drawn[rows, band.rule.start : band.rule.stop][band.mask] = 255
    return drawn


def _erasable(ink: Image, bands: list[_Band]) -> Image:
    """Return an image, 255 on the pixels of the bands that do not belong to a stroke as well."""
    erasable = np.zeros(ink.shape, np.uint8)
    padded = as_image(cv2.copyMakeBorder(ink, 3, 3, 0, 0, cv2.BORDER_CONSTANT))
    for band in bands:
        strokes = _strokes_on(band, padded)
        mask = band.mask if strokes is None else band.mask & ~strokes
        rows = slice(band.top, band.top + len(band.mask))
        erasable[rows, band.rule.start : band.rule.stop][mask] = 255
    return erasable


def _strokes_on(band: _Band, padded: Image) -> Mask | None:
    """Return where in the band strokes cross the rule or end on it; None where none does.

    `padded` is the ink with three empty rows above and below.
    """
    first, last, rule = band.first, band.last, band.rule
    columns = np.arange(rule.start, rule.stop)
    width, flat = padded.shape[1], padded.ravel()
    # Ink must go on for two pixels beyond the band: one may be the rough edge of the rule itself.
    index = (first + 2) * width + columns
    above = (flat[index] & flat[index - width]) > 0
    index = (last + 4) * width + columns
    below = (flat[index] & flat[index + width]) > 0
    if not above.any() and not below.any():
        return None
    top = band.top
    strokes = np.zeros(band.mask.shape, np.uint8)
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
                cv2.fillConvexPoly(strokes, np.array(quad, np.int32), 1)
    middle = np.rint(rule.middle).astype(np.intp)
    rows = np.arange(top, top + len(strokes))[:, None]
    for runs, from_row, to_row in ((runs_above, first, middle), (runs_below, middle, last + 1)):
        for start, stop in runs:
            half = (rows >= from_row[start:stop]) & (rows < to_row[start:stop])
            strokes[:, start:stop] |= half
    return strokes > 0


def _runs(row: Mask, max_gap: int) -> list[tuple[int, int]]:
    """Return start and stop of the runs in `row`; runs at most `max_gap` apart are one."""
    ends = np.flatnonzero(np.diff(row.astype(np.int8), prepend=0, append=0))
    runs: list[tuple[int, int]] = []
    for start, stop in zip(ends[::2].tolist(), ends[1::2].tolist(), strict=True):
        if runs and start - runs[-1][1] <= max_gap:
            runs[-1] = (runs[-1][0], stop)
        else:
            runs.append((start, stop))
    return runs


def _drop_remnants(rest: Image, erased: Image, rules: StripRules, borders: FieldBorders) -> None:
    """Drop from `rest`, in place, the pieces beyond the borders and what rules left behind.

    Rules leave pieces that lie wholly on them, and burrs: specks of their rough edge, small and
    touching what was erased.
    """
    # Finding outlines costs a tenth of labelling pixels.
    outlines, nested = cv2.findContours(rest, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    if not outlines:
        return
    boxes = np.array([cv2.boundingRect(outline) for outline in outlines])
    thickness = max(rule.thickness for rule in rules.horizontal + rules.vertical)
    dropped = _beyond_borders(boxes, borders)
    for rule in rules.horizontal:
        spare = rule.thickness / 2 + max(1.5, rule.thickness / 2)
        below_middle = boxes[:, 1] - rule.middle_at(boxes[:, 0] + boxes[:, 2] / 2)
        dropped |= (below_middle >= -spare) & (below_middle + boxes[:, 3] - 1 <= spare)
    small = boxes[:, 2:].min(axis=1) <= max(2.0, 0.6 * thickness)
    small &= boxes[:, 2:].max(axis=1) <= 5 * thickness
    is_piece = nested[0, :, 3] < 0  # not the outline of a hole
    for index in np.flatnonzero((small | dropped) & is_piece).tolist():
        x, y, w, h = boxes[index].tolist()
        near = np.s_[max(0, y - 1) : y + h + 1, max(0, x - 1) : x + w + 1]
        if dropped[index] or erased[near].any():
            cv2.drawContours(rest, outlines, index, 0.0, cv2.FILLED)


def _beyond_borders(boxes: NDArray[np.int_], borders: FieldBorders) -> Mask:
    """Say which boxes, (n, 4) of x, y, w, h, lie wholly beyond a border of the field."""
    x, y, right, bottom = (*boxes[:, :2].T, *(boxes[:, :2] + boxes[:, 2:] - 1).T)
    middle_x, middle_y = (x + right) / 2, (y + bottom) / 2
    beyond = np.zeros(len(boxes), bool)
    for rule in borders.top:
        beyond |= bottom <= rule.middle_at(middle_x)
    for rule in borders.bottom:
        beyond |= y >= rule.middle_at(middle_x)
    for rule in borders.left:
        beyond |= right <= rule.middle_at(middle_y)
    for rule in borders.right:
        beyond |= x >= rule.middle_at(middle_y)
    return beyond
