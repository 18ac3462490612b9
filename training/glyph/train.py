"""Train the CNN of the glyph reader.

    python -m training.glyph.train --data DIR --out runs/glyphs

Training needs only Keras (any backend), NumPy and OpenCV, so it also runs on a machine that has an
accelerator and no TensorFlow. The second step, `training.glyph.export`, makes the LiteRT weights
and needs TensorFlow. `counterfoil train glyphs` does both.

A run is a folder: `best.weights.h5` (lowest validation loss), `last.keras` (to resume from),
`history.json` (one object for each epoch) and `run.json` (the settings and the data).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import ConfigError, CounterfoilError
from pipeline.types import Image
from training.datasets import (
    ORIGINS,
    DigitSet,
    Labels,
    check_may_train,
    join,
    load_emnist,
    load_femnist,
    load_mnist,
    load_nsysu,
    split_by_writer,
)
from training.glyph.augment import Augment
from training.glyph.network import PARAMETERS, begin_from, build_network
from training.runs import HISTORY, LAST, RUN, WEIGHTS, command_of, fastest_precision, require_keras
from training.synthesis.rescan import rescan

SCANS = "scans.npy"
FINISH_RATE = 0.2  # share of the learning rate with which the finish begins
FINISH_CHANGES = 0.5  # share of the augmentation during the finish
FINISH_SCANS = 0.5  # share of the digits that the finish sees as the reader segments them
_EXAMPLES = 1000  # digits that set the normalisation of bundled weights to start from
_FINISH = "finish"  # the key that marks epochs of the finish in the history


@dataclass(frozen=True, slots=True)
class GlyphRun:
    """The settings of a run. They alone determine the digits that it trains on."""

    data: Path
    out: Path
    emnist: Path | None = None  # folder of EMNIST's gzip files
    emnist_split: str = "digits"
    epochs: int = 100
    batch_size: int = 256
    learning_rate: float = 1e-3
    plateau: int = 5  # epochs without a lower validation loss before the rate is halved
    patience: int = 16  # epochs without one before the finish begins
    finish: int = 8  # epochs at the end, from the best weights (see `train_glyphs`)
    validation: float = 0.08  # share of MNIST's writers in the validation set
    precision: str = field(default_factory=fastest_precision)  # the weights stay in float32
    average: float = 0.999  # momentum of the moving average of the weights, for each step
    start: Path | None = None  # weights to start from: `.h5` of another run, or a bundled `.tflite`
    seed: int = 1
    workers: int = 0  # threads that augment; 0: one for each core, at most 12
    limit: int | None = None  # number of digits of each set, for a trial run


def load_sets(run: GlyphRun) -> tuple[list[DigitSet], DigitSet]:
    """Return the training sets, and the validation set: MNIST writers that are in none of them.

    Raises ConfigError if a set is missing or must not train weights that we ship.
    """
    mnist, validation = split_by_writer(
        load_mnist(run.data, "train"), run.validation, seed=run.seed
    )
    sets = [mnist, load_femnist(run.data), load_nsysu(run.data, "train")]
    if run.emnist is not None:
        sets.append(load_emnist(run.emnist, "train", run.emnist_split))
    if run.limit is not None:
        first = np.arange(run.limit)
        sets = [digits.take(first[: len(digits)]) for digits in sets]
        validation = validation.take(first[: len(validation)])
    check_may_train(sets)
    return sets, validation


def train_glyphs(run: GlyphRun, *, resume: bool = False, command: str = "") -> Path:
    """Train, and return the folder of the run.

    A moving average over the steps is validated and kept (Polyak and Juditsky 1992). The finish
    adapts the network to what the reader will see: half of the digits are scanned and segmented
    (see `training.synthesis.rescan`), all are augmented less, and the learning rate falls to 0.
    Its validation set holds each digit both ways, and its best checkpoint is kept.

    With `resume`, training goes on after the last complete epoch; if the finish had begun, only
    the finish is completed. Raises ConfigError if Keras, its backend or a set is missing.
    """
    keras = require_keras()
    keras.utils.set_random_seed(run.seed)
    sets, validation = load_sets(run)
    images, labels = join(sets)
    run.out.mkdir(parents=True, exist_ok=True)
    history = _past(run.out) if resume else []
    network = keras.models.load_model(run.out / LAST) if history else build_network(run.precision)
    if network.count_params() != PARAMETERS:
        raise ConfigError(f"The network has {network.count_params()} parameters.")
    if not history:
        if run.start is not None:
            begin_from(network, run.start, _pixels(validation.images[:_EXAMPLES]))
        _compile(keras, network, run)
    # Now, so that an interrupted run can be exported too.
    _write_run(keras, run, sets, validation, command)
    shown: Any = 1 if sys.stderr.isatty() else 2

    def fit(
        augment: Augment, epochs: int, callbacks: list[Any], scans: Image | None = None
    ) -> None:
        # Validate on the same kind of digits as those that train.
        held_out = validation if scans is None else both_ways(validation, run.seed)
        network.fit(
            _batches(keras, images, scans, labels, run, augment, first_epoch=len(history)),
            validation_data=(_pixels(held_out.images), _targets(held_out.labels)),
            validation_batch_size=1024,
            epochs=epochs,
            initial_epoch=len(history),
            callbacks=[
                # First, so that the averaged weights are validated and kept.
                keras.callbacks.SwapEMAWeights(swap_on_epoch=True),
                *callbacks,
                *_keeping(keras, run, history, finish=scans is not None),
            ],
            shuffle=False,  # each epoch already draws its batches anew
            verbose=shown,
        )

    if not any(_FINISH in row for row in history):
        fit(Augment(), run.epochs, _searching(keras, run, history))
        if run.finish:
            network.load_weights(run.out / WEIGHTS)
            _compile(keras, network, run)  # the moving average starts again from these
    main = sum(_FINISH not in row for row in history)
    if run.finish:
        mild, scans = Augment().scaled(FINISH_CHANGES), _scanned(images, run)
        fit(mild, main + run.finish, [_falling(keras, run, main)], scans)
    return run.out


def _compile(keras: Any, network: Any, run: GlyphRun) -> None:
    network.compile(
        optimizer=keras.optimizers.Adam(run.learning_rate, use_ema=True, ema_momentum=run.average),
        loss=keras.losses.CategoricalCrossentropy(from_logits=True),
        metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
    )


def _past(out: Path) -> list[dict[str, float]]:
    path = out / HISTORY
    if not path.is_file() or not (out / LAST).is_file():
        return []
    rows: list[dict[str, float]] = json.loads(path.read_text(encoding="utf-8"))
    return rows


def _pixels(images: Image) -> NDArray[np.float32]:
    return images[..., np.newaxis].astype(np.float32) / np.float32(255)


def _targets(labels: Labels) -> NDArray[np.float32]:
    return np.eye(10, dtype=np.float32)[labels]


def _batches(
    keras: Any,
    images: Image,
    scans: Image | None,
    labels: Labels,
    run: GlyphRun,
    augment: Augment,
    first_epoch: int,
) -> Any:
    class Batches(keras.utils.PyDataset):  # type: ignore[misc]
        """Every digit once in each epoch, in a new order and with new augmentation."""

        def __init__(self) -> None:
            threads = run.workers or min(12, os.cpu_count() or 1)
            super().__init__(workers=threads, max_queue_size=4 * threads)
            self.epoch = first_epoch
            self.on_epoch_begin()

        def __len__(self) -> int:
            return max(1, len(labels) // run.batch_size)

        def on_epoch_begin(self) -> None:
            rng = np.random.default_rng((run.seed, self.epoch))
            self.order = rng.permutation(len(labels))

        def on_epoch_end(self) -> None:
            # Keras starts its threads before it calls on_epoch_begin: the order must exist by then.
            self.epoch += 1
            self.on_epoch_begin()

        def __getitem__(self, batch: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
            rng = np.random.default_rng((run.seed, self.epoch, batch))
            chosen = self.order[batch * run.batch_size : (batch + 1) * run.batch_size]
            digits = images[chosen]
            if scans is not None:
                scanned = rng.random(len(chosen)) < FINISH_SCANS
                digits[scanned] = scans[chosen[scanned]]
            return _pixels(augment(digits, rng)), _targets(labels[chosen])

    return Batches()


def _scanned(images: Image, run: GlyphRun) -> Image:
    """Return the digits segmented from scans, which are kept in the run's folder."""
    path = run.out / SCANS
    if path.is_file():
        kept: Image = np.load(path)
        if kept.shape == images.shape:
            return kept
    sys.stderr.write(f"Scanning {len(images):,} digits for the finish …\n")
    scans = rescan(images, np.random.default_rng(run.seed))
    partial = path.with_suffix(".partial.npy")
    np.save(partial, scans)
    partial.replace(path)
    return scans


