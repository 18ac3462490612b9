"""Remove printed borders and ruled lines from the ink of a strip, and leave the digits whole.

A rule is a thin, straight line longer than any stroke of a digit. Where nothing else touches it,
its pixels go. Where a stroke comes in on one side and goes out on the other, the pixels between
the two are the stroke's and stay; where a stroke ends on the rule, the half of the rule next to
it stays, so that the belly of a 0 resting on a line is not cut open.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.types import Image

Mask = NDArray[np.bool_]

MAX_THICKNESS: Final = 0.14  # of the strip's height: thicker is no rule
MAX_RULES: Final = 24  # of one direction: a comb of twenty cells, its ends and some spare
ENOUGH: Final = 150  # points to lay a line through
_SLOPE: Final = 0.03  # what registration may leave, and more


@dataclass(frozen=True, slots=True)
class _Rule:
    """A level rule: from column `start` to `stop` (exclusive), its middle in each, its width."""

    start: int
    stop: int
    middle: NDArray[np.float64]
    thickness: float

    def band(self, shape: tuple[int, int]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return the first and last row of the rule for each of its columns, a pixel to spare."""
        half = self.thickness / 2 + 0.5
        first = np.floor(self.middle - half + 0.5).astype(np.intp)
        last = np.ceil(self.middle + half - 0.5).astype(np.intp)
        return np.clip(first, 0, shape[0]), np.clip(last, -1, shape[0] - 1)


def remove_rules(ink: Image) -> Image:
    """Return `ink`, (h, w) 255 on 0, without box borders, ruled lines and what lies beyond them.

    Rules must be within about a degree of level or upright. Ink outside a box is dropped unless
    it belongs to a stroke that comes from within.
    """
    height, width = ink.shape
    if min(height, width) < 12 or not ink.any():
        return ink.copy()
    full = ink > 0
    level = _find_rules(full, *_level_criterion(height, width))
    upright = _find_rules(full.T, *_upright_criterion(full, level))
    if not level and not upright:
        return ink.copy()
    lines = _bands(full.shape, level)
    posts = _bands(full.T.shape, upright).T
    # A border that another one ends on is no stroke that ends on it: each is judged without.
    gone = _erasable(full & ~posts, level) | _erasable((full & ~lines).T, upright).T
    gone |= lines & posts
    rest = full & ~gone
    thickest = max(rule.thickness for rule in level + upright)
    rest &= ~_beyond(rest, level, upright) & ~_burrs(rest, gone, thickest)
    return np.where(rest, np.uint8(255), np.uint8(0))


Criterion = Callable[[_Rule, float, float], bool]


def _level_criterion(height: int, width: int) -> tuple[float, Criterion]:
    # Longer than high: no digit has a level stroke as long as the strip is high.
    shortest = max(0.95 * height, 0.5 * width)

    def is_rule(rule: _Rule, coverage: float, wobble: float) -> bool:
        return (
            rule.stop - rule.start >= shortest
            and coverage >= 0.75
            and rule.thickness <= max(3.0, MAX_THICKNESS * height)
            and wobble <= 1.0 + 0.15 * rule.thickness
        )

    return 0.7 * shortest, is_rule


def _upright_criterion(full: Mask, level: list[_Rule]) -> tuple[float, Criterion]:
    """Return the least length, and what tells an upright border from a 1: it runs to the others.

    With borders above and below it spans what lies between them. Without any it must run through
    the whole strip, while the other ink does not.
    """
    height, width = full.shape
    middles = sorted(float(np.median(rule.middle)) for rule in level)
    framed = len(middles) >= 2 and middles[-1] - middles[0] >= 0.5 * height
    top, bottom = (middles[0], middles[-1]) if framed else (0.0, height - 1.0)
    thickest = max([1.8 * rule.thickness for rule in level] + [3.0])

    def is_rule(rule: _Rule, coverage: float, wobble: float) -> bool:
        slack = 0.06 * height + 1
        if rule.start > top + slack or rule.stop < bottom - slack or coverage < 0.85:
            return False
        if wobble > 1.0 + 0.15 * rule.thickness or rule.thickness > max(3.0, 0.14 * height):
            return False
        if framed:
            return rule.thickness <= thickest
        x = float(np.median(rule.middle))
        if width < height or min(x, width - 1 - x) > 0.25 * height:
            return False
        aside = full.copy()
        aside[:, max(0, int(x - rule.thickness)) : int(x + rule.thickness) + 2] = False
        rows = np.flatnonzero(aside.any(axis=1))
        return len(rows) > 0 and rows[-1] - rows[0] + 1 < 0.85 * height

    return 0.75 * (bottom - top), is_rule


