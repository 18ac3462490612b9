"""Train the alteration detector on synthetic strips, and export it.

    python -m training.alteration.train --data DIR --out runs/alteration [--install]

Draws the strips first and keeps them in the run's folder, as the strip reader's training does; the
writers of the validation strips are in no training strip. Writes `alteration.tflite` (int8) and
`alteration.json`, its card; `--install` copies both over the bundled weights.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from core.errors import CounterfoilError
from pipeline.cleaning.clean import clean_strip
from pipeline.readers.alteration import CLASSES, brighten, run_strips, view_of_writing
from pipeline.readers.normalise import ROWS
from pipeline.readers.runtime import Model, ModelCard
from pipeline.types import Image
from training.alteration.augment import changed, thinly_struck
from training.alteration.network import build_network
from training.cards import PRECISION, card_of, card_text, install
from training.glyph.scores import Score, fit_temperature
from training.litert import convert_int8, require_tensorflow
from training.runs import HISTORY, RUN, WEIGHTS, command_of, fastest_precision, load_weights
from training.strip.pool import (
    EXAMPLE_COLUMNS,
    Part,
    Pool,
    digits_of,
    kept_pool,
    representative,
)
from training.synthesis.alterations import OVERWRITTEN, STRUCK_OUT
from training.synthesis.strips import StripSynthesizer

FILES = ("alteration.tflite", "alteration.json")
_ALTERED = 0.35  # share of numbers that are altered when they are drawn
# Share of the overwritten numbers that are kept: many cannot be told from a bold digit, and would
# teach the network to doubt.
_KEPT_OVERWRITTEN = 0.5
_STRUCK = 0.45  # share of intact strips that are struck out in training
_ALIGNED = 32  # the width of a batch is a multiple of this


@dataclass(frozen=True, slots=True)
class AlterationRun:
    """The settings of a run."""

    data: Path
    out: Path
    strips: int = 60_000
    validation: int = 8_000
    epochs: int = 12
    batch_size: int = 64
    learning_rate: float = 2e-3
    precision: str = field(default_factory=fastest_precision)  # the weights stay in float32
    start: Path | None = None  # weights to start from
    seed: int = 1


def label_of(traits: frozenset[str]) -> str:
    """Return the class of a strip, one of CLASSES."""
    if STRUCK_OUT in traits:
        return CLASSES[1]
    return CLASSES[2] if OVERWRITTEN in traits else CLASSES[0]


def made_pool(run: AlterationRun, part: Part, count: int) -> Pool:
    """Return the strips of a part of a run; their texts are the classes."""
    return kept_pool(run.out, part, count, partial(_draw, run, part))


def _draw(run: AlterationRun, part: Part, start: int, count: int) -> list[tuple[Image, str]]:
    cv2.setNumThreads(1)
    synthesizer = StripSynthesizer(
        digits_of(run.data, part), empties=0.04, altered=_ALTERED, seed=run.seed
    )
    rng = np.random.default_rng((run.seed, part == "train", start))
    strips: list[tuple[Image, str]] = []
    while len(strips) < count:
        strip = synthesizer(rng)
        if "signature" in strip.traits:  # a signature over a field is neither intact nor struck
            continue
        label = label_of(strip.traits)
        if label == CLASSES[2] and rng.random() > _KEPT_OVERWRITTEN:
            continue
        strips.append((view_of_writing(strip.grey, clean_strip(strip.grey)), label))
    return strips


def batches(
    pool: Pool, size: int, rng: np.random.Generator, *, augment: bool = False
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int32]]]:
    """Yield every strip once: (n, 32, columns, 1) float32 in [0, 1], and (n,) classes."""
    widths = np.diff(pool.starts) + rng.uniform(0, 48, len(pool))
    order = np.argsort(widths)
    groups = [order[start : start + size] for start in range(0, len(order), size)]
    for number in rng.permutation(len(groups)):
        chosen = groups[number]
        strips = [pool.strip(int(index)) for index in chosen]
        labels = [CLASSES.index(str(pool.texts[index])) for index in chosen]
        if augment:
            pairs = [_augmented(*pair, rng) for pair in zip(strips, labels, strict=True)]
            strips, labels = [strip for strip, _ in pairs], [label for _, label in pairs]
        columns = max(strip.shape[1] for strip in strips)
        columns = -(-columns // _ALIGNED) * _ALIGNED
        images = np.zeros((len(strips), ROWS, columns, 1), np.float32)
        for row, strip in enumerate(strips):
            images[row, :, : strip.shape[1], 0] = strip
        # The square root is what `brighten` does.
        yield np.sqrt(images * np.float32(1 / 255)), np.array(labels, np.int32)


def _augmented(strip: Image, label: int, rng: np.random.Generator) -> tuple[Image, int]:
    if label == 0 and rng.random() < _STRUCK:
        struck = thinly_struck(strip, rng)
        if struck is not None:
            strip, label = struck, 1
    return changed(strip, rng, keep_ends=label == 2), label


def train(run: AlterationRun, *, command: str = "") -> Path:
    """Train, and return the folder of the run. Raises ConfigError if TensorFlow is missing."""
    require_tensorflow()
    import keras

    keras.utils.set_random_seed(run.seed)
    run.out.mkdir(parents=True, exist_ok=True)
    pool = made_pool(run, "train", run.strips)
    held_out = made_pool(run, "validation", run.validation)
    network = build_network(precision=run.precision)
    if run.start is not None:
        load_weights(network, run.start)
    steps = run.epochs * -(-len(pool) // run.batch_size)
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, steps, warmup_target=run.learning_rate, warmup_steps=min(200, steps // 10)
    )
    network.compile(
        keras.optimizers.AdamW(rate, weight_decay=1e-4, clipnorm=5.0),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,
    )
    about = {
        "command": command or command_of(run, "python -m training.alteration.train"),
        "keras": f"{keras.__version__} on {keras.config.backend()}",
        "config": {n: v for n, v in asdict(run).items() if n not in ("data", "out", "start")},
    }
    (run.out / RUN).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    history: list[dict[str, float]] = []
    best = np.inf
    for epoch in range(run.epochs):
        started = time.monotonic()
        rng = np.random.default_rng((run.seed, epoch))
        losses = [
            float(network.train_on_batch(images, labels))
            for images, labels in batches(pool, run.batch_size, rng, augment=True)
        ]
        loss, right = _validate(network, held_out)
        history.append({"loss": float(np.mean(losses)), "val_loss": loss, "val_right": right})
        (run.out / HISTORY).write_text(json.dumps(history, indent=1), encoding="utf-8")
        sys.stderr.write(
            f"epoch {epoch + 1}/{run.epochs}  loss {np.mean(losses):.4f}  validation loss "
            f"{loss:.4f}, right {100 * right:.2f} %  {time.monotonic() - started:.0f} s\n"
        )
        if loss < best:
            best = loss
            network.save_weights(run.out / WEIGHTS)
    return run.out


def _validate(network: Any, pool: Pool) -> tuple[float, float]:
    losses, right = [], 0
    for images, labels in batches(pool, 256, np.random.default_rng(0)):
        logits = np.asarray(network(images, training=False), np.float64)
        logits -= logits.max(axis=1, keepdims=True)
        chosen = logits[np.arange(len(labels)), labels]
        losses.append(np.log(np.exp(logits).sum(axis=1)) - chosen)
        right += int((logits.argmax(axis=1) == labels).sum())
    return float(np.concatenate(losses).mean()), right / len(pool)


def export(run: AlterationRun) -> dict[str, Any]:
    """Convert the best weights to int8, fit the temperature, measure; return the card."""
    network = build_network(EXAMPLE_COLUMNS)
    load_weights(network, run.out / WEIGHTS)
    held_out = made_pool(run, "validation", run.validation)
    pool = made_pool(run, "train", run.strips)
    weights = convert_int8(network, brighten(representative(pool)))
    raw = Model(weights, _card_of(weights, 1.0))
    strips = [held_out.strip(index) for index in range(len(held_out))]
    logits = np.stack(run_strips(strips, raw)).astype(np.float32)
    labels = np.array([CLASSES.index(str(text)) for text in held_out.texts], np.uint8)
    temperature = round(fit_temperature(logits, labels), 4)
    right = int((logits.argmax(axis=1) == labels).sum())
    about = json.loads((run.out / RUN).read_text(encoding="utf-8"))
    text = card_text(
        _card_of(weights, temperature),
        parameters=int(network.count_params()),
        precision=PRECISION,
        preprocessing="pipeline.readers.alteration.view_of_writing",
        **about,
        trained_on=[
            {"name": "synthetic strips", "source": "training.synthesis", "strips": len(pool)}
        ],
        scores={"validation": Score(len(held_out), right).as_card()},
    )
    (run.out / FILES[0]).write_bytes(weights)
    (run.out / FILES[1]).write_text(text, encoding="utf-8")
    card: dict[str, Any] = json.loads(text)
    return card


def _card_of(weights: bytes, temperature: float) -> ModelCard:
    return card_of("alteration", weights, (ROWS, 0, 1), CLASSES, temperature)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m training.alteration.train", description=__doc__
    )
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    defaults = AlterationRun(data=Path(), out=Path())
    parser.add_argument("--data", type=Path, required=True, help="folder of the .npz sets")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    for name in ("strips", "validation", "epochs", "batch-size", "seed"):
        value = getattr(defaults, name.replace("-", "_"))
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--learning-rate", type=float, default=defaults.learning_rate)
    parser.add_argument("--precision", default=defaults.precision)
    parser.add_argument("--start", type=Path, help="weights of another run to start from")
    parser.add_argument("--install", action="store_true", help="bundle the weights")
    options = vars(parser.parse_args(arguments))
    bundle = options.pop("install")
    run = AlterationRun(**options)
    try:
        train(run)
        card = export(run)
    except CounterfoilError as exc:
        sys.stderr.write(f"{exc}\n")
        return exc.exit_code
    if bundle:
        install(run.out, FILES)
    sys.stdout.write(f"{card['scores']}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
