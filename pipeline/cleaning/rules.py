"""Find the rules of a strip, the printed borders and ruled lines, in its ink.

A rule is a thin, straight line that is longer than any stroke of a digit. The search runs on a
reduced image, whose shades keep the place of a line to a fraction of a pixel.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.cleaning.trace import FULL_INK, Floats, Trace, line_thickness, trace_line
from pipeline.imageops import as_image
from pipeline.types import Image

MAX_THICKNESS: Final = 0.14  # of the strip's height: nothing thicker is a rule
MAX_RULES: Final = 24  # of one direction: a comb of twenty cells, its ends and some spare
SEARCH_ROWS: Final = 64  # enough to find rules in; with half as many, thin ones get lost
_MIN_SIDE: Final = 12  # pixels: nothing is found in lower or narrower strips


@dataclass(frozen=True, slots=True)
class Rule:
    """A printed line: from column `start` to `stop` (exclusive), its middle row in each column.

    It is nearly horizontal, `thickness` pixels thick. A vertical rule is described in the same way
    in the transposed strip.
    """

    start: int
    stop: int
    middle: Floats
    thickness: float

    @property
    def position(self) -> float:
        """The row of the rule half way along it."""
        return float(self.middle[len(self.middle) // 2])

    def middle_at(self, columns: NDArray[Any]) -> Floats:
        """Return the middle row at `columns`; beyond an end, that of the end."""
        return np.asarray(np.interp(columns, np.arange(self.start, self.stop), self.middle))

    def clipped(self, length: int) -> Rule:
        """Return the part of the rule on an image of `length` columns, at least one column."""
        start = min(self.start, length - 1)
        stop = max(start + 1, min(self.stop, length))
        if (start, stop) == (self.start, self.stop):
            return self
        return Rule(start, stop, self.middle_at(np.arange(start, stop)), self.thickness)

    def scaled(self, scale: float, length: int) -> Rule:
        """Return the rule in an image `scale` times as large, of `length` columns."""
        if scale == 1.0:
            return self
        start = min(max(0, round(self.start * scale)), length - 1)
        stop = min(max(start + 1, round(self.stop * scale)), length)
        columns = (np.arange(start, stop, dtype=np.float64) + 0.5) / scale - 0.5
        middle = (self.middle_at(columns) + 0.5) * scale - 0.5
        return Rule(start, stop, middle, self.thickness * scale)


@dataclass(frozen=True, slots=True)
class StripRules:
    """The rules of a strip; `vertical` ones are in coordinates of the transposed strip."""

    horizontal: tuple[Rule, ...] = ()
    vertical: tuple[Rule, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.horizontal or self.vertical)

    @property
    def lean(self) -> float:
        """How many columns a row the vertical rules lean, 0 without any."""
        slopes = [
            float(rule.middle[-1] - rule.middle[0]) / max(1, len(rule.middle) - 1)
            for rule in self.vertical
        ]
        return float(np.median(slopes)) if slopes else 0.0


@dataclass(frozen=True, slots=True)
class FieldBorders:
    """The rules that bound the field: what lies wholly beyond one is not part of the field.

    `left` and `right` are in coordinates of the transposed strip. Several rules may bound a side.
    """

    top: tuple[Rule, ...] = ()
    bottom: tuple[Rule, ...] = ()
    left: tuple[Rule, ...] = ()
    right: tuple[Rule, ...] = ()


def field_borders(rules: StripRules, shape: tuple[int, ...]) -> FieldBorders:
    """Return the rules that bound a field which was cut out with little around it.

    A frame whose corners are seen bounds the field wherever it stands. Other rules do so only near
    the edges of the strip, (h, w) = `shape`.
    """
    height, width = shape
    horizontal = sorted(rules.horizontal, key=lambda rule: rule.position)
    vertical = sorted(rules.vertical, key=lambda rule: rule.position)
    top = [rule for rule in horizontal if rule.position < 0.35 * height]
    bottom = [rule for rule in horizontal if rule.position > 0.65 * height]
    left = [rule for rule in vertical if rule.position < 0.25 * height]
    right = [rule for rule in vertical if rule.position > width - 0.25 * height]
    if (
        len(horizontal) >= 2
        and vertical
        and horizontal[-1].position - horizontal[0].position >= 0.3 * height
    ):
        slack = 0.1 * height + 2
        outer = [horizontal[0], horizontal[-1]]
        left_corners = min(rule.start for rule in outer) >= vertical[0].position - slack
        right_corners = max(rule.stop for rule in outer) <= vertical[-1].position + slack
        if left_corners and vertical[0].position < 0.5 * width:
            left.append(vertical[0])
        if right_corners and vertical[-1].position > 0.5 * width:
            right.append(vertical[-1])
        if left_corners and right_corners and len(vertical) > 1:
            top.append(horizontal[0])
            bottom.append(horizontal[-1])
    return FieldBorders(tuple(top), tuple(bottom), tuple(left), tuple(right))


def find_strip_rules(ink: Image) -> StripRules:
    """Return the borders and ruled lines in `ink`, (h, w) 255 on 0.

    They must be within about a degree of horizontal or vertical.
    """
    height, width = ink.shape
    if min(height, width) < _MIN_SIDE or not ink.any():
        return StripRules()
    reduction = max(1, min(3, min(height, width) // SEARCH_ROWS))
    small = ink
    if reduction > 1:
        columns, rows = -(-width // reduction), -(-height // reduction)
        below, beside = rows * reduction - height, columns * reduction - width
        padded = cv2.copyMakeBorder(ink, 0, below, 0, beside, cv2.BORDER_CONSTANT)
        small = as_image(cv2.resize(padded, (columns, rows), interpolation=cv2.INTER_AREA))
    horizontal = _horizontal_rules(small, height / reduction, width / reduction, reduction)
    vertical = _vertical_rules(small, horizontal, reduction)
    return StripRules(
        tuple(rule.scaled(reduction, width) for rule in horizontal),
        tuple(rule.scaled(reduction, height) for rule in vertical),
    )


def transpose(image: Image) -> Image:
    """Return `image` with rows and columns exchanged, contiguous."""
    return as_image(cv2.transpose(image))


_Criterion = Callable[[Rule, Trace], bool]


def _horizontal_rules(shades: Image, height: float, width: float, reduction: int) -> list[Rule]:
    """Return the horizontal rules in `shades`, a strip of `height` and `width` before padding."""
    # Longer than the strip is high: no digit has a horizontal stroke of that length.
    min_length = max(0.95 * height, 0.5 * width)
    max_thickness = max(3.0 / reduction, MAX_THICKNESS * height)

    def is_rule(rule: Rule, trace: Trace) -> bool:
        return (
            rule.stop - rule.start >= min_length
            and trace.coverage >= 0.75
            and rule.thickness <= max_thickness
            and trace.wobble <= 1.0 / reduction + 0.15 * rule.thickness
        )

    return _find_rules(shades, reduction, 0.7 * min_length, is_rule)


def _vertical_rules(shades: Image, horizontal: list[Rule], reduction: int) -> list[Rule]:
    """Return the vertical borders. What tells a border from a 1 is that it runs to the others.

    With borders above and below, it spans the room between them. Without them, it must run through
    the whole strip while the other ink does not.
    """
    height, width = shades.shape
    slack = 0.06 * height + 1
    rows = sorted(rule.position for rule in horizontal)
    framed = len(rows) >= 2 and rows[-1] - rows[0] >= 0.5 * height
    top, bottom = (rows[0], rows[-1]) if framed else (0.0, height - 1.0)
    max_thickness = max(3.0 / reduction, MAX_THICKNESS * height)
    max_framed = max([1.8 * rule.thickness for rule in horizontal] + [3.0 / reduction])
    # Print above or below a frame must not be taken for a continuation of its sides.
    first, last = max(0, int(top - slack)), min(height, int(bottom + slack) + 1)

    def is_rule(rule: Rule, trace: Trace) -> bool:
        if rule.start + first > top + slack or rule.stop + first < bottom - slack:
            return False
        if trace.coverage < 0.85 or rule.thickness > max_thickness:
            return False
        if trace.wobble > 1.0 / reduction + 0.15 * rule.thickness:
            return False
        if framed:
            return rule.thickness <= max_framed
        x = rule.position
        if width < height or min(x, width - 1 - x) > 0.25 * height:
            return False
        other_ink = shades >= FULL_INK
        other_ink[:, max(0, int(x - rule.thickness)) : int(x + rule.thickness) + 2] = False
        inked = np.flatnonzero(other_ink.any(axis=1))
        return len(inked) > 0 and inked[-1] - inked[0] + 1 < 0.85 * height

    turned = transpose(np.ascontiguousarray(shades[first:last]))
    found = _find_rules(turned, reduction, 0.75 * (bottom - top), is_rule)
    return [replace(rule, start=rule.start + first, stop=rule.stop + first) for rule in found]


def _find_rules(shades: Image, reduction: int, min_ink: float, is_rule: _Criterion) -> list[Rule]:
    """Return the horizontal rules with at least `min_ink` columns of ink, the longest first."""
    height, width = shades.shape
    run = max(-(-9 // reduction), round(0.3 * min(height, width)))
    shortest = max(run, min_ink)
    full = cv2.threshold(shades, FULL_INK - 1, 255, cv2.THRESH_BINARY)[1]
    joined = cv2.morphologyEx(full, cv2.MORPH_CLOSE, np.ones((1, 3), np.uint8))
    runs = as_image(cv2.morphologyEx(joined, cv2.MORPH_OPEN, np.ones((1, run), np.uint8)))
    weights = runs
    if reduction > 1:
        near = cv2.dilate(runs, np.ones((3, 1), np.uint8))
        weights = as_image(cv2.bitwise_and(shades, near))
    drift = max(1, round((1 + 0.004 * width * reduction) / reduction))
    spread = np.ones((2 * drift + 1, 1), np.uint8)
    found: list[Rule] = []
    profile = _projection_profile(runs, spread)
    for _ in range(2 * MAX_RULES):
        top = int(profile.argmax())
        best = profile[top]
        if best < shortest or len(found) == MAX_RULES:
            break
        # In the profile a rule is a plateau; the middle of the plateau is the rule's.
        fall = np.flatnonzero(profile[top:] < 0.98 * best)
        row = top + (int(fall[0]) if len(fall) else height - top) // 2
        thickness = line_thickness(weights, row, drift, 8 // reduction)
        reach = drift + max(1, round(thickness))
        window = slice(max(0, row - reach), row + reach + 1)
        trace = trace_line(weights[window], window.start, thickness)
        if trace is not None:
            rule = Rule(trace.start, trace.stop, trace.middle, thickness)
            if is_rule(rule, trace):
                found.append(rule)
        runs[window] = 0
        weights[window] = 0
        around = slice(max(0, window.start - 2 * drift), window.stop + 2 * drift)
        part = _projection_profile(runs[around], spread)
        changed = slice(max(0, window.start - drift), window.stop + drift)
        profile[changed] = part[changed.start - around.start :][: changed.stop - changed.start]
    return found


def _projection_profile(runs: Image, spread: Image) -> NDArray[np.int32]:
    """Return for each row how many columns hold ink in it, or in the rows that `spread` covers."""
    total = cv2.reduce(cv2.dilate(runs, spread), 1, cv2.REDUCE_SUM, dtype=cv2.CV_32S)
    return np.asarray(total.ravel() // 255, np.int32)
