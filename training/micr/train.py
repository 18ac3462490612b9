"""Trains the network of the E-13B reader on rendered lines, and exports it.

    python -m training.micr.train --out runs/micr [--install]

A minute or two on one core. Writes `micr.tflite` (int8) and `micr.json`, its card, into the folder;
`--install` copies both to where the pipeline looks for its bundled weights. Everything it sees is
drawn by `training.synthesis.micr` and goes through the preprocessing of the reader; no scan of a
real cheque has part in it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from core.errors import CounterfoilError
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
from pipeline.readers.runtime import Model, ModelCard
from pipeline.types import Image
from training.cards import PRECISION, card_of, card_text, install
from training.evaluation.metrics import calibration_error
from training.glyph.scores import Score, classifier_bins, fit_temperature
from training.litert import convert_int8, require_tensorflow
from training.synthesis.micr import CHARACTERS, random_wear, render_line

Labels = NDArray[np.uint8]
_BATCH = 128


@dataclass(frozen=True, slots=True)
class Config:
    """How a run is set up."""

    lines: int = 1500
    epochs: int = 8
    seed: int = 1


@dataclass(frozen=True, slots=True)
class CellSet:
    """Cells as the reader cuts them, and what is printed in them."""

    images: Image  # (n, 28, 24), ink 255 on 0
    labels: Labels  # (n,) index into CLASSES

    def __len__(self) -> int:
        return len(self.labels)


def random_text(rng: np.random.Generator) -> str:
    """Return a line as banks print them, or any characters at all."""

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
    """Return the cells of that many rendered lines, with some that hold no character of E-13B."""
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
    inked = has_ink(together)  # the reader asks about no other
    return CellSet(together[inked], names[inked])


def _render(text: str, rng: np.random.Generator) -> tuple[Image, Cells, float]:
    """Return the darkness of a line at the size in which the reader sees it, and its lattice."""
    dpi = float(np.exp(rng.uniform(np.log(80), np.log(320))))
    line = render_line(text, dpi, random_wear(rng), rng)
    scale = rng.uniform(1.9, 3.8) / line.cells.module[0]
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    grey = np.asarray(cv2.resize(line.grey, None, fx=scale, fy=scale, interpolation=way), np.uint8)
    dark = darkness(grey)
    full = float(np.percentile(dark, 98))
    inked = dark[dark > 0.5 * full]
    ink = float(np.percentile(inked, 80)) * rng.uniform(0.85, 1.15) if inked.size else 255.0
    module = line.cells.module[0] * scale
    return dark, Cells(line.cells.corners * scale, (module, module), line.cells.slope), ink


def _jitter(cells: Cells, rng: np.random.Generator) -> Cells:
    """Misplace a lattice as far as the search for it does."""
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
    """Return cells of what else a lattice may meet: type, halves, turned ones, wrong sizes."""
    full = np.array([character != " " for character in text])
    between = np.flatnonzero(full[:-1] & full[1:])[:3]
    shift = np.array([rng.uniform(0.36, 0.64) * PITCH * cells.module[0], 0])
    halves = cut_cells(dark, Cells(cells.corners[between] + shift, cells.module, cells.slope), ink)
    # The others come out as themselves or as each other: a 2 on its head is a 5.
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
    """Return a cell with a letter, a word's part or a digit of ordinary type."""
    picture = Pillow.new("L", (CELL_COLUMNS * 2, CELL_ROWS * 2), 0)
    signs = "ABCDEFGHJKLMNPQRSTUVWXYZabdefghkmnpqrstuvwxyz023456789&@%#$"
    word = "".join(rng.choice(list(signs), int(rng.integers(1, 4))))
    place = (float(rng.uniform(-6, 14)), float(rng.uniform(-6, 14)))
    font = ImageFont.load_default(float(rng.uniform(28, 60)))
    ImageDraw.Draw(picture).text(place, word, 255, font, stroke_width=float(rng.uniform(0, 1.5)))
    return _soften(np.asarray(picture), rng)