def _find_rules(full: Mask, least: float, is_rule: Criterion) -> list[_Rule]:
    """Return the level rules of `full`, of `least` pixels of ink or more, the longest first."""
    height, width = full.shape
    run = max(9, round(0.3 * min(height, width)))
    shortest = max(run, least)
    image = full.astype(np.uint8)
    image = np.asarray(cv2.morphologyEx(image, cv2.MORPH_CLOSE, np.ones((1, 3), np.uint8)))
    long = np.asarray(cv2.morphologyEx(image, cv2.MORPH_OPEN, np.ones((1, run), np.uint8))) > 0
    drift = 1 + round(0.004 * width)
    thick = np.ones((2 * drift + 1, 1), np.uint8)
    found: list[_Rule] = []
    for _ in range(2 * MAX_RULES):
        spread = np.asarray(cv2.dilate(long.astype(np.uint8), thick))
        profile = spread.sum(axis=1, dtype=np.intp)
        best = int(profile.max())
        if best < shortest or len(found) == MAX_RULES:
            break
        # The dilated rule is a plateau; its middle is the rule's.
        top = int(profile.argmax())
        fall = np.flatnonzero(profile[top:] < 0.98 * best)
        row = top + (int(fall[0]) if len(fall) else height - top) // 2
        rule, coverage, wobble, used = _trace(long, row, drift)
        if rule is not None and is_rule(rule, coverage, wobble):
            found.append(rule)
        long = long & ~used
    return found


