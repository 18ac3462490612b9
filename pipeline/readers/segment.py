"""Ink to glyphs: pieces of ink in reading order, and the ways in which they may form digits.

A broken stroke leaves two pieces of one digit, touching strokes leave one piece of two digits, and
dirt leaves pieces of no digit. Contours alone cannot tell these apart. So the segmentation keeps
every plausible way: each `Candidate` groups some neighbouring pieces as one character, and `skips`
says how plausible each piece is as dirt. The reader decides once the network has classified the
candidates. Where the pieces are clear, there is only one way. (Over-segmentation with recognition:
LeCun et al. 1998, section V.)
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.cleaning.ink import Ink
from pipeline.readers.normalise import normalise_glyph
from pipeline.types import Box, Glyph, Image

Labels = NDArray[np.int32]

MAX_PIECES: Final = 160  # of one strip: more is texture, since no number is that long
MAX_PARTS: Final = 4  # pieces that one digit may have broken into
MAX_CUTS: Final = 8  # of one piece
WIDE: Final = 1.25  # the width, over the height of the line, above which a piece may be two digits
_MIN_SHARE: Final = 0.35  # of a piece across a separator: cells with as much of it each get a part
_KERNEL: Final = np.ones((3, 3), np.uint8)


@dataclass(frozen=True, slots=True)
class Piece:
    """A connected piece of ink; its box is in pixels of the ink's mask."""

    label: int  # in the labels of the mask
    x: int
    y: int
    w: int
    h: int
    area: int
    parent: int  # the label of the piece that it was cut from; its own if it was not cut

    @property
    def right(self) -> int:
        return self.x + self.w

    @property
    def bottom(self) -> int:
        return self.y + self.h


@dataclass(frozen=True, slots=True)
class Candidate:
    """The pieces `first` to `last` (exclusive) as one character.

    `prior` is the log of how plausible that is by the geometry alone, at most 0.
    """

    first: int
    last: int
    glyph: Glyph  # its box is in pixels of the strip
    prior: float


@dataclass(frozen=True, slots=True)
class Segmentation:
    """The ways to read the pieces of a strip, left to right; there are as many as `skips`.

    `skips` holds for each piece the log of how plausible it is that it is no part of a digit.
    `clean` is the share of the ink, 0 to 1, that is not in specks too small for a digit.
    """

    skips: tuple[float, ...]
    candidates: tuple[Candidate, ...]
    clean: float


def segment_glyphs(ink: Ink, *, wide: float = WIDE) -> Segmentation:
    """Return the pieces of `ink` and the characters that they may form.

    A piece wider than `wide` times the height of the line is also cut in two or more.
    """
    pieces, labels, clean = _pieces(ink)
    if not pieces:
        return Segmentation((), (), clean)
    line = line_height(pieces, ink.stroke)
    pieces, labels = _cut_wide(pieces, labels, line, wide)
    pieces.sort(key=lambda piece: (piece.x + piece.w / 2, piece.label))
    skips = tuple(skip_prior(piece, line, ink.stroke) for piece in pieces)
    candidates = []
    for first in range(len(pieces)):
        for last in range(first + 1, min(first + MAX_PARTS, len(pieces)) + 1):
            prior = group_prior(pieces[first:last], line, ink.stroke, labels)
            if prior is not None:
                glyph = _glyph(pieces[first:last], labels, ink)
                candidates.append(Candidate(first, last, glyph, prior))
    return Segmentation(skips, tuple(candidates), clean)


