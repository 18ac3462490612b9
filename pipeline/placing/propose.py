"""Propose fields for a new template: the boxes, combs and underlined blanks printed on a page.

A box is a piece of paper that ruled lines close off. Cells of one size side by side are a comb,
one character a cell. A line that begins right of print, as in `Account ______`, is a blank.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.geometry import (
    Matrix,
    corners,
    intersection,
    invert,
    iou,
    reading_order,
    rotation,
    scaling,
    transform_points,
    translation,
    union,
)
from pipeline.imageops import negative, resize
from pipeline.placing.outline import rectify
from pipeline.placing.page_rules import RULES_LONG_SIDE, PageRules, find_page_rules
from pipeline.placing.sheet import find_sheet
from pipeline.types import Box, Image, Page

# In shares of the longer side of the page: about 3 mm, 35 mm and so on of A4.
_LOWEST: Final = 0.009
_HIGHEST: Final = 0.12
_LINE: Final = 0.03  # the shortest level line that may close a box
_BLANK: Final = 0.07  # the shortest line that may be a blank to write on
_ABOVE: Final = 0.022  # the room to write above such a line
_CAPTION: Final = 0.02  # how near its caption ends
_THICK: Final = 11  # pixels of the copy: what is thicker is no line
_SOLID: Final = 0.8  # of a side that is ink
_WIDE: Final = 0.03  # narrower than this, only the cells of a comb are boxes
_FULL: Final = 0.75  # of a box that is paper: the rest are strokes that look like lines
_CELL: Final = (0.35, 1.4)  # width over height of a comb's cell
_ALIKE: Final = 0.25  # how far the widths of a comb's cells may differ
_MOST: Final = 500


class Kind(StrEnum):
    BOX = "box"
    COMB = "comb"
    BLANK = "blank"


@dataclass(frozen=True, slots=True)
class Proposal:
    """A place to write. `box` is in fractions of the page, along the middle of printed lines."""

    kind: Kind
    box: Box
    cells: int = 1  # of a comb: one character each


@dataclass(frozen=True, slots=True)
class Proposals:
    """What was found on a page of `width` by `height` pixels, made level, in reading order.

    `to_page` maps fractions of the level page to pixels of the image.
    """

    width: float
    height: float
    to_page: Matrix
    found: tuple[Proposal, ...]


def propose_fields(page: Page) -> Proposals:
    """Return the boxes, combs and blanks of a page, blank or filled in, scanned or photographed.

    At most 500; of what a box holds other boxes only these are told.
    """
    grey, behind = page.grey, np.eye(3)
    sheet = find_sheet(grey)
    if sheet is not None:
        grey, behind = rectify(grey, sheet)
    height, width = grey.shape
    scale = RULES_LONG_SIDE / max(grey.shape)
    marks, light = _marks(grey, scale)
    rules = find_page_rules(np.asarray(255 - marks, np.uint8))
    level, upright = _ruled(rules)
    ink, light = (_made_level(image, rules) for image in (marks, light))
    ink = np.asarray(ink > 30, np.uint8)
    boxes = _boxes(level, upright, ink, light)
    blanks = _blanks(level, upright, boxes, ink)
    # The page as `anchors: page` lays it: turned about its middle.
    to_page = rotation(rules.skew, (width / 2, height / 2)) @ scaling(width, height)
    to_fractions = invert(to_page) @ scaling(1 / scale) @ rules.to_page
    proposals = [
        replace(proposal, box=box)
        for proposal in _combs(boxes) + blanks
        if (box := _in_fractions(to_fractions, proposal.box)) is not None
    ]
    order = reading_order([proposal.box for proposal in proposals])[:_MOST]
    found = tuple(proposals[index] for index in order)
    return Proposals(width, height, np.asarray(behind @ to_page), found)


def _in_fractions(matrix: Matrix, box: Box) -> Box | None:
    """Map a box of the level page, which is still level there, and keep what is on the page."""
    quad = transform_points(matrix, corners(box))
    x, right = float(quad[[0, 3], 0].mean()), float(quad[[1, 2], 0].mean())
    y, bottom = float(quad[[0, 1], 1].mean()), float(quad[[2, 3], 1].mean())
    return intersection(Box(x, y, right - x, bottom - y), Box(0, 0, 1, 1))


def _marks(grey: Image, scale: float) -> tuple[Image, Image]:
    """Return what is thin and dark on a copy of the page, 0 to 255, and the copy: 255 is light.

    Faint lines become as strong as others, and no shadow is left.
    """
    copy = resize(grey, scale)
    if np.median(copy) < 100:  # light on dark
        copy = negative(copy)
    thin = cv2.morphologyEx(copy, cv2.MORPH_BLACKHAT, np.ones((_THICK, _THICK), np.uint8))
    return np.asarray(cv2.convertScaleAbs(thin, alpha=2.5), np.uint8), copy


def _made_level(image: Image, rules: PageRules) -> Image:
    size = rules.horizontal.shape[::-1]
    # Rules count from pixels' corners on the page, OpenCV from their middles.
    turn = (translation(-0.5, -0.5) @ rules.to_page)[:2]
    level = cv2.warpAffine(image, turn, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    return np.asarray(level, np.uint8)


def _ruled(rules: PageRules) -> tuple[Image, Image]:
    """Return the lines that may close a box: long level ones, and upright ones between them."""
    side = max(rules.horizontal.shape)
    level = cv2.morphologyEx(rules.horizontal, cv2.MORPH_CLOSE, np.ones((1, 9), np.uint8))
    upright = cv2.morphologyEx(rules.vertical, cv2.MORPH_CLOSE, np.ones((9, 1), np.uint8))
    lines, labels = _parts(level)
    level = _only(labels, [part.w >= _LINE * side for part in lines])
    # A stroke of the pen seldom runs straight from one line to another.
    near = cv2.dilate(level, np.ones((9, 7), np.uint8))
    lines, labels = _parts(upright)
    ends = []
    for part in lines:
        x, y, w, h = round(part.x), round(part.y), round(part.w), round(part.h)
        over = slice(x, x + w)
        ends.append(bool(near[y, over].any() and near[y + h - 1, over].any()))
    return level, _only(labels, ends)


def _parts(mask: cv2.typing.MatLike) -> tuple[list[Box], NDArray[np.int32]]:
    """Return the box of each connected part of a mask, and the number of each pixel's part."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(np.asarray(mask, np.uint8))
    return [Box(*map(float, row[:4])) for row in stats[1:]], np.asarray(labels, np.int32)


