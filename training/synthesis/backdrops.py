"""The background of a strip: security paper, print, boxes, stamps, and ink of neighbours.

Pictures that take long to draw (guilloche, type, signatures) are drawn once, from a seed. A strip
gets a part of one, moved, scaled and flipped.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.imageops import resize_to
from pipeline.types import Box, Image
from training.synthesis.allographs import Allograph, allographs_of
from training.synthesis.amounts import draw_line, draw_words
from training.synthesis.hand import Pen, sign
from training.synthesis.paper import blank_paper, guilloche
from training.synthesis.printing import print_text
from training.synthesis.strings import draw_hand, write
from training.synthesis.strokes import ink_strokes, plain

Floats = NDArray[np.float32]

_PAPERS, _SHEET = 12, (220, 900)
_NEIGHBOURS, _SIGNATURES = 60, 24
_SIGNS = ("$", "£", "Rs.", "Rs", "EUR", "**")
_WORDS = (
    "DATE", "Date", "AMOUNT", "RUPEES", "VALID FOR THREE MONTHS ONLY", "A/C No.", "Payable at par",
    "months only from the date of instrument", "SPECIMEN", "Pay to the order of", "BANK", "No.",
    "Please sign above", "DOLLARS", "or bearer", "Total", "IFSC CODE", "EURO", "CHF", "S/.",
)  # fmt: skip
_CAPTIONS = ("D D M M Y Y Y Y", "M M D D Y Y", "D  D  M  M  Y  Y  Y  Y", "Y Y Y Y M M D D")
_TYPE = 44  # pixels: the size of stored type


@dataclass(frozen=True, slots=True)
class Frame:
    """Where the writing is on a strip, in pixels. Boxes and lines are drawn around it."""

    box: Box  # of the ink
    base: float  # y of its base line
    height: float  # of a digit, in pixels
    start: float  # x where the line begins: the first cell of a comb


class Backdrops:
    """Everything under and beside a number. `seed` alone determines it."""

    def __init__(self, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self._papers = [_sheet(rng, printed=i % 3 > 0) for i in range(_PAPERS)]
        self._words = [_typeset(word, bold=i % 2 == 0) for i, word in enumerate(_WORDS)]
        self._captions = [_typeset(word, bold=i % 2 == 0) for i, word in enumerate(_CAPTIONS)]
        self._signs = [_typeset(sign, bold=True) for sign in _SIGNS]
        self._signs += [_drawn_sign(shape) for shape in allographs_of("€")]
        self._rupees = [_drawn_sign(shape) for shape in allographs_of("₹")]
        self._neighbours = [_neighbour(rng, number=i % 2 > 0) for i in range(_NEIGHBOURS)]
        self._signatures = [_signature(rng) for _ in range(_SIGNATURES)]

    def paper(
        self, rows: int, columns: int, rng: np.random.Generator
    ) -> tuple[Floats, float, set[str]]:
        """Return paper, (rows, columns) of grey levels 0 to 255, and what it shows.

        Also returns the share of light that its pattern absorbs.
        """
        level = float(rng.uniform(225, 250) if rng.random() < 0.5 else rng.uniform(140, 230))
        traits, depth = set(), 0.0
        kind = rng.random()
        if kind < 0.3:
            page = np.full((rows, columns), level, np.float32)
            traits.add("plain paper")
        elif kind < 0.5:
            sheet = self._papers[int(rng.integers(len(self._papers)))]
            page = _cut(sheet, rows, columns, rng) * np.float32(level / 240)
            depth = 0.2
            traits.add("sheet")
        else:
            depth = float(rng.uniform(0.04, 0.34))
            page = level * (1 - depth * ripples(rows, columns, rng))
            traits.add("ripples")
        if rng.random() < 0.5:
            cells = rng.standard_normal((3, 3 + columns // 40)).astype(np.float32)
            clouds = cv2.resize(cells, (columns, rows), interpolation=cv2.INTER_CUBIC)
            page = page + np.float32(rng.uniform(1, 5)) * clouds
        if rng.random() < 0.10:
            traits.add("security text")
            self._security_text(page, rng)
        if rng.random() < 0.07:
            traits.add("stamp")
            self._stamp(page, rng)
        return page, depth, traits

    def print_sign(
        self, page: Floats, frame: Frame, rng: np.random.Generator, *, rupee: bool
    ) -> float:
        """Print a currency sign left of the writing, in place; return an x between the two."""
        signs = self._rupees if rupee else self._signs
        sign_ = signs[int(rng.integers(len(signs)))]
        height = frame.height * rng.uniform(0.7, 1.2)
        y = frame.base - height + rng.normal(0, 0.1) * frame.height
        width = sign_.shape[1] * height / sign_.shape[0]
        apart = rng.uniform(0.1, 0.6) * frame.height
        _press(
            page, _fit(sign_, height), frame.box.x - width - apart, y, float(rng.uniform(0.5, 0.9))
        )
        return frame.box.x - 0.5 * apart

    def caption(self, page: Floats, frame: Frame, rng: np.random.Generator) -> None:
        """Print a caption under a comb, in place."""
        caption = self._captions[int(rng.integers(len(self._captions)))]
        height = frame.height * rng.uniform(0.35, 0.6)
        size = (max(8, round(frame.box.w)), max(4, round(height)))
        scaled = np.asarray(cv2.resize(caption, size), np.uint8)
        y = frame.base + frame.height * rng.uniform(0.3, 0.7)
        _press(page, scaled, frame.box.x, y, float(rng.uniform(0.4, 0.9)))

    def intrude(self, page: Floats, frame: Frame, rng: np.random.Generator) -> str:
        """Let a neighbour reach into the strip from above, below or the side, in place."""
        rows, columns = page.shape
        printed = rng.random() < 0.4
        bank = self._words if printed else self._neighbours
        height = frame.height * rng.uniform(0.4, 0.9 if printed else 1.4)
        ink = _fit(bank[int(rng.integers(len(bank)))], height)
        side = str(rng.choice(("above", "below", "beside" if printed else "above")))
        x = rng.uniform(-0.5 * ink.shape[1], 0.9 * columns)
        shown = rng.uniform(0.1, 0.45) * ink.shape[0]
        room = max(1.0, frame.box.y - 1), max(1.0, rows - frame.box.y - frame.box.h - 1)
        if side == "above":
            y = min(shown, room[0] + 0.15 * frame.height) - ink.shape[0]
        elif side == "below":
            y = rows - min(shown, room[1] + 0.15 * frame.height)
        else:
            x = frame.box.x - ink.shape[1] - rng.uniform(0.4, 1.0) * frame.height
            y = frame.base - ink.shape[0] + rng.normal(0, 0.2) * frame.height
        _press(page, ink, x, y, float(rng.uniform(0.4, 0.9)))
        return f"{'print' if printed else 'ink'} {side}"

    def signature(self, page: Floats, frame: Frame, rng: np.random.Generator) -> None:
        """Write a signature over the whole strip, in place."""
        ink = self._signatures[int(rng.integers(len(self._signatures)))]
        size = (round(frame.box.w) + 4, round(frame.box.h * rng.uniform(0.9, 1.5)) + 4)
        fitted = np.asarray(cv2.resize(ink, size, interpolation=cv2.INTER_AREA), np.uint8)
        x, y = frame.box.x + rng.uniform(-5, 5), frame.box.y - rng.uniform(0, 0.2) * frame.box.h
        _press(page, fitted, x, y, float(rng.uniform(0.5, 0.95)))

    def print_word(self, page: Floats, frame: Frame, rng: np.random.Generator) -> None:
        """Print a word where the writing would be, in place."""
        word = _fit(self._words[int(rng.integers(len(self._words)))], frame.height)
        y = frame.base - frame.height * rng.uniform(0.9, 1.1)
        _press(page, word, frame.box.x, y, float(rng.uniform(0.4, 0.9)))

    def _security_text(self, page: Floats, rng: np.random.Generator) -> None:
        """Print rows of small, faint type at an angle, in place."""
        rows, columns = page.shape
        word = _fit(self._words[int(rng.integers(len(self._words)))], rng.uniform(5, 11))
        tile = np.pad(word, ((1, int(rng.integers(1, 6))), (2, int(rng.integers(2, 12)))))
        side = rows + columns
        many = np.tile(tile, (side // tile.shape[0] + 1, side // tile.shape[1] + 1))
        angle = float(rng.choice((0, 0, 30, -30, 45)))
        turn = cv2.getRotationMatrix2D((columns / 2, rows / 2), angle, 1.0)
        laid = cv2.warpAffine(many, turn, (columns, rows), flags=cv2.INTER_LINEAR)
        _press(page, np.asarray(laid, np.uint8), 0, 0, float(rng.uniform(0.06, 0.28)))

    def _stamp(self, page: Floats, rng: np.random.Generator) -> None:
        """Stamp a ring or a frame with a word, worn and rotated, in place."""
        rows, columns = page.shape
        side = int(rng.uniform(1.2, 2.5) * rows)
        ink = np.zeros((side, side), np.uint8)
        middle, thick = side // 2, max(1, side // 50)
        if rng.random() < 0.6:
            for radius in (0.48, 0.36):
                cv2.circle(ink, (middle, middle), int(radius * side), 255, thick, cv2.LINE_AA)
        else:
            cv2.rectangle(ink, (2, side // 4), (side - 3, 3 * side // 4), 255, thick, cv2.LINE_AA)
        word = _fit(self._words[int(rng.integers(len(self._words)))], side / 6)[:, : side - 8]
        left, top = (side - word.shape[1]) // 2, middle - word.shape[0] // 2
        ink[top : top + word.shape[0], left : left + word.shape[1]] |= word
        turn = cv2.getRotationMatrix2D((middle, middle), rng.uniform(-40, 40), 1.0)
        worn = rng.uniform(0.2, 1.0, (9, 9)).astype(np.float32)
        stamped = cv2.warpAffine(ink, turn, (side, side)) * cv2.resize(worn, (side, side))
        x, y = rng.uniform(-0.5 * side, columns - 0.5 * side), rng.uniform(-0.7, 0.2) * side
        _press(page, stamped.astype(np.uint8), x, y, float(rng.uniform(0.12, 0.4)))


def ripples(rows: int, columns: int, rng: np.random.Generator) -> Floats:
    """Return the fine lines of security paper, (rows, columns) of 0 to 1.

    These are waves, or arcs around a distant centre, possibly crossed with more of their kind, or a
    grid of dots.
    """
    x = np.arange(columns, dtype=np.float32)[None, :]
    y = np.arange(rows, dtype=np.float32)[:, None]
    period = float(rng.uniform(2.6, max(4.5, 0.12 * rows)))
    sharp = float(rng.choice((1.0, 2.0, 4.0))) * max(1.0, period / 5)
    kind = rng.choice(("waves", "waves", "arcs", "crossed waves", "crossed arcs", "dots"))

    def layer(tilt: float) -> Floats:
        if "arcs" in kind:
            far = rng.uniform(0.5, 3) * columns
            across = x - rng.uniform(0, columns)
            distance = np.sqrt(across**2 + (y + np.float32(far * tilt)) ** 2)
        else:
            swing, length = rng.uniform(0, 1.2) * period, rng.uniform(12, 90)
            bend = np.sin(x * np.float32(2 * np.pi / length) + np.float32(rng.uniform(0, 6)))
            distance = y + np.float32(tilt) * x + np.float32(swing) * bend
        wave = np.cos(np.asarray(distance, np.float32) * np.float32(2 * np.pi / period))
        return np.asarray((0.5 + 0.5 * wave) ** np.float32(sharp), np.float32)

    tilt = float(rng.normal(0, 0.15)) if kind == "waves" else float(rng.uniform(0.3, 1.2))
    first = layer(tilt)
    if kind in ("waves", "arcs"):
        return first
    second = layer(-tilt if kind != "dots" else -1 / tilt)
    return first * second if kind == "dots" else np.maximum(first, second)


def _press(page: Floats, ink: Image, x: float, y: float, depth: float) -> None:
    """Darken `page` where `ink` is; ink outside the strip is dropped."""
    left, top = round(x), round(y)
    rows, columns = page.shape
    y0, x0 = max(top, 0), max(left, 0)
    y1, x1 = min(top + ink.shape[0], rows), min(left + ink.shape[1], columns)
    if y1 > y0 and x1 > x0:
        part = ink[y0 - top : y1 - top, x0 - left : x1 - left]
        page[y0:y1, x0:x1] *= 1 - np.float32(depth / 255) * part


def _fit(ink: Image, height: float) -> Image:
    scale = height / ink.shape[0]
    size = (max(2, round(ink.shape[1] * scale)), max(2, round(height)))
    return np.asarray(cv2.resize(ink, size, interpolation=cv2.INTER_AREA), np.uint8)


def _cut(sheet: Image, rows: int, columns: int, rng: np.random.Generator) -> Floats:
    """Return a random part of the sheet, scaled up to fill (rows, columns)."""
    zoom = min(rng.uniform(0.5, 1.6), sheet.shape[0] / rows, sheet.shape[1] / columns)
    tall, wide = int(rows * zoom), int(columns * zoom)
    top = int(rng.integers(sheet.shape[0] - tall + 1))
    left = int(rng.integers(sheet.shape[1] - wide + 1))
    part = sheet[top : top + tall, left : left + wide][:: int(rng.choice((1, -1)))]
    return resize_to(part, (columns, rows)).astype(np.float32)


def _sheet(rng: np.random.Generator, *, printed: bool) -> Image:
    picture = blank_paper(*_SHEET, (240, 240, 240), rng)
    if printed:
        tone = int(rng.integers(90, 200))
        guilloche(picture, (tone, tone, tone), rng, depth=float(rng.uniform(0.3, 0.9)))
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8)


def _typeset(text: str, *, bold: bool) -> Image:
    """Return type as ink on an empty background, cropped to the ink."""
    picture = np.full((2 * _TYPE, 24 + _TYPE * len(text), 3), 255, np.uint8)
    print_text(picture, text, 8, 16, _TYPE, (0, 0, 0), bold=bold)
    return _cut_out(255 - picture[..., 0])


def _drawn_sign(shape: Allograph) -> Image:
    """Return a sign that the typeface lacks, drawn with an even pen."""
    canvas = np.zeros((2 * _TYPE, 2 * _TYPE), np.uint8)
    strokes = [stroke * _TYPE + 12 for stroke in plain(shape)]
    ink_strokes(canvas, strokes, _TYPE / 9, np.random.default_rng(0), 0.0)
    return _cut_out(canvas)


def _neighbour(rng: np.random.Generator, *, number: bool) -> Image:
    line = draw_line(rng) if number else draw_words(rng)
    return write(line, draw_hand(None, rng), 40, rng).cover


def _signature(rng: np.random.Generator) -> Image:
    picture = np.full((120, 320, 3), 255, np.uint8)
    sign(picture, Box(8, 20, 300, 80), Pen((0, 0, 0)), rng)
    return _cut_out(255 - picture[..., 0])


def _cut_out(ink: Image) -> Image:
    x, y, w, h = cv2.boundingRect(ink)
    return np.ascontiguousarray(ink[y : y + h, x : x + w])
