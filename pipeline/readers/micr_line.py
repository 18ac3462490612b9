"""Find the E-13B line of a page and cut it into cells of one character each.

E-13B is printed at a fixed pitch of 1/8 inch from right edge to right edge, in characters 9 modules
of 0.013 inch high (ANSI X9.27, ISO 1004-1). Few other rows of ink have their right edges on such a
lattice, so the search is for the lattice. Symbols of several pieces and broken characters are then
found by their place on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.imageops import cumulative_histogram, kth_smallest, median, quantile
from pipeline.types import Box, Image

MODULE_INCH: Final = 0.013
HEIGHT: Final = 9.0  # modules, of a digit
PITCH: Final = 0.125 / MODULE_INCH  # modules
CELL_ROWS, CELL_COLUMNS = 28, 24  # pixels: one pitch wide
CELL_MODULE: Final = CELL_COLUMNS / PITCH  # pixels of a cell to a module, 2.5
_RIGHT: Final = 1.3  # modules of a cell to the right of its character, so that a 0 is in the middle
_BELOW: Final = (CELL_ROWS / CELL_MODULE - HEIGHT) / 2  # modules below and above

WORK_WIDTH: Final = 1600  # pixels of a page when searched: 1.9 to 3.8 to a module of a cheque
_HEIGHTS: Final = (14.0, 40.0)  # pixels of a digit at that width: pages of 5 to 12 inches
_BAND: Final = 0.4  # of the page, from below: photographs show the table under the cheque
# Thresholds, as shares of full ink, in the order tried: the last three are for faint print, thick
# print and print over a pattern.
_LEVELS: Final = (0.5, 0.35, 0.65, 0.22)
_MIN_LINKS: Final = 5  # neighbours on the lattice: fewer come about by chance in a line of type
_MAX_BOXES: Final = 1000  # with a digit's shape: more are a texture, and would take long to try
_REACH: Final = 31  # pixels at the working width: wider than any stroke of E-13B
_MIN_INK: Final = 16.0  # of 255: fainter marks are the texture of the paper
_INKED_PIXEL: Final = 110  # of 255, in a cell
# The share of a cell's pixels that are inked: the lightest characters have a sixth, gaps on real
# paper less than 0.025.
_MIN_INKED: Final = 0.04


@dataclass(frozen=True, slots=True)
class Cells:
    """A lattice of character cells, given by the lower right corner of each character.

    `corners` is (n, 2) float64, x and y in pixels of the image searched; `module` is the width and
    the height of a module there, and `slope` how far the line falls per pixel to the right.
    """

    corners: NDArray[np.float64]
    module: tuple[float, float]
    slope: float

    def box(self, first: int, last: int) -> Box:
        """Return the upright box around the characters `first` to `last`, inclusive."""
        across, down = self.module
        rights, bottoms = zip(*self.corners[first : last + 1].tolist(), strict=True)
        left, top = min(rights) - 7 * across, min(bottoms) - HEIGHT * down
        return Box(left, top, max(rights) - left, max(bottoms) - top)


@dataclass(frozen=True, slots=True)
class Band:
    """The lower part of a page at the working width.

    `darkness` (h, w) is how much darker than the paper around it each pixel is. Its pixel (x, y) is
    (x / scale, top + y / scale) on the page.
    """

    darkness: Image
    scale: float
    top: float

    def on_page(self, box: Box) -> Box:
        """Return `box`, in pixels of the band, in pixels of the page."""
        s = self.scale
        return Box(box.x / s, self.top + box.y / s, box.w / s, box.h / s)


@dataclass(frozen=True, slots=True)
class Line:
    """A line found in a band: its lattice from edge to edge, and the darkness of its ink."""

    cells: Cells
    ink: float  # 0 to 255


def cut_band(grey: Image, rows: tuple[int, int] | None = None) -> Band:
    """Return the rows of a page, (height, width) uint8, in which to search for the line.

    `rows` are the first and the last (exclusive); without them, the lower 40 % of the page.
    """
    height, columns = grey.shape
    # Of a tall page no more rows than it has columns, or the search would take too long.
    top, end = rows or (max(round(height * (1 - _BAND)), height - columns), height)
    scale = WORK_WIDTH / columns
    size = (WORK_WIDTH, max(1, round((end - top) * scale)))
    # Area averaging costs five times as much, and helps only from 400 dpi on.
    way = cv2.INTER_AREA if scale < 0.6 else cv2.INTER_LINEAR if scale < 1 else cv2.INTER_CUBIC
    return Band(
        darkness(np.asarray(cv2.resize(grey[top:end], size, interpolation=way))), scale, top
    )


def darkness(grey: Image) -> Image:
    """Return how much darker than the paper around it each pixel of `grey` (h, w) is, 0 to 255."""
    rows, columns = grey.shape
    # Half the size is enough for paper. Smoothed, or the lightest noise would pass for the paper.
    size = (max(1, columns // 2), max(1, rows // 2))
    half = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    smooth = cv2.GaussianBlur(half, (0, 0), 0.7)
    reach = _REACH // 2
    paper = cv2.morphologyEx(smooth, cv2.MORPH_CLOSE, np.ones((reach, reach), np.uint8))
    whole = cv2.resize(paper, (columns, rows), interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.subtract(whole, grey), np.uint8)


def find_line(dark: Image) -> Line | None:
    """Return the E-13B line in the darkness (h, w) of a band, or None where there is none."""
    full = quantile(cumulative_histogram(dark[::2]), 0.995, "inverted_cdf")  # half is enough
    if full < _MIN_INK:
        return None
    for level in _LEVELS:
        mask = cv2.threshold(dark, level * full, 255, cv2.THRESH_BINARY)[1]
        boxes = _digit_boxes(np.asarray(mask, np.uint8))
        chain = _longest_chain(boxes) if len(boxes) <= _MAX_BOXES else None
        if chain is None:
            continue
        cells = _lattice(boxes[chain], dark.shape[1])
        if cells is not None:
            digits = boxes[chain, :4].astype(int)
            pixels = np.concatenate([dark[y : y + h, x : x + w].ravel() for x, y, w, h in digits])
            inked = pixels[pixels > level * full]
            return Line(cells, kth_smallest(inked, round(0.8 * (len(inked) - 1))))
    return None


def _digit_boxes(mask: Image) -> NDArray[np.float64]:
    """Return x, y, w, h, (n, 4), of the pieces with a digit's proportions, 4 to 7 by 9."""
    # Contours take a third of the time of labels. Those of holes are left out below.
    outlines, nested = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    boxes = np.array([cv2.boundingRect(outline) for outline in outlines]).reshape(-1, 4)
    if len(boxes) == 0:
        return boxes.astype(np.float64)
    w, h = boxes[:, 2], boxes[:, 3]
    low, high = _HEIGHTS
    shaped = (h >= low) & (h <= high) & (w >= 0.33 * h) & (w <= 0.95 * h)
    shaped &= np.asarray(nested)[0, :, 3] < 0
    boxes = boxes[shaped]
    filled = [
        cv2.countNonZero(mask[y : y + h, x : x + w]) >= 0.2 * w * h for x, y, w, h in boxes.tolist()
    ]
    return boxes[np.array(filled, np.bool_)].astype(np.float64)


