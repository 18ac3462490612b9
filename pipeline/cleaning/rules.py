"""Find printed borders and ruled lines in the ink of a strip.

A rule is a thin, straight line longer than any stroke of a digit. The search runs on a reduced
image, whose shades keep the place of a line to a fraction of a pixel.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.imageops import median_high
from pipeline.types import Image

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]

MAX_THICKNESS: Final = 0.14  # of the strip's height: thicker is no rule
MAX_RULES: Final = 24  # of one direction: a comb of twenty cells, its ends and some spare
ENOUGH: Final = 100  # points to lay a line through
SEARCH_ROWS: Final = 64  # enough to find rules in; half of it is lost on thin ones
_SLOPE: Final = 0.03  # what registration may leave, and more
_COVERED: Final = 76  # of 255: a line of one pixel in a reduction by three
_SMALLEST: Final = 12  # pixels: nothing is found in lower or narrower strips


@dataclass(frozen=True, slots=True)
class Rule:
    """A level rule: from column `start` to `stop` (exclusive), its middle in each, its width.

    An upright one is the same of the transposed strip.
    """

    start: int
    stop: int
    middle: Floats
    thickness: float

    @property
    def place(self) -> float:
        """The row of the rule half way along it."""
        return float(self.middle[len(self.middle) // 2])

    def at(self, columns: NDArray[Any]) -> Floats:
        """Return the middle at `columns`, also beyond the ends."""
        return np.asarray(np.interp(columns, np.arange(self.start, self.stop), self.middle))

    def cut(self, length: int) -> Rule:
        """Return what of the rule is on an image `length` columns long: a column at least."""
        start = min(self.start, length - 1)
        stop = max(start + 1, min(self.stop, length))
        if (start, stop) == (self.start, self.stop):
            return self
        return Rule(start, stop, self.at(np.arange(start, stop)), self.thickness)

    def scaled(self, scale: float, length: int) -> Rule:
        """Return the rule in an image `scale` times as large, `length` columns long."""
        if scale == 1.0:
            return self
        start = min(max(0, round(self.start * scale)), length - 1)
        stop = min(max(start + 1, round(self.stop * scale)), length)
        own = (np.arange(start, stop, dtype=np.float64) + 0.5) / scale - 0.5
        return Rule(start, stop, (self.at(own) + 0.5) * scale - 0.5, self.thickness * scale)


@dataclass(frozen=True, slots=True)
class Ruling:
    """The rules of a strip; those of `upright` are in coordinates of the transposed strip."""

    level: tuple[Rule, ...] = ()
    upright: tuple[Rule, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.level or self.upright)


@dataclass(frozen=True, slots=True)
class Sides:
    """The rules that bound the field: what lies wholly beyond one is no part of it.

    `left` and `right` are in coordinates of the transposed strip. Several may bound one side.
    """

    top: tuple[Rule, ...] = ()
    bottom: tuple[Rule, ...] = ()
    left: tuple[Rule, ...] = ()
    right: tuple[Rule, ...] = ()


def sides_of(ruling: Ruling, shape: tuple[int, ...]) -> Sides:
    """Return the rules of `ruling` that bound a field cut out with little around it.

    A frame whose corners are seen bounds it wherever it stands, other rules only near the edges
    of the strip, (h, w) = `shape`.
    """
    height, width = shape
    level = sorted(ruling.level, key=lambda rule: rule.place)
    upright = sorted(ruling.upright, key=lambda rule: rule.place)
    top = [rule for rule in level if rule.place < 0.35 * height]
    bottom = [rule for rule in level if rule.place > 0.65 * height]
    left = [rule for rule in upright if rule.place < 0.25 * height]
    right = [rule for rule in upright if rule.place > width - 0.25 * height]
    if len(level) >= 2 and upright and level[-1].place - level[0].place >= 0.3 * height:
        slack = 0.1 * height + 2
        outer = [level[0], level[-1]]
        begins = min(rule.start for rule in outer) >= upright[0].place - slack
        ends = max(rule.stop for rule in outer) <= upright[-1].place + slack
        if begins and upright[0].place < 0.5 * width:
            left.append(upright[0])
        if ends and upright[-1].place > 0.5 * width:
            right.append(upright[-1])
        if begins and ends and len(upright) > 1:
            top.append(level[0])
            bottom.append(level[-1])
    return Sides(tuple(top), tuple(bottom), tuple(left), tuple(right))


def find_ruling(ink: Image) -> Ruling:
    """Return the borders and ruled lines in `ink`, (h, w) 255 on 0."""
    height, width = ink.shape
    if min(height, width) < _SMALLEST or not ink.any():
        return Ruling()
    unit = max(1, min(3, min(height, width) // SEARCH_ROWS))
    small = ink
    if unit > 1:
        size = (-(-width // unit), -(-height // unit))
        padded = cv2.copyMakeBorder(
            ink, 0, size[1] * unit - height, 0, size[0] * unit - width, cv2.BORDER_CONSTANT
        )
        small = np.asarray(cv2.resize(padded, size, interpolation=cv2.INTER_AREA), np.uint8)
    level = _find_rules(small, unit, *_level_criterion(height / unit, width / unit, unit))
    upright = _upright_rules(small, level, unit)
    return Ruling(
        tuple(rule.scaled(unit, width) for rule in level),
        tuple(rule.scaled(unit, height) for rule in upright),
    )


def transposed(image: Image) -> Image:
    """Return `image` with rows and columns exchanged, contiguous."""
    return np.asarray(cv2.transpose(image), np.uint8)


Criterion = Callable[[Rule, float, float], bool]


def _level_criterion(height: float, width: float, unit: int) -> tuple[float, Criterion]:
    # Longer than high: no digit has a level stroke as long as the strip is high.
    shortest = max(0.95 * height, 0.5 * width)

    def is_rule(rule: Rule, coverage: float, wobble: float) -> bool:
        return (
            rule.stop - rule.start >= shortest
            and coverage >= 0.75
            and rule.thickness <= max(3.0 / unit, MAX_THICKNESS * height)
            and wobble <= 1.0 / unit + 0.15 * rule.thickness
        )

    return 0.7 * shortest, is_rule


def _upright_rules(full: Image, level: list[Rule], unit: int) -> list[Rule]:
    """Return the upright borders. What tells one from a 1: it runs to the others.

    With borders above and below it spans what lies between them. Without any it must run through
    the whole strip, while the other ink does not.
    """
    height, width = full.shape
    slack = 0.06 * height + 1
    middles = sorted(rule.place for rule in level)
    framed = len(middles) >= 2 and middles[-1] - middles[0] >= 0.5 * height
    top, bottom = (middles[0], middles[-1]) if framed else (0.0, height - 1.0)
    thickest = max([1.8 * rule.thickness for rule in level] + [3.0 / unit])
    # Print above or below a frame must not be taken for more of its sides.
    above, below = max(0, int(top - slack)), min(height, int(bottom + slack) + 1)

    def is_rule(rule: Rule, coverage: float, wobble: float) -> bool:
        if rule.start + above > top + slack or rule.stop + above < bottom - slack:
            return False
        if coverage < 0.85:
            return False
        widest = max(3.0 / unit, MAX_THICKNESS * height)
        if wobble > 1.0 / unit + 0.15 * rule.thickness or rule.thickness > widest:
            return False
        if framed:
            return rule.thickness <= thickest
        x = rule.place
        if width < height or min(x, width - 1 - x) > 0.25 * height:
            return False
        aside = full >= _COVERED
        aside[:, max(0, int(x - rule.thickness)) : int(x + rule.thickness) + 2] = False
        rows = np.flatnonzero(aside.any(axis=1))
        return len(rows) > 0 and rows[-1] - rows[0] + 1 < 0.85 * height

    turned = transposed(np.ascontiguousarray(full[above:below]))
    found = _find_rules(turned, unit, 0.75 * (bottom - top), is_rule)
    return [replace(rule, start=rule.start + above, stop=rule.stop + above) for rule in found]


def _find_rules(shades: Image, unit: int, least: float, is_rule: Criterion) -> list[Rule]:
    """Return the level rules of `shades`, of `least` pixels of ink or more, the longest first."""
    height, width = shades.shape
    run = max(-(-9 // unit), round(0.3 * min(height, width)))
    shortest = max(run, least)
    full = cv2.threshold(shades, _COVERED - 1, 255, cv2.THRESH_BINARY)[1]
    joined = cv2.morphologyEx(full, cv2.MORPH_CLOSE, np.ones((1, 3), np.uint8))
    opened = cv2.morphologyEx(joined, cv2.MORPH_OPEN, np.ones((1, run), np.uint8))
    long: Image = np.asarray(opened, np.uint8)
    weights = long
    if unit > 1:
        near = cv2.dilate(long, np.ones((3, 1), np.uint8))
        weights = np.asarray(cv2.bitwise_and(shades, near), np.uint8)
    drift = max(1, round((1 + 0.004 * width * unit) / unit))
    thick = np.ones((2 * drift + 1, 1), np.uint8)
    found: list[Rule] = []
    profile = _profile(long, thick)
    for _ in range(2 * MAX_RULES):
        top = int(profile.argmax())
        best = profile[top]
        if best < shortest or len(found) == MAX_RULES:
            break
        # The dilated rule is a plateau; its middle is the rule's.
        fall = np.flatnonzero(profile[top:] < 0.98 * best)
        row = top + (int(fall[0]) if len(fall) else height - top) // 2
        thickness = _thickness(weights, row, drift, 8 // unit)
        reach = drift + max(1, round(thickness))
        window = slice(max(0, row - reach), row + reach + 1)
        traced = trace(weights[window], window.start, thickness)
        if traced is not None and is_rule(*traced):
            found.append(traced[0])
        long[window] = 0
        weights[window] = 0
        around = slice(max(0, window.start - 2 * drift), window.stop + 2 * drift)
        part = _profile(long[around], thick)
        changed = slice(max(0, window.start - drift), window.stop + drift)
        profile[changed] = part[changed.start - around.start :][: changed.stop - changed.start]
    return found


def _profile(long: Image, thick: Image) -> NDArray[np.int32]:
    """Return how many columns of each row, or of rows near it, hold ink."""
    spread = cv2.dilate(long, thick)
    total = cv2.reduce(spread, 1, cv2.REDUCE_SUM, dtype=cv2.CV_32S)
    return np.asarray(total.ravel() // 255, np.int32)


def trace(near: Image, top: int, thickness: float) -> tuple[Rule, float, float] | None:
    """Follow the rule in `near`, rows from `top`: its course, coverage (0 to 1), and wobble."""
    rows, width = near.shape
    shades = near.astype(np.float32)
    x, y = _middles(shades)
    if len(x) < 8:
        return None
    slope, offset, off = _straight(x, y)
    if np.abs(off).max() > 1:
        # What else lies near, print or a digit's foot, must not draw the rule aside.
        course = np.float32(slope) * np.arange(width, dtype=np.float32) + np.float32(offset)
        aside = np.abs(np.arange(rows, dtype=np.float32)[:, None] - course)
        shades *= aside <= thickness / 2 + 2
        x, y = _middles(shades)
        if len(x) < 8:
            return None
        slope, offset, off = _straight(x, y)
    wobble = float(np.sqrt(median_high(off * off)) * 1.48)
    start, stop = int(x[0]), int(x[-1]) + 1
    middle = np.asarray(top + offset + slope * np.arange(start, stop), np.float64)
    if wobble > 0.5:
        middle += _wandering(x, np.clip(off, -2, 2), start, stop, min(near.shape))
    return Rule(start, stop, middle, thickness), len(x) / (stop - start), wobble


def _wandering(x: NDArray[np.intp], off: Floats, start: int, stop: int, height: int) -> Floats:
    """Return how far the rule is aside of its line in each column: paper and presses wander.

    Followed slowly, by medians of a window, two pixels at most.
    """
    step = max(1, max(9, 2 * height) // 8)
    nodes = np.arange(0, stop - start, step)
    course = np.interp(start + nodes, x, off)
    padded = np.concatenate([np.repeat(course[0], 4), course, np.repeat(course[-1], 4)])
    around = padded[np.arange(len(nodes))[:, None] + np.arange(9)]
    return np.interp(np.arange(stop - start), nodes, np.partition(around, 4, axis=1)[:, 4])


def _middles(shades: NDArray[np.float32]) -> tuple[NDArray[np.intp], Floats]:
    """Return the columns that hold ink, and the middle of the ink in each."""
    weight = shades.sum(axis=0)
    x = np.flatnonzero(weight >= _COVERED)
    return x, ((np.arange(len(shades), dtype=np.float32) @ shades)[x] / weight[x]).astype(float)


def _straight(x: NDArray[np.intp], y: Floats) -> tuple[float, float, Floats]:
    """Return slope and offset of the line through most of the points, and how far each is off."""
    step = max(1, len(x) // ENOUGH)
    some, own = x[::step].astype(np.float64), y[::step]
    slope, offset = 0.0, median_high(own)
    weights = 1 / (1 + (own - offset) ** 2)
    for _ in range(3):
        total = float(weights.sum())
        mean_x, mean_y = float(weights @ some) / total, float(weights @ own) / total
        from_mean = some - mean_x
        weighted = weights * from_mean
        spread = float(weighted @ from_mean)
        slope = float(weighted @ own) / spread if spread > 0 else 0.0
        slope = min(max(slope, -_SLOPE), _SLOPE)
        offset = mean_y - slope * mean_x
        off = own - (slope * some + offset)
        off *= off
        if off.max() < 1:
            break  # nothing lies aside
        weights = 1 / (1 + off)
    return slope, offset, y - (slope * x + offset)


def _thickness(shades: Image, row: int, drift: int, widest: int) -> float:
    """Return how thick the rule near `row` usually is."""
    reach = 4 * drift + widest
    window = shades[max(0, row - reach) : row + reach + 1]
    passing = cv2.reduce(shades[max(0, row - drift) : row + drift + 1], 0, cv2.REDUCE_MAX).ravel()
    sums = cv2.reduce(window, 0, cv2.REDUCE_SUM, dtype=cv2.CV_32S).ravel()[passing >= _COVERED]
    return median_high(sums.astype(np.float64)) / 255 if len(sums) else 1.0
