"""Find the lines of handwritten digits on a page without a template."""

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

LAYOUT_LONG_SIDE: Final = 1800  # pixels: a digit 3 mm high on A4 is then still 18 pixels high
MAX_DIGIT_HEIGHT: Final = 64.0  # pixels of a digit in a strip: a higher one would only cost time

_MIN_PIECE: Final = 9  # pixels: lower pieces of ink are specks, or too small to read
_MAX_LINES: Final = 200
_MAX_GAP: Final = 1.5  # heights of a digit: a wider gap separates two numbers
_MAX_PIECES: Final = 30  # of a line: one of more is text
_MIN_JUDGED: Final = 5  # pieces: a shorter line is not judged before it is read
_LONG_LINE: Final = 14  # pieces: few numbers are longer
_SAMPLED: Final = 8  # pieces of a line
# The mean of the probability of the likeliest digit: over samples of handwritten numbers 0.97 and
# more, over samples of print 0.53 to 0.93 (rendered cheques and forms, NIST, an exam paper).
_MIN_KNOWN: Final = 0.80
_MIN_KNOWN_LONG: Final = 0.87
_DIGIT_STROKES: Final = 12  # the height of a digit in widths of its stroke
_MIN_RULE: Final = 2.5  # heights of a digit: a straight run this long is a rule


@dataclass(frozen=True, slots=True)
class _InkPiece:
    """A piece of ink that may be a digit or part of one; its box is in pixels of the ink image."""

    label: int
    box: Box


def find_text_lines(page: Page, probabilities: Probabilities) -> list[Strip]:
    """Return the lines of a page that may be handwritten digits as strips, in reading order.

    They are named `line-1`, `line-2` and so on. Pieces of ink belong to one line if they overlap in
    height and are no farther apart than one and a half digits. Only the reading of a line decides
    between digits and print; left out here is what cannot be digits by its size and shape, and a
    line of many pieces of which the glyph network knows few. `probabilities` is that network. In a
    strip, rules, boxes and neighbours are painted over with paper, and digits are at most
    MAX_DIGIT_HEIGHT high.
    """
    scale = min(1.0, LAYOUT_LONG_SIDE / max(page.grey.shape))
    ink = separate_ink(resize(page.grey, scale), enlarge=False)
    if not ink.mask.any():
        return []
    pieces, labels = _find_pieces(_remove_rules(ink.mask, ink.stroke))
    groups = group_into_lines([piece.box for piece in pieces])
    lines = [[pieces[index] for index in group] for group in groups if len(group) <= _MAX_PIECES]
    lines = _drop_print(lines, labels, ink.soft, probabilities)
    order = reading_order([union(piece.box for piece in line) for line in lines])[:_MAX_LINES]
    return [
        _cut_line(page, lines[index], labels, ink, scale * ink.scale, f"line-{number}")
        for number, index in enumerate(order, start=1)
    ]


def _drop_print(
    lines: list[list[_InkPiece]],
    labels: NDArray[np.int32],
    soft: Image,
    probabilities: Probabilities,
) -> list[list[_InkPiece]]:
    """Return the lines without those that are print, judged by a sample of their pieces."""
    samples = [_sample_pieces(line) if len(line) >= _MIN_JUDGED else [] for line in lines]
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
        if known >= (_MIN_KNOWN_LONG if len(line) > _LONG_LINE else _MIN_KNOWN):
            kept.append(line)
    return kept


def _sample_pieces(line: list[_InkPiece]) -> list[_InkPiece]:
    """Return up to eight of the higher pieces, evenly along the line."""
    tallest = max(piece.box.h for piece in line)
    tall = [piece for piece in line if piece.box.h >= 0.5 * tallest]
    places = np.linspace(0, len(tall) - 1, min(_SAMPLED, len(tall)))
    return [tall[round(float(place))] for place in places]


def group_into_lines(pieces: list[Box]) -> list[list[int]]:
    """Group the boxes of pieces of ink; return the indices of each line, all in any order."""
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
            if b.x - (a.x + a.w) > _MAX_GAP * tallest:
                break
            if _are_neighbours(a, b):
                line_of[root(other)] = root(index)
    groups: dict[int, list[int]] = {}
    for index in range(len(pieces)):
        groups.setdefault(root(index), []).append(index)
    return list(groups.values())


def _are_neighbours(a: Box, b: Box) -> bool:
    shared = min(a.y + a.h, b.y + b.h) - max(a.y, b.y)
    apart = max(b.x - (a.x + a.w), a.x - (b.x + b.w))
    return (
        shared >= 0.5 * min(a.h, b.h)
        and max(a.h, b.h) <= 2.5 * min(a.h, b.h)
        and apart <= _MAX_GAP * max(a.h, b.h)
    )


