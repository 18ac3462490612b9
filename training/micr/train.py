"""Train the network of the E-13B reader on rendered lines, and export it.

    python -m training.micr.train --out runs/micr [--install]

A minute or two on one core. Writes `micr.tflite` (int8) and `micr.json`, its card, into the folder;
`--install` copies both over the bundled weights. `training.synthesis.micr` draws all training data,
and the reader's own preprocessing cuts it into cells; no scan of a real cheque is used.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import CounterfoilError
from pipeline.readers.micr import CLASSES
from pipeline.readers.micr_line import CELL_COLUMNS, CELL_ROWS
from pipeline.readers.runtime import Model, ModelCard
from training.cards import PRECISION, card_of, card_text, install
from training.evaluation.metrics import calibration_error
from training.glyph.scores import Score, classifier_bins, fit_temperature
from training.litert import convert_int8, require_tensorflow
from training.micr.cells import render_cells

_BATCH = 128


@dataclass(frozen=True, slots=True)
class Config:
    """How a run is set up."""

    lines: int = 1500
    epochs: int = 8
    seed: int = 1


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
