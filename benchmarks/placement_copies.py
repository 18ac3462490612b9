"""Copies of pages as scanners and hands spoil them, with where each part of the page went."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.geometry import (
    Matrix,
    Points,
    corners,
    invert,
    rotation,
    scaling,
    transform_points,
    translation,
)
from pipeline.types import Box, Image

KINDS = ("cut", "slid", "scaled", "turned", "shadowed", "folded", "dark", "faint")
SIDES = ("left", "top", "right", "bottom")


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of the original and the transform from its pixels to those of the copy."""

    part: Box
    matrix: Matrix


@dataclass(frozen=True, slots=True)
class Copy:
    """A spoilt copy. `hidden` is a mask, (h, w), of what is covered or lost, 0 where it is seen."""

    kind: str
    note: str
    grey: Image
    pieces: tuple[Piece, ...]
    hidden: Image | None = None

    def place_of(self, box: Box) -> Points | None:
        """Return the corners of a box of the original, (4, 2), or None if not all of it is seen."""
        height, width = self.grey.shape
        for piece in self.pieces:
            part = piece.part
            if (
                min(box.x - part.x, box.y - part.y) < -1
                or box.x + box.w > part.x + part.w + 1
                or box.y + box.h > part.y + part.h + 1
            ):
                continue
            quad = transform_points(piece.matrix, corners(box))
            if (quad < -2).any() or (quad > (width + 2, height + 2)).any():
                return None
            if self.hidden is not None:
                region = np.zeros_like(self.hidden)
                cv2.fillConvexPoly(region, np.rint(quad).astype(np.int32), 1)
                if (region & self.hidden).any():
                    return None
            return quad
        return None


def copies(grey: Image, pitch: float, count: int, rng: np.random.Generator) -> Iterator[Copy]:
    """Yield `count` spoilt copies of a page, (h, w) grey, of every kind in turn.

    `pitch` is the distance of its rows in pixels: some copies are slid or folded by just that.
    """
    paper = int(np.median(grey[::8, ::8]))
    ways = {
        "cut": lambda: _cut(grey, paper, rng),
        "slid": lambda: _slid(grey, paper, pitch, rng),
        "scaled": lambda: _scaled(grey, paper, rng),
        "turned": lambda: _turned(grey, paper, rng),
        "shadowed": lambda: _shadowed(grey, rng),
        "folded": lambda: _folded(grey, paper, pitch, rng),
        "dark": lambda: _dark(grey, rng),
        "faint": lambda: _faint(grey, paper, rng),
    }
    # A third of all are cut: that is where most goes wrong.
    order = ("cut", *KINDS[:4], "cut", *KINDS[4:], "cut", "slid")
    for number in range(count):
        yield ways[order[number % len(order)]]()


def _whole(grey: Image) -> Box:
    return Box(0, 0, grey.shape[1], grey.shape[0])


def _moved(
    kind: str, note: str, grey: Image, matrix: Matrix, size: tuple[int, int], paper: int
) -> Copy:
    """Return a copy of (width, height) under a transform of pixels' corners."""
    half = translation(0.5, 0.5)
    flags = cv2.INTER_AREA if np.linalg.det(matrix[:2, :2]) < 1 else cv2.INTER_LINEAR
    shown = grey
    shrink = float(np.sqrt(abs(np.linalg.det(matrix[:2, :2]))))
    inner = matrix
    if shrink < 0.95:  # warpAffine does not average
        small = (max(1, round(grey.shape[1] * shrink)), max(1, round(grey.shape[0] * shrink)))
        shown = np.asarray(cv2.resize(grey, small, interpolation=flags), np.uint8)
        inner = matrix @ scaling(grey.shape[1] / small[0], grey.shape[0] / small[1])
    warp = invert(half) @ inner @ half
    moved = cv2.warpAffine(shown, warp[:2], size, flags=cv2.INTER_LINEAR, borderValue=paper)
    return Copy(kind, note, np.asarray(moved, np.uint8), (Piece(_whole(grey), matrix),))