def _remove_rules(mask: Image, stroke: float) -> Image:
    """Return the mask without its rules; where a stroke crosses a rule, some of it may be lost.

    A long straight run is a rule. The side of a box is shorter, but connects two of them.
    """
    length = round(_MIN_RULE * _DIGIT_STROKES * max(stroke, 2.0))
    # Horizontal runs may be shorter: a scan leans, and no digit is as wide as it is high.
    horizontal = _straight_runs(mask, 1, round(0.64 * length))
    reach = np.ones((2 * round(2 * stroke) + 3, 3), np.uint8)
    near = cv2.dilate(horizontal, reach)
    sides = _straight_runs(mask, length // 3, 1)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(sides, connectivity=8)
    drop = np.zeros(count, np.uint8)
    for side, (x, y, w, h, _area) in enumerate(stats[1:], start=1):
        ends = near[y, x : x + w].any() and near[y + h - 1, x : x + w].any()
        drop[side] = 255 if ends or h >= length else 0
    vertical = cv2.dilate(drop[labels], np.ones((1, 3), np.uint8))
    horizontal = as_image(cv2.dilate(horizontal, np.ones((3, 1), np.uint8)))
    rest = cv2.subtract(cv2.subtract(mask, horizontal), vertical)
    # Where ink goes on at both sides of a rule, a stroke crosses it.
    across = round(1.5 * stroke) + 3
    for rules, kernel in ((horizontal, (across, 3)), (vertical, (3, across))):
        bridged = cv2.morphologyEx(rest, cv2.MORPH_CLOSE, np.ones(kernel, np.uint8))
        rest = cv2.bitwise_or(rest, cv2.bitwise_and(bridged, rules))
    return as_image(cv2.bitwise_and(rest, mask))


def _straight_runs(mask: Image, rows: int, columns: int) -> Image:
    return as_image(cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((rows, columns), np.uint8)))


def _find_pieces(mask: Image) -> tuple[list[_InkPiece], NDArray[np.int32]]:
    """Return what may be a digit or a part of one, and the labels of all pieces of `mask`."""
    rows, columns = mask.shape
    joined = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    _, labels, stats, _ = cv2.connectedComponentsWithStats(joined, connectivity=8)
    pieces = []
    for label, (x, y, w, h, area) in enumerate(stats[1:], start=1):
        whole = h > 0.8 * rows or (w > 0.5 * columns and w > 8 * h)
        solid = area > 0.85 * w * h and min(w, h) > _MIN_PIECE
        if h >= _MIN_PIECE and not whole and not solid and w <= 8 * h and h <= 12 * w:
            pieces.append(_InkPiece(label, Box(float(x), float(y), float(w), float(h))))
    return pieces, np.asarray(labels, np.int32)


def _cut_line(
    page: Page, line: list[_InkPiece], labels: NDArray[np.int32], ink: Ink, scale: float, name: str
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
    grey = resize(page.grey[top:bottom, left:right], min(1.0, MAX_DIGIT_HEIGHT / digit))
    # What of the ink is the line's own, at the size of the strip.
    y, x = max(0, int(top * scale) - 3), max(0, int(left * scale) - 3)
    part = np.s_[y : math.ceil(bottom * scale) + 3, x : math.ceil(right * scale) + 3]
    own = np.isin(labels[part], [piece.label for piece in line])
    foreign = (ink.mask[part] > 0) & ~own
    if foreign.any():
        finer = np.array([(right - left) / grey.shape[1], (bottom - top) / grey.shape[0]]) * scale
        offset = np.array([left, top]) * scale - (x, y) + 0.5 * finer - 0.5
        place = np.array([[finer[0], 0, offset[0]], [0, finer[1], offset[1]]])
        grey = _paint_over(grey, _warp_mask(own, place, grey), _warp_mask(foreign, place, grey))
    cut = Box(float(left), float(top), float(right - left), float(bottom - top))
    return Strip(name, cut, np.ascontiguousarray(grey))


def _warp_mask(mask: NDArray[np.bool_], place: NDArray[np.float64], like: Image) -> Image:
    """Return `mask` at the size of `like`, grown by the soft edge of a stroke."""
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    shades = mask.astype(np.uint8) * np.uint8(255)
    moved = cv2.warpAffine(shades, place, like.shape[::-1], flags=how)
    side = 2 * round(1.3 / place[0, 0]) + 1
    grown = cv2.dilate((np.asarray(moved) > 127).astype(np.uint8), np.ones((side, side), np.uint8))
    return as_image(grown)


def _paint_over(grey: Image, own: Image, foreign: Image) -> Image:
    """Return `grey` with the paper around where `foreign` is and `own` is not."""
    paper = (own | foreign) == 0
    window = 2 * (min(grey.shape) // 2) + 1
    fill = (foreign > 0) & (own == 0)
    light = float(np.median(grey[paper])) if paper.any() else 255.0
    return fill_with_paper(grey, fill, paper, window=window, least_share=1e-3, otherwise=light)
