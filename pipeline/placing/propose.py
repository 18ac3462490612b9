"""Propose fields for a new template: the boxes, combs and underlined blanks printed on a page.

A box is a piece of paper that ruled lines enclose. Cells of one size side by side are a comb, one
character a cell. A line that begins to the right of a caption, as in `Account ______`, is a blank.
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

# In shares of the longer side of the page: of A4 about 3 mm, 35 mm and so on.
_MIN_HEIGHT: Final = 0.009  # of a box
_MAX_HEIGHT: Final = 0.12
_MIN_WIDTH: Final = 0.03  # of a box; the cells of a comb may be narrower
_MIN_RULE: Final = 0.03  # the shortest horizontal line that may enclose a box
_MIN_BLANK: Final = 0.07  # the shortest line that may be a blank to write on
_WRITING_ROOM: Final = 0.022  # above such a line
_CAPTION: Final = 0.02  # how near its caption ends

# In pixels of the copy.
_MAX_THICKNESS: Final = 11  # what is thicker is no line
_FAINT_RUN: Final = 15  # a line goes on where its ink is faint, but no letter's foot is this long
_LINE_ROWS: Final = 4  # ink no higher than this above a line may be the line's own

_INK: Final = 30  # of 255, on the copy of thin dark parts
_FAINT_INK: Final = 12
_SOLID: Final = 0.8  # of a side that is ink
_MIN_PAPER: Final = 0.75  # of a box: the rest are strokes that look like lines
_CELL_ASPECT: Final = (0.35, 1.4)  # width over height of a comb's cell
_CELL_DIFFERENCE: Final = 0.25  # by which the widths of a comb's cells may differ
_MAX_PROPOSALS: Final = 500


class Kind(StrEnum):
    BOX = "box"
    COMB = "comb"
    BLANK = "blank"


@dataclass(frozen=True, slots=True)
class Proposal:
    """A place to write. `box`, in fractions of the page, runs along the middle of its lines."""

    kind: Kind
    box: Box
    cells: int = 1  # of a comb, one character each


@dataclass(frozen=True, slots=True)
class Proposals:
    """The places to write on a page, in reading order.

    `width` and `height` are those of the page in pixels, rectified if it was photographed;
    `to_page` maps fractions of the level page to pixels of the image.
    """

    width: float
    height: float
    to_page: Matrix
    found: tuple[Proposal, ...]


def propose_fields(page: Page) -> Proposals:
    """Return the boxes, combs and blanks of a page, empty or filled in, scanned or photographed.

    There are at most 500. A box that holds other boxes is left out, these are returned.
    """
    grey, to_image = page.grey, np.eye(3)
    sheet = find_sheet(grey)
    if sheet is not None:
        grey, to_image = rectify(grey, sheet)
    height, width = grey.shape
    scale = RULES_LONG_SIDE / max(grey.shape)
    thin, light = _thin_dark_parts(grey, scale)
    rules = find_page_rules(np.asarray(255 - thin, np.uint8))
    horizontal, vertical = _enclosing_lines(rules)
    thin, light = (_deskew(image, rules) for image in (thin, light))
    boxes = _find_boxes(horizontal, vertical, thin, light)
    blanks = _find_blanks(horizontal, vertical, boxes, thin)
    # The page as `anchors: page` lays it: turned about its middle.
    to_page = rotation(rules.skew, (width / 2, height / 2)) @ scaling(width, height)
    to_fractions = invert(to_page) @ scaling(1 / scale) @ rules.to_page
    proposals = [
        replace(proposal, box=box)
        for proposal in _join_cells(boxes) + blanks
        if (box := _in_fractions(to_fractions, proposal.box)) is not None
    ]
    order = reading_order([proposal.box for proposal in proposals])[:_MAX_PROPOSALS]
    found = tuple(proposals[index] for index in order)
    return Proposals(width, height, np.asarray(to_image @ to_page), found)


def _in_fractions(matrix: Matrix, box: Box) -> Box | None:
    """Map a box of the level page, which stays level, and clip it to the page."""
    quad = transform_points(matrix, corners(box))
    x, right = float(quad[[0, 3], 0].mean()), float(quad[[1, 2], 0].mean())
    y, bottom = float(quad[[0, 1], 1].mean()), float(quad[[2, 3], 1].mean())
    return intersection(Box(x, y, right - x, bottom - y), Box(0, 0, 1, 1))


def _thin_dark_parts(grey: Image, scale: float) -> tuple[Image, Image]:
    """Return how dark each thin part of a copy of the page is, 0 to 255, and the copy.

    On the copy 255 is light. Faint lines become as strong as others, and no shadow is left.
    """
    copy = resize(grey, scale)
    if np.median(copy) < 100:  # light on dark
        copy = negative(copy)
    thin = cv2.morphologyEx(
        copy, cv2.MORPH_BLACKHAT, np.ones((_MAX_THICKNESS, _MAX_THICKNESS), np.uint8)
    )
    return np.asarray(cv2.convertScaleAbs(thin, alpha=2.5), np.uint8), copy


def _deskew(image: Image, rules: PageRules) -> Image:
    size = rules.horizontal.shape[::-1]
    # Rules count from pixels' corners on the page, OpenCV from their middles.
    turn = (translation(-0.5, -0.5) @ rules.to_page)[:2]
    level = cv2.warpAffine(image, turn, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    return np.asarray(level, np.uint8)


def _enclosing_lines(rules: PageRules) -> tuple[Image, Image]:
    """Return masks of lines that may enclose boxes: long horizontal ones, vertical ones between."""
    side = max(rules.horizontal.shape)
    horizontal = cv2.morphologyEx(rules.horizontal, cv2.MORPH_CLOSE, np.ones((1, 9), np.uint8))
    vertical = cv2.morphologyEx(rules.vertical, cv2.MORPH_CLOSE, np.ones((9, 1), np.uint8))
    lines, labels = _parts(horizontal)
    horizontal = _only(labels, [part.w >= _MIN_RULE * side for part in lines])
    # A stroke of the pen seldom runs straight from one line to another.
    near = cv2.dilate(horizontal, np.ones((9, 7), np.uint8))
    lines, labels = _parts(vertical)
    ends = []
    for part in lines:
        x, y, w, h = round(part.x), round(part.y), round(part.w), round(part.h)
        over = slice(x, x + w)
        ends.append(bool(near[y, over].any() and near[y + h - 1, over].any()))
    return horizontal, _only(labels, ends)


def _parts(mask: cv2.typing.MatLike) -> tuple[list[Box], NDArray[np.int32]]:
    """Return the box of each connected part of a mask, and the number of each pixel's part."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(np.asarray(mask, np.uint8))
    return [Box(*map(float, row[:4])) for row in stats[1:]], np.asarray(labels, np.int32)