def _only(labels: NDArray[np.int32], kept: Sequence[bool]) -> Image:
    """Return a mask of the parts that are to be kept."""
    return np.array([False, *kept])[labels].astype(np.uint8)


def _boxes(level: Image, upright: Image, ink: Image, light: Image) -> list[Box]:
    """Return what lines close off, along their middles, without what holds other boxes."""
    height, width = level.shape
    side = max(height, width)
    lines = cv2.dilate(level | upright, np.ones((3, 3), np.uint8))
    paper = (lines == 0).astype(np.uint8)
    _, _, stats, _ = cv2.connectedComponentsWithStats(paper, connectivity=4)
    least = 0.6 * float(np.median(light))
    found: list[Box] = []
    for x, y, w, h, area in stats[1:]:
        inside = x > 0 and y > 0 and x + w < width and y + h < height
        high = _LOWEST * side <= h <= _HIGHEST * side
        if inside and high and w >= _CELL[0] * h and area >= _FULL * w * h:
            box = _on_lines(level, upright, int(x), int(y), int(w), int(h))
            tone = float(np.median(light[y : y + h, x : x + w]))  # the heart of a letter is dark
            if tone >= least and _drawn(ink, box):
                found.append(box)
    return [box for box in found if not any(_holds(box, other) for other in found)]


def _holds(box: Box, other: Box) -> bool:
    shared = intersection(box, other)
    return (
        shared is not None
        and other.w * other.h < box.w * box.h
        and shared.w * shared.h > 0.8 * other.w * other.h
    )


def _drawn(ink: Image, box: Box) -> bool:
    """Say whether all four sides are of ink all along: letters in a row only look like sides."""
    x0, y0, x1, y1 = (round(side) for side in (box.x, box.y, box.x + box.w, box.y + box.h))
    sides = [ink[max(0, y - 2) : y + 3, x0:x1].any(axis=0) for y in (y0, y1)]
    sides += [ink[y0:y1, max(0, x - 2) : x + 3].any(axis=1) for x in (x0, x1)]
    return all(side.mean() >= _SOLID for side in sides)


def _on_lines(level: Image, upright: Image, x: int, y: int, w: int, h: int) -> Box:
    """Move the sides of a piece of paper to the middle of the lines around it."""
    across = level[:, x : x + w].mean(axis=1)
    along = upright[y : y + h].mean(axis=0)
    left, right = _middle(along, x - 1, -1), _middle(along, x + w, 1)
    top, bottom = _middle(across, y - 1, -1), _middle(across, y + h, 1)
    return Box(left, top, right - left, bottom - top)


def _middle(profile: NDArray[np.float64], start: int, way: int) -> float:
    """Return the middle of the line that begins at `start` and goes on `way`."""
    reach = 10  # pixels: thicker than any rule at this size
    stop = max(start - reach, -1) if way < 0 else min(start + reach, len(profile))
    places = np.arange(start, stop, way)
    weight = np.where(profile[places] >= 0.3, profile[places], 0.0)
    # The first line only, where two run side by side.
    marked = np.flatnonzero(weight)
    if len(marked) == 0:
        return float(start)
    gap = np.flatnonzero(np.diff(marked) > 1)
    marked = marked[: int(gap[0]) + 1] if len(gap) else marked
    return float((weight[marked] * places[marked]).sum() / weight[marked].sum())


