"""Handwriting for pages: real MNIST digits as pen strokes, and a meaningless signature."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from core.errors import ConfigError
from pipeline.imageops import interpolation
from pipeline.types import Box, Image
from training.synthesis.paper import Colour, Picture


@dataclass(frozen=True, slots=True)
class DigitSet:
    """Digits to write with: `images` (n, 28, 28) uint8, ink 255 on 0; `labels` (n,)."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def pick(self, digit: str, rng: np.random.Generator) -> Image:
        """Return one image of `digit`, cropped to its ink."""
        image: Image = self.images[rng.choice(np.flatnonzero(self.labels == int(digit)))]
        ys, xs = np.nonzero(image > 40)
        return image[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1]


def load_mnist(folder: Path, *, part: str = "test") -> DigitSet:
    """Load MNIST's training or test digits from `mnist.npz`. Raises ConfigError without it."""
    path = folder / "mnist.npz"
    if not path.is_file():
        raise ConfigError(f"There is no {path}.", hint="Name the folder that holds mnist.npz.")
    with np.load(path) as file:
        return DigitSet(file[f"x_{part}"], file[f"y_{part}"].astype(np.int64))


@dataclass(frozen=True, slots=True)
class Pen:
    colour: Colour
    width: float = 1.0  # 1 keeps MNIST's strokes; less makes a finer pen


def write_digits(
    picture: Picture, text: str, box: Box, digits: DigitSet, pen: Pen, rng: np.random.Generator
) -> None:
    """Write `text` into `box` in place: left aligned, two thirds of its height or smaller."""
    glyphs = [digits.pick(digit, rng) for digit in text]
    height = box.h * rng.uniform(0.60, 0.68)
    gap, start = rng.uniform(0.16, 0.30), rng.uniform(0.25, 0.5)  # in heights
    needed = start + sum(glyph.shape[1] / glyph.shape[0] * 1.05 + gap for glyph in glyphs)
    height = min(height, 0.97 * box.w / needed)
    x = box.x + height * start
    for glyph in glyphs:
        y = box.y + (box.h - height) / 2 + rng.normal(0, 0.03) * height
        x += gap * height + _write_glyph(picture, glyph, x, y, height, pen, rng)


def write_comb(
    picture: Picture, text: str, box: Box, digits: DigitSet, pen: Pen, rng: np.random.Generator
) -> None:
    """Write the digits of `text` into the equal cells of `box`, one into each."""
    cell = box.w / len(text)

    def fits(glyph: Image) -> float:
        return float(0.8 * cell * glyph.shape[0] / glyph.shape[1])

    for i, digit in enumerate(text):
        height = box.h * rng.uniform(0.60, 0.70)
        wide = height * 0.62  # about the width of a digit; a 1 stays left of the middle
        x = box.x + i * cell + (cell - wide) / 2 + rng.normal(0, 0.03) * cell
        y = box.y + (box.h - height) / 2 + rng.normal(0, 0.03) * height
        glyph = digits.pick(digit, rng)
        _write_glyph(picture, glyph, x, y, min(height, fits(glyph)), pen, rng)


def _write_glyph(
    picture: Picture,
    glyph: Image,
    x: float,
    y: float,
    height: float,
    pen: Pen,
    rng: np.random.Generator,
) -> float:
    """Write one glyph, cropped to its ink, with its top left at (x, y); return its width."""
    scale = height * rng.uniform(0.95, 1.05) / glyph.shape[0]
    size = (max(3, round(glyph.shape[1] * scale)), max(3, round(glyph.shape[0] * scale)))
    margin = round(4 + scale)
    smooth = cv2.resize(np.pad(glyph, 2), (0, 0), fx=4, fy=4, interpolation=cv2.INTER_CUBIC)
    smooth = cv2.GaussianBlur(smooth, (0, 0), 2.2)
    large = (size[0] + 4 * round(scale), size[1] + 4 * round(scale))
    tall = cv2.resize(smooth, large, interpolation=interpolation(scale / 4))
    tall = np.pad(tall, margin)
    # Make the grey edge crisp: a finer pen thresholds it at a higher level.
    level = 100 + 70 * (1 - pen.width)
    ink = 1 / (1 + np.exp(-(tall.astype(np.float32) - level) / 14))
    uneven = cv2.resize(
        rng.uniform(0.78, 1.0, (5, 4)).astype(np.float32), tall.shape[::-1]
    )  # pressure and ink flow
    ink *= uneven * 0.92
    offset = margin + 2 * round(scale)
    _blend(picture, ink, round(x) - offset, round(y) - offset, pen.colour)
    return float(size[0])


def _blend(
    picture: Picture, ink: NDArray[np.floating], left: int, top: int, colour: Colour
) -> None:
    """Blend `ink` (0 to 1) of `colour` into the picture; ink outside it is dropped."""
    height, width = picture.shape[:2]
    y0, x0 = max(top, 0), max(left, 0)
    y1, x1 = min(top + ink.shape[0], height), min(left + ink.shape[1], width)
    if y1 <= y0 or x1 <= x0:
        return
    part = ink[y0 - top : y1 - top, x0 - left : x1 - left, None]
    under = picture[y0:y1, x0:x1].astype(np.float32)
    # Ink filters the light of the paper: where both are dark, the result is darker.
    over = under * (np.array(colour, np.float32) + 30) / 285
    picture[y0:y1, x0:x1] = (under * (1 - part) + over * part).astype(np.uint8)


def sign(picture: Picture, box: Box, pen: Pen, rng: np.random.Generator) -> None:
    """Draw a signature that fills `box`: a smooth random walk with loops."""
    t = np.linspace(0, 1, 400)
    loops = rng.uniform(5, 8)
    fade = np.interp(t, [0, 0.12, 0.6, 1], [1.0, 0.7, 0.45, 0.15])
    y = 0.5 + 0.42 * fade * np.sin(2 * np.pi * loops * t + rng.uniform(0, 6))
    y += 0.1 * np.sin(2 * np.pi * 1.7 * t + rng.uniform(0, 6))
    x = t * 0.92 + 0.045 * np.cos(2 * np.pi * loops * t + rng.uniform(0, 6)) + 0.04
    points = np.stack([box.x + x * box.w, box.y + y * box.h], axis=1)
    ink = np.zeros(picture.shape[:2], np.uint8)
    eighths = np.round(points * 8).astype(np.int32)
    for i in range(len(points) - 1):
        speed = float(np.hypot(*(points[i + 1] - points[i])))
        cv2.line(
            ink, eighths[i], eighths[i + 1], 255, 3 if speed < box.h / 16 else 2, cv2.LINE_AA, 3
        )
    soft = cv2.GaussianBlur(ink, (0, 0), 0.6).astype(np.float32) / 255 * 0.9
    _blend(picture, soft, 0, 0, pen.colour)