def _longest_chain(boxes: NDArray[np.float64]) -> NDArray[np.intp] | None:
    """Return the boxes of the row with the most right edges a pitch apart, from the left."""
    rights, bottoms, heights = boxes[:, 0] + boxes[:, 2], boxes[:, 1] + boxes[:, 3], boxes[:, 3]
    best: NDArray[np.intp] | None = None
    links = _MIN_LINKS - 1
    seen = np.zeros(len(boxes), np.bool_)
    for seed in np.argsort(-bottoms):
        if seen[seed]:
            continue
        height = heights[seed]
        away = np.abs(rights - rights[seed])
        row = np.abs(heights - height) <= 0.12 * height + 1
        row &= np.abs(bottoms - bottoms[seed]) <= 0.2 * height + 0.05 * away
        members = np.flatnonzero(row)
        members = members[np.argsort(rights[members])]
        members = members[_on_one_line(rights[members], bottoms[members], height)]
        seen[members] = True
        found = _count_links(rights[members], _pitch_of(heights[members]))
        if found > links:
            best, links = members, found
    return best


def _pitch_of(heights: NDArray[np.float64]) -> float:
    return median(heights) / HEIGHT * PITCH if len(heights) else 1.0


def _on_one_line(
    x: NDArray[np.float64], y: NDArray[np.float64], height: float
) -> NDArray[np.bool_]:
    """Say for each point whether it lies on the line through most of them."""
    if len(x) < 3:
        return np.ones(len(x), np.bool_)
    run = np.diff(x)
    near = (run > 0.3 * height) & (run < 4 * height)
    slope = median(np.diff(y)[near] / run[near]) if near.any() else 0.0
    rest = y - slope * x
    return np.asarray(np.abs(rest - median(rest)) <= 0.25 * height)


def _count_links(rights: NDArray[np.float64], pitch: float) -> int:
    """Count the neighbours that are one, two or three pitches apart."""
    steps = np.diff(rights) / pitch
    whole = np.round(steps)
    return int(((whole >= 1) & (whole <= 3) & (np.abs(steps - whole) <= 0.12 * whole)).sum())