def _combs(boxes: Sequence[Box]) -> list[Proposal]:
    """Join cells of one size that stand side by side, and return these combs and all else."""
    runs: list[list[Box]] = []
    for index in reading_order(boxes):
        if runs and _next_cell(runs[-1], boxes[index]):
            runs[-1].append(boxes[index])
        else:
            runs.append([boxes[index]])
    proposals: list[Proposal] = []
    for run in runs:
        kind = Kind.COMB if len(run) > 1 else Kind.BOX
        proposal = Proposal(kind, union(run), len(run))
        # Cells whose borders a stroke or a faint print has joined are two or three wide.
        while proposals and (joined := _joined(proposals[-1], proposal)) is not None:
            proposals.pop()
            proposal = joined
        proposals.append(proposal)
    return [
        one for one in proposals if one.kind is Kind.COMB or one.box.w >= _WIDE * RULES_LONG_SIDE
    ]


def _joined(left: Proposal, right: Proposal) -> Proposal | None:
    """Return two neighbours as one comb, where one is a comb and the other some cells of it."""
    a, b = left.box, right.box
    if Kind.COMB not in (left.kind, right.kind):
        return None
    width = max(one.box.w / one.cells for one in (left, right) if one.kind is Kind.COMB)
    cells = [one.box.w / width for one in (left, right)]
    counts = [round(count) for count in cells]
    if (
        max(abs(a.y - b.y), abs(a.y + a.h - b.y - b.h)) > 0.15 * min(a.h, b.h)
        or not -0.1 * width <= b.x - a.x - a.w <= 0.15 * width
        or min(counts) < 1
        or any(abs(count - whole) > _ALIKE for count, whole in zip(cells, counts, strict=True))
    ):
        return None
    return Proposal(Kind.COMB, union((a, b)), sum(counts))


def _next_cell(run: Sequence[Box], box: Box) -> bool:
    last, height = run[-1], run[0].h
    width = float(np.median([cell.w for cell in run]))
    gap = box.x - (last.x + last.w)
    return (
        all(_CELL[0] <= cell.w / cell.h <= _CELL[1] for cell in (last, box))
        and abs(box.w - width) <= _ALIKE * width
        and max(abs(box.y - last.y), abs(box.y + box.h - last.y - last.h)) <= 0.15 * height
        and -0.1 * width <= gap <= 0.3 * width
    )


def _blanks(level: Image, upright: Image, boxes: Sequence[Box], ink: Image) -> list[Proposal]:
    """Return the room above lines that belong to no box and begin where a caption ends."""
    side = max(level.shape)
    room, near = _ABOVE * side, round(_CAPTION * side)
    proposals: list[Proposal] = []
    for line in _parts(level)[0]:
        y = line.y + line.h / 2
        free = Box(line.x, y - room, line.w, room)
        if not _BLANK * side <= line.w <= 0.92 * level.shape[1] or free.y < 0:
            continue
        if any(_touches(free, box) for box in boxes):
            continue
        if not _alone(ink, line):
            continue
        # No taller than a line of print and right beside: a margin or a rule of a table is not.
        x, top, foot = round(line.x), round(y - 0.6 * room), round(y - 2)
        caption = ink[top:foot, max(0, x - near) : max(0, x - 2)]
        crossed = upright[round(free.y) : round(y) + 4, x : round(line.x + line.w)].any()
        if caption.any(axis=0).sum() < 0.25 * near or crossed:
            continue
        proposals.append(Proposal(Kind.BLANK, free))
    return [
        one
        for i, one in enumerate(proposals)
        if not any(iou(one.box, other.box) > 0.3 for other in proposals[:i])
    ]


def _alone(ink: Image, line: Box) -> bool:
    """Say whether a line is thin, without gaps, and not the feet of print: little is beside it."""
    top, foot = round(line.y), round(line.y + line.h)
    part = slice(round(line.x), round(line.x + line.w))
    drawn = ink[top:foot, part].any(axis=0).mean()
    above, below = ink[max(0, top - 6) : max(0, top - 2), part], ink[foot + 2 : foot + 6, part]
    return bool(
        line.h <= 5 + 0.006 * line.w
        and drawn >= 0.9
        and min(above.size, below.size) > 0
        and above.mean() <= 0.35
        and below.mean() <= 0.15
    )


def _touches(free: Box, box: Box) -> bool:
    shared = intersection(free, Box(box.x, box.y - 4, box.w, box.h + 8))
    return shared is not None and shared.w > 0.2 * min(free.w, box.w)
