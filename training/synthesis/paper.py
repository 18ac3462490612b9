"""Blank paper: fibres, tint and guilloche, computed from a seed and so free of rights."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Colour = tuple[int, int, int]  # red, green, blue
Picture = NDArray[np.uint8]  # (height, width, 3), red green blue


def blank_paper(height: int, width: int, tint: Colour, rng: np.random.Generator) -> Picture:
    """Return paper, (height, width, 3) uint8: `tint` with cloudy unevenness and short fibres."""
    clouds = np.zeros((height, width), np.float32)
    for cells, weight in ((4, 2.0), (24, 1.2), (120, 0.8)):
        coarse = rng.standard_normal((cells, cells * width // height + 1)).astype(np.float32)
        clouds += weight * cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    fibres = np.zeros((height, width), np.uint8)
    for _ in range(height * width // 4000):
        x, y = rng.integers(width), rng.integers(height)
        angle, length = rng.uniform(0, np.pi), rng.uniform(6, 22)
        end = (int(x + length * np.cos(angle)), int(y + length * np.sin(angle)))
        cv2.line(fibres, (int(x), int(y)), end, int(rng.integers(20, 90)), 1, cv2.LINE_AA)
    shade = clouds - fibres.astype(np.float32) / 18
    return np.clip(np.array(tint, np.float32) + shade[..., None], 0, 255).astype(np.uint8)


def guilloche(picture: Picture, colour: Colour, rng: np.random.Generator, *, depth: float) -> None:
    """Print the fine wave pattern of security paper over `picture`, in place.

    Bands of phase-shifted waves and two rosettes, as an engine-turning lathe draws them.
    `depth` (0 to 1) is how much of `colour` shows.
    """
    height, width = picture.shape[:2]
    lines = np.zeros((height, width), np.uint8)
    x = np.linspace(0, width, width // 3)
    spacing = height / 14
    long, short = rng.uniform(0.8, 1.3) * width / 3, rng.uniform(0.8, 1.2) * width / 11
    for band in range(-1, 16):
        for strand in range(4):
            phase = strand * np.pi / 4 + band * 0.5
            y = (
                band * spacing
                + 0.8 * spacing * np.sin(2 * np.pi * x / long + phase)
                + 0.35 * spacing * np.sin(2 * np.pi * x / short + 2 * phase)
            )
            _curve(lines, x, y)
    turn = np.linspace(0, 2 * np.pi, 900)
    for centre_x, centre_y, radius in ((0.30, 0.52, 0.33), (0.80, 0.62, 0.24)):
        petals = int(rng.integers(7, 12))
        for ring in range(9):
            r = height * radius * (0.35 + 0.07 * ring + 0.13 * np.sin(petals * turn + ring * 0.35))
            _curve(lines, width * centre_x + r * np.cos(turn), height * centre_y + r * np.sin(turn))
    strength = (lines.astype(np.float32) / 255 * depth)[..., None]
    mixed = picture * (1 - strength) + np.array(colour, np.float32) * strength
    picture[:] = mixed.astype(np.uint8)


def _curve(lines: NDArray[np.uint8], x: NDArray[np.float64], y: NDArray[np.float64]) -> None:
    points = np.round(np.stack([x, y], axis=1) * 8).astype(np.int32)  # eighths of a pixel
    cv2.polylines(lines, [points], False, 255, 1, cv2.LINE_AA, shift=3)