def both_ways(digits: DigitSet, seed: int) -> DigitSet:
    """Return the digits as published, followed by the same digits segmented from scans."""
    scans = rescan(digits.images, np.random.default_rng(seed))
    images = np.concatenate([digits.images, scans])
    return DigitSet(digits.name, images, np.tile(digits.labels, 2))


def _searching(keras: Any, run: GlyphRun, history: list[dict[str, float]]) -> list[Any]:
    """Return the callbacks before the finish: halve the rate on a plateau, stop early."""
    return [
        keras.callbacks.ReduceLROnPlateau(
            monitor="val_loss", factor=0.5, patience=run.plateau, min_delta=0, min_lr=1e-5
        ),
        keras.callbacks.EarlyStopping(
            monitor="val_loss", patience=run.patience, baseline=_lowest_loss(history)
        ),
    ]


def _falling(keras: Any, run: GlyphRun, main: int) -> Any:
    """Return the callback that lowers the rate linearly during the finish."""

    def rate(epoch: int) -> float:
        return run.learning_rate * FINISH_RATE * (main + run.finish - epoch) / run.finish

    return keras.callbacks.LearningRateScheduler(rate)


def _keeping(
    keras: Any, run: GlyphRun, history: list[dict[str, float]], *, finish: bool
) -> list[Any]:
    """Return the callbacks that write the run's files after each epoch and extend `history`."""

    class WriteHistory(keras.callbacks.Callback):  # type: ignore[misc]
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.started = time.monotonic()

        def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            row = {name: float(value) for name, value in (logs or {}).items()}
            row["seconds"] = round(time.monotonic() - self.started, 2)
            if finish:
                row[_FINISH] = 1
            history.append(row)
            (run.out / HISTORY).write_text(json.dumps(history, indent=1), encoding="utf-8")

    return [
        keras.callbacks.ModelCheckpoint(
            run.out / WEIGHTS,
            monitor="val_loss",
            save_best_only=True,
            save_weights_only=True,
            initial_value_threshold=_lowest_loss(
                [row for row in history if finish == (_FINISH in row)]
            ),
        ),
        keras.callbacks.ModelCheckpoint(run.out / LAST),
        WriteHistory(),
    ]