def _lattice(boxes: NDArray[np.float64], width: int) -> Cells | None:
    """Fit a lattice to a row of boxes, from the left, and extend it over the width of the image."""
    rights, bottoms, heights = boxes[:, 0] + boxes[:, 2], boxes[:, 1] + boxes[:, 3], boxes[:, 3]
    steps = np.diff(rights)
    pitch = _pitch_of(heights)
    for _ in range(2):  # the second time with the pitch found by the first
        whole = np.round(steps / pitch)
        good = (whole >= 1) & (whole <= 3) & (np.abs(steps / pitch - whole) <= 0.12 * whole)
        if good.sum() < _MIN_LINKS:
            return None
        pitch = median(steps[good] / whole[good])
    if not 0.88 <= pitch / _pitch_of(heights) <= 1.12:
        return None
    index = np.concatenate([[0.0], np.cumsum(np.round(steps / pitch))])
    # Broken pieces and specks in the row are off the lattice and must not bend it.
    across = _fit(index, rights, 0.15 * pitch)
    kept = np.abs(np.polyval(across, index) - rights) <= 0.15 * pitch
    if kept.sum() < _MIN_LINKS + 1:
        return None
    across = _fit(index[kept], rights[kept], 0.05 * pitch)
    down = _fit(rights[kept], bottoms[kept], 0.05 * pitch)
    first = np.floor(-rights[0] / pitch)
    numbers = np.arange(first, first + 2 * width / pitch)
    x = np.polyval(across, numbers)
    inside = (x > 0.7 * pitch) & (x < width) & (np.gradient(x) > 0.8 * pitch)
    x, numbers = x[inside], numbers[inside]
    module = float(np.polyval(np.polyder(across), index[kept].mean())) / PITCH
    upright = float(np.clip(heights[kept].mean() / HEIGHT, 0.93 * module, 1.07 * module))
    middle = float(rights[kept].mean())
    slope = float(np.polyval(np.polyder(down), middle))
    off = np.stack([rights - np.polyval(across, index), bottoms - np.polyval(down, rights)], axis=1)
    corners = np.stack([x, np.polyval(down, x)], axis=1)
    corners += _strays(numbers, index[kept], off[kept], 0.25 * pitch)
    return Cells(corners, (module, upright), slope)


def _strays(
    numbers: NDArray[np.float64],
    index: NDArray[np.float64],
    off: NDArray[np.float64],
    most: float,
) -> NDArray[np.float64]:
    """Return how far each cell lies off the lattice, (n, 2) pixels, judged by the digits near it.

    Parts of the line that were printed separately are up to a module off each other's lattice.
    """
    near = np.abs(numbers[:, None] - index[None, :])
    weight = np.where(near <= 2, 1 / (1 + near) ** 2, 0.0)
    total = np.maximum(weight.sum(axis=1, keepdims=True), 1e-9)
    return np.asarray(np.clip(weight @ off / total, -most, most))


def _fit(x: NDArray[np.float64], y: NDArray[np.float64], near: float) -> NDArray[np.float64]:
    """Fit a line; a parabola to 8 points or more that the line misses by more than `near`."""
    # The closed form takes a tenth of the time of a general fit.
    x_mean, y_mean = x.mean(), y.mean()
    away = x - x_mean
    slope = float(away @ (y - y_mean)) / max(float(away @ away), 1e-9)
    line = np.array([slope, y_mean - slope * x_mean])
    if len(x) < 8 or np.abs(np.polyval(line, x) - y).mean() <= near:
        return line
    return np.polyfit(x, y, 2)


def cut_cells(dark: Image, cells: Cells, ink: float) -> Image:
    """Return the characters of a lattice as (n, 28, 24) uint8, full ink 255 on 0.

    This is the preprocessing, the same in reading and in training. `dark` comes from `darkness`;
    `ink` is the darkness of a stroke.
    """
    across = ((np.arange(CELL_COLUMNS) + 0.5) / CELL_MODULE + _RIGHT - PITCH) * cells.module[0]
    down = ((np.arange(CELL_ROWS) + 0.5) / CELL_MODULE - _BELOW - HEIGHT) * cells.module[1]
    dx, dy = np.meshgrid(across, down)
    # Corners are counted from the edge of a pixel, remap counts from its middle. The cell turns
    # with the slope.
    aside = (dx - cells.slope * dy - 0.5).astype(np.float32).ravel()
    below = (dy + cells.slope * dx - 0.5).astype(np.float32).ravel()
    corners = cells.corners.astype(np.float32)
    count = len(corners)
    flat = (count * CELL_ROWS, CELL_COLUMNS)
    cut = cv2.remap(
        dark,
        (corners[:, :1] + aside).reshape(flat),
        (corners[:, 1:] + below).reshape(flat),
        cv2.INTER_LINEAR,
    )
    table = np.clip(np.arange(256) * (255 / max(ink, 1.0)), 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(cut, table), np.uint8).reshape(count, CELL_ROWS, CELL_COLUMNS)


def has_ink(images: Image) -> NDArray[np.bool_]:
    """Say for each cell of (n, 28, 24) whether it holds more than specks."""
    return np.asarray((images > _INKED_PIXEL).mean(axis=(1, 2)) >= _MIN_INKED)
