"""Strips of separate handwritten digits with known content, for measuring the glyph reader."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.imageops import interpolation
from pipeline.types import Image

Shadow = Literal["none", "gradient", "edge"]

PAPER, INK = 232.0, 48.0  # grey levels of paper and of full ink before shadow and noise


def compose_strip(
    digits: Sequence[Image],
    height: float,
    rng: np.random.Generator,
    *,
    noise: float = 0.0,
    shadow: Shadow = "none",
    dark_paper: bool = False,
    height_spread: float = 0.0,
    gap: tuple[float, float] = (0.12, 0.5),
) -> Image:
    """Return a (h, w) strip with `digits` side by side, each (28, 28) uint8 with bright ink on 0.

    `height`, in pixels, is that of MNIST's frame of 28 rows, of which a digit fills at most 20.
    `gap` is the white space between neighbours and `height_spread` the spread of sizes, both as a
    share of `height`. `noise` is the standard deviation of Gaussian noise in grey levels, added
    after the shadow.
    """
    sized = []
    for digit in digits:
        scale = height * (1 + rng.uniform(-height_spread, height_spread)) / digit.shape[0]
        ys, xs = np.nonzero(digit > 40)
        ink = digit[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1]
        rows, columns = ink.shape
        size = (max(1, round((columns + 2) * scale)), max(1, round((rows + 2) * scale)))
        resized = cv2.resize(np.pad(ink, 1), size, interpolation=interpolation(scale))
        sized.append(np.asarray(resized, np.uint8))
    margin = max(3, round(0.3 * height))
    tallest = max(ink.shape[0] for ink in sized)
    rows = tallest + 2 * margin + round(0.15 * height)
    gaps = [max(2, round(rng.uniform(*gap) * height)) for _ in sized]
    columns = sum(ink.shape[1] for ink in sized) + sum(gaps) + 2 * margin
    cover = np.zeros((rows, columns), np.float32)
    x = margin
    for ink, space in zip(sized, gaps, strict=True):
        y = margin + (tallest - ink.shape[0]) + round(rng.uniform(0, 0.15) * height)
        cover[y : y + ink.shape[0], x : x + ink.shape[1]] = ink / 255
        x += ink.shape[1] + space
    return develop(cover, rng, noise=noise, shadow=shadow, dark_paper=dark_paper)


def develop(
    cover: NDArray[np.float32],
    rng: np.random.Generator,
    *,
    noise: float = 0.0,
    shadow: Shadow = "none",
    dark_paper: bool = False,
) -> Image:
    """Return the scan of `cover` (0 paper to 1 ink), with shadow and noise."""
    paper, ink = (INK, PAPER) if dark_paper else (PAPER, INK)
    grey = paper + (ink - paper) * cover
    if shadow != "none":
        rows, columns = cover.shape
        grey = grey * shade(rows, columns, shadow, rng)
    if noise:
        grey = grey + rng.normal(0, noise, grey.shape)
    developed: Image = np.clip(np.rint(grey), 0, 255).astype(np.uint8)
    return developed


def shade(
    rows: int, columns: int, shadow: Shadow, rng: np.random.Generator, depth: float = 0.5
) -> NDArray[np.float64]:
    """Return the share of light that reaches each pixel, (rows, columns) of 1 - `depth` to 1."""
    # A shadow crosses the page at a random angle; its edge is soft over a tenth of the width.
    angle = rng.uniform(-0.6, 0.6)
    along = (
        np.linspace(0, 1, columns)[None, :] + angle * np.linspace(0, rows / columns, rows)[:, None]
    )
    if shadow == "edge":
        along = 1 / (1 + np.exp(-(along - rng.uniform(0.3, 0.7)) * 40))
    if rng.random() < 0.5:
        along = 1 - along
    return 1 - depth * np.clip(along, 0, 1)
