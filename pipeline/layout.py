"""A page without a template: where its lines of handwritten digits are."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from pipeline.geometry import reading_order
from pipeline.ink import separate_ink
from pipeline.types import Box, Image, Page, Strip

LONG_SIDE: Final = 1800  # pixels: at it a digit of 3 mm on A4 is still 18 pixels high
SMALLEST: Final = 9  # pixels at that size: lower marks are specks or too small to read
MAX_LINES: Final = 200
APART: Final = 1.5  # heights of a digit: wider gaps part two numbers
LONGEST: Final = 40  # pieces: a line of more is text
RULE: Final = 2.5  # times the height of a digit, here taken as 12 strokes: a straight run is a rule


def find_lines(page: Page) -> list[Strip]:
    """Return the lines of `page` that may be handwritten digits, from the top, as strips.

    Named `line-1` and on. Pieces of ink join a line while they overlap in height and stand no
    farther apart than a digit and a half. Whether a line is digits or print only its reading
    can tell; what cannot be digits by its size and shape is left out here.
    """
    scale = min(1.0, LONG_SIDE / max(page.grey.shape))
    small = page.grey
    if scale < 1:
        size = tuple(max(1, round(side * scale)) for side in reversed(small.shape))
        small = _as_image(cv2.resize(small, size, interpolation=cv2.INTER_AREA))
    ink = separate_ink(small, enlarge=False)
    if not ink.mask.any():
        return []
    scale *= ink.scale
    boxes = line_boxes(_pieces(_without_rules(ink.mask, ink.stroke)))
    boxes = [boxes[index] for index in reading_order(boxes)][:MAX_LINES]
    return [_cut(page, box, scale, f"line-{i}") for i, box in enumerate(boxes, start=1)]


def line_boxes(pieces: list[Box]) -> list[Box]:
    """Join boxes of pieces of ink into boxes of lines, in any order."""
    order = sorted(range(len(pieces)), key=lambda index: pieces[index].x)
    line_of = list(range(len(pieces)))
    tallest = max((piece.h for piece in pieces), default=0.0)

    def root(index: int) -> int:
        while line_of[index] != index:
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
    groups: dict[int, list[Box]] = {}
    for index in range(len(pieces)):
        groups.setdefault(root(index), []).append(pieces[index])
    return [_around(group) for group in groups.values() if len(group) <= LONGEST]


def _same_line(a: Box, b: Box) -> bool:
    shared = min(a.y + a.h, b.y + b.h) - max(a.y, b.y)
    apart = max(b.x - (a.x + a.w), a.x - (b.x + b.w))
    return (
        shared >= 0.5 * min(a.h, b.h)
        and max(a.h, b.h) <= 2.5 * min(a.h, b.h)
        and apart <= APART * max(a.h, b.h)
    )


def _around(group: list[Box]) -> Box:
    x, y = min(box.x for box in group), min(box.y for box in group)
    right = max(box.x + box.w for box in group)
    bottom = max(box.y + box.h for box in group)
    return Box(x, y, right - x, bottom - y)


def _without_rules(mask: Image, stroke: float) -> Image:
    """Return `mask` less its rules, cutting what crosses them: only to find lines.

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
    return _as_image(
        cv2.subtract(cv2.subtract(mask, cv2.dilate(level, np.ones((3, 1), np.uint8))), upright)
    )


def _runs(mask: Image, rows: int, columns: int) -> Image:
    return _as_image(cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((rows, columns), np.uint8)))


def _pieces(mask: Image) -> list[Box]:
    rows, columns = mask.shape
    joined = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    stats = cv2.connectedComponentsWithStats(joined, connectivity=8)[2][1:]
    boxes = []
    for x, y, w, h, area in stats:
        whole = h > 0.8 * rows or (w > 0.5 * columns and w > 8 * h)
        solid = area > 0.85 * w * h and min(w, h) > SMALLEST
        if h >= SMALLEST and not whole and not solid and w <= 8 * h and h <= 12 * w:
            boxes.append(Box(float(x), float(y), float(w), float(h)))
    return boxes


def _cut(page: Page, box: Box, scale: float, name: str) -> Strip:
    rows, columns = page.grey.shape
    margin = 0.25 * box.h
    left, top = max(0, int((box.x - margin) / scale)), max(0, int((box.y - margin) / scale))
    right = min(columns, int((box.x + box.w + margin) / scale) + 1)
    bottom = min(rows, int((box.y + box.h + margin) / scale) + 1)
    cut = Box(float(left), float(top), float(right - left), float(bottom - top))
    return Strip(name, cut, np.ascontiguousarray(page.grey[top:bottom, left:right]))


def _as_image(array: cv2.typing.MatLike) -> Image:
    image: Image = np.asarray(array, np.uint8)
    return image
