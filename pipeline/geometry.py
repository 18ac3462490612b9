"""Boxes, transforms and reading order: pure arithmetic, no pixels.

A transform is a (3, 3) float64 matrix that acts on column vectors (x, y, 1); points are arrays
of shape (n, 2). `a @ b` applies `b` first. Angles are degrees, counted from the x axis towards
the y axis, so that a positive angle turns clockwise on the screen.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.types import Box

Points = NDArray[np.float64]
Matrix = NDArray[np.float64]


def translation(dx: float, dy: float) -> Matrix:
    """Return the transform that moves by (dx, dy)."""
    return np.array([[1.0, 0.0, dx], [0.0, 1.0, dy], [0.0, 0.0, 1.0]])


def scaling(sx: float, sy: float | None = None) -> Matrix:
    """Return the transform that scales about the origin, by `sx` in both ways without `sy`."""
    return np.diag([sx, sx if sy is None else sy, 1.0]).astype(np.float64)


def rotation(degrees: float, about: tuple[float, float] = (0.0, 0.0)) -> Matrix:
    """Return the transform that turns clockwise on the screen about a point."""
    sine, cosine = np.sin(np.radians(degrees)), np.cos(np.radians(degrees))
    turn: Matrix = np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])
    moved: Matrix = translation(*about) @ turn @ translation(-about[0], -about[1])
    return moved


def invert(matrix: Matrix) -> Matrix:
    """Return the inverse transform. Raises numpy.linalg.LinAlgError for a degenerate one."""
    inverse = np.linalg.inv(matrix)
    return np.asarray(inverse / inverse[2, 2], np.float64)


def transform_points(matrix: Matrix, points: ArrayLike) -> Points:
    """Map points of shape (n, 2)."""
    flat = np.asarray(points, np.float64).reshape(-1, 2)
    mapped = flat @ matrix[:, :2].T + matrix[:, 2]
    return np.asarray(mapped[:, :2] / mapped[:, 2:], np.float64)


def corners(box: Box) -> Points:
    """Return the four corners, clockwise from the top left, of shape (4, 2)."""
    right, bottom = box.x + box.w, box.y + box.h
    return np.array([[box.x, box.y], [right, box.y], [right, bottom], [box.x, bottom]], np.float64)


def bounding_box(points: ArrayLike) -> Box:
    """Return the smallest upright box around at least one point."""
    flat = np.asarray(points, np.float64).reshape(-1, 2)
    (x, y), (right, bottom) = flat.min(axis=0), flat.max(axis=0)
    return Box(float(x), float(y), float(right - x), float(bottom - y))


def transform_box(matrix: Matrix, box: Box) -> Box:
    """Return the smallest upright box around the mapped box."""
    return bounding_box(transform_points(matrix, corners(box)))


def union(boxes: Iterable[Box]) -> Box:
    """Return the smallest box around at least one box."""
    return bounding_box(np.concatenate([corners(box) for box in boxes]))


def from_fractions(box: Box, outer: Box) -> Box:
    """Return a box that is stated in fractions of `outer` in the coordinates of `outer`."""
    return Box(
        outer.x + box.x * outer.w,
        outer.y + box.y * outer.h,
        box.w * outer.w,
        box.h * outer.h,
    )


def to_fractions(box: Box, outer: Box) -> Box:
    """Return a box in fractions of `outer`, which has an area."""
    return Box(
        (box.x - outer.x) / outer.w,
        (box.y - outer.y) / outer.h,
        box.w / outer.w,
        box.h / outer.h,
    )


def expand(box: Box, dx: float, dy: float) -> Box:
    """Return the box grown by `dx` on the left and right and `dy` on the top and bottom."""
    return Box(box.x - dx, box.y - dy, box.w + 2 * dx, box.h + 2 * dy)


def turn_box(box: Box, turns: int, page: tuple[float, float]) -> Box:
    """Return where a box lies after its page, (width, height), makes quarter turns clockwise."""
    width, height = page
    for _ in range(turns % 4):
        box = Box(height - box.y - box.h, box.x, box.h, box.w)
        width, height = height, width
    return box


def intersection(a: Box, b: Box) -> Box | None:
    """Return what two boxes share, or None where they share no area."""
    x, y = max(a.x, b.x), max(a.y, b.y)
    right, bottom = min(a.x + a.w, b.x + b.w), min(a.y + a.h, b.y + b.h)
    return Box(x, y, right - x, bottom - y) if right > x and bottom > y else None


def iou(a: Box, b: Box) -> float:
    """Return the shared area of two boxes over the area of both, 0 to 1."""
    shared = intersection(a, b)
    if shared is None:
        return 0.0
    area = shared.w * shared.h
    return area / (a.w * a.h + b.w * b.h - area)


def reading_order(boxes: Sequence[Box]) -> list[int]:
    """Return the indices of `boxes` line by line from the top, each line from the left.

    A box is on a line when its vertical middle lies within the box that began the line or the
    other way round, so lines may lean a little and heights may differ.
    """
    lines: list[list[int]] = []
    for index in sorted(range(len(boxes)), key=lambda i: (boxes[i].y + boxes[i].h / 2, i)):
        box = boxes[index]
        middle = box.y + box.h / 2
        for line in reversed(lines):
            first = boxes[line[0]]
            if (
                first.y <= middle <= first.y + first.h
                or box.y <= first.y + first.h / 2 <= box.y + box.h
            ):
                line.append(index)
                break
        else:
            lines.append([index])
    return [i for line in lines for i in sorted(line, key=lambda i: (boxes[i].x, i))]
