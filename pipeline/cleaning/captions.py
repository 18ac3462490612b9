"""The captions that were printed in the cells of a comb."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.cleaning.comb import Comb
from pipeline.imageops import kth_smallest
from pipeline.types import Image

Labels = NDArray[np.uint16]

LIGHT: Final = 0.6  # of the writing's darkness: print that is to be written over is lighter


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
    return kth_smallest(shades, (3 * len(shades)) // 4)  # of the inside: the edges are soft