def _trace(long: Mask, row: int, drift: int) -> tuple[_Rule | None, float, float, Mask]:
    """Follow the rule near `row`: its course, coverage (0 to 1), wobble in pixels, and pixels."""
    width = long.shape[1]
    used = np.zeros_like(long)
    thickness = _thickness(long, row, drift)
    reach = drift + round(thickness)
    top = max(0, row - reach)
    near = long[top : row + reach + 1]
    used[top : row + reach + 1] = near
    slope, offset = _straight(*_middles(near))
    # What else lies near, print or a digit's foot, must not draw the rule aside.
    aside = np.abs(np.arange(len(near))[:, None] - slope * np.arange(width) - offset)
    near = near & (aside <= thickness / 2 + 2)
    x, y = _middles(near)
    if len(x) < 8:
        return None, 0.0, 0.0, used
    slope, offset = _straight(x, y)
    off = y - slope * x - offset
    wobble = float(np.sqrt(np.median(off**2)) * 1.48)
    start, stop = int(x[0]), int(x[-1]) + 1
    middle = np.asarray(top + offset + slope * np.arange(start, stop), np.float64)
    if wobble > 0.5:
        # Paper stretches and printing presses wander: follow slowly, two pixels at most.
        window = max(9, min(long.shape) // 2) | 1
        course = np.interp(np.arange(start, stop), x, np.clip(off, -2, 2))
        padded = np.pad(course, window // 2, mode="edge")
        around = np.lib.stride_tricks.sliding_window_view(padded, window)
        middle = middle + np.median(around, axis=-1)
    return _Rule(start, stop, middle, thickness), len(x) / (stop - start), wobble, used


def _middles(near: Mask) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Return the columns that hold ink, and the middle of the ink in each."""
    counts = near.sum(axis=0)
    x = np.flatnonzero(counts)
    return x, (near * np.arange(len(near))[:, None]).sum(axis=0)[x] / counts[x]


def _straight(x: NDArray[np.intp], y: NDArray[np.float64]) -> tuple[float, float]:
    """Return slope and offset of the line through most of the points."""
    step = max(1, len(x) // ENOUGH)
    x, y = x[::step], y[::step]
    weights = np.ones(len(x))
    slope, offset = 0.0, float(np.median(y))
    for _ in range(3):
        total = weights.sum()
        mean_x, mean_y = weights @ x / total, weights @ y / total
        from_mean = x - mean_x
        spread = float(weights @ (from_mean * from_mean))
        if spread > 0:
            slope = float(weights @ (from_mean * (y - mean_y))) / spread
        slope = min(max(slope, -_SLOPE), _SLOPE)
        offset = float(mean_y - slope * mean_x)
        off = y - slope * x - offset
        if abs(off).max() < 1:
            break  # nothing lies aside
        weights = 1 / (1 + off**2)
    return slope, offset


def _thickness(long: Mask, row: int, drift: int) -> float:
    """Return how thick the rule near `row` usually is."""
    window = long[max(0, row - 4 * drift - 8) : row + 4 * drift + 9]
    passing = long[max(0, row - drift) : row + drift + 1].any(axis=0)
    return float(np.median(window.sum(axis=0)[passing])) if passing.any() else 1.0


def _bands(shape: tuple[int, int], rules: list[_Rule]) -> Mask:
    mask = np.zeros(shape, bool)
    for rule in rules:
        first, last = rule.band(shape)
        top, bottom = int(first.min()), int(last.max()) + 1
        rows = np.arange(top, bottom)[:, None]
        mask[top:bottom, rule.start : rule.stop] |= (rows >= first) & (rows <= last)
    return mask


def _erasable(full: Mask, rules: list[_Rule]) -> Mask:
    """Return the pixels that are a level rule's and not also a stroke's."""
    gone = np.zeros(full.shape, bool)
    for rule in rules:
        band = _bands(full.shape, [rule])
        strokes = _strokes(full, rule)
        gone |= band if strokes is None else band & ~strokes
    return gone


def _strokes(full: Mask, rule: _Rule) -> Mask | None:
    """Return where strokes cross the rule, or end on it; None where none does."""
    height = full.shape[0]
    first, last = rule.band(full.shape)
    columns = np.arange(rule.start, rule.stop)

    def ink_at(rows: NDArray[np.intp]) -> Mask:
        inside = (rows >= 0) & (rows < height)
        seen: Mask = full[np.where(inside, rows, 0), columns] & inside
        return seen

    # Two pixels beyond the band: one is the roughness of the rule's own edge.
    above, below = ink_at(first - 1) & ink_at(first - 2), ink_at(last + 1) & ink_at(last + 2)
    if not above.any() and not below.any():
        return None
    keep = np.zeros(full.shape, np.uint8)
    reach = round(rule.thickness) + 2
    runs_above, runs_below = _runs(_closed(above, reach)), _runs(_closed(below, reach))
    for a_start, a_stop in runs_above:
        for b_start, b_stop in runs_below:
            if a_start - reach < b_stop and b_start - reach < a_stop:
                quad = [
                    (rule.start + a_start, first[a_start]),
                    (rule.start + a_stop - 1, first[a_stop - 1]),
                    (rule.start + b_stop - 1, last[b_stop - 1]),
                    (rule.start + b_start, last[b_start]),
                ]
                cv2.fillConvexPoly(keep, np.array(quad, np.int32), 1)
    middle = np.rint(rule.middle).astype(np.intp)
    for runs, from_row, to_row in (
        (runs_above, first, middle),
        (runs_below, middle, last + 1),
    ):
        for start, stop in runs:
            for column in range(start, stop):
                keep[max(0, from_row[column]) : max(0, to_row[column]), rule.start + column] = 1
    return keep > 0


def _closed(row: Mask, gap: int) -> Mask:
    """Return `row` with gaps of up to `gap` filled."""
    kernel = np.ones((1, gap + 1), np.uint8)
    padded = np.pad(row.astype(np.uint8), gap)[None]
    closed = np.asarray(cv2.morphologyEx(padded, cv2.MORPH_CLOSE, kernel))
    return closed[0, gap : gap + len(row)] > 0


def _runs(row: Mask) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], row, [False]]).astype(np.int8)))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _burrs(rest: Mask, gone: Mask, thickness: float) -> Mask:
    """Return the specks left on a rule's rough edge: small, and touching what was erased."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(rest.astype(np.uint8))
    near = np.asarray(cv2.dilate(gone.astype(np.uint8), np.ones((3, 3), np.uint8))) > 0
    touching = np.zeros(count, bool)
    touching[np.unique(labels[near & rest])] = True
    thin = np.minimum(stats[:, cv2.CC_STAT_WIDTH], stats[:, cv2.CC_STAT_HEIGHT])
    long = np.maximum(stats[:, cv2.CC_STAT_WIDTH], stats[:, cv2.CC_STAT_HEIGHT])
    small = (thin <= max(2.0, 0.6 * thickness)) & (long <= 5 * thickness)
    burrs: Mask = (touching & small)[labels]
    return burrs


def _beyond(rest: Mask, level: list[_Rule], upright: list[_Rule]) -> Mask:
    """Return the pieces of ink that lie wholly outside the box that the outer rules make."""
    height, width = rest.shape
    inside = np.ones(rest.shape, bool)
    rows, columns = np.arange(height)[:, None], np.arange(width)[None, :]
    for rule in level:
        middle = np.interp(np.arange(width), np.arange(rule.start, rule.stop), rule.middle)
        place = float(np.median(middle)) / height
        if place < 0.35:
            inside &= rows > middle
        elif place > 0.65:
            inside &= rows < middle
    for rule in upright:
        middle = np.interp(np.arange(height), np.arange(rule.start, rule.stop), rule.middle)
        place = float(np.median(middle))
        if place < 0.25 * height:
            inside &= columns > middle[:, None]
        elif place > width - 0.25 * height:
            inside &= columns < middle[:, None]
    count, labels = cv2.connectedComponents(rest.astype(np.uint8), connectivity=8)
    belongs = np.zeros(count, bool)
    belongs[np.unique(labels[inside])] = True
    belongs[0] = True
    outside: Mask = ~belongs[labels]
    return outside
