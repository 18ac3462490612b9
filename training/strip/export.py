"""Turn a training run of the strip reader into weights that can be shipped, with their card.

    python -m training.strip.export --run runs/strips --data DIR [--install]

Converts the run's best weights to int8 LiteRT. Fits the temperature of the int8 weights on the
validation strips, whose writers did not train, and measures int8 and float weights on the same
strips. Writes `strip.tflite`, `strip.json` (the card) and `strip.weights.h5` (the float weights,
from which a site adapts) into the run's folder. `--install` copies them over the bundled weights.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from core.errors import ConfigError, CounterfoilError
from pipeline.readers.ctc_search import decode_greedily
from pipeline.readers.normalise import ROWS
from pipeline.readers.runtime import Model, ModelCard
from pipeline.readers.strip import run_strips
from training.cards import PRECISION, card_of, card_text, install
from training.datasets import ORIGINS
from training.glyph.scores import Score, best_temperature
from training.litert import convert_int8, require_tensorflow
from training.runs import RUN, WEIGHTS
from training.strip.ctc import negative_log_likelihoods
from training.strip.network import CHARACTER_OF, CLASSES, LAYOUTS, build_strip_network
from training.strip.pool import EXAMPLE_COLUMNS, Pool, representative
from training.strip.train import StripRun, exact_share, made_pool

FILES = ("strip.tflite", "strip.json", "strip.weights.h5")
OUTPUTS = "∅" + CLASSES  # CTC's blank first
_DRAWN = ("mnist", "femnist", "nsysu")  # the sets whose digits training.strip.train composes


@dataclass(frozen=True, slots=True)
class Converted:
    """The strip reader in the form that ships."""

    weights: bytes
    model: Model  # with its temperature
    score: Score  # on the strips that also fitted the temperature


def convert_strips(network: Any, layout: str, examples: Pool, held_out: Pool) -> Converted:
    """Convert a trained network to int8 and calibrate it.

    Some strips of `examples` set the ranges of the activations; `held_out` fits the
    temperature.
    """
    fixed = build_strip_network(LAYOUTS[layout], EXAMPLE_COLUMNS)
    fixed.set_weights(network.get_weights())
    weights = convert_int8(fixed, representative(examples))
    raw = Model(weights, _card_of(weights, 1.0))
    logits = pool_logits(raw, held_out)
    labels = [[CLASSES.index(c) + 1 for c in text] for text in held_out.texts]
    right = sum(
        text == truth for text, truth in zip(read_greedily(logits), held_out.texts, strict=True)
    )

    def loss(temperature: float) -> float:
        costs = negative_log_likelihoods(logits, labels, temperature)
        return float(costs[np.isfinite(costs)].mean())

    temperature = best_temperature(loss, sections=12)
    model = Model(weights, _card_of(weights, round(temperature, 4)))
    return Converted(weights, model, Score(len(held_out), right))


def pool_logits(model: Model, pool: Pool) -> list[NDArray[np.float32]]:
    """Return the (steps, 12) logits of each strip, run at the widths that reading uses."""
    return run_strips([pool.strip(index) for index in range(len(pool))], model)


def read_greedily(logits: list[NDArray[np.float32]]) -> list[str]:
    return [decode_greedily(own, CHARACTER_OF) for own in logits]


def _card_of(weights: bytes, temperature: float) -> ModelCard:
    return card_of("strip", weights, (ROWS, 0, 1), OUTPUTS, temperature)


def strip_card(converted: Converted, network: Any, layout: str, **more: Any) -> str:
    """Return the card as JSON; `more` adds what trained the weights and their scores."""
    about = {
        "layout": layout,
        "parameters": int(network.count_params()),
        "precision": PRECISION,
        "preprocessing": "pipeline.readers.normalise.normalise_strip",
    }
    return card_text(converted.model.card, **(about | more))


def export_strips(run: Path, data: Path) -> str:
    """Convert, calibrate and measure the run in a folder; return the card's JSON.

    Raises ConfigError if TensorFlow, the run or a set is missing.
    """
    try:
        about: dict[str, Any] = json.loads((run / RUN).read_text(encoding="utf-8"))
    except FileNotFoundError as exc:
        raise ConfigError(
            f"{run} holds no training run ({RUN} is missing).",
            hint="Train first: python -m training.strip.train --data DIR --out DIR",
        ) from exc
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    require_tensorflow()  # takes seconds to import
    config = about["config"]
    layout, count = str(config["layout"]), int(config["validation"])
    validation = made_pool(
        StripRun(data, run, validation=count, seed=int(config["seed"])), "validation", count
    )
    network = build_strip_network(LAYOUTS[layout])
    network.load_weights(run / WEIGHTS)
    converted = convert_strips(network, layout, validation, validation)
    in_float = Score(len(validation), round(exact_share(network, validation) * len(validation)))
    card = strip_card(
        converted,
        network,
        layout,
        **about,
        trained_on=[
            *(asdict(ORIGINS[name]) for name in _DRAWN),
            {"name": "pen", "source": "training.synthesis", "licence": "own work"},
        ],
        tested_on=["synthetic strips of held-out writers; they also fitted the temperature"],
        scores={"validation": converted.score.as_card()},
        scores_float={"validation": in_float.as_card()},
    )
    (run / "strip.tflite").write_bytes(converted.weights)
    network.save_weights(run / "strip.weights.h5")  # the run's own file holds the optimizer too
    (run / "strip.json").write_text(card, encoding="utf-8")
    return card


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.strip.export", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--run", type=Path, required=True, help="folder of the training run")
    parser.add_argument("--data", type=Path, required=True, help="folder of the .npz sets")
    parser.add_argument("--install", action="store_true", help="bundle the weights")
    options = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    try:
        card = json.loads(export_strips(options.run, options.data))
    except CounterfoilError as exc:
        sys.stderr.write(f"{exc}\n")
        return exc.exit_code
    if options.install:
        install(options.run, FILES)
    for precision, scores in (("int8", "scores"), ("float", "scores_float")):
        score = card[scores]["validation"]
        sys.stdout.write(f"{precision:6} {score['wrong']} of {score['count']} strips wrong: ")
        sys.stdout.write(f"{score['error_percent']:.2f} %\n")
    sys.stdout.write(f"temperature {card['temperature']}, {card['sha256'][:12]}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