def _cut(grey: Image, paper: int, rng: np.random.Generator) -> Copy:
    """Cut 5 to 60 % off a side, or some off two; what is lost may be padded with white or black."""
    height, width = grey.shape
    side = str(rng.choice(SIDES))
    share = float(rng.uniform(0.05, 0.6))
    edges = {"left": 0, "top": 0, "right": width, "bottom": height}
    also = str(rng.choice([s for s in SIDES if s != side])) if rng.random() < 0.25 else None
    lean = rotation(float(rng.uniform(-1.5, 1.5)), (width / 2, height / 2))
    turned = _moved("cut", "", grey, lean, (width, height), paper).grey
    for which, part in ((side, share), (also, float(rng.uniform(0.03, 0.3)))):
        if which is not None:
            length = width if which in ("left", "right") else height
            edges[which] += round(part * length) * (1 if which in ("left", "top") else -1)
    left, top, right, bottom = (edges[s] for s in SIDES)
    note = f"{share:.0%} of the {side}" + (f" and some of the {also}" if also else "")
    fill = rng.choice(["none", "none", "none", "paper", "black"])
    if fill == "none":
        kept = np.ascontiguousarray(turned[top:bottom, left:right])
        matrix = translation(-left, -top) @ lean
        return Copy("cut", note, kept, (Piece(_whole(grey), matrix),))
    hidden = np.ones_like(turned)
    hidden[top:bottom, left:right] = 0
    kept = np.where(hidden == 1, np.uint8(paper if fill == "paper" else 0), turned)
    note += f", padded with {fill}"
    return Copy("cut", note, kept, (Piece(_whole(grey), lean),), hidden)


def _slid(grey: Image, paper: int, pitch: float, rng: np.random.Generator) -> Copy:
    """Move the page by whole rows or by anything up to a quarter; a quarter turn may follow."""
    height, width = grey.shape
    if rng.random() < 0.5:
        rows = int(rng.choice([-3, -2, -1, 1, 2, 3]))
        shift, note = (float(rng.uniform(-0.02, 0.02)) * width, rows * pitch), f"by {rows} rows"
    else:
        shift = tuple(float(rng.uniform(-0.25, 0.25)) * side for side in (width, height))
        note = f"by {shift[0] / width:.0%}, {shift[1] / height:.0%}"
    return _moved("slid", note, grey, translation(*shift), (width, height), paper)


def _scaled(grey: Image, paper: int, rng: np.random.Generator) -> Copy:
    """Change the resolution, or make the page smaller or larger on its sheet."""
    height, width = grey.shape
    zoom = float(rng.uniform(0.5, 1.6))
    size = (round(width * zoom), round(height * zoom))
    stretch = float(rng.uniform(0.98, 1.02))
    shrink = float(rng.uniform(0.7, 1.15))
    matrix = (
        translation(size[0] / 2, size[1] / 2)
        @ scaling(zoom * shrink * stretch, zoom * shrink)
        @ translation(-width / 2, -height / 2)
    )
    note = f"to {zoom:.0%}, on its sheet to {shrink:.0%}"
    return _moved("scaled", note, grey, matrix, size, paper)


def _turned(grey: Image, paper: int, rng: np.random.Generator) -> Copy:
    """Turn by up to 5 degrees, and in two of three by quarter turns as well."""
    height, width = grey.shape
    quarters, lean = int(rng.integers(0, 4)), float(rng.uniform(-5, 5))
    size = (height, width) if quarters % 2 else (width, height)
    matrix = (
        translation(size[0] / 2, size[1] / 2)
        @ rotation(90 * quarters + lean)
        @ translation(-width / 2, -height / 2)
    )
    return _moved("turned", f"by {90 * quarters + lean:.1f}°", grey, matrix, size, paper)


