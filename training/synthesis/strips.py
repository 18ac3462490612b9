"""An endless supply of labelled strips, for training and validating the strip reader.

    strips = StripSynthesizer([load_mnist(data, "train"), load_femnist(data)])
    strip = strips(np.random.default_rng(7))     # strip.grey, strip.text

The same sets, seed and generator state give the same strip. To validate on hands that did not
train, split MNIST by writer and make one synthesizer for each part. `training.synthesis.amounts`
says what a text may hold, and why.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.placing.strips import MARGIN
from pipeline.types import Box, Image
from training.datasets import DigitSet
from training.synthesis.alterations import (
    OVERWRITTEN,
    STRUCK_OUT,
    correct_above,
    overwrite,
    strike_out,
)
from training.synthesis.amounts import Line, Token, draw_count, draw_line, draw_words
from training.synthesis.backdrops import Backdrops, Frame
from training.synthesis.capture import capture
from training.synthesis.strings import Hand, Handwriting, draw_hand, write
from training.synthesis.touching import join_digits
from training.synthesis.writers import Archive

Floats = NDArray[np.float32]

_NOTHING = ("empty", "empty", "writing", "writing", "signature", "smudge", "print")
HEIGHTS = (11.0, 60.0)  # pixels: height of a digit, uniform on a log scale
_OFFICE = 0.5  # share of strips at the resolution of an office,
_OFFICE_HEIGHT = 24.0  # with digits at least this high, in pixels
_AS_THEY_ARE = 0.08  # share of unchanged published digits: joined until they touch,
_TOUCHING_LENGTHS = (2, 2, 2, 3, 3, 3, 4, 5, 6)
_COUNTS = 0.4  # or with this share one or two digits of a count
_OVERWRITTEN = 0.25  # share of overwritten numbers among the altered ones
_CORRECTED = 0.12  # share of struck-out numbers with a correction above
_IN_FIELD = 0.5  # share of plain numbers that may be altered, cut as the field of a template is
_BOXED_HEIGHTS = (11.0, 36.0)  # pixels, in the box of a cheque, which is scanned whole


@dataclass(frozen=True, slots=True)
class LabelledStrip:
    """One strip and its content."""

    grey: Image  # (h, w), as scanned
    text: str  # of ALPHABET; "" where no number is
    traits: frozenset[str]  # what was drawn and done, for analysing the errors of a reader


class StripSynthesizer:
    """Draws strips with the real digits in `sets`; without any, all digits are drawn.

    `empties` is the share of strips that hold no number. `altered` is the share of written numbers
    that are struck out or overwritten, with the trait STRUCK_OUT or OVERWRITTEN. Raises
    ConfigError for a set that must not train weights that we ship.
    """

    def __init__(
        self,
        sets: Sequence[DigitSet] = (),
        *,
        empties: float = 0.1,
        altered: float = 0.0,
        seed: int = 0,
    ) -> None:
        self._archive = Archive(sets) if sets else None
        self._backdrops = Backdrops(seed)
        self._empties = empties
        self._altered = altered

    def __call__(self, rng: np.random.Generator) -> LabelledStrip:
        """Draw one strip, about 13 to 150 rows high and up to 1,500 columns wide."""
        if rng.random() < self._empties:
            return self._empty(_draw_height(rng), rng)
        if self._archive is not None and rng.random() < _AS_THEY_ARE:
            return self._as_they_are(self._archive, _draw_height(rng), rng)
        line = draw_line(rng)
        return self._written(line, _draw_height(rng, boxed=line.boxed), rng)

    def _written(self, line: Line, height: float, rng: np.random.Generator) -> LabelledStrip:
        hand = draw_hand(self._archive, rng)
        cell = float(rng.uniform(0.95, 1.7)) if line.comb else 0.0
        ink = write(line, hand, height, rng, cell=cell)
        altered: set[str] = set()
        if self._altered and line.text and rng.random() < self._altered:
            ink, altered = self._alter(ink, hand, height, rng)
        in_field = bool(self._altered and line.text and not line.comb and not line.boxed)
        in_field = in_field and rng.random() < _IN_FIELD
        if in_field:
            frame, rows, columns = _place_in_field(ink, height, rng)
        elif line.boxed:
            frame, rows, columns = _place_in_box(ink, height, rng)
        else:
            frame, rows, columns = _place(ink, height, rng, comb=line.comb)
        page, depth, traits = self._backdrops.paper(rows, columns, rng)
        traits |= line.traits | hand.traits | ink.shapes | altered
        if line.boxed:
            self._box_of_cheque(page, frame, rng)
        elif in_field:
            traits.add("field")
            _border_of_field(page, height, rng)
        else:
            traits |= self._furnish(page, frame, cell * height, rng)
        _lay(page, ink.cover, frame.box, depth, rng)
        return _scan(page, height, line.text, traits, rng)

    def _alter(
        self, ink: Handwriting, hand: Hand, height: float, rng: np.random.Generator
    ) -> tuple[Handwriting, set[str]]:
        """Strike a number out, possibly with a correction above, or overwrite one digit."""
        if rng.random() < _OVERWRITTEN:
            digit = str(rng.integers(10))
            over = write(Line((Token(digit),), frozenset()), hand, 2 * height, rng).cover
            written = overwrite(ink, digit, over, height, rng)
            return written, {OVERWRITTEN} if written is not ink else set()
        ink, way = strike_out(ink, height, rng)
        if rng.random() < _CORRECTED:
            correction = write(draw_count(rng), hand, height, rng)
            ink = correct_above(ink, correction, height, rng)
        return ink, {STRUCK_OUT, way}

    def _as_they_are(
        self, archive: Archive, height: float, rng: np.random.Generator
    ) -> LabelledStrip:
        """Return digits of one hand, joined into one piece of ink, on paper without a form."""
        cover = None
        while cover is None:
            hand = archive.hand(rng)
            if rng.random() < _COUNTS:
                text = draw_count(rng).text
            else:
                text = "".join(map(str, rng.integers(0, 10, rng.choice(_TOUCHING_LENGTHS))))
            cover = join_digits([hand.pick(int(digit), rng) for digit in text], height / 20, rng)
        ink = Handwriting(cover, (), 0.0, float(len(cover)), frozenset())
        frame, rows, columns = _place(ink, height, rng, comb=False)
        page, depth, traits = self._backdrops.paper(rows, columns, rng)
        _lay(page, cover, frame.box, depth, rng)
        traits |= {f"hand {hand.origin}", "touching" if len(text) > 1 else "alone"}
        return _scan(page, height, text, traits, rng)

    def _empty(self, height: float, rng: np.random.Generator) -> LabelledStrip:
        """Return a strip without a number; it is rarely blank."""
        kind = str(rng.choice(_NOTHING))
        if kind == "writing":
            return self._written(draw_words(rng), height, rng)
        nothing = Handwriting(
            np.zeros((round(1.1 * height), round(height * rng.uniform(1.5, 6))), np.uint8),
            (),
            0.0,
            height,
            frozenset(),
        )
        frame, rows, columns = _place(nothing, height, rng, comb=False)
        page, _, traits = self._backdrops.paper(rows, columns, rng)
        cell = float(rng.uniform(0.95, 1.7)) * height if rng.random() < 0.3 else 0.0
        traits |= self._furnish(page, frame, cell, rng) | {kind}
        if kind == "signature":
            self._backdrops.signature(page, frame, rng)
        elif kind == "print":
            self._backdrops.print_word(page, frame, rng)
        elif kind == "smudge":
            _smudge(page, frame, rng)
        return _scan(page, height, "", traits, rng)

    def _furnish(
        self, page: Floats, frame: Frame, cell: float, rng: np.random.Generator
    ) -> set[str]:
        """Print the form around the writing; `cell` is the width of a comb's box in pixels."""
        traits = set()
        tone = float(rng.uniform(0.3, 0.85))
        thick = max(1, round(frame.height * rng.uniform(0.02, 0.08)))
        if cell:
            if rng.random() < 0.85:
                traits.add("cells")
                _comb(page, frame, cell, thick, tone, rng)
            if rng.random() < 0.35:
                traits.add("caption")
                self._backdrops.caption(page, frame, rng)
        elif (kind := rng.random()) < 0.3:
            traits.add("box")
            _border(page, frame, thick, tone, rng)
        elif kind < 0.55:
            traits.add("base line")
            y = frame.base + rng.uniform(-0.05, 0.35) * frame.height
            end = (page.shape[1], y + rng.normal(0, 0.02 * frame.height))
            dash = rng.uniform(0.05, 0.5) * frame.height if rng.random() < 0.2 else 0.0
            _line(page, (0, y), end, thick, tone, dash=dash)
        if not cell and rng.random() < 0.2:
            traits.add("printed sign")
            side = self._backdrops.print_sign(page, frame, rng, rupee=rng.random() < 0.4)
            if rng.random() < 0.3:  # which has its own cell
                _line(page, (side, 0), (side, page.shape[0]), thick, tone)
        if rng.random() < 0.15:
            traits.add(self._backdrops.intrude(page, frame, rng))
        return traits

    def _box_of_cheque(self, page: Floats, frame: Frame, rng: np.random.Generator) -> None:
        """Draw the currency sign and what cleaning leaves of the border, in place."""
        tone = float(rng.uniform(0.2, 0.85))
        thick = max(1, round(frame.height * rng.uniform(0.03, 0.1)))
        rows, columns = page.shape
        if rng.random() < 0.92:
            side = self._backdrops.print_sign(page, frame, rng, rupee=rng.random() < 0.8)
            if rng.random() < 0.3:
                _line(page, (side, 0), (side, rows), thick, tone)
        for y in (rng.uniform(0, 0.08) * rows, rows * rng.uniform(0.92, 1) - 1):
            if rng.random() < 0.45:
                # All of the border or a part; often a row of type so small that it shows as dots.
                start, end = np.sort(rng.uniform(-0.5, 1.5, 2)) * columns
                dash = rng.uniform(1.5, 0.3 * frame.height) if rng.random() < 0.4 else 0.0
                _line(page, (start, y), (end, y + rng.normal(0, 0.5)), thick, tone, dash=dash)
        for x in (rng.uniform(0, 0.03) * columns, columns * rng.uniform(0.96, 1) - 1):
            if rng.random() < 0.35:
                start, end = np.sort(rng.uniform(-0.5, 1.5, 2)) * rows
                _line(page, (x, start), (x, end), thick, tone)
        if rng.random() < 0.1:
            self._backdrops.intrude(page, frame, rng)


