"""The writers of strips: real digits of one hand, possibly redrawn with another pen.

Only sets that may train weights that we ship are accepted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.types import Image
from training.datasets import DigitSet, check_may_train

Floats = NDArray[np.float32]

_CANDIDATES = 5  # digits drawn from a pool, of which the nearest to the style is used
_FINE = 3  # multiple of the resolution at which a published digit is redrawn
_BLOT = 2.4  # half the width of a stroke, in pixels of a digit of 20
_POOL_WRITERS = 40  # writers with fewer digits are pooled


class Archive:
    """Real digits, indexed by writer and digit.

    Raises ConfigError if one of the `training.datasets.DigitSet` in `sets` must not train.
    """

    def __init__(self, sets: Sequence[DigitSet]) -> None:
        check_may_train(sets)
        self._sets = tuple(sets)
        self._pools = [
            [np.flatnonzero(digits.labels == digit) for digit in range(10)] for digits in sets
        ]
        sizes = np.sqrt([len(digits) for digits in sets])  # so that a small set is not overused
        self._shares = sizes / sizes.sum()
        self._styles = [_styles(digits.images) for digits in sets]
        self._writers = [_by_writer(digits) for digits in sets]

    def hand(self, rng: np.random.Generator) -> ArchiveHand:
        """Draw one writer; from a set without writer ids, digits that could be of one hand."""
        number = int(rng.choice(len(self._sets), p=self._shares))
        digits, styles = self._sets[number], self._styles[number]
        anchor = styles[int(rng.integers(len(styles)))]
        own = self._pools[number]
        if writers := self._writers[number]:
            own = writers[int(rng.integers(len(writers)))]
        return ArchiveHand(digits.name, digits.images, own, self._pools[number], styles, anchor)


@dataclass(frozen=True, slots=True)
class ArchiveHand:
    """One writer of real digits."""

    origin: str
    _images: Image
    _own: list[NDArray[np.intp]]
    _pool: list[NDArray[np.intp]]
    _styles: Floats
    _anchor: Floats

    def pick(self, digit: int, rng: np.random.Generator) -> Image:
        """Return one (28, 28) image of the digit."""
        mine = self._own[digit]
        if len(mine) and self._own is not self._pool:
            return np.asarray(self._images[mine[int(rng.integers(len(mine)))]])
        mine = self._pool[digit]
        some = mine[rng.integers(0, len(mine), _CANDIDATES)]
        apart = np.abs(self._styles[some] - self._anchor).sum(axis=1)
        return np.asarray(self._images[some[int(apart.argmin())]])


def go_over(image: Image, pen: float) -> Image | None:
    """Redraw a digit with a pen of another width, keeping the middle of its strokes.

    `image` is (28, 28), ink 255 on 0; `pen` is the width in its pixels. Pixels within half a pen of
    the ridge of the distance transform become ink. Returns the digit at three times the resolution,
    cropped to its ink, or None if the strokes are so thick that loops have closed.
    """
    x, y, w, h = cv2.boundingRect(cv2.threshold(image, 60, 255, cv2.THRESH_BINARY)[1])
    ink = cv2.copyMakeBorder(image[y : y + h, x : x + w], 2, 2, 2, 2, cv2.BORDER_CONSTANT)
    large = cv2.resize(ink, None, fx=_FINE, fy=_FINE, interpolation=cv2.INTER_CUBIC)
    # The edge of a stroke is where it is half as dark as its middle, so faint strokes stay whole.
    peak = cv2.dilate(large, np.ones((11, 11), np.uint8))
    edge = cv2.convertScaleAbs(peak, alpha=0.55)
    mask = cv2.compare(cv2.blur(large, (3, 3)), np.maximum(edge, 30), cv2.CMP_GT)
    depth = cv2.distanceTransform(mask, cv2.DIST_L2, 3)
    half = max(1.3, pen * _FINE / 2)
    if float(depth.max()) > _BLOT * _FINE:
        return None
    if float(depth.max()) > half:
        reach = 2 * int(half + 1.5) + 1
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
        ridge = cv2.dilate(depth, disc)
        mask = mask & cv2.compare(cv2.subtract(ridge, depth), half, cv2.CMP_LT)  # type: ignore[call-overload]
    return cut_to_ink(np.asarray(mask, np.uint8))


def cut_to_ink(image: Image) -> Image:
    """Crop an image to its ink."""
    x, y, w, h = cv2.boundingRect(cv2.threshold(image, 60, 255, cv2.THRESH_BINARY)[1])
    return image[y : y + h, x : x + w] if w else image


def _by_writer(digits: DigitSet) -> list[list[NDArray[np.intp]]]:
    """Return, for each writer, the indices of each of the ten digits."""
    if digits.writers is None:
        return []
    order = np.argsort(digits.writers, kind="stable")
    starts = np.flatnonzero(np.diff(digits.writers[order], prepend=-1))
    groups = [group for group in np.split(order, starts[1:]) if len(group) >= _POOL_WRITERS]
    return [[group[digits.labels[group] == digit] for digit in range(10)] for group in groups]


def _styles(images: Image) -> Floats:
    """Return the slant and the weight of each image, (n, 2), in comparable units."""
    out = np.empty((len(images), 2), np.float32)
    rows = np.arange(images.shape[1], dtype=np.float32)
    for start in range(0, len(images), 4096):
        part = images[start : start + 4096].astype(np.float32) / 255
        mass = part.sum(axis=(1, 2)) + 1e-6
        y = (part.sum(axis=2) @ rows) / mass
        x = (part.sum(axis=1) @ rows) / mass
        dy = rows[None, :] - y[:, None]
        dx = rows[None, :] - x[:, None]
        across = np.einsum("nij,ni,nj->n", part, dy, dx)
        down = np.einsum("nij,ni->n", part, dy**2) + 1e-6
        out[start : start + 4096, 0] = np.clip(across / down, -1, 1)
        out[start : start + 4096, 1] = mass / 40
    return out