def _shadowed(grey: Image, rng: np.random.Generator) -> Copy:
    """Lay a soft shadow over one side; in its core 12 to 60 % of the light is left."""
    height, width = grey.shape
    down, across = np.mgrid[0:1:64j, 0:1:64j]
    angle = float(rng.uniform(0, 2 * np.pi))
    along = (across - 0.5) * np.cos(angle) + (down - 0.5) * np.sin(angle)
    edge, soft = float(rng.uniform(-0.2, 0.4)), float(rng.uniform(0.02, 0.3))
    left = float(rng.uniform(0.12, 0.6))
    light = 1 - (1 - left) / (1 + np.exp(-(along - edge) / soft * 4))
    light = cv2.resize(light, (width, height), interpolation=cv2.INTER_LINEAR)
    return _lit("shadowed", f"{left:.0%} of the light in the shadow", grey, light, rng)


def _dark(grey: Image, rng: np.random.Generator) -> Copy:
    """Take light away from the whole page: 10 to 60 % is left."""
    left = float(rng.uniform(0.1, 0.6))
    return _lit("dark", f"{left:.0%} of the light", grey, np.float64(left), rng)


def _faint(grey: Image, paper: int, rng: np.random.Generator) -> Copy:
    """Take contrast away: the ink keeps 4 to 40 % of its own."""
    left = float(rng.uniform(0.04, 0.4))
    pale = paper - (paper - grey.astype(np.float64)) * left
    noise = rng.normal(0, float(rng.uniform(0, 2)), grey.shape)
    shown = np.clip(np.rint(pale + noise), 0, 255).astype(np.uint8)
    return Copy("faint", f"{left:.0%} of the contrast", shown, (Piece(_whole(grey), np.eye(3)),))


def _lit(
    kind: str,
    note: str,
    grey: Image,
    light: NDArray[np.float64] | np.float64,
    rng: np.random.Generator,
) -> Copy:
    noise = rng.normal(0, float(rng.uniform(0, 2)), grey.shape)
    shown = np.clip(np.rint(grey * light + noise), 0, 255).astype(np.uint8)
    return Copy(kind, note, shown, (Piece(_whole(grey), np.eye(3)),))


def _folded(grey: Image, paper: int, pitch: float, rng: np.random.Generator) -> Copy:
    """Fold a corner over, or fold a strip away: what is below it comes up to what is above."""
    height, width = grey.shape
    if rng.random() < 0.5:
        size = rng.uniform(0.1, 0.6, 2) * (width, height)
        corner = rng.integers(0, 2, 2)
        origin = corner * (width, height)
        inward = 1 - 2 * corner
        triangle = np.array(
            [origin, origin + inward * (size[0], 0), origin + inward * (0, size[1])]
        )
        hidden = np.zeros_like(grey)
        cv2.fillConvexPoly(hidden, np.rint(triangle).astype(np.int32), 1)
        shown = np.where(hidden == 1, np.uint8(max(0, paper - 6)), grey)
        crease = np.rint(triangle[1:]).astype(np.int32)
        cv2.line(shown, crease[0].tolist(), crease[1].tolist(), max(0, paper - 60), 2)
        return Copy("folded", "a corner", shown, (Piece(_whole(grey), np.eye(3)),), hidden)
    lost = round(pitch) if rng.random() < 0.4 else int(rng.uniform(0.01, 0.09) * height)
    at = int(rng.uniform(0.1, 0.85) * height)
    lower = grey[at + lost :]
    blank = np.full((height - at - len(lower), width), paper, np.uint8)
    shown = np.concatenate([grey[:at], lower, blank])
    shown[at : at + 2] = np.minimum(shown[at : at + 2], max(0, paper - 50))
    pieces = (
        Piece(Box(0, 0, width, at), np.eye(3)),
        Piece(Box(0, at + lost, width, height - at - lost), translation(0, -lost)),
    )
    return Copy("folded", f"{lost} pixels away at {at / height:.0%}", shown, pieces)