def _scan(
    page: Floats, height: float, text: str, traits: set[str], rng: np.random.Generator
) -> LabelledStrip:
    grey, happened = capture(page, height, rng)
    return LabelledStrip(grey, text, frozenset(traits | happened))


def _place_in_box(
    ink: Handwriting, height: float, rng: np.random.Generator
) -> tuple[Frame, int, int]:
    """Crop the strip along the box printed around the ink and the sign before it."""
    tall, wide = ink.cover.shape
    left, right = rng.uniform(1.0, 2.4), rng.uniform(0.1, 0.6) ** 2 * 8
    above, below = rng.uniform(0.05, 0.7, 2)
    left, right, above, below = (round(float(v) * height) for v in (left, right, above, below))
    box = Box(left, above, wide, tall)
    frame = Frame(box, above + ink.base, height, left + ink.start)
    return frame, max(12, tall + above + below), max(12, wide + left + right)


def _place_in_field(
    ink: Handwriting, height: float, rng: np.random.Generator
) -> tuple[Frame, int, int]:
    """Cut the strip as a template's field, with its margin, wherever its strokes run.

    The digits are in the box, mostly at its left end; what strikes them out may leave the strip.
    """
    digits = [box for _, box in ink.written]
    left = min(box.x for box in digits)
    wide = max(box.x + box.w for box in digits) - left
    free = height * rng.uniform(0.2, 0.9)  # rows of the box above and below the digits
    margin = MARGIN * (height + free)
    above = margin + free * rng.uniform(0.2, 0.8)
    before = margin + height * rng.uniform(0.1, 0.7)
    after = margin + height * (rng.uniform(0.1, 0.6) if rng.random() < 0.5 else rng.uniform(0.6, 6))
    x, y = round(before - left), round(above - (ink.base - height))
    tall, across = ink.cover.shape
    frame = Frame(Box(x, y, across, tall), y + ink.base, height, x + ink.start)
    return frame, round(height + free + 2 * margin), round(before + wide + after)