def segment_cells(ink: Ink, edges: NDArray[np.float64]) -> Segmentation:
    """Return the ink in each cell of a comb as one character; an empty cell has none.

    `edges` are the columns of the separators, in pixels of the ink's mask. A piece across a
    separator belongs to the cell that holds most of it, unless it is two digits that touch.
    """
    pieces, labels, clean = _pieces(ink)
    cell_of = np.searchsorted(edges[1:-1], np.arange(labels.shape[1])) + 1  # counted from 1
    owners = np.zeros_like(labels)  # the cell of each inked pixel
    parts: dict[int, list[Piece]] = {}
    for piece in pieces:
        window = (slice(piece.y, piece.bottom), slice(piece.x, piece.right))
        own = labels[window] == piece.label
        cells = cell_of[window[1]]
        taken = int(cells[0])
        if cells[0] != cells[-1]:
            shares = np.bincount(cells, weights=own.sum(axis=0)) / piece.area
            taken = int(shares.argmax())
            if int((shares >= _MIN_SHARE).sum()) > 1:
                own, taken = own * cells, 0
                for cell in np.unique(own[own > 0]).tolist():
                    parts.setdefault(cell, []).append(_part(own == cell, piece, cell))
        if taken:
            parts.setdefault(taken, []).append(piece)
        np.copyto(owners[window], own * taken if taken else own, where=own > 0)
    digits = [_joined(group, cell) for cell, group in sorted(parts.items())]
    if not digits:
        return Segmentation((), (), clean)
    line = line_height(digits, ink.stroke)
    return Segmentation(
        tuple(skip_prior(digit, line, ink.stroke) for digit in digits),
        tuple(
            Candidate(index, index + 1, _glyph([digit], owners, ink), 0.0)
            for index, digit in enumerate(digits)
        ),
        clean,
    )


def line_height(pieces: list[Piece], stroke: float) -> float:
    """Return the height of the digits in pixels: the median of the heights near the tallest.

    Specks, dashes and fragments are lower than half of it and do not count. Pieces close above each
    other count as one, or a line of broken digits would be half as high.
    """
    stacks: list[tuple[int, int, int, int]] = []  # left, right, top, bottom
    for piece in sorted(pieces, key=lambda piece: piece.y):
        left, right, top, bottom = piece.x, piece.right, piece.y, piece.bottom
        for index, (x, end, y, low) in enumerate(stacks):
            across = min(right, end) - max(left, x)
            if across >= 0.5 * min(right - left, end - x) and -stroke <= top - low <= stroke:
                stacks[index] = (min(x, left), max(end, right), y, max(low, bottom))
                break
        else:
            stacks.append((left, right, top, bottom))
    heights = np.array([bottom - top for _, _, top, bottom in stacks])
    return float(np.median(heights[heights >= 0.5 * heights.max()]))


def skip_prior(piece: Piece, line: float, stroke: float) -> float:
    """Return the log of how plausible it is that `piece` is dirt: low, or a thin line."""
    height = max(piece.h, 0.5 * piece.w) / line
    low = _along(height, (0.15, -0.01), (0.3, -0.5), (0.5, -5.0), (0.8, -14.0))
    thin = _along(_thickness([piece]) / stroke, (0.3, -1.0), (0.6, -14.0))
    return max(low, thin)


def group_prior(group: list[Piece], line: float, stroke: float, labels: Labels) -> float | None:
    """Return the log of how plausible `group` is as one character, None if it cannot be one."""
    left, right = min(p.x for p in group), max(p.right for p in group)
    top, bottom = min(p.y for p in group), max(p.bottom for p in group)
    if len(group) == 1 and group[0].label != group[0].parent:
        return -1.5  # a cut has its price, or every wide 0 would be cut
    if len(group) > 1 and (right - left > 1.6 * line or bottom - top > 1.7 * line):
        return None
    if len(group) > 1 and len({piece.parent for piece in group}) == 1:
        return 0.0  # the parts of a cut piece, joined again
    size = max(right - left, bottom - top) / line
    # A fragment beside a digit looks like a 1, so small groups cost: digits differ little in size.
    total = _along(size, (0.5, -1.5), (0.75, 0.0))
    total += _along(_thickness(group) / stroke, (0.3, -3.0), (0.6, 0.0))
    if len(group) == 1:
        total += _along((bottom - top) / line, (0.15, -9.0), (0.35, -1.0), (0.5, 0.0))
    for index, piece in enumerate(group[1:], start=1):
        links = [link_prior(other, piece, line, stroke, labels) for other in group[:index]]
        best = max((link for link in links if link is not None), default=None)
        if best is None:
            return None
        total += best
    return total


