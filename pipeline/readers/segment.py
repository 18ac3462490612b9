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
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.cleaning.ink import Ink
from pipeline.readers.normalise import normalise_glyph
from pipeline.readers.pieces import Labels, Piece, cut_wide, find_pieces
from pipeline.readers.priors import group_prior, line_height, skip_prior
from pipeline.types import Box, Glyph, Image

MAX_PARTS: Final = 4  # pieces that one digit may have broken into
WIDE: Final = 1.25  # the width, over the height of the line, above which a piece may be two digits
_MIN_SHARE: Final = 0.35  # of a piece across a separator: cells with as much of it each get a part
_KERNEL: Final = np.ones((3, 3), np.uint8)


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
    pieces, labels, clean = find_pieces(ink)
    if not pieces:
        return Segmentation((), (), clean)
    line = line_height(pieces, ink.stroke)
    pieces, labels = cut_wide(pieces, labels, line, wide)
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
    pieces, labels, clean = find_pieces(ink)
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