def _border_of_field(page: Floats, height: float, rng: np.random.Generator) -> None:
    """Draw the box of a template's field where its margin ends, in place, or only its base line."""
    rows, columns = page.shape
    margin = MARGIN * rows / (1 + 2 * MARGIN) + rng.normal(0, 0.02) * rows
    thick, tone = max(1, round(height * rng.uniform(0.02, 0.08))), float(rng.uniform(0.3, 0.9))
    kind = rng.random()
    for y in (margin, rows - margin):
        if kind < 0.7 or (kind < 0.9 and y > margin):
            _line(page, (0.0, y), (columns, y + rng.normal(0, 0.01) * rows), thick, tone)
    for x in (margin, columns - margin):
        if kind < 0.7 and rng.random() < 0.9:
            _line(page, (x, 0.0), (x + rng.normal(0, 0.01) * rows, rows), thick, tone)


def _draw_height(rng: np.random.Generator, *, boxed: bool = False) -> float:
    """Draw the height of a digit in pixels."""
    if boxed:
        heights = _BOXED_HEIGHTS
    else:
        heights = (_OFFICE_HEIGHT, HEIGHTS[1]) if rng.random() < _OFFICE else HEIGHTS
    return float(np.exp(rng.uniform(*np.log(heights))))


def _place(
    ink: Handwriting, height: float, rng: np.random.Generator, *, comb: bool
) -> tuple[Frame, int, int]:
    """Crop the strip around the ink: return the ink's box, and the strip's rows and columns."""
    tall, wide = ink.cover.shape

    def margin(far: float, chance: float) -> int:
        if rng.random() < chance:
            return round(rng.uniform(0.4, far) * height)
        # Often as closely as a person would crop it.
        close = 0.06 if rng.random() < 0.35 else 0.4
        return round(rng.uniform(-0.04, close) * height)

    side = 0.45 if comb else -0.02
    left = margin(2.0, 0.25) + round(side * height)
    right = margin(4.0, 0.3) + round(side * height)
    top, bottom = margin(0.9, 0.2), margin(0.9, 0.2)
    rows, columns = max(12, tall + top + bottom), max(12, wide + left + right)
    box = Box(left, top, wide, tall)
    return Frame(box, top + ink.base, height, left + ink.start), rows, columns


