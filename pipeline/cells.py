"""The cells of a comb, each with its own ink, and the captions that were printed in them."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.comb import Comb
from pipeline.types import Image

Labels = NDArray[np.uint16]

LIGHT: Final = 0.6  # of the writing's darkness: print that is to be written over is lighter
_BOTH: Final = 0.35  # the share of its ink from which a cell has a part of a piece for itself


def split_cells(grey: Image, mask: Image, comb: Comb) -> list[Image]:
    """Return the image of each cell of `comb`, left to right, (h, w) uint8 as in `grey`.

    `grey` (h, w) and `mask`, 255 ink on 0 at any scale, are clean of separators. Ink that crosses
    one goes with the cell that holds most of it, unless it is two digits that touch. The images
    are as wide as that takes; the ink of other cells is painted over.
    """
    scale = mask.shape[1] / grey.shape[1]
    edges = (comb.edges + 0.5) * scale - 0.5
    cell_of = np.searchsorted(edges[1:-1], np.arange(mask.shape[1]))
    count, labels, boxes = _pieces(mask)
    owner = np.full(mask.shape, -1, np.int16)
    for label in range(1, count):
        x, y, w, h = boxes[label - 1].tolist()
        own = labels[y : y + h, x : x + w] == label
        part = owner[y : y + h, x : x + w]
        columns = cell_of[x : x + w]
        shares = np.bincount(columns, own.sum(axis=0)) / own.sum()
        if (shares >= _BOTH).sum() > 1:
            part[own] = np.broadcast_to(columns, own.shape)[own]
        else:
            part[own] = int(shares.argmax())
    size = (grey.shape[1], grey.shape[0])
    owner = np.asarray(cv2.resize(owner, size, interpolation=cv2.INTER_NEAREST))
    top = max(0, round(comb.top.place) - 1)
    bottom = min(len(grey), round(comb.bottom.place) + 2)
    return [
        _cell(
            grey, owner, cell, (float(comb.edges[cell]), float(comb.edges[cell + 1])), top, bottom
        )
        for cell in range(comb.cells)
    ]


def _cell(
    grey: Image, owner: NDArray[np.int16], cell: int, edges: tuple[float, float], top: int, end: int
) -> Image:
    rows, columns = np.nonzero(owner == cell)
    left, right = max(0, round(edges[0])), min(grey.shape[1], round(edges[1]) + 1)
    if len(rows):
        left, right = min(left, int(columns.min())), max(right, int(columns.max()) + 1)
        top, end = min(top, int(rows.min())), max(end, int(rows.max()) + 1)
    image = grey[top:end, left:right].copy()
    near = owner[top:end, left:right]
    wide = np.ones((3, 3), np.uint8)
    own = cv2.dilate((near == cell).astype(np.uint8), wide) > 0
    foreign = ((near >= 0) & (near != cell)).astype(np.uint8)
    other = cv2.dilate(foreign, wide, iterations=2) > 0
    paper = image[~own & ~other]
    image[other & ~own] = np.median(paper) if paper.size else np.median(image)
    return image


def drop_captions(mask: Image, soft: Image, comb: Comb) -> Image:
    """Return `mask` without captions printed in the cells, such as the letters of DDMMYYYY.

    `mask` (h, w) is ink 255 on 0, `soft` its shades, `comb` at their scale. A caption is lower
    and lighter than the writing, and stands at one height in half of the cells or more. One that
    a digit was written over is a part of the digit's ink and stays. So do all where nothing
    darker is written: they may be digits.
    """
    high = comb.height
    if not _may_hold_captions(mask, comb):
        return mask
    count, numbers, boxes = _pieces(mask)
    tall = boxes[:, 3] >= 0.25 * high
    if not tall.any():
        return mask
    darkness = np.array(
        [_darkness(soft, numbers, label, boxes[label - 1]) for label in range(1, count)]
    )
    written = tall & (darkness > LIGHT * float(darkness[tall].max()))
    most = min(0.5 * high, 0.85 * float(np.median(boxes[written, 3])))
    small = (darkness <= LIGHT * float(np.median(darkness[written]))) & (boxes[:, 3] <= most)
    small &= (boxes[:, 3] >= 0.1 * high) & (boxes[:, 2] < 0.6 * high)
    if not small.any():
        return mask
    feet = boxes[:, 1] + boxes[:, 3]
    small &= np.abs(feet - np.median(feet[small])) <= 0.08 * high
    cells = np.searchsorted(comb.edges, boxes[small, 0] + boxes[small, 2] / 2) - 1
    within = np.unique(cells[(cells >= 0) & (cells < comb.cells)])
    if len(within) < max(3, 0.5 * comb.cells):
        return mask
    dropped = np.concatenate([[False], small])
    return np.where(dropped[numbers], np.uint8(0), mask)


def _pieces(mask: Image) -> tuple[int, Labels, NDArray[np.int32]]:
    """Return the number of labels (0 is no piece), each pixel's label, and x, y, w, h of pieces."""
    count, labels, stats, _ = cv2.connectedComponentsWithStatsWithAlgorithm(
        mask, 8, cv2.CV_16U, cv2.CCL_SPAGHETTI
    )
    return count, np.asarray(labels, np.uint16), np.asarray(stats[1:, :4], np.int32)


def _may_hold_captions(mask: Image, comb: Comb) -> bool:
    """Say whether enough low pieces are there at all: outlines cost a tenth of labels."""
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    heights = np.array([cv2.boundingRect(outline)[3] for outline in outlines]) / comb.height
    return int(((heights >= 0.1) & (heights <= 0.5)).sum()) >= max(3, 0.5 * comb.cells)


def _darkness(soft: Image, labels: Labels, label: int, box: NDArray[np.int32]) -> float:
    x, y, w, h = box.tolist()
    shades = soft[y : y + h, x : x + w][labels[y : y + h, x : x + w] == label]
    most = (3 * len(shades)) // 4
    return float(np.partition(shades, most)[most])  # of the inside: the edges are soft
