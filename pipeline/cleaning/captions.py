"""Erase the captions that were printed in the cells of a comb, such as the letters of DDMMYYYY."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.cleaning.comb import Comb
from pipeline.imageops import kth_smallest
from pipeline.types import Image

Labels = NDArray[np.uint16]

_MAX_DARKNESS: Final = 0.6  # of the writing's: print that is meant to be written over is lighter


def erase_captions(mask: Image, soft: Image, comb: Comb) -> Image:
    """Return `mask`, the ink (h, w) 255 on 0, without captions printed in the cells of the comb.

    `soft` are the shades of the ink; `comb` is at their scale. A caption is lower and lighter than
    the writing and stands at one height in at least half of the cells. A caption that a digit was
    written over is part of the digit's ink and stays. So do all captions where nothing darker is
    written: they may be digits.
    """
    height = comb.height
    if not _may_hold_captions(mask, comb):
        return mask
    count, labels, boxes = _label_pieces(mask)
    tall = boxes[:, 3] >= 0.25 * height
    if not tall.any():
        return mask
    darkness = np.array(
        [_piece_darkness(soft, labels, label, boxes[label - 1]) for label in range(1, count)]
    )
    written = tall & (darkness > _MAX_DARKNESS * float(darkness[tall].max()))
    max_height = min(0.5 * height, 0.85 * float(np.median(boxes[written, 3])))
    caption = darkness <= _MAX_DARKNESS * float(np.median(darkness[written]))
    caption &= (boxes[:, 3] >= 0.1 * height) & (boxes[:, 3] <= max_height)
    caption &= boxes[:, 2] < 0.6 * height
    if not caption.any():
        return mask
    baselines = boxes[:, 1] + boxes[:, 3]
    caption &= np.abs(baselines - np.median(baselines[caption])) <= 0.08 * height
    middles = boxes[caption, 0] + boxes[caption, 2] / 2
    cells = np.searchsorted(comb.separators, middles) - 1
    captioned = np.unique(cells[(cells >= 0) & (cells < comb.cells)])
    if len(captioned) < max(3, 0.5 * comb.cells):
        return mask
    erased = np.concatenate([[False], caption])
    return np.where(erased[labels], np.uint8(0), mask)


def _may_hold_captions(mask: Image, comb: Comb) -> bool:
    """Say whether there are enough low pieces at all: finding outlines costs a tenth of labels."""
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    heights = np.array([cv2.boundingRect(outline)[3] for outline in outlines]) / comb.height
    return int(((heights >= 0.1) & (heights <= 0.5)).sum()) >= max(3, 0.5 * comb.cells)


def _label_pieces(mask: Image) -> tuple[int, Labels, NDArray[np.int32]]:
    """Return the number of labels (0 is no piece), each pixel's label, and x, y, w, h of pieces."""
    count, labels, stats, _ = cv2.connectedComponentsWithStatsWithAlgorithm(
        mask, 8, cv2.CV_16U, cv2.CCL_SPAGHETTI
    )
    return count, np.asarray(labels, np.uint16), np.asarray(stats[1:, :4], np.int32)


def _piece_darkness(soft: Image, labels: Labels, label: int, box: NDArray[np.int32]) -> float:
    """Return the darkness of the inside of a piece: its edges are soft, so the upper quartile."""
    x, y, w, h = box.tolist()
    shades = soft[y : y + h, x : x + w][labels[y : y + h, x : x + w] == label]
    return kth_smallest(shades, (3 * len(shades)) // 4)