def _lay(page: Floats, cover: Image, box: Box, pattern: float, rng: np.random.Generator) -> None:
    """Draw the ink on the paper, in place, with uneven flow, from pencil to felt pen.

    It absorbs more light than the `pattern` of the paper.
    """
    rows, columns = page.shape
    moved = np.array([[1, 0, box.x], [0, 1, box.y]], np.float32)
    laid = cv2.warpAffine(cover, moved, (columns, rows), flags=cv2.INTER_NEAREST)
    depth = rng.uniform(0.4, 0.7) if rng.random() < 0.25 else rng.uniform(0.65, 0.95)
    depth = max(depth, min(0.25 + 1.5 * pattern, 0.8))
    flow = rng.uniform(rng.uniform(0.6, 1), 1, (4, 4 + columns // 20)).astype(np.float32)
    even = np.asarray(cv2.resize(flow, (columns, rows)), np.float32)
    if rng.random() < 0.2:  # pencils and dry pens leave grain
        even *= 1 - np.float32(0.5) * rng.random((rows, columns), dtype=np.float32)
    page *= 1 - np.float32(depth / 255) * even * laid


def _border(page: Floats, frame: Frame, thick: int, tone: float, rng: np.random.Generator) -> None:
    """Draw the sides of a box, each where the crop left it."""
    rows, columns = page.shape
    box, far = frame.box, 0.45 * frame.height
    left, right = box.x - rng.uniform(0.05, 1) * far, box.x + box.w + rng.uniform(0.05, 1) * far
    # A side is taller than the writing in the box: a stroke as tall as the digits may be a 1.
    top, bottom = box.y - rng.uniform(0.1, 1) * far, box.y + box.h + rng.uniform(0.1, 1) * far
    x0, x1 = (0.0 if rng.random() < 0.3 else left), (columns if rng.random() < 0.3 else right)
    for x in (left, right):
        if rng.random() < 0.75:
            _line(page, (x, top), (x, bottom), thick, tone)
    for y in (top, bottom):
        if rng.random() < 0.75:
            _line(page, (x0, min(y, rows)), (x1, min(y, rows)), thick, tone)


def _comb(
    page: Floats, frame: Frame, cell: float, thick: int, tone: float, rng: np.random.Generator
) -> None:
    """Draw a box for each digit; a true comb has short teeth and no top line."""
    count = max(1, round((frame.box.x + frame.box.w - frame.start) / cell + 0.2))
    start = frame.start + rng.normal(0, 0.04) * cell
    bottom = frame.base + rng.uniform(0.05, 0.3) * frame.height
    top = frame.base - frame.height * rng.uniform(1.05, 1.4)
    teeth = top if rng.random() < 0.75 else bottom - rng.uniform(0.2, 0.6) * frame.height
    for i in range(count + 1):
        _line(page, (start + i * cell, teeth), (start + i * cell, bottom), thick, tone)
    end = start + count * cell
    _line(page, (start, bottom), (end, bottom), thick, tone)
    if teeth == top:
        _line(page, (start, top), (end, top), thick, tone)


def _line(
    page: Floats,
    start: tuple[float, float],
    end: tuple[float, float],
    thick: int,
    tone: float,
    *,
    dash: float = 0.0,
) -> None:
    """Draw a printed line, in place.

    `tone` is the share of light that it absorbs, and `dash` the length of its dashes in pixels (0:
    a solid line).
    """
    ink = np.zeros(page.shape, np.uint8)
    first, last = ((round(x * 8), round(y * 8)) for x, y in (start, end))
    cv2.line(ink, first, last, 255, thick, cv2.LINE_AA, 3)
    if dash:
        ink[:, np.arange(page.shape[1]) % (1.6 * dash + 1) > dash + 0.5] = 0
    page *= 1 - np.float32(tone / 255) * ink


def _smudge(page: Floats, frame: Frame, rng: np.random.Generator) -> None:
    """Draw blots, smeared ink and stray strokes, in place."""
    rows, columns = page.shape
    ink = np.zeros(page.shape, np.uint8)
    for _ in range(int(rng.integers(1, 5))):
        at = (int(rng.integers(columns)), int(rng.integers(rows)))
        axes = (
            int(frame.height * rng.uniform(0.05, 1.2)),
            int(frame.height * rng.uniform(0.03, 0.4)),
        )
        cv2.ellipse(ink, at, axes, rng.uniform(-30, 30), 0, 360, int(rng.integers(60, 256)), -1)
    if rng.random() < 0.6:
        soft = float(rng.uniform(0.05, 0.3)) * frame.height
        ink[:] = cv2.GaussianBlur(ink, (0, 0), soft)
    if rng.random() < 0.5:
        points = rng.uniform(0, 1, (4, 2)) * [columns, rows]
        cv2.polylines(ink, [points.astype(np.int32)], False, 255, 2, cv2.LINE_AA)
    page *= 1 - np.float32(rng.uniform(0.2, 0.8) / 255) * ink
