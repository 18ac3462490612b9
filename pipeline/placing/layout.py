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
_TORN_GAP: Final = 0.4  # heights of a piece: what is nearer belongs to the same writing
_LEVEL: Final = 0.08  # widths of a letter: what type is off its base line, all but descenders
_MAX_BESIDE: Final = 2  # letters of such a text in one line: an i and its dot
_MIN_STACK: Final = 4  # letters of such a text
_MIN_TORN: Final = 4  # pixels: smaller foreign ink is a speck
_MIN_RULE: Final = 2.5  # heights of a digit: a straight run this long is a rule


@dataclass(frozen=True, slots=True)
class _InkPiece:
    """A piece of ink that may be a digit or part of one; its box is in pixels of the ink image."""

    label: int
    box: Box


@dataclass(frozen=True, slots=True)
class TextLine:
    """The strip of a line that may be handwritten digits, and what is known of its ink.

    `height` is that of its higher pieces, in pixels of the page. With `torn`, other ink goes on
    where its own ends: it may be a piece of larger writing. With `misfit`, it can be no number: a
    piece is the outline of a box, or the line is part of a text that stands on its side.
    """

    strip: Strip
    pieces: int
    height: float
    torn: bool = False
    misfit: bool = False


@dataclass(frozen=True, slots=True)
class PageLines:
    """The lines of a page that may be digits, in reading order.

    `text_heights` are the heights of letters in the lines that were left out as print, in pixels
    of the page.
    """

    lines: tuple[TextLine, ...] = ()
    text_heights: tuple[float, ...] = ()


