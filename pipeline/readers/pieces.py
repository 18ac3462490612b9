"""Connected pieces of ink, wide ones cut where two digits may touch."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.cleaning.ink import Ink

Labels = NDArray[np.int32]

MAX_PIECES: Final = 160  # of one strip: more is texture, since no number is that long
MAX_CUTS: Final = 8  # of one piece


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


def find_pieces(ink: Ink) -> tuple[list[Piece], Labels, float]:
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


def cut_wide(
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


def _mask(piece: Piece, labels: Labels) -> NDArray[np.bool_]:
    """Return the ink of `piece` in its box, (h, w)."""
    mask: NDArray[np.bool_] = labels[piece.y : piece.bottom, piece.x : piece.right] == piece.label
    return mask
