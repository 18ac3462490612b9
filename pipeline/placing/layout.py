"""A page without a template: where its lines of handwritten digits are."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.cleaning.ink import Ink, separate_ink
from pipeline.geometry import reading_order, union
from pipeline.imageops import as_image, fill_with_paper, resize
from pipeline.readers.normalise import normalise_glyph
from pipeline.types import Box, Image, Page, Strip

Probabilities = Callable[[Image], NDArray[np.float32]]  # (n, 28, 28) glyphs to (n, 10)

LONG_SIDE: Final = 1800  # pixels: at it a digit of 3 mm on A4 is still 18 pixels high
SMALLEST: Final = 9  # pixels at that size: lower marks are specks or too small to read
MAX_LINES: Final = 200
APART: Final = 1.5  # heights of a digit: wider gaps part two numbers
LONGEST: Final = 30  # pieces: a line of more is text
HIGHEST: Final = 64.0  # pixels of a digit in a strip
FEW: Final = 5  # pieces: a shorter line is not judged before it is read
LONG: Final = 14  # pieces: few numbers are longer
SAMPLE: Final = 8  # pieces of a line
# The mean of the probability of the likeliest digit: over samples of handwritten numbers 0.97 and
# more, over samples of print 0.53 to 0.93 (rendered cheques and forms, NIST, an exam paper).
KNOWN: Final = 0.80
KNOWN_OF_LONG: Final = 0.87
RULE: Final = 2.5  # times the height of a digit, here taken as 12 strokes: a straight run is a rule


@dataclass(frozen=True, slots=True)
class _Piece:
    """A piece of ink that may be of a digit; its box is in pixels of the layout's ink."""

    label: int
    box: Box


def find_text_lines(page: Page, probabilities: Probabilities | None = None) -> list[Strip]:
    """Return the lines of `page` that may be handwritten digits, from the top, as strips.

    Named `line-1` and on. Pieces of ink join a line while they overlap in height and stand no
    farther apart than a digit and a half. Whether a line is digits or print only its reading
    can tell; what cannot be digits by its size and shape is left out here, and, where the network
    is given by its `probabilities`, lines of many pieces of which it knows few. The strips hold no
    rules, boxes or neighbours any more, these are painted over with paper, and may be reduced:
    digits higher than `HIGHEST` would only cost time.
    """
    scale = min(1.0, LONG_SIDE / max(page.grey.shape))
    ink = separate_ink(resize(page.grey, scale), enlarge=False)
    if not ink.mask.any():
        return []
    pieces, labels = _pieces(_without_rules(ink.mask, ink.stroke))
    groups = group_into_lines([piece.box for piece in pieces])
    lines = [[pieces[index] for index in group] for group in groups if len(group) <= LONGEST]
    if probabilities is not None:
        lines = _less_print(lines, labels, ink.soft, probabilities)
    order = reading_order([union(piece.box for piece in line) for line in lines])[:MAX_LINES]
    return [
        _cut(page, lines[index], labels, ink, scale * ink.scale, f"line-{number}")
        for number, index in enumerate(order, start=1)
    ]


def _less_print(
    lines: list[list[_Piece]],
    labels: NDArray[np.int32],
    soft: Image,
    probabilities: Probabilities,
) -> list[list[_Piece]]:
    """Return `lines` without those that are print by a sample of their pieces."""
    samples = [_sample(line) if len(line) >= FEW else [] for line in lines]
    glyphs = []
    for piece in (piece for sample in samples for piece in sample):
        x, y = int(piece.box.x), int(piece.box.y)
        part = np.s_[y : y + int(piece.box.h), x : x + int(piece.box.w)]
        glyphs.append(
            normalise_glyph(np.where(labels[part] == piece.label, soft[part], np.uint8(0)))
        )
    if not glyphs:
        return lines
    sure = iter(probabilities(np.stack(glyphs)).max(axis=1))
    kept = []
    for line, sample in zip(lines, samples, strict=True):
        known = float(np.mean([next(sure) for _ in sample])) if sample else 1.0
        if known >= (KNOWN_OF_LONG if len(line) > LONG else KNOWN):
            kept.append(line)
    return kept


def _sample(line: list[_Piece]) -> list[_Piece]:
    tallest = max(piece.box.h for piece in line)
    tall = [piece for piece in line if piece.box.h >= 0.5 * tallest]
    places = np.linspace(0, len(tall) - 1, min(SAMPLE, len(tall)))
    return [tall[round(float(place))] for place in places]


def group_into_lines(pieces: list[Box]) -> list[list[int]]:
    """Return the indices of `pieces`, boxes of pieces of ink, line by line, in any order."""
    order = sorted(range(len(pieces)), key=lambda index: pieces[index].x)
    line_of = list(range(len(pieces)))
    tallest = max((piece.h for piece in pieces), default=0.0)

    def root(index: int) -> int:
        while line_of[index] != index:
            line_of[index] = line_of[line_of[index]]
            index = line_of[index]
        return index

    for place, index in enumerate(order):
        a = pieces[index]
        for other in order[place + 1 :]:
            b = pieces[other]
            if b.x - (a.x + a.w) > APART * tallest:
                break
            if _same_line(a, b):
                line_of[root(other)] = root(index)
    groups: dict[int, list[int]] = {}
    for index in range(len(pieces)):
        groups.setdefault(root(index), []).append(index)
    return list(groups.values())


def _same_line(a: Box, b: Box) -> bool:
    shared = min(a.y + a.h, b.y + b.h) - max(a.y, b.y)
    apart = max(b.x - (a.x + a.w), a.x - (b.x + b.w))
    return (
        shared >= 0.5 * min(a.h, b.h)
        and max(a.h, b.h) <= 2.5 * min(a.h, b.h)
        and apart <= APART * max(a.h, b.h)
    )