def find_text_lines(page: Page, probabilities: Probabilities) -> PageLines:
    """Return the lines of a page that may be handwritten digits.

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
        return PageLines()
    pieces, labels, others = _find_pieces(_remove_rules(ink.mask, ink.stroke))
    groups = [[pieces[i] for i in group] for group in group_into_lines([p.box for p in pieces])]
    print_lines = _are_print(groups, labels, ink.soft, probabilities)
    lines = [group for group, is_print in zip(groups, print_lines, strict=True) if not is_print]
    sideways = _find_sideways(groups)
    order = reading_order([union(piece.box for piece in line) for line in lines])[:_MAX_LINES]
    found = []
    for number, index in enumerate(order, start=1):
        line = lines[index]
        found.append(
            TextLine(
                _cut_line(page, line, labels, ink, scale * ink.scale, f"line-{number}"),
                pieces=len(line),
                height=_letter_height(line) / (scale * ink.scale),
                torn=_is_torn(line, others),
                misfit=any(p.label in sideways or _is_box(p, labels) for p in line),
            )
        )
    text = [
        _letter_height(group) / (scale * ink.scale)
        for group, out in zip(groups, print_lines, strict=True)
        if out
    ]
    return PageLines(tuple(found), tuple(text))


def _are_print(
    lines: list[list[_InkPiece]],
    labels: NDArray[np.int32],
    soft: Image,
    probabilities: Probabilities,
) -> list[bool]:
    """Say of each line whether it is print: too long, or with few pieces that are known."""
    samples = [
        _sample_pieces(line) if _MIN_JUDGED <= len(line) <= _MAX_PIECES else [] for line in lines
    ]
    glyphs = []
    for piece in (piece for sample in samples for piece in sample):
        x, y = int(piece.box.x), int(piece.box.y)
        part = np.s_[y : y + int(piece.box.h), x : x + int(piece.box.w)]
        glyphs.append(
            normalise_glyph(np.where(labels[part] == piece.label, soft[part], np.uint8(0)))
        )
    sure = iter(probabilities(np.stack(glyphs)).max(axis=1) if glyphs else [])
    found = []
    for line, sample in zip(lines, samples, strict=True):
        known = float(np.mean([next(sure) for _ in sample])) if sample else 1.0
        least = _MIN_KNOWN_LONG if len(line) > _LONG_LINE else _MIN_KNOWN
        found.append(len(line) > _MAX_PIECES or known < least)
    return found


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


def _find_pieces(mask: Image) -> tuple[list[_InkPiece], NDArray[np.int32], NDArray[np.int32]]:
    """Return what may be a digit or a part of one, the labels of all pieces, and their boxes.

    The boxes are (n, 5): x, y, w, h and the number of pixels of label 0 (the paper), 1, ...
    """
    rows, columns = mask.shape
    joined = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    _, labels, stats, _ = cv2.connectedComponentsWithStats(joined, connectivity=8)
    pieces = []
    for label, (x, y, w, h, area) in enumerate(stats[1:], start=1):
        whole = h > 0.8 * rows or (w > 0.5 * columns and w > 8 * h)
        solid = area > 0.85 * w * h and min(w, h) > _MIN_PIECE
        if h >= _MIN_PIECE and not whole and not solid and w <= 8 * h and h <= 12 * w:
            pieces.append(_InkPiece(label, Box(float(x), float(y), float(w), float(h))))
    return pieces, np.asarray(labels, np.int32), np.asarray(stats, np.int32)


def _letter_height(line: list[_InkPiece]) -> float:
    """Return about how high the capital letters of a line of text are."""
    return float(np.quantile([piece.box.h for piece in line], 0.8))


def _find_sideways(lines: list[list[_InkPiece]]) -> set[int]:
    """Return the labels of the pieces of text that stands on its side.

    Its letters stand one above the other, at most two side by side, and most of them end on a
    straight line to the left or to the right, which is their base line.
    """
    pieces = [piece for line in lines if len(line) <= _MAX_BESIDE for piece in line]
    turned = [Box(p.box.y, p.box.x, p.box.h, p.box.w) for p in pieces]
    sideways = set()
    for stack in group_into_lines(turned):
        boxes = np.array([(turned[i].y, turned[i].h) for i in stack])
        width = float(np.median(boxes[:, 1]))
        for edge in (boxes[:, 0], boxes.sum(axis=1)):
            level = np.abs(edge - np.median(edge)) <= max(1.0, _LEVEL * width)
            if level.sum() >= max(_MIN_STACK, 0.5 * len(stack)):
                sideways |= {pieces[i].label for i in stack}
    return sideways


def _is_torn(line: list[_InkPiece], others: NDArray[np.int32]) -> bool:
    """Say whether ink of no small size that is not the line's goes on above or below a piece."""
    own = [piece.label for piece in line]
    around = union(piece.box for piece in line)
    x, y, w, h, _ = others.T
    near = (x < around.x + around.w) & (x + w > around.x) & (np.maximum(w, h) >= _MIN_TORN)
    near &= (y < around.y + 2 * around.h) & (y + h > around.y - around.h)
    near[[0, *own]] = False
    x, y, w, h, _ = others[near].T
    tallest = max(piece.box.h for piece in line)
    for piece in line:
        box = piece.box
        shared_x = np.minimum(x + w, box.x + box.w) - np.maximum(x, box.x)
        shared_y = np.minimum(y + h, box.y + box.h) - np.maximum(y, box.y)
        above = (shared_x > 0.3 * np.minimum(w, box.w)) & (-shared_y < _TORN_GAP * box.h)
        beside = (shared_y > 0.5 * np.minimum(h, box.h)) & (-shared_x < tallest)
        beside &= h >= 0.5 * tallest
        if (above & (np.maximum(w, h) >= 0.2 * box.h) | beside).any():
            return True
    return False


def _is_box(piece: _InkPiece, labels: NDArray[np.int32]) -> bool:
    """Say whether a piece has ink all along its four sides and in its corners."""
    box = piece.box
    x, y, w, h = (round(side) for side in (box.x, box.y, box.w, box.h))
    own = labels[y : y + h, x : x + w] == piece.label
    across, down = max(2, round(0.15 * w)), max(2, round(0.15 * h))
    sides = (
        own[:down].any(axis=0),
        own[-down:].any(axis=0),
        own[:, :across].any(axis=1),
        own[:, -across:].any(axis=1),
    )
    corners = (
        own[rows, columns].any()
        for rows in (slice(down), slice(-down, None))
        for columns in (slice(across), slice(-across, None))
    )
    return all(corners) and all(float(side.mean()) >= 0.9 for side in sides)


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