def _only(labels: NDArray[np.int32], kept: Sequence[bool]) -> Image:
    """Return a mask of the parts that are to be kept."""
    return np.array([False, *kept])[labels].astype(np.uint8)


def _find_boxes(horizontal: Image, vertical: Image, thin: Image, light: Image) -> list[Box]:
    """Return the boxes that lines enclose, along the middle of these; of nested ones the inner."""
    height, width = horizontal.shape
    side = max(height, width)
    lines = cv2.dilate(horizontal | vertical, np.ones((3, 3), np.uint8))
    paper = (lines == 0).astype(np.uint8)
    _, _, stats, _ = cv2.connectedComponentsWithStats(paper, connectivity=4)
    least = 0.6 * float(np.median(light))
    found: list[Box] = []
    for x, y, w, h, area in stats[1:]:
        inside = x > 0 and y > 0 and x + w < width and y + h < height
        high = _MIN_HEIGHT * side <= h <= _MAX_HEIGHT * side
        if inside and high and w >= _CELL_ASPECT[0] * h and area >= _MIN_PAPER * w * h:
            box = _snap_to_lines(horizontal, vertical, int(x), int(y), int(w), int(h))
            tone = float(np.median(light[y : y + h, x : x + w]))  # the heart of a letter is dark
            if tone >= least and _has_inked_sides(thin, box):
                found.append(box)
    return [box for box in found if not any(_holds(box, other) for other in found)]


def _holds(box: Box, other: Box) -> bool:
    shared = intersection(box, other)
    return (
        shared is not None
        and other.w * other.h < box.w * box.h
        and shared.w * shared.h > 0.8 * other.w * other.h
    )


def _has_inked_sides(thin: Image, box: Box) -> bool:
    """Say whether all four sides are inked all along: letters in a row only look like a side."""
    x0, y0, x1, y1 = (round(side) for side in (box.x, box.y, box.x + box.w, box.y + box.h))
    sides = [thin[max(0, y - 2) : y + 3, x0:x1] for y in (y0, y1)]
    sides += [thin[y0:y1, max(0, x - 2) : x + 3].T for x in (x0, x1)]
    return all(_inked_share(side) >= _SOLID for side in sides)


def _inked_share(line: Image) -> float:
    """Return how much of the length of a line, (thickness, length), has about its usual ink.

    Print that looks like a line has little ink between its letters.
    """
    strength = line.max(axis=0)
    return float((strength > max(_INK, float(np.median(strength)) / 2)).mean())


def _snap_to_lines(horizontal: Image, vertical: Image, x: int, y: int, w: int, h: int) -> Box:
    """Move the sides of a piece of paper to the middle of the lines around it."""
    across = horizontal[:, x : x + w].mean(axis=1)
    along = vertical[y : y + h].mean(axis=0)
    left, right = _line_centre(along, x - 1, -1), _line_centre(along, x + w, 1)
    top, bottom = _line_centre(across, y - 1, -1), _line_centre(across, y + h, 1)
    return Box(left, top, right - left, bottom - top)


def _line_centre(profile: NDArray[np.float64], start: int, way: int) -> float:
    """Return the middle of the line that begins at `start`; `way`, 1 or -1, leads across it."""
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


