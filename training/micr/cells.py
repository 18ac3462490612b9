"""Cells of rendered E-13B lines as the reader cuts them, and cells that hold something else."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from pipeline.imageops import as_image, interpolation
from pipeline.readers.micr import BLANK, CLASSES, OTHER
from pipeline.readers.micr_line import (
    CELL_COLUMNS,
    CELL_ROWS,
    PITCH,
    Cells,
    cut_cells,
    darkness,
    has_ink,
)
from pipeline.types import Image
from training.synthesis.micr import CHARACTERS, random_wear, render_line

Labels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class CellSet:
    """Cells as the reader cuts them, with the characters printed in them."""

    images: Image  # (n, 28, 24), ink 255 on 0
    labels: Labels  # (n,) index into CLASSES

    def __len__(self) -> int:
        return len(self.labels)


def random_text(rng: np.random.Generator) -> str:
    """Return a line in a layout that banks print, or of random characters."""

    def digits(count: int) -> str:
        return "".join(rng.choice(list("0123456789"), count))

    kind = rng.integers(4)
    if kind == 0:
        return f"⑈{digits(6)}⑈ {digits(9)}⑆ {digits(6)}⑈ {digits(2)}"
    if kind == 1:
        amount = f" ⑇{digits(10)}⑇"
        return f"⑆{digits(9)}⑆ {digits(4)}⑉{digits(5)}⑈ {digits(4)}{amount}"
    return "".join(rng.choice([*CHARACTERS, *"⑆⑇⑈⑉", " "], 34))


def render_cells(lines: int, seed: int) -> CellSet:
    """Return the cells of `lines` rendered lines, and others that hold no E-13B character."""
    images, labels = [], []
    for number in range(lines):
        rng = np.random.default_rng([seed, number])
        text = random_text(rng)
        dark, cells, ink = _render(text, rng)
        cut = cut_cells(dark, _jitter(cells, rng), ink)
        known = np.array(
            [CLASSES.index(character if character != BLANK else OTHER) for character in text],
            np.uint8,
        )
        other = _others(dark, cells, ink, text, cut, rng)
        images += [cut, other]
        labels += [known, np.full(len(other), CLASSES.index(OTHER), np.uint8)]
    together, names = np.concatenate(images), np.concatenate(labels)
    inked = has_ink(together)  # the reader classifies inked cells only
    return CellSet(together[inked], names[inked])


def _render(text: str, rng: np.random.Generator) -> tuple[Image, Cells, float]:
    """Return the darkness of a line at the reader's scale, its cells, and how dark full ink is."""
    dpi = float(np.exp(rng.uniform(np.log(80), np.log(320))))
    line = render_line(text, dpi, random_wear(rng), rng)
    scale = rng.uniform(1.9, 3.8) / line.cells.module[0]
    way = interpolation(scale)
    grey = as_image(cv2.resize(line.grey, None, fx=scale, fy=scale, interpolation=way))
    dark = darkness(grey)
    full = float(np.percentile(dark, 98))
    inked = dark[dark > 0.5 * full]
    ink = float(np.percentile(inked, 80)) * rng.uniform(0.85, 1.15) if inked.size else 255.0
    module = line.cells.module[0] * scale
    return dark, Cells(line.cells.corners * scale, (module, module), line.cells.slope), ink


def _jitter(cells: Cells, rng: np.random.Generator) -> Cells:
    """Misplace the cells as far as the search for them does."""
    module = cells.module[0]
    stray = rng.normal(0, 0.35, 2) + rng.normal(0, 0.15, cells.corners.shape)
    across, down = module * rng.normal(1, 0.025, 2)
    return Cells(
        cells.corners + np.clip(stray, -1.2, 1.2) * module,
        (float(across), float(down)),
        cells.slope + rng.normal(0, 0.004),
    )


def _others(
    dark: Image, cells: Cells, ink: float, text: str, cut: Image, rng: np.random.Generator
) -> Image:
    """Return cells of other things: ordinary type, halves, turned characters, wrong sizes."""
    full = np.array([character != " " for character in text])
    between = np.flatnonzero(full[:-1] & full[1:])[:3]
    shift = np.array([rng.uniform(0.36, 0.64) * PITCH * cells.module[0], 0])
    halves = cut_cells(dark, Cells(cells.corners[between] + shift, cells.module, cells.slope), ink)
    # Other characters, turned, look like themselves or each other: a turned 2 is a 5.
    turnable = [i for i, c in enumerate(text) if c in "1467⑇⑈"]
    turned = (
        cut[rng.choice(turnable, min(2, len(turnable)), replace=False)] if turnable else cut[:0]
    )
    turned = turned[:, ::-1, :] if rng.random() < 0.5 else 255 - turned
    factor = rng.choice([rng.uniform(0.45, 0.62), rng.uniform(1.6, 2.2)])
    across, down = cells.module
    sized = Cells(cells.corners[full][:2], (across * factor, down * factor), cells.slope)
    drawn = [_type(rng) for _ in range(3)] + [_scribble(rng) for _ in range(2)]
    return np.concatenate([halves, turned, cut_cells(dark, sized, ink), np.stack(drawn)])


def _type(rng: np.random.Generator) -> Image:
    """Return a cell with a letter, part of a word, or a digit in ordinary type."""
    picture = Pillow.new("L", (CELL_COLUMNS * 2, CELL_ROWS * 2), 0)
    signs = "ABCDEFGHJKLMNPQRSTUVWXYZabdefghkmnpqrstuvwxyz023456789&@%#$"
    word = "".join(rng.choice(list(signs), int(rng.integers(1, 4))))
    place = (float(rng.uniform(-6, 14)), float(rng.uniform(-6, 14)))
    font = ImageFont.load_default(float(rng.uniform(28, 60)))
    ImageDraw.Draw(picture).text(place, word, 255, font, stroke_width=float(rng.uniform(0, 1.5)))
    return _soften(np.asarray(picture), rng)


def _scribble(rng: np.random.Generator) -> Image:
    """Return a cell with pen strokes, a ruled line or a blot."""
    shape = np.zeros((CELL_ROWS * 2, CELL_COLUMNS * 2), np.uint8)
    points = rng.integers(-10, 66, (int(rng.integers(2, 7)), 2)).astype(np.int32)
    if rng.random() < 0.2:
        cv2.fillPoly(shape, [points], 255)
    else:
        cv2.polylines(shape, [points], False, 255, int(rng.integers(3, 9)), cv2.LINE_AA)
    return _soften(shape, rng)


def _soften(shape: Image, rng: np.random.Generator) -> Image:
    blurred = cv2.GaussianBlur(shape, (0, 0), float(rng.uniform(0.5, 2.2)))
    soft = cv2.resize(blurred, (CELL_COLUMNS, CELL_ROWS), interpolation=cv2.INTER_AREA)
    noisy = soft * rng.uniform(0.6, 1.1) + rng.normal(8, rng.uniform(1, 14), soft.shape)
    return np.asarray(np.clip(noisy, 0, 255), np.uint8)
