"""Pages of print and handwriting, drawn in the fonts of this machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from core.errors import ConfigError
from pipeline.imageops import as_image
from pipeline.types import Box, Image
from training.synthesis.hand import DigitSet, Pen, write_digits
from training.synthesis.scan import bilevel, scan

_FONTS: Final = Path("/usr/share/fonts")
_WORDS: Final = (
    "the amount of each field is written by hand and read from a scan when no template says where",
    "it stands total number of households served in this district during the week please print",
)
_LABELS: Final = ("Visits", "Children", "Nets", "Households", "Total due", "Age", "Ward", "Ref.")
_BLACK: Final = (24, 24, 28)
_INKS: Final = ((24, 30, 96), (20, 20, 24), (60, 60, 64))
_SHORT: Final = (0.3, 0.2, 0.15, 0.15, 0.1, 0.1)  # how often a number has 1, 2, ... digits


@dataclass(frozen=True, slots=True)
class DrawnPage:
    """A scanned page, and the numbers that were written on it with the boxes around them."""

    kind: str
    grey: Image
    numbers: tuple[tuple[Box, str], ...]


@cache
def font_files() -> tuple[Path, ...]:
    """Return the TrueType fonts of this machine. Raises ConfigError where there are none."""
    files = sorted(path for path in _FONTS.rglob("*.ttf") if "Math" not in path.name)
    if not files:
        raise ConfigError(f"There are no fonts in {_FONTS}.", hint="Install fonts-liberation.")
    return tuple(files)


def draw_page(kind: str, digits: DigitSet, seed: int) -> DrawnPage:
    """Draw and scan a page of a kind in PAGE_KINDS; the same `seed` gives the same page."""
    rng = np.random.default_rng((seed, sorted(PAGE_KINDS).index(kind)))
    sheet = _Sheet(rng, digits)
    PAGE_KINDS[kind](sheet)
    picture = scan(sheet.picture, rng, skew=1.0, noise=float(rng.uniform(1, 6)))
    grey = as_image(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY))
    if rng.random() < 0.25:
        grey = bilevel(picture)
    quality = int(rng.integers(60, 96))
    data = cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    decoded: Image = np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE), np.uint8)
    return DrawnPage(kind, decoded, tuple(sheet.numbers))


@dataclass(slots=True)
class _Sheet:
    """A page while it is drawn, at 150 to 300 dots an inch, with its type and its writer."""

    rng: np.random.Generator
    digits: DigitSet
    numbers: list[tuple[Box, str]] = field(default_factory=list)
    mm: float = 0.0  # pixels
    type: Path = field(init=False)
    pen: Pen = field(init=False)
    picture: NDArray[np.uint8] = field(init=False)

    def __post_init__(self) -> None:
        self.mm = float(self.rng.uniform(150, 300)) / 25.4
        self.type = font_files()[int(self.rng.integers(len(font_files())))]
        self.pen = Pen(_INKS[int(self.rng.integers(3))], float(self.rng.uniform(0.7, 1.0)))
        size = (round(297 * self.mm), round(210 * self.mm), 3)
        self.picture = np.full(size, int(self.rng.integers(238, 256)), np.uint8)

    def number(self) -> str:
        """Return a random number of one to six digits."""
        length = 1 + int(self.rng.choice(len(_SHORT), p=_SHORT))
        return "".join(self.rng.choice(list("0123456789"), length))

    def words(self, count: int) -> str:
        return " ".join(self.rng.choice(" ".join(_WORDS).split(), count))

    def print(self, text: str, x: float, y: float, size: float, *, turned: bool = False) -> None:
        """Set a line of type, (x, y) its left end on the base line and `size` in mm."""
        face = ImageFont.truetype(self.type, round(size * self.mm))
        if not turned:
            page = Pillow.fromarray(self.picture)
            place = (x * self.mm, y * self.mm)
            ImageDraw.Draw(page).text(place, text, _BLACK, face, anchor="ls")
            self.picture[:] = np.asarray(page)
            return
        left, top, right, bottom = (round(side) for side in face.getbbox(text))
        line = Pillow.new("RGB", (right - left + 4, bottom - top + 4), (255, 255, 255))
        ImageDraw.Draw(line).text((2 - left, 2 - top), text, _BLACK, face)
        upright = np.asarray(line.rotate(90, expand=True))
        row, column = round(y * self.mm), round(x * self.mm)
        part = self.picture[row : row + len(upright), column : column + upright.shape[1]]
        np.minimum(part, upright[: part.shape[0], : part.shape[1]], out=part)

    def write(self, text: str, x: float, y: float, height: float, width: float) -> None:
        """Write a number by hand into the box of `width` by `height` mm at (x, y).

        Sizes and base lines vary as they do on cheques: in the 1,080 amounts of ORAND-CAR-A the
        heights in a number of four digits differ by a fifth in the median.
        """
        size = min(0.9 * height, 1.5 * width / len(text))
        left = x
        for digit in text:
            own = size * (1 + float(np.clip(self.rng.normal(0, 0.08), -0.2, 0.2)))
            top = y + 0.5 * (height - own) + 0.04 * size * float(self.rng.normal())
            box = Box((left - 0.2 * own) * self.mm, top * self.mm, 2 * own * self.mm, own * self.mm)
            write_digits(self.picture, digit, box, self.digits, self.pen, self.rng)
            left += 0.62 * size
        box = Box(x * self.mm, y * self.mm, (left - x) * self.mm + 0.3 * size, height * self.mm)
        self.numbers.append((box, text))

    def frame(self, x: float, y: float, width: float, height: float) -> None:
        first = (round(x * self.mm), round(y * self.mm))
        last = (round((x + width) * self.mm), round((y + height) * self.mm))
        thick = max(1, round(float(self.rng.uniform(0.15, 0.45)) * self.mm))
        cv2.rectangle(self.picture, first, last, _BLACK, thick)

    def tick(self, x: float, y: float, side: float) -> None:
        """Cross a box by hand: two strokes that run beyond it."""
        for turn in (1, -1):
            ends = np.array([[-0.6, -0.6 * turn], [0.6, 0.6 * turn]]) * side
            ends += self.rng.normal(0, 0.12, (2, 2)) * side + np.array([x, y]) + side / 2
            points = np.rint(ends * self.mm).astype(int)
            thick = max(1, round(0.4 * self.mm))
            cv2.line(self.picture, points[0], points[1], self.pen.colour, thick, cv2.LINE_AA)


def _text(sheet: _Sheet) -> None:
    """Numbered paragraphs with dates, sums and years in them. Nothing is written."""
    rng, y, size = sheet.rng, 25.0, float(sheet.rng.uniform(3.0, 5.0))
    sheet.print(sheet.words(4).title(), 20, y, 1.6 * size)
    paragraph = 0
    while y < 270:
        paragraph += 1
        sheet.print(f"{paragraph}.", 14, y + 2 * size, size)
        for _ in range(int(rng.integers(1, 5))):
            y += 1.6 * size
            text = " ".join(
                sheet.number() if rng.random() < 0.25 else sheet.words(1) for _ in range(9)
            )
            sheet.print(text, 22, y + 0.4 * size, size)
        y += 1.5 * size
    sheet.print(sheet.number(), 104, 288, size)


def _table(sheet: _Sheet) -> None:
    """A statement: columns of printed numbers, some with points, under headings."""
    rng, size = sheet.rng, float(sheet.rng.uniform(2.8, 5.0))
    columns = np.sort(rng.choice(np.arange(20, 190, 28), int(rng.integers(3, 6)), replace=False))
    for x in columns:
        sheet.print(str(rng.choice(_LABELS)), float(x), 30, size)
    for row, y in enumerate(np.arange(38, 270, 2.2 * size)):
        for number, x in enumerate(columns):
            value = str(row + 1) if number == 0 else sheet.number()
            if rng.random() < 0.3:
                value += f".{rng.integers(100):02}"
            sheet.print(value, float(x), float(y), size)
    if rng.random() < 0.5:
        sheet.frame(16, 22, 180, 250)


def _form(sheet: _Sheet) -> None:
    """A form: row numbers, labels, tick boxes, type on its side, and numbers written in boxes."""
    rng, size = sheet.rng, float(sheet.rng.uniform(3.2, 5.0))
    step = float(rng.uniform(11, 16))
    height = float(rng.uniform(0.6, 0.85)) * step
    sheet.print(sheet.words(3).title(), 20, 22, 1.7 * size)
    sheet.print(f"Form {sheet.number()}", 150, 22, size)
    sheet.print(f"{sheet.words(3)} {sheet.number()} {sheet.number()}", 4, 120, size, turned=True)
    for row, y in enumerate(np.arange(32, 270, step)):
        base = float(y) + 0.5 * step
        sheet.print(str(row + 1), 16, base, size)
        sheet.print(sheet.words(3), 26, base, size)
        if row % 3 == 2:
            for place in range(3):
                x = 120 + 25 * place
                sheet.frame(x, float(y), 5, 5)
                sheet.print(str(place + 1), x + 8, base, size)
                if rng.random() < 0.5:
                    sheet.tick(x, float(y), 5)
            continue
        if rng.random() < 0.7:
            sheet.frame(120, float(y), 60, height)
        sheet.write(sheet.number(), 120, float(y), height, 60)


def _notes(sheet: _Sheet) -> None:
    """Numbers written in columns, ruled or not, under a printed heading, with a page number."""
    rng = sheet.rng
    size, step = float(rng.uniform(3.5, 7.0)), float(rng.uniform(11, 18))
    sheet.print(sheet.words(2).title(), 20, 20, size)
    ruled = rng.random() < 0.5
    for y in np.arange(32, 265, step):
        if ruled:
            line = round((float(y) + 0.92 * step) * sheet.mm)
            cv2.line(
                sheet.picture,
                (round(15 * sheet.mm), line),
                (round(195 * sheet.mm), line),
                (120, 120, 130),
                1,
            )
        for x in (20.0, 80.0, 140.0):
            if rng.random() < 0.8:
                sheet.write(sheet.number(), x, float(y), 0.9 * step, 52)
    sheet.print(sheet.number(), 104, 288, size)


PAGE_KINDS: Final[dict[str, Callable[[_Sheet], None]]] = {
    "text": _text,
    "table": _table,
    "form": _form,
    "notes": _notes,
}
"""How each kind of page is drawn."""
