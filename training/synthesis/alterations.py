"""Alter a written number as people do: strike it out, write over a digit, correct it above.

Everything is drawn on the ink of the number, in pixels of its `cover`. The ways and the pens are
random within wide bounds: a detector must learn what a struck-out number is, not how we draw it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import cv2
import numpy as np

from pipeline.types import Image
from training.synthesis.allographs import Points
from training.synthesis.strings import Handwriting
from training.synthesis.strokes import ink_strokes, smooth

STRUCK_OUT: Final = "struck out"
OVERWRITTEN: Final = "overwritten"
_ROOM = 0.9  # heights of a digit, free around the number while it is altered
_FINE = 3  # strokes are drawn at this multiple of the resolution
_NIB = (0.03, 0.16)  # widths of the striking pen, in heights of a digit


def strike_out(
    ink: Handwriting, height: float, rng: np.random.Generator, way: str | None = None
) -> tuple[Handwriting, str]:
    """Strike a number out, in a random way or the given one; return it and the way.

    `height` is the height of a digit in pixels. Raises KeyError for an unknown way.
    """
    chosen = way or str(rng.choice(list(WAYS)))
    room = round(_ROOM * height)
    cover = np.pad(ink.cover, room)
    # Through the digits, not through the middle of all ink: a slash may reach far below them.
    corner = np.array([room, room + ink.base - height])
    wide = float(ink.cover.shape[1])
    strokes = [stroke + corner for stroke in WAYS[chosen](wide, height, height, rng)]
    nib = float(np.exp(rng.uniform(*np.log(_NIB)))) * height
    layer = _drawn(cover.shape, strokes, nib, rng)
    return _cropped(ink, np.maximum(cover, layer), room), chosen


def overwrite(
    ink: Handwriting, digit: str, shape: Image, height: float, rng: np.random.Generator
) -> Handwriting:
    """Write `digit` over a random other digit of the number.

    `shape` is its ink, 255 on 0, cropped. The number stays as it is if it has no other digit.
    """
    others = [box for character, box in ink.written if character.isdecimal() and character != digit]
    if not others:
        return ink
    box = others[int(rng.integers(len(others)))]
    room = round(_ROOM * height)
    cover = np.pad(ink.cover, room)
    tall = max(3, round(box.h * rng.uniform(0.85, 1.25)))
    wide = max(2, round(shape.shape[1] * tall / shape.shape[0]))
    over = np.asarray(cv2.resize(shape, (wide, tall), interpolation=cv2.INTER_AREA), np.uint8)
    if rng.random() < 0.5:  # people press harder on a correction
        over = np.asarray(cv2.dilate(over, np.ones((2, 2), np.uint8)), np.uint8)
    x = box.x + box.w / 2 - wide / 2 + rng.normal(0, 0.08) * height
    y = box.y + box.h / 2 - tall / 2 + rng.normal(0, 0.06) * height
    left, top = (max(0, round(float(at) + room)) for at in (x, y))
    part = cover[top : top + tall, left : left + wide]
    np.maximum(part, over[: part.shape[0], : part.shape[1]], out=part)
    return _cropped(ink, cover, room)


def correct_above(
    ink: Handwriting, correction: Handwriting, height: float, rng: np.random.Generator
) -> Handwriting:
    """Write a correction above a number that was struck out."""
    above = correction.cover
    scale = rng.uniform(0.5, 0.9)
    size = (max(2, round(above.shape[1] * scale)), max(2, round(above.shape[0] * scale)))
    above = np.asarray(cv2.resize(above, size, interpolation=cv2.INTER_AREA), np.uint8)
    gap = round(rng.uniform(-0.1, 0.25) * height)
    rows = max(0, size[1] + gap)
    columns = max(ink.cover.shape[1], size[0])
    cover = np.zeros((rows + ink.cover.shape[0], columns), np.uint8)
    cover[rows:, : ink.cover.shape[1]] = ink.cover
    left = int(rng.integers(0, columns - size[0] + 1))
    part = cover[: size[1], left : left + size[0]]
    np.maximum(part, above[: part.shape[0]], out=part)
    moved = tuple((character, replace(box, y=box.y + rows)) for character, box in ink.written)
    return replace(ink, cover=cover, written=moved, base=ink.base + rows)


def _drawn(
    shape: tuple[int, ...], strokes: list[Points], nib: float, rng: np.random.Generator
) -> Image:
    canvas = np.zeros((shape[0] * _FINE, shape[1] * _FINE), np.uint8)
    ink_strokes(
        canvas, [stroke * _FINE for stroke in strokes], nib * _FINE, rng, rng.uniform(0, 0.5)
    )
    layer = cv2.resize(canvas, (shape[1], shape[0]), interpolation=cv2.INTER_AREA)
    strength = rng.uniform(0.55, 1.0) if rng.random() < 0.4 else 1.0  # a paler pen
    return np.asarray(layer * strength, np.uint8)


def _cropped(ink: Handwriting, cover: Image, room: int) -> Handwriting:
    x, y, w, h = cv2.boundingRect(np.asarray(cover > 0, np.uint8))
    dx, dy = room - x, room - y
    written = tuple(
        (character, replace(box, x=box.x + dx, y=box.y + dy)) for character, box in ink.written
    )
    return replace(
        ink,
        cover=np.ascontiguousarray(cover[y : y + h, x : x + w]),
        written=written,
        start=ink.start + dx,
        base=ink.base + dy,
    )


def _ends(wide: float, height: float, rng: np.random.Generator) -> tuple[float, float]:
    """Return where a stroke through the whole number begins and ends."""
    left, right = rng.uniform(0.12, 0.7, 2) * height
    if wide > 2.5 * height and rng.random() < 0.25:  # not all of a long number
        left, right = rng.uniform(-0.35, 0.3, 2) * height
    return -float(left), wide + float(right)


def _line(wide: float, tall: float, height: float, rng: np.random.Generator) -> list[Points]:
    x0, x1 = _ends(wide, height, rng)
    y0 = rng.uniform(0.28, 0.72) * tall
    y1 = y0 + rng.normal(0, 0.09) * tall
    middle = (y0 + y1) / 2 + rng.normal(0, 0.05) * tall
    return [smooth(np.array([[x0, y0], [(x0 + x1) / 2, middle], [x1, y1]]))]


def _double_line(wide: float, tall: float, height: float, rng: np.random.Generator) -> list[Points]:
    strokes = _line(wide, tall, height, rng) + _line(wide, tall, height, rng)
    apart = rng.uniform(0.1, 0.22) * tall
    return [strokes[0] - [0.0, apart], strokes[1] + [0.0, apart]]


def _slash(wide: float, tall: float, height: float, rng: np.random.Generator) -> list[Points]:
    x0, x1 = _ends(wide, height, rng)
    over = rng.uniform(-0.05, 0.4, 2) * tall
    y0, y1 = tall + over[0], -over[1]
    if rng.random() < 0.3:
        y0, y1 = y1, y0
    bow = rng.normal(0, 0.08, 2) * height
    middle = np.array([(x0 + x1) / 2, (y0 + y1) / 2]) + bow
    return [smooth(np.array([[x0, y0], middle, [x1, y1]]))]


def _cross(wide: float, tall: float, height: float, rng: np.random.Generator) -> list[Points]:
    first = _slash(wide, tall, height, rng)[0]
    second = _slash(wide, tall, height, rng)[0]
    if (first[0, 1] < first[-1, 1]) == (second[0, 1] < second[-1, 1]):
        second = second * [1.0, -1.0] + [0.0, tall]
    return [first, second]


def _zigzag(wide: float, tall: float, height: float, rng: np.random.Generator) -> list[Points]:
    x0, x1 = _ends(wide, height, rng)
    turns = max(3, round((x1 - x0) / height * rng.uniform(1.2, 4)))
    x = np.linspace(x0, x1, turns + 1) + rng.normal(0, 0.06, turns + 1) * height
    top, bottom = rng.uniform(-0.2, 0.25) * tall, rng.uniform(0.75, 1.2) * tall
    y = np.where(np.arange(turns + 1) % 2 == 0, bottom, top) + rng.normal(0, 0.05, turns + 1) * tall
    corners = np.stack([x, y], axis=1)
    return [smooth(corners, roundness=float(rng.uniform(0, 0.6)))]


def _scribble(wide: float, tall: float, height: float, rng: np.random.Generator) -> list[Points]:
    x0, x1 = _ends(wide, height, rng)
    turns = (x1 - x0) / height * rng.uniform(2.5, 7)
    t = np.linspace(0, 1, max(24, round(14 * turns)))
    phase = 2 * np.pi * turns * t + rng.uniform(0, 6)
    loop = rng.uniform(0.1, 0.35) * height
    swell = 1 + 0.25 * np.sin(2 * np.pi * rng.uniform(0.5, 2) * t + rng.uniform(0, 6))
    x = x0 + (x1 - x0) * t + loop * np.cos(phase)
    y = tall / 2 + rng.uniform(0.32, 0.6) * tall * swell * np.sin(phase)
    passes = [np.stack([x, y], axis=1)]
    if rng.random() < 0.3:
        passes.append(passes[0][::-1] + rng.normal(0, 0.08, 2) * height)
    return passes


def _wave(wide: float, tall: float, height: float, rng: np.random.Generator) -> list[Points]:
    x0, x1 = _ends(wide, height, rng)
    turns = max(1.5, (x1 - x0) / height * rng.uniform(0.6, 1.8))
    t = np.linspace(0, 1, max(16, round(14 * turns)))
    y = rng.uniform(0.38, 0.62) * tall + rng.uniform(0.1, 0.34) * tall * np.sin(
        2 * np.pi * turns * t + rng.uniform(0, 6)
    )
    return [np.stack([x0 + (x1 - x0) * t, y], axis=1)]


def _hatch(wide: float, tall: float, height: float, rng: np.random.Generator) -> list[Points]:
    x0, x1 = _ends(wide, height, rng)
    count = max(2, round((x1 - x0) / height * rng.uniform(1.2, 3)))
    lean = rng.uniform(-0.7, 0.9) * tall
    strokes = []
    for x in np.linspace(x0, x1 - max(lean, 0.0), count):
        jitter = rng.normal(0, 0.06, 4) * height
        start = [x + lean + jitter[0], -rng.uniform(-0.05, 0.3) * tall + jitter[1]]
        end = [x + jitter[2], tall * rng.uniform(0.95, 1.3) + jitter[3]]
        strokes.append(smooth(np.array([start, end])))
    return strokes


def _each_digit(wide: float, tall: float, height: float, rng: np.random.Generator) -> list[Points]:
    """One cross or slash for each digit's width."""
    count = max(1, round(wide / (0.75 * height)))
    strokes: list[Points] = []
    for index in range(count):
        draw = _cross if rng.random() < 0.6 else _slash
        for stroke in draw(wide / count, tall, 0.5 * height, rng):
            strokes.append(stroke + np.array([index * wide / count, 0.0]))
    return strokes


Strike = Callable[[float, float, float, np.random.Generator], list[Points]]
WAYS: Final[dict[str, Strike]] = {
    "line": _line,
    "double line": _double_line,
    "slash": _slash,
    "cross": _cross,
    "zigzag": _zigzag,
    "scribble": _scribble,
    "wave": _wave,
    "hatch": _hatch,
    "each digit": _each_digit,
}
"""Ways of striking out: (width, height of the ink, height of a digit, generator) to strokes."""