def _without_rules(mask: Image, stroke: float) -> Image:
    """Return `mask` less its rules; of a stroke that crosses one, what lies within may suffer.

    A long straight run is a rule; the side of a box is shorter, but joins two of them.
    """
    length = round(RULE * 12 * max(stroke, 2.0))
    # Level runs may be shorter: a scan leans, and no digit is as wide as it is high.
    level = _runs(mask, 1, round(0.64 * length))
    reach = np.ones((2 * round(2 * stroke) + 3, 3), np.uint8)
    near = cv2.dilate(level, reach)
    sides = _runs(mask, length // 3, 1)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(sides, connectivity=8)
    drop = np.zeros(count, np.uint8)
    for side, (x, y, w, h, _area) in enumerate(stats[1:], start=1):
        ends = near[y, x : x + w].any() and near[y + h - 1, x : x + w].any()
        drop[side] = 255 if ends or h >= length else 0
    upright = cv2.dilate(drop[labels], np.ones((1, 3), np.uint8))
    level = as_image(cv2.dilate(level, np.ones((3, 1), np.uint8)))
    rest = cv2.subtract(cv2.subtract(mask, level), upright)
    # Where ink goes on at either side of a rule, a stroke crosses it.
    across = round(1.5 * stroke) + 3
    for rules, kernel in ((level, (across, 3)), (upright, (3, across))):
        bridged = cv2.morphologyEx(rest, cv2.MORPH_CLOSE, np.ones(kernel, np.uint8))
        rest = cv2.bitwise_or(rest, cv2.bitwise_and(bridged, rules))
    return as_image(cv2.bitwise_and(rest, mask))


def _runs(mask: Image, rows: int, columns: int) -> Image:
    return as_image(cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((rows, columns), np.uint8)))


def _pieces(mask: Image) -> tuple[list[_Piece], NDArray[np.int32]]:
    """Return what may be a digit or a part of one, and the labels of all pieces of `mask`."""
    rows, columns = mask.shape
    joined = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    _, labels, stats, _ = cv2.connectedComponentsWithStats(joined, connectivity=8)
    pieces = []
    for label, (x, y, w, h, area) in enumerate(stats[1:], start=1):
        whole = h > 0.8 * rows or (w > 0.5 * columns and w > 8 * h)
        solid = area > 0.85 * w * h and min(w, h) > SMALLEST
        if h >= SMALLEST and not whole and not solid and w <= 8 * h and h <= 12 * w:
            pieces.append(_Piece(label, Box(float(x), float(y), float(w), float(h))))
    return pieces, np.asarray(labels, np.int32)


def _cut(
    page: Page, line: list[_Piece], labels: NDArray[np.int32], ink: Ink, scale: float, name: str
) -> Strip:
    """Return the strip of `line`. `scale` takes pixels of the page to those of `labels`."""
    box = union(piece.box for piece in line)
    heights = np.array([piece.box.h for piece in line])
    digit = float(np.median(heights[heights >= 0.5 * heights.max()])) / scale
    rows, columns = page.grey.shape
    margin = 0.25 * box.h + 2
    left, top = max(0, int((box.x - margin) / scale)), max(0, int((box.y - margin) / scale))
    right = min(columns, int((box.x + box.w + margin) / scale) + 1)
    bottom = min(rows, int((box.y + box.h + margin) / scale) + 1)
    grey = resize(page.grey[top:bottom, left:right], min(1.0, HIGHEST / digit))
    # What of the ink is the line's own, at the size of the strip.
    y, x = max(0, int(top * scale) - 3), max(0, int(left * scale) - 3)
    part = np.s_[y : math.ceil(bottom * scale) + 3, x : math.ceil(right * scale) + 3]
    own = np.isin(labels[part], [piece.label for piece in line])
    foreign = (ink.mask[part] > 0) & ~own
    if foreign.any():
        finer = np.array([(right - left) / grey.shape[1], (bottom - top) / grey.shape[0]]) * scale
        offset = np.array([left, top]) * scale - (x, y) + 0.5 * finer - 0.5
        place = np.array([[finer[0], 0, offset[0]], [0, finer[1], offset[1]]])
        grey = _painted_over(grey, _placed(own, place, grey), _placed(foreign, place, grey))
    cut = Box(float(left), float(top), float(right - left), float(bottom - top))
    return Strip(name, cut, np.ascontiguousarray(grey))


def _placed(mask: NDArray[np.bool_], place: NDArray[np.float64], like: Image) -> Image:
    """Return `mask` at the size of `like`, grown by the soft edge of a stroke."""
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    shades = mask.astype(np.uint8) * np.uint8(255)
    moved = cv2.warpAffine(shades, place, like.shape[::-1], flags=how)
    side = 2 * round(1.3 / place[0, 0]) + 1
    grown = cv2.dilate((np.asarray(moved) > 127).astype(np.uint8), np.ones((side, side), np.uint8))
    return as_image(grown)


def _painted_over(grey: Image, own: Image, foreign: Image) -> Image:
    """Return `grey` with the paper around where `foreign` is and `own` is not."""
    paper = (own | foreign) == 0
    window = 2 * (min(grey.shape) // 2) + 1
    fill = (foreign > 0) & (own == 0)
    light = float(np.median(grey[paper])) if paper.any() else 255.0
    return fill_with_paper(grey, fill, paper, window=window, least_share=1e-3, otherwise=light)