def _along(x: float, *points: tuple[float, float]) -> float:
    """Return `np.interp` of one number, in a tenth of the time."""
    before = points[0]
    for point in points:
        if x < point[0]:
            share = (x - before[0]) / (point[0] - before[0]) if point is not before else 0.0
            return before[1] + share * (point[1] - before[1])
        before = point
    return before[1]


def _thickness(group: list[Piece]) -> float:
    """Return the thickness in pixels of a straight stroke with the area and length of `group`."""
    width = max(p.right for p in group) - min(p.x for p in group)
    height = max(p.bottom for p in group) - min(p.y for p in group)
    return sum(p.area for p in group) / max(width, height)


def link_prior(a: Piece, b: Piece, line: float, stroke: float, labels: Labels) -> float | None:
    """Return the log of how plausible two pieces are as parts of one digit, None for not at all."""
    if a.parent == b.parent:
        return 0.0
    across = min(a.right, b.right) - max(a.x, b.x)
    down = min(a.bottom, b.bottom) - max(a.y, b.y)
    low, high = sorted((a.h, b.h))
    if across >= 0.3 * min(a.w, b.w) and -down <= 0.3 * line and down < 0.6 * low:
        return -0.1  # one above the other: the bar of a 5, the halves of a 3 or an 8
    if across < -max(1.5 * stroke, 0.25 * line) or down < -0.3 * line:
        return None
    if down >= 0.6 * low and low >= 0.6 * high and low >= 0.5 * line:
        # Two tall pieces side by side are two digits, unless they are the halves of a ring.
        first, second = (a, b) if a.x <= b.x else (b, a)
        return -0.1 if _closes_to_ring(first, second, labels) else None
    gap = max(-across, 0, -down)
    return -0.5 - 1.0 * gap / stroke if low < 0.6 * line else None