def _join_cells(boxes: Sequence[Box]) -> list[Proposal]:
    """Return the boxes, those of one size side by side joined to combs."""
    runs: list[list[Box]] = []
    for index in reading_order(boxes):
        if runs and _is_next_cell(runs[-1], boxes[index]):
            runs[-1].append(boxes[index])
        else:
            runs.append([boxes[index]])
    proposals: list[Proposal] = []
    for run in runs:
        kind = Kind.COMB if len(run) > 1 else Kind.BOX
        proposal = Proposal(kind, union(run), len(run))
        # Where a border between cells is hidden or too faint, a box is two or three cells wide.
        while proposals and (joined := _join_neighbours(proposals[-1], proposal)) is not None:
            proposals.pop()
            proposal = joined
        proposals.append(proposal)
    return [
        one
        for one in proposals
        if one.kind is Kind.COMB or one.box.w >= _MIN_WIDTH * RULES_LONG_SIDE
    ]


def _join_neighbours(left: Proposal, right: Proposal) -> Proposal | None:
    """Return two neighbours as one comb, if one is a comb and the other some cells of it."""
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
        or any(
            abs(count - whole) > _CELL_DIFFERENCE
            for count, whole in zip(cells, counts, strict=True)
        )
    ):
        return None
    return Proposal(Kind.COMB, union((a, b)), sum(counts))


def _is_next_cell(run: Sequence[Box], box: Box) -> bool:
    last, height = run[-1], run[0].h
    width = float(np.median([cell.w for cell in run]))
    gap = box.x - (last.x + last.w)
    return (
        all(_CELL_ASPECT[0] <= cell.w / cell.h <= _CELL_ASPECT[1] for cell in (last, box))
        and abs(box.w - width) <= _CELL_DIFFERENCE * width
        and max(abs(box.y - last.y), abs(box.y + box.h - last.y - last.h)) <= 0.15 * height
        and -0.1 * width <= gap <= 0.3 * width
    )


def _find_blanks(
    horizontal: Image, vertical: Image, boxes: Sequence[Box], thin: Image
) -> list[Proposal]:
    """Return the room above lines that belong to no box and begin where a caption ends."""
    side = max(horizontal.shape)
    room, near = _WRITING_ROOM * side, round(_CAPTION * side)
    faint = cv2.morphologyEx(
        np.asarray(thin > _FAINT_INK, np.uint8), cv2.MORPH_OPEN, np.ones((1, _FAINT_RUN), np.uint8)
    )
    proposals: list[Proposal] = []
    for piece in _parts(horizontal)[0]:
        if not _is_rule(thin, piece):
            continue
        line = _extend(piece, np.asarray(faint, np.uint8))
        y = line.y + line.h / 2
        free = Box(line.x, y - room, line.w, room)
        if not _MIN_BLANK * side <= line.w <= 0.92 * horizontal.shape[1] or free.y < 0:
            continue
        if any(_touches(free, box) for box in boxes):
            continue
        # No taller than a line of print and right beside: a margin or a rule of a table is not.
        x, top, foot = round(line.x), round(y - 0.6 * room), round(y - _LINE_ROWS)
        caption = thin[top:foot, max(0, x - near) : max(0, x - 2)] > _INK
        crossed = vertical[round(free.y) : round(y) + 4, x : round(line.x + line.w)].any()
        if caption.any(axis=0).sum() < 0.25 * near or crossed:
            continue
        proposals.append(Proposal(Kind.BLANK, free))
    return [
        one
        for i, one in enumerate(proposals)
        if not any(iou(one.box, other.box) > 0.3 for other in proposals[:i])
    ]


def _extend(line: Box, faint: Image) -> Box:
    """Return a piece of a line with what goes on beside it, fainter or a row higher or lower.

    A faint line that leans a little breaks where it passes from one row of pixels to the next,
    and a piece of it must not be taken for a line that begins there.
    """
    first, last = round(line.x), round(line.x + line.w)
    rows = faint[max(0, round(line.y) - 1) : round(line.y + line.h) + 1].max(axis=0)
    gaps_before, gaps_after = np.flatnonzero(rows[:first] == 0), np.flatnonzero(rows[last:] == 0)
    left = int(gaps_before[-1]) + 1 if len(gaps_before) else 0
    right = last + int(gaps_after[0]) if len(gaps_after) else len(rows)
    return Box(left, line.y, right - left, line.h)


def _is_rule(thin: Image, line: Box) -> bool:
    """Say whether a line is thin, without gaps, and not the feet of print: little is beside it."""
    top, foot = round(line.y), round(line.y + line.h)
    part = slice(round(line.x), round(line.x + line.w))
    inked = _inked_share(thin[max(0, top - 1) : foot + 1, part])
    above, below = thin[max(0, top - 6) : max(0, top - 2), part], thin[foot + 2 : foot + 6, part]
    return bool(
        line.h <= 5 + 0.006 * line.w
        and inked >= 0.9
        and min(above.size, below.size) > 0
        and (above > _INK).mean() <= 0.35
        and (below > _INK).mean() <= 0.15
    )


def _touches(free: Box, box: Box) -> bool:
    shared = intersection(free, Box(box.x, box.y - 4, box.w, box.h + 8))
    return shared is not None and shared.w > 0.2 * min(free.w, box.w)