def _scribble(rng: np.random.Generator) -> Image:
    """Return a cell with strokes of a pen, a rule or a blot."""
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


def build_network() -> Any:
    """Return the untrained `keras.Model`: (n, 28, 24, 1) float in [0, 1] to (n, 15) logits."""
    import keras
    from keras import layers

    image = keras.Input((CELL_ROWS, CELL_COLUMNS, 1), name="image")
    x = image
    for filters, stride in ((12, 2), (24, 2), (32, 2)):
        x = layers.Conv2D(filters, 3, strides=stride, padding="same", use_bias=False)(x)
        x = layers.Activation("relu")(layers.BatchNormalization()(x))
    x = layers.Dropout(0.2)(layers.Flatten()(x))
    x = layers.Activation("relu")(layers.Dense(32)(x))
    return keras.Model(image, layers.Dense(len(CLASSES), name="logits")(x), name="micr")


def train(config: Config, out: Path) -> dict[str, Any]:
    """Train, convert, calibrate and measure; write the weights and the card. Returns the card.

    Raises ConfigError where TensorFlow is missing.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    require_tensorflow()
    import keras

    keras.utils.set_random_seed(config.seed)
    out.mkdir(parents=True, exist_ok=True)
    seen = render_cells(config.lines, config.seed)
    held, test = render_cells(250, config.seed + 1), render_cells(250, config.seed + 2)
    network = build_network()
    steps = config.epochs * -(-len(seen) // _BATCH)
    network.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(3e-3, steps)),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    pixels = seen.images[..., np.newaxis].astype(np.float32) / np.float32(255)
    network.fit(pixels, seen.labels, batch_size=_BATCH, epochs=config.epochs, verbose=2)
    weights = convert_int8(network, seen.images[:: max(1, len(seen) // 1000)])
    raw = Model(weights, _card_of(weights, 1.0))
    temperature = round(fit_temperature(raw.logits(held.images), held.labels), 4)
    model = Model(weights, _card_of(weights, temperature))
    probabilities = model.probabilities(test.images)
    right = int((probabilities.argmax(axis=1) == test.labels).sum())
    text = card_text(
        model.card,
        parameters=int(network.count_params()),
        precision=PRECISION,
        preprocessing="pipeline.readers.micr_line.cut_cells",
        command=f"python -m training.micr.train --out DIR --lines {config.lines} "
        f"--epochs {config.epochs} --seed {config.seed}",
        keras=f"{keras.__version__} on {keras.backend.backend()}",
        trained_on=[
            {
                "name": "rendered E-13B",
                "source": "drawn by training.synthesis.micr from the geometry of ANSI X9.27",
                "licence": "own work",
                "may_train": True,
                "cells": len(seen),
            }
        ],
        tested_on=["rendered E-13B of other seeds, 80 to 320 dpi, worn"],
        scores={"rendered": Score(len(test), right).as_card()},
        calibration_error={
            "rendered": round(calibration_error(classifier_bins(probabilities, test.labels)), 5)
        },
    )
    (out / "micr.tflite").write_bytes(weights)
    (out / "micr.json").write_text(text, encoding="utf-8")
    card: dict[str, Any] = json.loads(text)
    return card


def _card_of(weights: bytes, temperature: float) -> ModelCard:
    return card_of("micr", weights, (CELL_ROWS, CELL_COLUMNS, 1), CLASSES, temperature)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.micr.train", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--lines", type=int, default=Config().lines, help="rendered to train on")
    parser.add_argument("--epochs", type=int, default=Config().epochs)
    parser.add_argument("--seed", type=int, default=Config().seed)
    parser.add_argument("--install", action="store_true", help="bundle the weights")
    options = parser.parse_args(arguments)
    config = Config(options.lines, options.epochs, options.seed)
    try:
        card = train(config, options.out)
    except CounterfoilError as exc:
        sys.stderr.write(f"{exc}\n")
        return exc.exit_code
    if options.install:
        install(options.out, ("micr.tflite", "micr.json"))
    sys.stdout.write(f"{card['scores']} {card['calibration_error']}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