def _lowest_loss(history: list[dict[str, float]]) -> float | None:
    return min((row["val_loss"] for row in history), default=None)


def _write_run(
    keras: Any, run: GlyphRun, sets: list[DigitSet], validation: DigitSet, command: str
) -> None:
    config = {
        name: value
        for name, value in asdict(run).items()
        # Paths of the training machine mean nothing elsewhere.
        if name not in ("data", "out", "emnist", "start")
    }
    writers = np.unique(validation.writers) if validation.writers is not None else np.zeros(0)
    about = {
        "command": command or command_of(run, "python -m training.glyph.train"),
        "keras": f"{keras.__version__} on {keras.config.backend()}",
        "config": {**config, "emnist": run.emnist is not None},
        "augment": asdict(Augment()),
        "finish": {"rate": FINISH_RATE, "changes": FINISH_CHANGES, "scans": FINISH_SCANS},
        "trained_on": [
            {**asdict(ORIGINS[name]), "digits": count}
            for name, count in Counter({s.name: len(s) for s in sets}).items()
        ],
        "validation": {"set": "mnist", "digits": len(validation), "writers": len(writers)},
    }
    (run.out / RUN).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


def read_run(out: Path, data: Path, emnist: Path | None = None) -> tuple[GlyphRun, dict[str, Any]]:
    """Return the settings of the run in a folder, and its `run.json`."""
    try:
        about: dict[str, Any] = json.loads((out / RUN).read_text(encoding="utf-8"))
    except FileNotFoundError as exc:
        raise ConfigError(
            f"{out} holds no finished training run ({RUN} is missing).",
            hint="Train first: counterfoil train glyphs --data DIR --out DIR",
        ) from exc
    config = {name: value for name, value in about["config"].items() if name != "emnist"}
    return GlyphRun(data=data, out=out, emnist=emnist, **config), about


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.glyph.train", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    defaults = GlyphRun(data=Path(), out=Path())
    parser.add_argument("--data", type=Path, required=True, help="folder of the .npz sets")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--emnist", type=Path, help="folder of EMNIST's gzip files")
    parser.add_argument("--emnist-split", default=defaults.emnist_split)
    for name in ("epochs", "batch-size", "plateau", "patience", "finish", "seed", "workers"):
        value = getattr(defaults, name.replace("-", "_"))
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--learning-rate", type=float, default=defaults.learning_rate)
    parser.add_argument("--average", type=float, default=defaults.average)
    parser.add_argument(
        "--precision", choices=("mixed_bfloat16", "float32"), default=defaults.precision
    )
    parser.add_argument(
        "--start", type=Path, help="weights to begin from: .h5 of another run, or bundled .tflite"
    )
    parser.add_argument("--validation", type=float, default=defaults.validation)
    parser.add_argument("--limit", type=int, help="digits of each set, for a trial")
    parser.add_argument("--resume", action="store_true", help="continue the run in --out")
    options = vars(parser.parse_args(arguments))
    resume = options.pop("resume")
    run = GlyphRun(**options)
    try:
        train_glyphs(run, resume=resume, command=command_of(run, "python -m training.glyph.train"))
    except CounterfoilError as exc:
        sys.stderr.write(f"{exc}\n")
        return exc.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
