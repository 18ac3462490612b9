"""Write a line of characters in one hand: its shapes, slant, pen, spacing and joins.

Until the ink is drawn, lengths are in heights of a digit: x to the right, y from 0 (top of a digit)
to 1 (base line).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import cv2
import numpy as np

from pipeline.geometry import bounding_box
from pipeline.types import Box, Image
from training.synthesis.allographs import Points
from training.synthesis.amounts import Line, Token
from training.synthesis.strokes import PenHand, ink_strokes, join
from training.synthesis.writers import Archive, ArchiveHand, cut_to_ink, go_over

_DETAIL = 72  # pixels, about: the height of a digit while its ink is drawn
_SPACE = 0.35  # the width of a space between words or groups
_LOW = frozenset(".,")  # they stand under the end of the previous digit
_JOINING = frozenset("0256")  # digits that end on the right, where the pen may stay on the paper


@dataclass(frozen=True, slots=True)
class Hand:
    """The style that all characters of one strip share."""

    pen: PenHand
    archive: ArchiveHand | None  # the writer whose real digits are used
    drawn: frozenset[str]  # digits that are drawn all the same
    redrawn: bool  # real digits are redrawn with the pen
    nib: float  # width of the pen
    press: float  # how much the width changes along a stroke, 0 to 1
    slant: float  # x for each y
    gap: float  # between the inks of neighbours; negative where they overlap
    unevenness: float  # of sizes and gaps
    zero: float  # height of a 0
    wander: float  # of the base line
    slope: float  # of the base line, y for each x
    ligature: float  # probability that the pen stays down between two digits that can join

    @property
    def traits(self) -> frozenset[str]:
        source = self.archive.origin if self.archive else "pen"
        spacing = "overlapping" if self.gap < -0.02 else "tight" if self.gap < 0.08 else "spaced"
        return frozenset({f"hand {source}", spacing, *({"joined"} if self.ligature > 0.3 else ())})


@dataclass(frozen=True, slots=True)
class Handwriting:
    """A line of ink on an empty background."""

    cover: Image  # (h, w), ink 255, cropped to the ink
    written: tuple[tuple[str, Box], ...]  # each character and its place on `cover`
    start: float  # x on `cover` where the line begins, at half the height of a digit
    base: float  # y of the base line there
    shapes: frozenset[str]  # the allographs of drawn digits, "1 long upstroke"


@dataclass(frozen=True, slots=True)
class _Placed:
    token: Token
    shape: str
    strokes: tuple[Points, ...]
    image: Image | None
    x0: float
    y0: float
    x1: float
    y1: float

    @property
    def corners(self) -> Points:
        x0, y0, x1, y1 = self.x0, self.y0, self.x1, self.y1
        return np.array([[x0, y0], [x1, y0], [x0, y1], [x1, y1]])

    def moved(self, x: float, y: float) -> _Placed:
        strokes = tuple(stroke + np.array([x, y]) for stroke in self.strokes)
        return replace(
            self,
            strokes=strokes,
            x0=self.x0 + x,
            x1=self.x1 + x,
            y0=self.y0 + y,
            y1=self.y1 + y,
        )


def draw_hand(archive: Archive | None, rng: np.random.Generator) -> Hand:
    """Draw the style of one strip. Without an archive all digits are drawn."""
    pen = PenHand(
        int(rng.integers(2**31)),
        width=float(np.exp(rng.normal(0.16, 0.24))),
        roundness=float(rng.choice((0.8, 1.0, 1.0, 1.2))),
    )
    real = archive is not None and rng.random() < 0.5
    redrawn = bool(rng.random() < 0.75)
    tightness = rng.random()
    gap = rng.uniform(0.25, 0.7) if tightness < 0.15 else rng.normal(0.15, 0.08)
    # Thick published strokes touch in their own way; let them touch more often.
    if tightness > (0.8 if redrawn or not real else 0.6):
        gap = rng.uniform(-0.16, 0.02)
    return Hand(
        pen=pen,
        archive=archive.hand(rng) if archive is not None and real else None,
        drawn=_drawn(rng) if real else frozenset("0123456789"),
        redrawn=redrawn,
        nib=float(np.clip(np.exp(rng.normal(-2.6, 0.33)), 0.03, 0.16)),
        press=float(rng.uniform(0, 0.7)),
        # Published digits already have their writer's slant.
        slant=float(rng.normal(-0.02 if real else 0.1, 0.17)),
        gap=float(gap),
        unevenness=float(rng.uniform(0.02, 0.12)),
        zero=float(rng.uniform(0.5, 1.0)) if rng.random() < 0.4 else 1.0,
        wander=float(abs(rng.normal(0, 0.035))),
        slope=float(rng.normal(0, 0.025)),
        ligature=float(rng.uniform(0.4, 1.0)) if rng.random() < 0.45 else 0.05,
    )


def _drawn(rng: np.random.Generator) -> frozenset[str]:
    """Return the digits that a hand of real digits draws; similar digits go together."""
    if rng.random() < 0.4:
        return frozenset()
    groups = [group for group in ("17", "49", "5", "2", "0", "368") if rng.random() < 0.35]
    return frozenset("".join(groups))


def write(
    line: Line, hand: Hand, height: float, rng: np.random.Generator, *, cell: float = 0.0
) -> Handwriting:
    """Write `line` with digits about `height` pixels tall.

    With `cell`, each digit stands in the middle of a cell that is `cell` heights wide.
    """
    placed = _lay_out(line, hand, rng, cell)
    joins = [] if cell else _joins(placed, hand, rng)
    underline = _underline(placed, rng)
    fine = int(np.clip(round(_DETAIL / height), 1, 6))
    scale = height * fine
    drift = rng.normal(0, hand.wander, 6)

    def pixels(points: Points) -> Points:
        x, y = points[:, 0], points[:, 1]
        base = hand.slope * x + np.interp(x, np.linspace(0, 8, 6), drift)
        return np.stack([x + hand.slant * (1 - y), y + base], axis=1) * scale

    # Transform all points at once: one call for each stroke would take longer than drawing.
    strokes = [stroke for mark in placed for stroke in mark.strokes]
    strokes += [*joins, *underline]
    start = np.array([[0.0, 0.5], [0.0, 1.0]])
    points = pixels(np.concatenate([start, *(mark.corners for mark in placed), *strokes]))
    reach = 2 * hand.nib * scale + 2 * fine
    origin = np.floor(points[2:].min(axis=0) - reach) if placed else np.zeros(2)
    points -= origin
    columns, rows = (np.ceil(points.max(axis=0) + reach) // fine + 1).astype(int)
    canvas = np.zeros((rows * fine, columns * fine), np.uint8)
    corners = points[2 : 2 + 4 * len(placed)].reshape(-1, 4, 2)
    for mark, four in zip(placed, corners, strict=True):
        if mark.image is not None:
            _ink_image(canvas, mark.image, four)
    ends = np.cumsum([2 + 4 * len(placed), *(len(stroke) for stroke in strokes)])
    curves = [points[i:j] for i, j in pairwise(ends)]
    ink_strokes(canvas, curves, hand.nib * scale, rng, hand.press)
    small = cv2.resize(canvas, (columns, rows), interpolation=cv2.INTER_AREA)
    written = tuple(
        (mark.token.character, bounding_box(four / fine))
        for mark, four in zip(placed, corners, strict=True)
    )
    (left, _), (_, base) = points[:2] / fine
    shapes = frozenset(mark.shape for mark in placed if mark.shape)
    return Handwriting(np.asarray(small, np.uint8), written, float(left), float(base), shapes)


def _lay_out(line: Line, hand: Hand, rng: np.random.Generator, cell: float) -> list[_Placed]:
    placed: list[_Placed] = []
    end = 0.0
    group = 0.0  # where the underlined characters begin
    for index, token in enumerate(line.tokens):
        if token.character == " ":
            end += _SPACE * rng.uniform(0.7, 1.4)
            continue
        mark = _form(token, hand, rng)
        gap = hand.gap + rng.normal(0, hand.unevenness)
        if token.character in _LOW:
            gap = 0.4 * gap + rng.uniform(-0.05, 0.1)
        elif token.character == "/":
            gap = rng.uniform(-0.15, 0.2)  # often through the last zero
        elif not token.reads:
            gap = max(gap, 0.0) + rng.uniform(0.02, 0.12)
        if token.reads == "." or (placed and placed[-1].token.reads == "."):
            gap = max(gap, 0.06)  # only this point distinguishes 12.34 from 1234
        if token.beneath:
            end = group
        x = end + gap - mark.x0
        if cell:
            x = (index + 0.5) * cell - (mark.x0 + mark.x1) / 2 + rng.normal(0, 0.06) * cell
        mark = mark.moved(x, 0.0)
        if token.underlined and not (placed and placed[-1].token.underlined):
            group = end
        end = mark.x1 if token.beneath or not placed else max(mark.x1, placed[-1].x1 - 0.1)
        placed.append(mark)
    return placed


def _form(token: Token, hand: Hand, rng: np.random.Generator) -> _Placed:
    """Return one character in this hand, placed at x = 0."""
    digit = token.character.isdigit()
    scale = token.scale * (1 + rng.normal(0, hand.unevenness) * digit)
    if token.character == "0":
        scale *= hand.zero
    down = 1 - token.lift + rng.normal(0, 0.5 * hand.unevenness) * digit
    if digit and hand.archive is not None and token.character not in hand.drawn:
        ink = _real(int(token.character), hand.archive, hand, rng)
        # The longer side of a published digit has the size of a digit.
        tall = max(ink.shape[0] / max(ink.shape), 0.55)
        tall *= scale
        wide = max(tall * ink.shape[1] / ink.shape[0] * hand.pen.width**0.7, 0.05)
        return _Placed(token, "", (), ink, 0.0, down - tall, wide, down)
    drawn = hand.pen.draw(token.character, rng)
    shape = f"{token.character} {drawn.allograph}" if digit else ""
    moved = tuple((stroke - [0, 1]) * scale + [0, down] for stroke in drawn.strokes)
    points = np.concatenate(moved)
    (x0, y0), (x1, y1) = points.min(axis=0), points.max(axis=0)
    return _Placed(token, shape, moved, None, float(x0), float(y0), float(x1), float(y1))


def _real(digit: int, archive: ArchiveHand, hand: Hand, rng: np.random.Generator) -> Image:
    """Return a real digit, cropped to its ink."""
    for _ in range(3 if hand.redrawn else 0):
        ink = go_over(archive.pick(digit, rng), hand.nib * 20)
        if ink is not None:
            return ink
    return cut_to_ink(archive.pick(digit, rng))


def _joins(placed: Sequence[_Placed], hand: Hand, rng: np.random.Generator) -> list[Points]:
    """Return the strokes of a pen that stays down between digits."""
    joins = []
    for left, right in pairwise(placed):
        pair = left.token.character + right.token.character
        if not pair.isdigit() or left.token.character not in _JOINING:
            continue
        if rng.random() >= hand.ligature * (1.0 if pair == "00" else 0.3):
            continue
        if left.strokes and right.strokes:
            joins.append(join(left.strokes[-1], right.strokes[0], rng))
        else:
            y = rng.uniform(0.02, 0.3) if pair[0] == "0" else rng.uniform(0.8, 0.95)
            start = [left.x1 - 0.25 * (left.x1 - left.x0), left.y0 + y * (left.y1 - left.y0)]
            end = [right.x0 + 0.2 * (right.x1 - right.x0), right.y0 + y * (right.y1 - right.y0)]
            hang = np.array([[0, 0], [0, 0.04], [0, 0.04], [0, 0]])
            joins.append(np.linspace(start, end, 4) + hang)
    return joins


def _underline(placed: Sequence[_Placed], rng: np.random.Generator) -> list[Points]:
    lined = [mark for mark in placed if mark.token.underlined]
    if not lined:
        return []
    y = max(mark.y1 for mark in lined) + rng.uniform(0.06, 0.16)
    left = min(mark.x0 for mark in lined) - rng.uniform(0, 0.1)
    right = max(mark.x1 for mark in lined) + rng.uniform(0, 0.12)
    once = np.array([[left, y], [right, y + rng.uniform(-0.06, 0.03)]])
    return [once, once + np.array([0, 0.1])] if rng.random() < 0.15 else [once]


def _ink_image(canvas: Image, image: Image, corners: Points) -> None:
    """Warp `image` onto `corners`: top left, top right, bottom left, bottom right."""
    rows, columns = image.shape
    left, top = np.maximum(np.floor(corners.min(axis=0)).astype(int) - 3, 0)
    right, bottom = np.ceil(corners.max(axis=0)).astype(int) + 3
    room = canvas[top:bottom, left:right]
    source = np.array([[0, 0], [columns, 0], [0, rows]], np.float32) - 0.5
    target = (corners[:3] - [left, top]).astype(np.float32)
    warp = cv2.getAffineTransform(source, target)
    size = (room.shape[1], room.shape[0])
    inked = cv2.warpAffine(image, warp, size, flags=cv2.INTER_LINEAR)
    np.maximum(room, np.asarray(cv2.LUT(inked, _SHARPEN)), out=room)


# The grey rim of an enlarged digit becomes the edge of a stroke.
_SHARPEN = np.clip((np.arange(256) - 70.0) * 2.2, 0, 255).astype(np.uint8)
