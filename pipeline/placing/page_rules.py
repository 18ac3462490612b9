"""The ruled lines of a page, found on a small copy that is turned until they are level.

The copy has `RULES_LONG_SIDE` pixels on its longer side, which costs a few milliseconds whatever
the resolution of the scan. Little of the handwriting is left, because only long straight runs of
ink count as lines.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.geometry import Matrix, invert, rotation, scaling, transform_points, translation
from pipeline.imageops import cumulative_histogram, negative, quantile
from pipeline.types import Image

RULES_LONG_SIDE: Final = 1280  # a line 0.6 mm wide on A4 is still 2 to 3 pixels wide

_MAX_SKEW: Final = 6.0  # degrees either way
_MIN_SKEW: Final = 0.3  # degrees: the matching of frames makes up for less by itself
_MIN_RUN: Final = 15  # pixels of the shortest ruled line: half a frame 8 mm high on A4


@dataclass(frozen=True, slots=True)
class PageRules:
    """The ruled lines of a page on a small, level copy of it.

    `horizontal` and `vertical` are masks of the pixels on such lines, (h, w) of 0 or 1; `to_page`
    maps points of the masks to pixels of the page. `skew` is the turn of the page in degrees,
    clockwise; the copy is turned back by it from 0.3 degrees up. `page` is the page's (height,
    width).
    """

    horizontal: Image
    vertical: Image
    to_page: Matrix
    skew: float
    page: tuple[int, int]


def find_page_rules(grey: Image) -> PageRules:
    """Return the ruled lines of a page, (h, w) grey, dark on light or light on dark."""
    small, to_page = downscale(grey, max(1.0, max(grey.shape) / RULES_LONG_SIDE))
    size = small.shape[::-1]
    horizontal, vertical = _straight_runs(_threshold(small))
    skew = find_skew(horizontal, vertical)
    if abs(skew) >= _MIN_SKEW:
        turn = rotation(-skew, ((size[0] - 1) / 2, (size[1] - 1) / 2))
        box = transform_points(turn, [[0, 0], [size[0], 0], [0, size[1]], list(size)])
        turn = translation(*-box.min(axis=0)) @ turn
        canvas = np.ceil(np.ptp(box, axis=0)).astype(int)
        paper = quantile(cumulative_histogram(small[::4, ::4]), 0.5, "lower")
        small = np.asarray(
            cv2.warpAffine(small, turn[:2], canvas.tolist(), borderValue=paper), np.uint8
        )
        to_page = to_page @ invert(turn)
        horizontal, vertical = _straight_runs(_threshold(small))
    height, width = grey.shape
    return PageRules(horizontal, vertical, to_page, skew, (height, width))


def turn_page_rules(
    rules: PageRules, page: tuple[int, int], turns: int, *, mirrored: bool
) -> PageRules:
    """Return the rules of the page after `turns` quarter turns clockwise.

    `page` is its (height, width) before; with `mirrored`, it is first mirrored left to right.
    This is much cheaper than searching the turned page.
    """
    horizontal, vertical, to_page = rules.horizontal, rules.vertical, rules.to_page
    height, width = page
    if mirrored:
        back = np.array([[-1.0, 0, horizontal.shape[1] - 1], [0, 1, 0], [0, 0, 1]])
        horizontal, vertical = horizontal[:, ::-1], vertical[:, ::-1]
        to_page = np.array([[-1.0, 0, width], [0, 1, 0], [0, 0, 1]]) @ to_page @ back
    for _ in range(turns % 4):
        back = np.array([[0.0, 1, 0], [-1, 0, horizontal.shape[0] - 1], [0, 0, 1]])
        horizontal, vertical = np.rot90(vertical, -1), np.rot90(horizontal, -1)
        to_page = np.array([[0.0, -1, height], [1, 0, 0], [0, 0, 1]]) @ to_page @ back
        height, width = width, height
    skew = -rules.skew if mirrored else rules.skew
    return PageRules(
        np.ascontiguousarray(horizontal),
        np.ascontiguousarray(vertical),
        to_page,
        skew,
        (height, width),
    )


def find_skew(
    horizontal: Image, vertical: Image, *, points: int = 4000, least: float = 0.0
) -> float:
    """Return the angle at which lines coincide best when projected, in degrees clockwise.

    At most `points` pixels of each mask are looked at. An angle surely below `least` is exact to
    an eighth of a degree only, any other to a twentieth.
    """
    clouds = []
    for lines, swap in ((horizontal, False), (vertical, True)):
        marked = np.flatnonzero(lines.ravel().view(np.bool_))
        y, x = np.divmod(marked[:: max(1, len(marked) // points)], lines.shape[1])
        along, across = (y, -x) if swap else (x, y)
        clouds.append((along.astype(np.float32), across.astype(np.float32)))
    if sum(len(along) for along, _ in clouds) < 100:
        return 0.0

    def best(angles: NDArray[np.float64], width: float, step: int = 1) -> float:
        """Return the angle whose projection, in bins of `width` pixels, has the most energy."""
        slopes = (np.tan(np.radians(angles)) / width).astype(np.float32)
        energy = np.zeros(len(angles))
        for along, across in clouds:
            if len(along) == 0:
                continue
            places = across[None, ::step] / np.float32(width) - slopes[:, None] * along[::step]
            places -= places.min()
            bins = places.astype(np.intp)
            size = int(bins.max()) + 1
            bins += (np.arange(len(angles)) * size)[:, None]
            counts = np.bincount(bins.ravel(), minlength=size * len(angles))
            energy += (counts.reshape(len(angles), size).astype(np.float64) ** 2).sum(axis=1)
        return float(angles[int(energy.argmax())])

    coarse = best(np.arange(-_MAX_SKEW, _MAX_SKEW + 0.1, 0.5), 2, step=2)
    middle = best(np.arange(coarse - 0.5, coarse + 0.51, 0.125), 1)
    if abs(middle) + 0.1 < least:
        return middle
    return best(np.arange(middle - 0.1, middle + 0.11, 0.05), 1)


def downscale(grey: Image, ratio: float) -> tuple[Image, Matrix]:
    """Return a copy `ratio` times smaller, and the transform from its pixels to those of `grey`.

    A ratio of up to 1 changes nothing. Whole pixels are averaged as far as the ratio allows, and
    the rest is interpolated, at a fraction of the cost of an exact average.
    """
    if ratio <= 1:
        return grey, translation(0.5, 0.5)
    whole = min(int(ratio), *grey.shape)
    height, width = (side // whole for side in grey.shape)
    if whole > 1:
        even = grey[: height * whole, : width * whole]
        grey = np.asarray(cv2.resize(even, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    to_page = scaling(whole)
    if ratio / whole > 1.5:  # interpolation alone would lose thin lines between two pixels
        grey = np.asarray(cv2.blur(grey, (2, 2), anchor=(0, 0)), np.uint8)
        to_page = to_page @ translation(0.5, 0.5)
    rest = whole / ratio
    size = (max(1, round(width * rest)), max(1, round(height * rest)))
    small = np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_LINEAR), np.uint8)
    return small, to_page @ scaling(width / size[0], height / size[1]) @ translation(0.5, 0.5)


def _threshold(small: Image) -> Image:
    """Return a mask of the ink, 0 or 1."""
    counts = cumulative_histogram(small[::4, ::4])
    low, middle, high = (quantile(counts, share, "lower") for share in (0.01, 0.5, 0.99))
    if high - middle > middle - low:  # paper is most of a page: this one is dark
        small = negative(small)
    local = cv2.blur(small, (25, 25))
    margin = max(10.0, 0.12 * (high - low))
    _, ink = cv2.threshold(cv2.subtract(local, small), margin, 1, cv2.THRESH_BINARY)
    return np.asarray(ink, np.uint8)


def _straight_runs(ink: Image) -> tuple[Image, Image]:
    """Return masks of the long horizontal and of the long vertical runs of ink."""
    rules = []
    for along in ((1, 0), (0, 1)):
        # A bridge over two pixels mends what noise and the threshold took from thin lines.
        bridge = np.ones((1 + 2 * along[1], 1 + 2 * along[0]), np.uint8)
        run = np.ones((1 + (_MIN_RUN - 1) * along[1], 1 + (_MIN_RUN - 1) * along[0]), np.uint8)
        closed = cv2.morphologyEx(ink, cv2.MORPH_CLOSE, bridge)
        rules.append(np.asarray(cv2.morphologyEx(closed, cv2.MORPH_OPEN, run), np.uint8))
    return rules[0], rules[1]
