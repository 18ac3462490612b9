"""Draw the pages of the benchmark of alterations: filled forms and cheques, struck out by a pen.

Nothing here is shared with the training of the alteration detector but the forms: the digits are
others, and the strokes have their own shapes. A pen strikes on the finished page, wherever the ink
of a field is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count, product
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.types import Box, Image
from training.synthesis import cheque, form
from training.synthesis.hand import DigitSet
from training.synthesis.paper import Colour, Picture
from training.synthesis.scan import bilevel, scan

Path2D = NDArray[np.float64]  # (n, 2): x, y in pixels of the page
_FORMS_OF_SEVEN: Final = (0, 2, 4)  # the other pages are cheques
_INSET: Final = 7  # pixels of a field's border
_INK: Final = 190  # level of the darkest channel below which a pixel of an empty box is ink
_EDGE: Final = 40  # of 255: fainter pixels of a digit are not its ink
_FINE: Final = 4  # strokes are drawn at this multiple of the resolution


@dataclass(frozen=True, slots=True)
class Pen:
    """A pen that strikes numbers out; pages have 200 dpi, so that a pixel is 0.13 mm."""

    width: float  # pixels
    colour: Colour
    cover: float  # share of the light that the ink takes
    grain: float = 0.0  # how unevenly it covers


PENS: Final[Mapping[str, Pen]] = {
    "fine ballpoint": Pen(1.9, (30, 40, 130), 0.85, 0.1),
    "ballpoint": Pen(3.0, (20, 20, 24), 0.9, 0.1),
    "pencil": Pen(3.4, (60, 60, 64), 0.7, 0.35),
    "red ballpoint": Pen(3.6, (176, 24, 30), 0.85, 0.1),
    "felt pen": Pen(8.5, (16, 16, 20), 0.95),
}


@dataclass(frozen=True, slots=True)
class DrawnPage:
    """A page as scanned. `altered` names what was done to a field: way and pen, or the kind."""

    image: bytes  # PNG or JPEG
    template: str
    fields: dict[str, str]
    altered: dict[str, tuple[str, str]]


def _line(ink: Box, rng: np.random.Generator) -> list[Path2D]:
    """One line along the number, at times with a bow or on a slope."""
    over = rng.uniform(0.05, 0.6, 2) * ink.h
    y = ink.y + rng.uniform(0.32, 0.68) * ink.h
    rise = float(np.clip(rng.normal(0, 0.035) * ink.w, -0.22 * ink.h, 0.22 * ink.h))
    x = np.linspace(ink.x - over[0], ink.x + ink.w + over[1], 24)
    t = np.linspace(-1, 1, 24)
    bow = rng.normal(0, 0.06) * ink.h
    return [np.stack([x, y + rise * t + bow * (1 - t**2)], axis=1)]


def _two_lines(ink: Box, rng: np.random.Generator) -> list[Path2D]:
    gap = rng.uniform(0.12, 0.3) * ink.h
    upper, lower = _line(ink, rng)[0], _line(ink, rng)[0]
    middle = ink.y + ink.h / 2
    upper[:, 1] += middle - gap / 2 - upper[:, 1].mean()
    lower[:, 1] += middle + gap / 2 - lower[:, 1].mean()
    return [upper, lower]


def _diagonal(ink: Box, rng: np.random.Generator) -> list[Path2D]:
    """One stroke from a lower corner to the opposite upper one, or the other way."""
    over = rng.uniform(-0.05, 0.4, 4) * ink.h
    start = [ink.x - over[0], ink.y + ink.h + 0.5 * over[1]]
    end = [ink.x + ink.w + over[2], ink.y - 0.5 * over[3]]
    if rng.random() < 0.4:
        start[1], end[1] = end[1], start[1]
    t = np.linspace(0, 1, 24)[:, None]
    bow = np.array([0.0, rng.normal(0, 0.05) * ink.h])
    return [np.array(start) * (1 - t) + np.array(end) * t + bow * 4 * t * (1 - t)]


def _cross(ink: Box, rng: np.random.Generator) -> list[Path2D]:
    one, other = _diagonal(ink, rng)[0], _diagonal(ink, rng)[0]
    if (one[-1, 1] < one[0, 1]) == (other[-1, 1] < other[0, 1]):
        other[:, 1] = 2 * ink.y + ink.h - other[:, 1]
    return [one, other]


def _zigzag(ink: Box, rng: np.random.Generator) -> list[Path2D]:
    """Up and down along the number without lifting the pen, the corners round or sharp."""
    turns = max(3, round(ink.w / ink.h * rng.uniform(1.6, 3.5)))
    x = np.linspace(ink.x - 0.15 * ink.h, ink.x + ink.w + 0.15 * ink.h, turns)
    x += rng.normal(0, 0.08, turns) * ink.h
    high, low = rng.uniform(-0.15, 0.2), rng.uniform(0.8, 1.15)
    y = ink.y + ink.h * np.where(np.arange(turns) % 2, high, low)
    y += rng.normal(0, 0.07, turns) * ink.h
    corners = np.stack([x, y], axis=1)
    steps = np.linspace(0, turns - 1, 12 * turns)
    path = np.stack([np.interp(steps, np.arange(turns), corners[:, i]) for i in (0, 1)], axis=1)
    return [_softened(path, int(rng.integers(1, 6)))]


def _wave(ink: Box, rng: np.random.Generator) -> list[Path2D]:
    t = np.linspace(0, 1, 120)
    waves = max(1.5, ink.w / ink.h * rng.uniform(0.7, 1.6))
    x = ink.x + (1.3 * t - 0.15) * max(ink.w, ink.h)
    height = rng.uniform(0.12, 0.3) * ink.h
    middle = ink.y + rng.uniform(0.42, 0.58) * ink.h
    y = middle + height * np.sin(2 * np.pi * (waves * t + rng.random()))
    return [np.stack([x, y], axis=1)]


def _loops(ink: Box, rng: np.random.Generator) -> list[Path2D]:
    """A scribble of loops, drawn to the right and often back again."""
    paths = []
    for back in range(2 if rng.random() < 0.5 else 1):
        turns = max(3.0, ink.w / ink.h * rng.uniform(3, 6))
        t = np.linspace(0, 1, int(24 * turns))
        round_ = 2 * np.pi * (turns * t + rng.random())
        across = rng.uniform(0.12, 0.32) * ink.h
        down = rng.uniform(0.3, 0.55) * ink.h * (1 + 0.2 * np.sin(5 * t + 6 * rng.random()))
        x = ink.x + ink.w * (1 - t if back else t) + across * np.cos(round_)
        paths.append(np.stack([x, ink.y + ink.h / 2 + down * np.sin(round_)], axis=1))
    return paths


def _many_strokes(ink: Box, rng: np.random.Generator) -> list[Path2D]:
    """Parallel slanted strokes, close together."""
    each = max(3, round(ink.w / ink.h * rng.uniform(1.8, 4)))
    lean = rng.uniform(0.15, 0.9) * ink.h
    paths = []
    for x in np.linspace(ink.x, ink.x + ink.w, each):
        foot, top = rng.normal(0, 0.06, 2) * ink.h
        start = [x - lean / 2, ink.y + ink.h * 1.08 + foot]
        end = [x + lean / 2, ink.y - ink.h * 0.08 + top]
        paths.append(np.linspace(start, end, 8))
    return paths


WAYS: Final[Mapping[str, Callable[[Box, np.random.Generator], list[Path2D]]]] = {
    "line": _line,
    "two lines": _two_lines,
    "diagonal": _diagonal,
    "cross": _cross,
    "zigzag": _zigzag,
    "wave": _wave,
    "loops": _loops,
    "parallel strokes": _many_strokes,
}


def struck_pages(numbers: int, digits: DigitSet, rng: np.random.Generator) -> Iterator[DrawnPage]:
    """Yield pages on which every number is struck out, `numbers` in all, each way with each pen."""
    combinations = [tuple(pair) for pair in rng.permutation(list(product(WAYS, PENS)))]

    def alter(picture: Picture, ink: Box, done: int) -> tuple[str, str]:
        way, pen = combinations[done % len(combinations)]
        _draw(picture, WAYS[way](ink, rng), PENS[pen], rng)
        return way, pen

    return _pages(numbers, digits, rng, alter)


def overwritten_pages(
    numbers: int, digits: DigitSet, rng: np.random.Generator
) -> Iterator[DrawnPage]:
    """Yield pages on which one digit of every number in a plain box has another one over it."""

    def alter(picture: Picture, ink: Box, _done: int) -> tuple[str, str]:
        _overwrite(picture, ink, digits, rng)
        return "another digit", "the same pen"

    return _pages(numbers, digits, rng, alter, combs=False)


def intact_pages(numbers: int, digits: DigitSet, rng: np.random.Generator) -> Iterator[DrawnPage]:
    """Yield pages whose numbers hold crossed 7s and 0s and digits with tails, `numbers` in all."""

    def alter(_picture: Picture, _ink: Box, _done: int) -> tuple[str, str]:
        return "crosses and tails", "the same pen"

    marked = MarkedDigits(digits.images, digits.labels)
    return _pages(numbers, marked, rng, alter, marked=True)


def _pages(
    numbers: int,
    digits: DigitSet,
    rng: np.random.Generator,
    alter: Callable[[Picture, Box, int], tuple[str, str]],
    *,
    combs: bool = True,
    marked: bool = False,
) -> Iterator[DrawnPage]:
    done = 0
    for number in count():
        if done >= numbers:
            return
        is_form = number % 7 in _FORMS_OF_SEVEN
        fields = _values(is_form, rng, marked=marked)
        if is_form:
            picture = form.render_form(fields, digits, rng)
            boxes, of_combs = form.BOXES, set(form.COMBS)
        else:
            cheque_number = f"{rng.integers(10**6):06d}"
            picture = cheque.render_cheque(**fields, number=cheque_number, digits=digits, rng=rng)
            boxes, of_combs = cheque.BOXES, {"date", "account"}
        altered: dict[str, tuple[str, str]] = {}
        for name in fields:
            if done < numbers and (combs or name not in of_combs):
                ink = _comb_ink(boxes[name]) if name in of_combs else _ink_box(picture, boxes[name])
                altered[name] = alter(picture, ink, done)
                done += 1
        template = "demo-form" if is_form else "demo-cheque"
        yield DrawnPage(_scanned(picture, is_form, rng), template, fields, altered)


def _values(is_form: bool, rng: np.random.Generator, *, marked: bool) -> dict[str, str]:
    """Return numbers to write; with `marked` most hold a 7 or a 0 besides others."""

    def number(length: int) -> str:
        drawn = [str(rng.integers(1, 10)), *map(str, rng.integers(0, 10, length - 1))]
        if marked:
            place = int(rng.integers(length))
            drawn[place] = "7" if place == 0 or rng.random() < 0.5 else "0"
        return "".join(drawn)

    date = f"{rng.integers(1, 29):02d}{rng.integers(1, 13):02d}{rng.integers(2019, 2027)}"
    if not is_form:
        return {"date": date, "amount": number(int(rng.integers(2, 7))), "account": number(10)}
    counts = {name: number(int(rng.integers(1, 5))) for name, _ in form.ROWS}
    return {"clinic": number(6), "week_ending": date} | counts


def _ink_box(picture: Picture, box: Box) -> Box:
    """Return the extent of the ink in a plain box, whose paper is white."""
    x, y = round(box.x) + _INSET, round(box.y) + _INSET
    inside = picture[y : round(box.y + box.h) - _INSET, x : round(box.x + box.w) - _INSET]
    dark = np.asarray(inside.min(axis=2) < _INK, np.uint8)
    left, top, wide, high = cv2.boundingRect(dark)
    return Box(x + left, y + top, wide, high)


def _comb_ink(box: Box) -> Box:
    """Return where the digits in a comb are: two thirds of its height, all its width."""
    return Box(box.x + 0.01 * box.w, box.y + 0.18 * box.h, 0.98 * box.w, 0.64 * box.h)


def _draw(picture: Picture, paths: list[Path2D], pen: Pen, rng: np.random.Generator) -> None:
    """Draw strokes into the picture, in place, by a hand that trembles a little."""
    rows, columns = picture.shape[:2]
    points = np.concatenate(paths)
    room = 4 * pen.width + 4
    x0, y0 = np.floor(np.maximum(points.min(axis=0) - room, 0)).astype(int)
    x1, y1 = np.ceil(np.minimum(points.max(axis=0) + room, [columns, rows])).astype(int)
    canvas = np.zeros(((y1 - y0) * _FINE, (x1 - x0) * _FINE), np.uint8)
    for path in paths:
        tremble = _softened(rng.normal(0, 1.2, path.shape), 4)
        scaled = np.rint((path + tremble - [x0, y0]) * _FINE * 16).astype(np.int32)
        cv2.polylines(canvas, [scaled], False, 255, round(pen.width * _FINE), cv2.LINE_AA, 4)
    ink = cv2.resize(canvas, (x1 - x0, y1 - y0), interpolation=cv2.INTER_AREA) / 255
    uneven = 1 - pen.grain * rng.random(ink.shape)
    part = picture[y0:y1, x0:x1].astype(np.float32)
    share = (pen.cover * ink * uneven)[..., None]
    inked = part * (1 - share) + np.minimum(part, np.array(pen.colour, np.float32)) * share
    picture[y0:y1, x0:x1] = np.rint(inked).astype(np.uint8)


def _overwrite(picture: Picture, ink: Box, digits: DigitSet, rng: np.random.Generator) -> None:
    """Write another digit over one of a number, in place; it may be the same one by chance."""
    x, y = round(ink.x), round(ink.y)
    inside = picture[y : y + round(ink.h), x : x + round(ink.w)]
    dark = np.asarray(inside.min(axis=2) < _INK, np.uint8)
    parts = cv2.connectedComponentsWithStats(dark)[2][1:]
    tall = parts[parts[:, cv2.CC_STAT_HEIGHT] > 0.5 * ink.h]
    left, top, wide, high = tall[int(rng.integers(len(tall)))][:4]
    shape = digits.pick(str(rng.integers(10)), rng)
    high = round(high * rng.uniform(0.9, 1.15))
    size = (max(3, round(shape.shape[1] * high / shape.shape[0])), high)
    over = cv2.resize(shape, size, interpolation=cv2.INTER_CUBIC)
    over = np.clip((over.astype(np.float32) - 70) / 90, 0, 1)
    at_x = round(x + left + wide / 2 - size[0] / 2 + rng.normal(0, 0.06) * high)
    at_y = round(y + top + rng.normal(0, 0.04) * high)
    part = picture[at_y : at_y + size[1], at_x : at_x + size[0]]
    share = 0.92 * over[: part.shape[0], : part.shape[1], None]
    part[:] = np.rint(part * (1 - share) + np.minimum(part, 30) * share).astype(np.uint8)


def _softened(path: Path2D, times: int) -> Path2D:
    """Return a path with its corners rounded; its ends stay."""
    path = path.copy()
    for _ in range(times):
        path[1:-1] = (path[:-2] + 2 * path[1:-1] + path[2:]) / 4
    return path


def _scanned(picture: Picture, is_form: bool, rng: np.random.Generator) -> bytes:
    """Return the page as a scanner stores it: in grey, or a third of the forms in black and white.

    The guilloche of a cheque needs grey.
    """
    seen = scan(picture, rng, skew=0.7, noise=2.5)
    if is_form and rng.random() < 1 / 3:
        return bytes(cv2.imencode(".png", bilevel(seen))[1])
    grey = cv2.cvtColor(seen, cv2.COLOR_RGB2GRAY)
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(45, 90))]
    return bytes(cv2.imencode(".jpg", grey, quality)[1])


class MarkedDigits(DigitSet):
    """Digits with the marks that many people write: crossed 7s and 0s, tails and flags."""

    def pick(self, digit: str, rng: np.random.Generator) -> Image:
        image = np.pad(DigitSet.pick(self, digit, rng), 8)
        x, y, wide, high = cv2.boundingRect(np.asarray(image > _EDGE, np.uint8))
        right, foot = x + wide - 1, y + high - 1
        pen = int(np.clip(np.count_nonzero(image > 100) / (2.2 * max(high, 8)), 1, 2))
        over = rng.uniform(-0.05, 0.3, 2)

        def stroke(*points: tuple[float, float]) -> None:
            path = np.rint(np.array(points) * 16).astype(np.int32)
            cv2.polylines(image, [path], False, 255, pen, cv2.LINE_AA, 4)

        if digit == "7" and rng.random() < 0.8:
            middle = y + rng.uniform(0.4, 0.62) * high
            ends = x + (0.1 - over[0]) * wide, right + (over[1] - 0.1) * wide
            stroke(*((end, middle + rng.normal(0, 0.6)) for end in ends))
        elif digit == "0" and rng.random() < 0.8:
            stroke(
                (x + (0.1 - over[0]) * wide, foot + 4 * over[0]),
                (right + (over[1] - 0.1) * wide, y - 4 * over[1]),
            )
        elif digit == "2" and rng.random() < 0.5:  # its foot runs on under the next digit
            stroke((right - 1, foot - 1), (right + 0.35 * wide, foot + rng.uniform(-1, 1.5)))
        elif digit == "5" and rng.random() < 0.5:  # a long flag
            stroke((x + 0.4 * wide, y + 1), (right + rng.uniform(1, 6), y + 1 - rng.uniform(0, 2)))
        elif digit == "9" and rng.random() < 0.6:  # a tail that turns left below the base line
            tail = x + 0.55 * wide
            stroke((tail, foot - 1), (tail - 2, foot + 3), (tail - rng.uniform(4, 7), foot + 3.5))
        x, y, wide, high = cv2.boundingRect(np.asarray(image > _EDGE, np.uint8))
        return np.ascontiguousarray(image[y : y + high, x : x + wide])
