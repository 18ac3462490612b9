"""Draw characters with a pen: smooth curves through the points of an allograph.

A `PenHand` is one writer, with its own choice of allographs and its own distortion of them. It
writes a character similarly each time, but never identically.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.types import Image
from training.synthesis.allographs import Allograph, Points, pick_allograph

_STEPS = 8  # points of the curve between two control points
_HABIT = 0.034  # how far a writer's shape differs from the model, in heights of a digit
_SLIP = 0.018  # how far each instance differs from the writer's shape
_PARTED = 0.9  # how often a writer of 1s with an upstroke crosses the 7 to distinguish them
_LIKE_A_7 = frozenset({"upstroke", "long upstroke", "wide", "curved entry", "tick and tall"})
_OTHER = 0.08  # how often a writer uses an unusual allograph


@dataclass(frozen=True, slots=True)
class Drawn:
    """One character as curves, in heights of a digit; x from 0, base line at y = 1."""

    allograph: str
    strokes: tuple[Points, ...]  # (n, 2) each, in the order of writing


@dataclass(frozen=True, slots=True)
class PenHand:
    """One writer of pen strokes. `seed` alone determines its habits."""

    seed: int
    width: float = 1.0  # of the digits, relative to the model
    roundness: float = 1.0  # of the curves: 0 joins the points by straight lines
    _habits: dict[str, tuple[Allograph, Points]] = field(default_factory=dict, compare=False)

    def draw(self, character: str, rng: np.random.Generator) -> Drawn:
        """Write one character. Raises KeyError if it has no allograph."""
        shape, points = self._habit(character)
        if rng.random() < _OTHER:
            shape = pick_allograph(character, rng)
            points = shape.points
        moved = points + rng.normal(0, _SLIP, points.shape)
        moved *= self.width * rng.uniform(0.93, 1.07), rng.uniform(0.96, 1.04)
        basis, ends = _curves(shape, self.roundness)
        curve = basis @ moved
        return Drawn(shape.name, tuple(curve[i:j] for i, j in zip((0, *ends), ends, strict=False)))

    def _habit(self, character: str) -> tuple[Allograph, Points]:
        if character not in self._habits:
            own = np.random.default_rng((self.seed, ord(character)))
            alike = character == "7" and self._habit("1")[0].name in _LIKE_A_7
            shape = pick_allograph(character, own, 2 if alike and own.random() < _PARTED else 1)
            bent = _bend(shape.points, own) + own.normal(0, _HABIT, shape.points.shape)
            self._habits[character] = (shape, bent)
        return self._habits[character]


def _bend(points: Points, rng: np.random.Generator) -> Points:
    """Make the top of a character larger or smaller than its bottom, in height and in width."""
    x, y = points.T
    inside = np.clip(y, 0, 1)
    waist = inside ** np.exp(rng.normal(0, 0.16)) - inside
    taper = 1 + rng.normal(0, 0.14) * (inside - 0.5)
    return np.stack([x * taper, y + waist], axis=1)


def plain(shape: Allograph) -> tuple[Points, ...]:
    """Return the strokes of an allograph without distortion."""
    basis, ends = _curves(shape, 1.0)
    curve = basis @ shape.points
    return tuple(curve[i:j] for i, j in zip((0, *ends), ends, strict=False))


@cache
def _curves(shape: Allograph, roundness: float) -> tuple[NDArray[np.float64], tuple[int, ...]]:
    """Return the matrix from control points to curve points, and where each stroke ends."""
    count = len(shape.points)
    blocks, ends, total = [], [], 0
    for stroke in shape.strokes:
        for piece in stroke:
            block = np.zeros((0, count))
            if piece.stop - piece.start > 1 or len(stroke) == 1:
                basis = _spline(piece.stop - piece.start, roundness)
                block = np.zeros((len(basis), count))
                block[:, piece] = basis
            blocks.append(block)
            total += len(block)
        ends.append(total)
    return np.concatenate(blocks), tuple(ends)


def smooth(points: Points, roundness: float = 1.0) -> Points:
    """Return a smooth curve through `points`, (n, 2); with `roundness` 0 a chain of lines."""
    return np.asarray(_spline(len(points), round(roundness, 2)) @ points)


@cache
def _spline(count: int, roundness: float) -> NDArray[np.float64]:
    """Return the (steps, count) matrix of a Catmull-Rom spline through `count` points.

    `roundness` scales the tangents; at the ends they point to the neighbouring point.
    """
    if count < 2:
        return np.ones((1, count))
    t = np.linspace(0, 1, _STEPS, endpoint=False)[:, None]
    tangents = np.zeros((count, count))
    for i in range(count):
        before, after = max(i - 1, 0), min(i + 1, count - 1)
        tangents[i, after] += roundness / (after - before)
        tangents[i, before] -= roundness / (after - before)
    at = np.eye(count)
    rows = [
        (2 * t**3 - 3 * t**2 + 1) * at[i]
        + (t**3 - 2 * t**2 + t) * tangents[i]
        + (3 * t**2 - 2 * t**3) * at[i + 1]
        + (t**3 - t**2) * tangents[i + 1]
        for i in range(count - 1)
    ]
    return np.concatenate([*rows, at[-1:]])


def join(left: Points, right: Points, rng: np.random.Generator) -> Points:
    """Return the path of a pen that stays down from the end of `left` to the start of `right`."""
    start, end = left[-1], right[0]
    out = start + 1.2 * (start - left[-3]) if len(left) > 3 else start
    sag = rng.uniform(-0.10, 0.16)
    middle = (out + end) / 2 + [0, sag * abs(end[0] - start[0])]
    return np.asarray(_spline(3, 1.0) @ np.stack([start, middle, end]))


def ink_strokes(
    canvas: Image, strokes: Sequence[Points], width: float, rng: np.random.Generator, press: float
) -> None:
    """Draw curves, in pixels, into `canvas` (uint8, ink 255), in place.

    `width` is the width of the pen in pixels; `press` (0 to 1) is how much it varies in a stroke.
    Edges are hard: draw larger than needed and reduce.
    """
    whole = max(1, round(width))
    for stroke in strokes:
        eighths = np.rint(stroke * 8).astype(np.int32)
        last = len(stroke) - 1
        if press < 0.05 or last < 5:
            cv2.polylines(canvas, [eighths], False, 255, whole, cv2.LINE_8, 3)
            continue
        lighter = rng.random(last // _STEPS + 1)
        for i, start in enumerate(range(0, last, _STEPS)):
            thick = max(1, round(width * (1 - 0.7 * press * lighter[i])))
            part = eighths[start : start + _STEPS + 1]
            cv2.polylines(canvas, [part], False, 255, thick, cv2.LINE_8, 3)