def _closes_to_ring(a: Piece, b: Piece, labels: Labels) -> bool:
    """Say whether `a` and `b` are close at the top and the bottom and far apart in between."""
    top, bottom = max(a.y, b.y), min(a.bottom, b.bottom)
    rows = bottom - top
    if rows < 8:
        return False
    left = labels[top:bottom, a.x : a.right] == a.label
    right = labels[top:bottom, b.x : b.right] == b.label
    edge = a.right - np.argmax(left[:, ::-1], axis=1)
    begin = b.x + np.argmax(right, axis=1)
    gap = np.where(left.any(axis=1) & right.any(axis=1), begin - edge, rows)
    part = max(1, rows // 4)
    near = max(gap[:part].min(), gap[-part:].min())
    return bool(near <= 0.2 * rows and gap[part:-part].mean() >= 0.3 * rows + near)


def _pieces(ink: Ink) -> tuple[list[Piece], Labels, float]:
    """Return the pieces of ink, their labels (h, w), and the share of ink that is no speck."""
    # Gaps of a fraction of a stroke come from the threshold, not from the writer.
    labels: Labels = np.zeros(ink.mask.shape, np.int32)
    x, y, width, height = cv2.boundingRect(ink.mask)
    if width == 0:
        return [], labels, 0.0
    left, top = max(0, x - 2), max(0, y - 2)  # room, as closing fills more at the rim
    inked = (slice(top, y + height + 2), slice(left, x + width + 2))
    joined = cv2.morphologyEx(ink.mask[inked], cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    # Labels of 16 bits take half the time, and suffice for as many squares of 2 x 2 pixels: no two
    # pieces share one.
    few = (width // 2 + 3) * (height // 2 + 3) < 2**16
    count, numbered, stats, _ = cv2.connectedComponentsWithStatsWithAlgorithm(
        joined, 8, cv2.CV_16U if few else cv2.CV_32S, cv2.CCL_DEFAULT
    )
    if count <= 1:
        return [], labels, 0.0
    labels[inked] = numbered
    speck = max(4.0, 0.5 * ink.stroke**2)
    found = [
        Piece(label, left + x, top + y, w, h, area, label)
        for label, (x, y, w, h, area) in enumerate(stats[1:].tolist(), start=1)
        if area >= speck
    ]
    kept = sum(piece.area for piece in found)
    total = int(stats[1:, cv2.CC_STAT_AREA].sum())
    if len(found) > MAX_PIECES:
        return [], labels, 0.0
    return found, labels, kept / total


def _cut_wide(
    pieces: list[Piece], labels: Labels, line: float, wide: float
) -> tuple[list[Piece], Labels]:
    """Replace each wide piece by its parts; the labels are changed in place."""
    result = []
    following = int(labels.max()) + 1
    for piece in pieces:
        columns = cut_columns(_mask(piece, labels), line, wide)
        if not columns:
            result.append(piece)
            continue
        edges = [0, *columns, piece.w]
        for start, stop in pairwise(edges):
            x = piece.x + start
            part = labels[piece.y : piece.bottom, x : piece.x + stop]
            own = part == piece.label
            rows = np.flatnonzero(own.any(axis=1))
            if rows.size == 0:
                continue
            part[own] = following
            top, height = int(rows[0]), int(rows[-1] - rows[0] + 1)
            area = int(own.sum())
            result.append(
                Piece(following, x, piece.y + top, stop - start, height, area, piece.label)
            )
            following += 1
    return result, labels


def cut_columns(mask: NDArray[np.bool_], line: float, wide: float) -> list[int]:
    """Return the columns at which to cut `mask` (h, w), one piece, if it is wide for one digit.

    A cut goes where the upper and the lower contour are closest: at the joint of two digits.
    """
    rows, columns = mask.shape
    if columns <= wide * line or rows < 0.5 * line or columns > 12 * line:
        return []
    ink = mask.sum(axis=0).astype(np.float64)
    extent = rows - np.argmax(mask, axis=0) - np.argmax(mask[::-1], axis=0)
    cost = cv2.blur((0.3 * ink + extent)[None, :], (3, 1)).ravel()
    reach = max(2, round(0.35 * line))
    cuts: list[int] = []
    margin = max(2, round(0.25 * line))
    order = np.argsort(cost[margin : columns - margin], kind="stable") + margin
    for column in order:
        if cost[column] > 0.75 * rows or len(cuts) == MAX_CUTS:
            break
        if all(abs(int(column) - other) >= reach for other in cuts):
            cuts.append(int(column))
    return sorted(cuts)


def _part(own: NDArray[np.bool_], piece: Piece, label: int) -> Piece:
    """Return the part of `piece` inside `own`, a mask of the piece's box."""
    x, y, w, h = cv2.boundingRect(own.view(np.uint8))
    area = cv2.countNonZero(own.view(np.uint8))
    return Piece(label, piece.x + x, piece.y + y, w, h, area, label)


def _joined(group: list[Piece], label: int) -> Piece:
    """Return several pieces as one."""
    x, y = min(piece.x for piece in group), min(piece.y for piece in group)
    right, bottom = max(piece.right for piece in group), max(piece.bottom for piece in group)
    return Piece(label, x, y, right - x, bottom - y, sum(piece.area for piece in group), label)


def _mask(piece: Piece, labels: Labels) -> NDArray[np.bool_]:
    """Return the ink of `piece` in its box, (h, w)."""
    mask: NDArray[np.bool_] = labels[piece.y : piece.bottom, piece.x : piece.right] == piece.label
    return mask


def _glyph(group: list[Piece], labels: Labels, ink: Ink) -> Glyph:
    """Return the normalised image of `group`, without the ink of other pieces."""
    left, right = min(p.x for p in group), max(p.right for p in group)
    top, bottom = min(p.y for p in group), max(p.bottom for p in group)
    rows, columns = labels.shape
    # The grey fringe of the strokes lies one pixel outside the mask.
    window = (
        slice(max(0, top - 2), min(rows, bottom + 2)),
        slice(max(0, left - 2), min(columns, right + 2)),
    )
    around = labels[window]
    own = around == group[0].label
    for piece in group[1:]:
        own |= around == piece.label
    near = np.asarray(cv2.dilate(own.view(np.uint8), _KERNEL), np.uint8)
    near &= own | (around == 0)  # no ink of other pieces
    image: Image = np.multiply(ink.soft[window], near)
    box = Box(
        left / ink.scale, top / ink.scale, (right - left) / ink.scale, (bottom - top) / ink.scale
    )
    return Glyph(box, normalise_glyph(image))
