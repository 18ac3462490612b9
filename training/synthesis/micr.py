"""Draw E-13B print from the geometry of the standard, with the wear of presses and scanners.

ANSI X9.27 and ISO 1004-1 give each character as bars on a grid of 0.013 inch modules, 9 high and 4
to 7 wide, with corners rounded by half a module and right edges 0.125 inch apart. The digits, the
transit and the on-us symbol were compared with real cheques. No cheque at hand has the amount and
dash symbols; their bars follow Unicode's code charts (U+2447, U+2449).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.readers.micr_line import HEIGHT, MODULE_INCH, PITCH, Cells
from pipeline.types import Image
from training.synthesis.paper import blank_paper, guilloche

_FINE = 12  # pixels for each module of a drawing

# (left, top, right, bottom) in modules, from the top left corner of the character.
_BARS: dict[str, tuple[tuple[float, float, float, float], ...]] = {
    "1": ((0, 0, 2, 1.5), (1, 0, 2, 6), (0, 5, 4, 9)),
    "2": ((0, 0, 4, 1), (3, 0, 4, 5), (0, 4, 4, 5), (0, 4, 1, 9), (0, 8, 4, 9)),
    "3": ((0, 0, 4, 1), (3, 0, 4, 5), (0, 4, 4, 5), (3, 4.5, 5, 9), (0, 8, 5, 9)),
    "4": ((0, 0, 2, 7), (0, 6, 6, 7), (4, 5, 6, 9)),
    "5": ((0, 0, 5, 1), (0, 0, 1, 5), (0, 4, 5, 5), (4, 4, 5, 9), (0, 8, 5, 9)),
    "6": ((0, 0, 4, 1), (3, 0, 4, 2.5), (0, 0, 1, 9), (0, 5, 6, 6), (5, 5, 6, 9), (0, 8, 6, 9)),
    "7": ((0, 0, 1, 2.5), (0, 0, 5, 1), (4, 0, 5, 5), (2, 4, 5, 5), (2, 4, 3, 9)),
    "8": ((1, 0, 6, 1), (1, 0, 2, 5), (5, 0, 6, 5), (1, 4, 6, 5), (0, 4.5, 2, 9), (5, 4.5, 7, 9),
          (0, 8, 7, 9)),
    "9": ((0, 0, 6, 1), (0, 0, 1, 5), (5, 0, 6, 5), (0, 4, 6, 5), (4, 4, 6, 9)),
    "⑆": ((0, 1.5, 2, 7.5), (4, 0, 7, 3), (4, 6, 7, 9)),
    "⑇": ((0, 5, 2, 9), (3, 2.5, 4, 6.5), (5, 0, 7, 4)),
    "⑈": ((0, 1.5, 1, 7.5), (2, 1.5, 3, 7.5), (4, 0.5, 7, 4.5)),
    "⑉": ((0, 2.5, 2, 6.5), (3, 2.5, 5, 6.5), (6, 2.5, 7, 6.5)),
}  # fmt: skip
CHARACTERS = "0" + "".join(_BARS)


@cache
def draw_character(character: str, fine: int = _FINE) -> Image:
    """Return one of the 14 characters, 255 on 0, right-aligned in 9 by 7 modules."""
    shape = np.zeros((9 * fine, 7 * fine), np.uint8)
    if (
        character == "0"
    ):  # the only character with wide bends: radius two modules outside, one inside
        _round_bar(shape, (0, 0, 7, 9), 2.0, 255, fine)
        _round_bar(shape, (1, 1, 6, 8), 1.0, 0, fine)
        return shape
    bars = _BARS[character]
    width = max(right for _, _, right, _ in bars)
    for left, top, right, bottom in bars:
        x0, x1 = (round((7 - width + x) * fine) for x in (left, right))
        shape[round(top * fine) : round(bottom * fine), x0:x1] = 255
    wide = np.pad(shape, fine)
    closed = cv2.morphologyEx(wide, cv2.MORPH_CLOSE, _disc(0.5 * fine))
    rounded = cv2.morphologyEx(closed, cv2.MORPH_OPEN, _disc(0.9 * fine))
    return np.asarray(rounded[fine:-fine, fine:-fine], np.uint8)


def _round_bar(
    shape: Image, bar: tuple[float, float, float, float], radius: float, value: int, fine: int
) -> None:
    left, top, right, bottom = bar
    for inset in (0.0, radius):
        x0, x1 = round((left + inset) * fine), round((right - inset) * fine)
        y0, y1 = round((top + radius - inset) * fine), round((bottom - radius + inset) * fine)
        shape[y0:y1, x0:x1] = value
    for x in (left + radius, right - radius):
        for y in (top + radius, bottom - radius):
            centre = (round(x * fine - 0.5), round(y * fine - 0.5))
            cv2.circle(shape, centre, round(radius * fine - 0.5), value, -1)


def _disc(diameter: float) -> Image:
    size = max(1, round(diameter))
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)), np.uint8)


@dataclass(frozen=True, slots=True)
class Wear:
    """The changes to a line between the press and the file."""

    spread: float = 0.0  # modules by which ink spreads (or recedes) on each side
    voids: float = 0.0  # share of missing ink
    specks: float = 0.0  # share of paper with extraneous ink
    turn: float = 0.0  # degrees
    ink: int = 30  # grey of the ink
    paper: int = 245  # grey of the paper
    pattern: float = 0.0  # depth of a guilloche under the line, 0 to 1
    blur: float = 0.3  # pixels of the scan, standard deviation
    noise: float = 2.0  # grey levels, standard deviation
    bitonal: bool = False
    jpeg: int | None = None  # quality


def random_wear(rng: np.random.Generator) -> Wear:
    """Draw the wear of a line; about a third of all lines are hardly worn."""
    mild = rng.random() < 0.35
    return Wear(
        spread=rng.normal(0, 0.05) if mild else float(np.clip(rng.normal(0.03, 0.14), -0.3, 0.4)),
        voids=0.0 if mild else float(rng.choice([0, 0, rng.uniform(0, 0.15)])),
        specks=0.0 if mild else float(rng.choice([0, rng.uniform(0, 0.012)])),
        turn=rng.normal(0, 0.3 if mild else 0.9),
        ink=int(rng.integers(5, 60) if mild else rng.integers(0, 120)),
        paper=int(rng.integers(225, 256) if mild else rng.integers(170, 256)),
        pattern=0.0 if mild else float(rng.choice([0, rng.uniform(0, 0.35)])),
        blur=rng.uniform(0.2, 0.6) if mild else rng.uniform(0.2, 1.1),
        noise=rng.uniform(0, 4) if mild else rng.uniform(0, 16),
        bitonal=not mild and rng.random() < 0.25,
        jpeg=int(rng.integers(30, 96)) if rng.random() < 0.7 else None,
    )


@dataclass(frozen=True, slots=True)
class Rendered:
    """A picture of a line, and the true cells of its characters and gaps."""

    grey: Image  # (height, width)
    cells: Cells


def render_line(
    text: str,
    dpi: float,
    wear: Wear,
    rng: np.random.Generator,
    *,
    size: tuple[float, float] | None = None,
    place: tuple[float, float] = (0.35, 0.22),
) -> Rendered:
    """Print `text` (of the 14 characters and spaces) on paper and scan it.

    `size` is the width and height of the paper, and `place` the distance of the line's left end
    from the left edge and of its base from the lower edge, in inches. By default the paper is as
    large as the line and a margin.
    """
    wide, high = size or (0.125 * len(text) + 2 * place[0], 0.117 + 2 * place[1])
    columns, rows = round(wide * dpi), round(high * dpi)
    grey = _paper(rows, columns, wear, rng)
    module = MODULE_INCH * dpi
    # Where module (0, 0) of the fine drawing, the top left corner of its first cell, will lie.
    start = (place[0] * dpi, (high - place[1]) * dpi - HEIGHT * module)
    shift = rng.uniform(0, 1, 2)  # of a pixel: print and scanner are not aligned
    angle = np.deg2rad(wear.turn)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    ink = _ink(text, wear, rng)
    margin = 2.0  # modules around the fine drawing
    to_scan = np.zeros((2, 3))
    to_scan[:, :2] = turn * (module / _FINE)
    to_scan[:, 2] = np.array(start) + shift - turn @ np.array([margin, margin]) * module
    # First average over a pixel of the scan, which covers many pixels of the fine drawing.
    step = _FINE / module
    if step > 1:
        ink = np.asarray(cv2.blur(ink, (round(step), round(step))))
    to_scan[:, 2] += to_scan[:, :2] @ np.array([0.5, 0.5]) - 0.5  # middles of pixels
    scanned = cv2.warpAffine(ink, to_scan, (columns, rows), flags=cv2.INTER_LINEAR)
    grey = grey * (1 - scanned) + wear.ink * scanned
    corners = np.stack([PITCH * np.arange(len(text)) + 7.0, np.full(len(text), HEIGHT)], axis=1)
    corners = corners @ turn.T * module + np.array(start) + shift
    image = _scan(grey.astype(np.float32), wear, rng)
    return Rendered(image, Cells(corners, (module, module), float(np.tan(angle))))


def _ink(text: str, wear: Wear, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return the printed line at the fine scale, 0 to 1, with a margin of two modules."""
    pitch = PITCH * _FINE
    rows, columns = (9 + 4) * _FINE, round(len(text) * pitch) + 4 * _FINE
    shape = np.zeros((rows, columns), np.uint8)
    for number, character in enumerate(text):
        if character == " ":
            continue
        # The standard allows a character to be off by about 0.0015 inch in each direction.
        x = round(number * pitch + 2 * _FINE + np.clip(rng.normal(0, 0.08), -0.2, 0.2) * _FINE)
        y = round((2 + np.clip(rng.normal(0, 0.06), -0.2, 0.2)) * _FINE)
        glyph = draw_character(character)
        shape[y : y + glyph.shape[0], x : x + glyph.shape[1]] = glyph
    ink = shape.astype(np.float32) / 255
    if wear.spread:
        soft = np.asarray(cv2.GaussianBlur(ink, (0, 0), 0.35 * _FINE))
        # On a straight edge the blurred ink passes 0.5 - t at a distance of t * sigma * 2.5.
        ink = (soft > 0.5 - np.clip(wear.spread / 0.88, -0.42, 0.42)).astype(np.float32)
    if wear.voids or wear.specks:
        coarse = rng.standard_normal((rows // 4, columns // 4)).astype(np.float32)
        soft = np.asarray(cv2.GaussianBlur(coarse, (0, 0), float(rng.uniform(0.6, 1.6))))
        grain = np.asarray(cv2.resize(soft, (columns, rows), interpolation=cv2.INTER_LINEAR))
        ink[grain < np.quantile(grain, wear.voids)] = 0
        ink[grain > np.quantile(grain, 1 - wear.specks)] = 1
    return np.asarray(ink, np.float32)


def _paper(rows: int, columns: int, wear: Wear, rng: np.random.Generator) -> NDArray[np.float32]:
    tint = (wear.paper, wear.paper, wear.paper)
    paper = blank_paper(rows, columns, tint, rng)
    if wear.pattern:
        guilloche(paper, (90, 90, 90), rng, depth=wear.pattern)
    grey = paper[..., 0].astype(np.float32)
    light = np.linspace(1 - rng.uniform(0, 0.15), 1, columns, dtype=np.float32)
    return np.asarray(grey * (light if rng.random() < 0.5 else light[::-1]), np.float32)


def _scan(grey: NDArray[np.float32], wear: Wear, rng: np.random.Generator) -> Image:
    grey = np.asarray(cv2.GaussianBlur(grey, (0, 0), max(wear.blur, 0.05)))
    grey = grey + rng.normal(0, 1, grey.shape).astype(np.float32) * np.float32(wear.noise)
    image = np.clip(grey, 0, 255).astype(np.uint8)
    if wear.bitonal:
        between = wear.ink + (wear.paper - wear.ink) * rng.uniform(0.4, 0.65)
        image = np.where(image > between, np.uint8(255), np.uint8(0))
    if wear.jpeg is not None:
        _, coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, wear.jpeg])
        image = np.asarray(cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE), np.uint8)
    return image
