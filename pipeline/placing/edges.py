"""The edges of a template's frames as points, and masks of lines to look such points up in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.geometry import Matrix, transform_points
from pipeline.types import Box, Image

SAMPLES: Final = 12  # points looked at on each edge of a frame
COARSE: Final = 7  # pixels that a line may lie off a first guess of where it is
FINE: Final = 3  # pixels that it may lie off in the end

_ALIKE: Final = 0.08  # by which the sides of frames that look alike may differ, as logarithms


@dataclass(frozen=True, slots=True)
class Edges:
    """Edges of frames that run one way, as points on them: (edges, samples, 2), x before y."""

    points: NDArray[np.float64]
    across: (
        int  # the coordinate in which such an edge is thin: 1 for horizontal ones, 0 for vertical
    )


@dataclass(frozen=True, slots=True)
class FrameEdges:
    """The horizontal and the vertical edges of frames; one that two frames share is there once.

    `of_frame` is (frames, 4): which edges are the top, the bottom, the left and the right of each
    frame, the vertical ones counted on from the horizontal ones.
    """

    ways: tuple[Edges, Edges]
    of_frame: NDArray[np.intp]

    @property
    def count(self) -> int:
        return sum(len(way.points) for way in self.ways)


@dataclass(frozen=True, slots=True)
class PaddedMask:
    """A mask of lines with a blank rim around it, flat, so that points may be looked up.

    A point beyond the rim is looked up at its outer edge.
    """

    pixels: Image  # (height * width,) of 0 or 1
    width: int
    rim: int
    last: tuple[int, int]  # the largest x and y that may be looked up

    def at(self, x: NDArray[np.intp], y: NDArray[np.intp], *, reach: int = 0) -> NDArray[np.intp]:
        """Return the indices of points of the page, of which neighbours up to `reach` exist."""
        rim = self.rim - reach
        # Of few points, np.clip takes four times as long.
        x = np.minimum(np.maximum(x, -rim), self.last[0] - reach)
        y = np.minimum(np.maximum(y, -rim), self.last[1] - reach)
        index: NDArray[np.intp] = (y + self.rim) * self.width + (x + self.rim)
        return index


def find_edges(frames: Sequence[Box], to_units: Matrix) -> FrameEdges:
    """Return the edges of frames, which `to_units` brings to the units that points are in."""
    # The corners are left out: there lines of the other direction begin.
    steps = (np.arange(SAMPLES) + 0.5) / SAMPLES
    tops = [(box.x, box.x + box.w, box.y) for box in frames]
    bottoms = [(box.x, box.x + box.w, box.y + box.h) for box in frames]
    lefts = [(box.y, box.y + box.h, box.x) for box in frames]
    rights = [(box.y, box.y + box.h, box.x + box.w) for box in frames]
    horizontal, vertical = sorted({*tops, *bottoms}), sorted({*lefts, *rights})
    a, b, c = np.array(horizontal).T[..., None]
    flat = np.stack(np.broadcast_arrays(a + (b - a) * steps, c), axis=-1)
    a, b, c = np.array(vertical).T[..., None]
    tall = np.stack(np.broadcast_arrays(c, a + (b - a) * steps), axis=-1)
    first = {edge: number for number, edge in enumerate(horizontal)}
    second = {edge: number + len(horizontal) for number, edge in enumerate(vertical)}
    of_frame = [
        (first[top], first[bottom], second[left], second[right])
        for top, bottom, left, right in zip(tops, bottoms, lefts, rights, strict=True)
    ]
    return FrameEdges(
        (
            Edges(transform_points(to_units, flat).reshape(-1, SAMPLES, 2), 1),
            Edges(transform_points(to_units, tall).reshape(-1, SAMPLES, 2), 0),
        ),
        np.array(of_frame, np.intp),
    )


def look_alike(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Say which frames have about the same size. Both are (..., 2): widths and heights."""
    return np.asarray((np.abs(np.log(one) - np.log(other)) <= _ALIKE).all(axis=-1))


def pad(mask: Image) -> PaddedMask:
    """Return a mask, (h, w) of 0 or 1, with a rim around it."""
    rim = 2 * COARSE + 2
    height, width = mask.shape
    pixels = cv2.copyMakeBorder(mask, rim, rim, rim, rim, cv2.BORDER_CONSTANT, value=0)
    last = (width + rim - 1, height + rim - 1)
    return PaddedMask(np.asarray(pixels, np.uint8).ravel(), width + 2 * rim, rim, last)


def near_points(mask: PaddedMask, places: NDArray[np.intp], across: int, reach: int) -> Image:
    """Return the pixels of a mask up to `reach` to either side of places, (2 reach + 1, places)."""
    index = mask.at(places[..., 0], places[..., 1], reach=reach).ravel()
    steps = np.arange(-reach, reach + 1) * (mask.width if across == 1 else 1)
    pixels: Image = mask.pixels[steps[:, None] + index]
    return pixels


def offsets(
    mask: PaddedMask, at: NDArray[np.float64], across: int, reach: int
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Look for a line near each point: return how far off it lies, and whether there is one.

    Both are (edges, samples).
    """
    places = np.rint(at).astype(np.intp)
    seen = near_points(mask, places, across, reach)
    steps = np.arange(-reach, reach + 1)
    total, moment = np.stack([np.ones(len(steps)), steps]) @ seen.astype(np.float64)
    off = (moment / np.maximum(total, 1)).reshape(places.shape[:-1])
    return places[..., across] + off - at[..., across], (total > 0).reshape(off.shape)
