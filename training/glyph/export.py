"""Turn a training run into weights that can be shipped: LiteRT files, their card and a report.

    python -m training.glyph.export --run runs/glyphs --data DIR

Loads the weights of `training.glyph.train`, from any backend, into TensorFlow and converts them.
Fits the temperature of the int8 weights on the held-out writers, and measures them on every set.
Writes `glyph.tflite` (int8), `glyph-float.tflite`, `glyph.json` (the card) and `report.html` into
the run's folder. `--install` also copies `glyph.tflite` and `glyph.json` over the bundled weights.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import ConfigError, CounterfoilError
from pipeline.readers.runtime import Model, ModelCard
from pipeline.types import Image
from training.cards import PRECISION, card_of, card_text, install
from training.datasets import (
    ORIGINS,
    DigitSet,
    join,
    load_dida,
    load_mnist,
    load_nsysu,
    load_usps,
)
from training.evaluation.metrics import calibration_error
from training.glyph.augment import Augment
from training.glyph.network import CLASSES, PARAMETERS, build_network
from training.glyph.report import write_report
from training.glyph.scores import Evaluation, classifier_bins, evaluate, fit_temperature, summary
from training.glyph.train import load_sets, read_run
from training.litert import convert_float, convert_int8, require_tensorflow
from training.runs import HISTORY, WEIGHTS

_REPRESENTATIVE = 1000  # glyphs that set the ranges of the int8 activations


@dataclass(frozen=True, slots=True)
class Exported:
    """The files that an export wrote, and its scores."""

    weights: Path
    card: Path
    report: Path
    evaluations: tuple[Evaluation, ...]  # of the int8 weights
    float_error_percent: float  # of the float weights on MNIST's test set

    def summary(self) -> str:
        return (
            f"{summary(self.evaluations)}\n"
            f"{'mnist, float':12} {self.float_error_percent:.2f} % wrong"
        )


def export_run(run: Path, data: Path, *, emnist: Path | None = None) -> Exported:
    """Convert, calibrate and measure the run in a folder.

    Raises ConfigError if TensorFlow, the run or a set is missing.
    """
    config, about = read_run(run, data, emnist)
    if about["config"].get("emnist") and emnist is None:
        raise ConfigError("This run was trained on EMNIST.", hint="Name its folder with --emnist.")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    require_tensorflow()  # takes seconds to import
    sets, validation = load_sets(config)
    network = build_network()
    network.load_weights(run / WEIGHTS)
    tests = _test_sets(data)

    float_weights = convert_float(network)
    int8_weights = convert_int8(network, _representative(sets))
    float_model = Model(float_weights, _card_of(float_weights, 1.0))
    reference = evaluate(tests[0], float_model.probabilities(tests[0].images))

    raw = Model(int8_weights, _card_of(int8_weights, 1.0))
    temperature = fit_temperature(raw.logits(validation.images), validation.labels)
    card = _card_of(int8_weights, round(temperature, 4))
    model = Model(int8_weights, card)
    evaluations, calibration = [], {}
    for digits in (*tests, validation):
        name = "validation" if digits is validation else digits.name
        probabilities = model.probabilities(digits.images)
        evaluations.append(replace(evaluate(digits, probabilities), name=name))
        calibration[name] = round(
            calibration_error(classifier_bins(probabilities, digits.labels)), 5
        )

    text = card_text(
        card,
        parameters=PARAMETERS,
        precision=PRECISION,
        preprocessing="pipeline.readers.normalise.normalise_glyph",
        **about,
        tested_on=[
            f"{digits.name}: {ORIGINS[digits.name].source}; {ORIGINS[digits.name].licence}"
            for digits in tests
        ],
        scores={e.name: e.score.as_card() for e in evaluations},
        scores_float={"mnist": reference.score.as_card()},
        notes=_notes(about),
        calibration_error=calibration,
    )
    weights_path, card_path = run / "glyph.tflite", run / "glyph.json"
    (run / "glyph-float.tflite").write_bytes(float_weights)
    weights_path.write_bytes(int8_weights)
    card_path.write_text(text, encoding="utf-8")
    history = json.loads((run / HISTORY).read_text(encoding="utf-8"))
    report = run / "report.html"
    write_report(report, json.loads(text), history, evaluations)
    return Exported(
        weights_path, card_path, report, tuple(evaluations), reference.score.error_percent
    )


def _test_sets(data: Path) -> list[DigitSet]:
    return [
        load_mnist(data, "test"),
        load_usps(data, "test"),
        load_dida(data),
        load_nsysu(data, "test"),
    ]


def _notes(about: dict[str, Any]) -> list[str]:
    notes = []
    if any(origin["name"] == "nsysu" for origin in about["trained_on"]):
        notes.append(
            "Four fifths of NSYSU trained these weights. The score is on the other fifth, which "
            "may be by the same writers."
        )
    if any(origin["name"] == "emnist" for origin in about["trained_on"]):
        notes.append(
            "EMNIST and MNIST's test set are both cut from NIST's forms and may share digits: "
            "the score on MNIST is not a score on unseen writers."
        )
    return notes


def _card_of(weights: bytes, temperature: float) -> ModelCard:
    return card_of("glyph", weights, (28, 28, 1), CLASSES, temperature)


def _representative(sets: list[DigitSet]) -> Image:
    """Return training digits, half of them augmented: the inputs that set the int8 ranges."""
    rng = np.random.default_rng(0)
    images, _ = join(sets)
    chosen = images[rng.choice(len(images), min(_REPRESENTATIVE, len(images)), replace=False)]
    half = len(chosen) // 2
    return np.concatenate([chosen[:half], Augment()(chosen[half:], rng)])


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.glyph.export", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--run", type=Path, required=True, help="folder of the training run")
    parser.add_argument("--data", type=Path, required=True, help="folder of the .npz sets")
    parser.add_argument("--emnist", type=Path, help="folder of EMNIST's gzip files, if it was used")
    parser.add_argument("--install", action="store_true", help="bundle the weights")
    options = parser.parse_args(arguments)
    try:
        exported = export_run(options.run, options.data, emnist=options.emnist)
    except CounterfoilError as exc:
        sys.stderr.write(f"{exc}\n")
        return exc.exit_code
    if options.install:
        install(options.run, ("glyph.tflite", "glyph.json"))
    sys.stdout.write(f"{exported.summary()}\nReport: {exported.report}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
