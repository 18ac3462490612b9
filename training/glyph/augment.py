"""Augment normalised glyphs at random, so that the CNN meets unseen hands and scans.

The images of a batch are stacked into one tall image and changed together, in a few OpenCV calls.
These release the interpreter lock, so worker threads help.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.types import Image

Floats = NDArray[np.float32]

_SIDE = 28
_RIM = 8  # pixels of 0 around each image, so that no neighbour in the stack reaches into it
_CELL = _SIDE + 2 * _RIM
_FINE = 2  # binary scans are imitated at this multiple of the resolution
_GRID = 6  # knots of the elastic field along a side
_STACK = 256  # images in a stack: OpenCV maps at most 32,767 rows


@dataclass(frozen=True, slots=True)
class Augment:
    """The bounds of each random change, drawn uniformly (elastic: from a Gaussian)."""

    rotation: float = 13.0  # degrees, either way
    zoom: float = 0.12  # share of the size; the axes differ a little
    shift: float = 2.0  # pixels
    shear: float = 0.25  # pixels of x for each pixel of y: the slant of the writing
    elastic: float = 0.75  # pixels, standard deviation of the knots (Simard et al. 2003)
    thicken: float = 0.6  # share of the way to the image dilated by 3 x 3
    thin: float = 0.4  # share of the way to the image eroded by 2 x 2
    binary: float = 0.4  # share of the images that pass through a threshold
    dropout: float = 0.08  # share of the images with a spot wiped out or a speck added

    def __call__(self, images: Image, rng: np.random.Generator) -> Image:
        """Augment (n, 28, 28) uint8 glyphs. The same generator state gives the same result."""
        parts = [
            self._stack(images[start : start + _STACK], rng)
            for start in range(0, len(images), _STACK)
        ]
        return np.concatenate(parts) if parts else images.copy()

    def scaled(self, factor: float) -> Augment:
        """Return these bounds and shares multiplied by `factor`."""
        return Augment(**{name: factor * bound for name, bound in asdict(self).items()})

    def _stack(self, images: Image, rng: np.random.Generator) -> Image:
        count = len(images)
        cells = np.zeros((count, _CELL, _CELL), np.uint8)
        cells[:, _RIM:-_RIM, _RIM:-_RIM] = images
        cells = self._restroke(cells, rng)
        across, down = self._places(count, rng)
        down += (np.arange(count, dtype=np.float32) * _CELL)[:, None, None]
        tall = cv2.remap(
            cells.reshape(count * _CELL, _CELL),
            across.reshape(count * _SIDE * _FINE, -1),
            down.reshape(count * _SIDE * _FINE, -1),
            cv2.INTER_LINEAR,
        )
        fine = np.asarray(tall, np.uint8).reshape(count, _SIDE * _FINE, _SIDE * _FINE)
        out = self._scan(fine, rng)
        self._spot(out, rng)
        return out

    def _restroke(self, cells: Image, rng: np.random.Generator) -> Image:
        """Make strokes thicker or thinner."""
        count = len(cells)
        tall = cells.reshape(count * _CELL, _CELL)
        thick = cv2.dilate(tall, np.ones((3, 3), np.uint8)).reshape(cells.shape)
        thin = cv2.erode(tall, np.ones((2, 2), np.uint8)).reshape(cells.shape)
        amount = rng.uniform(-1, 1, count).astype(np.float32)
        more = np.clip(amount, 0, 1)[:, None, None] * np.float32(self.thicken)
        less = np.clip(-amount, 0, 1)[:, None, None] * np.float32(self.thin)
        kept = np.float32(1) - more - less
        return np.asarray(kept * cells + more * thick + less * thin, np.uint8)

    def _places(self, count: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """Return where in its cell each fine pixel is sampled: two (n, 56, 56) arrays, x and y."""

        def draw(bound: float) -> Floats:
            return rng.uniform(-bound, bound, (count, 1, 1)).astype(np.float32)

        turn = np.deg2rad(draw(self.rotation))
        both = draw(self.zoom)
        wide = 1 / (1 + both + draw(self.zoom / 3))
        tall = 1 / (1 + both + draw(self.zoom / 3))
        slant = draw(self.shear)
        middle = np.float32((_SIDE - 1) / 2)
        side = (np.arange(_SIDE * _FINE, dtype=np.float32) + 0.5) / _FINE - 0.5 - middle
        x, y = side[None, None, :], side[None, :, None]
        u = wide * (np.cos(turn) * x - np.sin(turn) * y) + slant * y
        v = tall * (np.sin(turn) * x + np.cos(turn) * y)
        knots = rng.normal(0, self.elastic, (2, count, _GRID, _GRID)).astype(np.float32)
        bend = np.einsum("ia,knab,jb->knij", _SPREAD, knots, _SPREAD, optimize=True)
        u = u + bend[0] + draw(self.shift) + middle + _RIM
        v = v + bend[1] + draw(self.shift) + middle + _RIM
        limit = np.float32(_CELL - 1)  # the next image of the stack begins there
        return np.clip(u, 0, limit, dtype=np.float32), np.clip(v, 0, limit, dtype=np.float32)

    def _scan(self, fine: Image, rng: np.random.Generator) -> Image:
        """Reduce to 28 x 28, and pass some images through the threshold of a binary scan.

        Most of those are thresholded before the reduction (a large digit in a sharp scan), the
        others after it (a digit as small as the CNN's own grid).
        """
        count = len(fine)
        kind = rng.uniform(0, 1, count)
        # Relative to the brightness of the strokes (a mean weighted by itself), so that pencil
        # strokes do not break.
        total = fine.sum(axis=(1, 2), dtype=np.float32)
        squares = np.einsum("nij,nij->n", fine, fine, dtype=np.float32)
        strokes = squares / np.maximum(total, 1)
        level = (strokes * rng.uniform(0.35, 0.75, count)).astype(np.uint8)[:, None, None]
        sharp = kind < self.binary * 0.65
        hard = (kind >= self.binary * 0.65) & (kind < self.binary)
        fine[sharp] = np.where(fine[sharp] > level[sharp], 255, 0)
        tall = fine.reshape(count * _SIDE * _FINE, -1)
        out = cv2.resize(tall, (_SIDE, count * _SIDE), interpolation=cv2.INTER_AREA)
        out = np.asarray(out, np.uint8).reshape(count, _SIDE, _SIDE)
        out[hard] = np.where(out[hard] > level[hard], 255, 0)
        return out

    def _spot(self, images: Image, rng: np.random.Generator) -> None:
        """Break a stroke in some images, or leave a speck beside it."""
        chosen = np.flatnonzero(rng.uniform(0, 1, len(images)) < self.dropout)
        for index in chosen:
            x, y = rng.integers(4, 24, 2)
            side = int(rng.integers(1, 4))
            images[index, y : y + side, x : x + side] = 0 if rng.uniform() < 0.6 else 255


def _spread() -> Floats:
    """Return the (56, 6) cubic interpolation from the knots of the field to every fine pixel."""
    identity = np.eye(_GRID, dtype=np.float32)
    size = (_GRID, _SIDE * _FINE)
    return np.asarray(cv2.resize(identity, size, interpolation=cv2.INTER_CUBIC), np.float32)


_SPREAD = _spread()
