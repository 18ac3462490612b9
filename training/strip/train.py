"""Train a network of the strip reader on synthetic strips.

    python -m training.strip.train --data DIR --out runs/strips [--layout deep]

Several processes first draw the strips and keep them in the run's folder: two cores train a network
faster than they draw strips, and a run with another layout can use the same strips. The writers of
the validation strips are in no training strip.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from core.errors import ConfigError, CounterfoilError
from pipeline.readers.ctc_search import decode_greedily
from pipeline.readers.normalise import ROWS, middle_and_height, normalise_strip
from pipeline.types import Image
from training.runs import (
    HISTORY,
    RUN,
    WEIGHTS,
    command_of,
    fastest_precision,
    load_weights,
    mean_weights,
    require_keras,
)
from training.strip.network import (
    BLANK,
    CHARACTER_OF,
    CLASSES,
    COLUMNS_A_STEP,
    LAYOUTS,
    build_strip_network,
    grow,
)
from training.strip.pool import Part, Pool, digits_of, kept_pool
from training.synthesis.amounts import LONGEST
from training.synthesis.strips import StripSynthesizer

LAST_WEIGHTS = "last.weights.h5"
_KEEP = 200  # steps between two checkpoints; an interrupted run continues with --start
_KEPT = 0.45  # share of the ink that thinning must leave; some strokes would vanish
_BEND = 1.3  # pixels: the most that elastic distortion moves a point
LEVELLED = 1 / 3  # share of levelled strips: two of the reader's further looks level them
_ALIGNED = 16  # the width of a batch is a multiple of this


@dataclass(frozen=True, slots=True)
class StripRun:
    """The settings of a run."""

    data: Path
    out: Path
    layout: str = "deep"
    strips: int = 200_000  # to train on
    validation: int = 4_000
    epochs: int = 8
    batch_size: int = 64
    learning_rate: float = 1e-3
    precision: str = field(default_factory=fastest_precision)  # the weights stay in float32
    start: Path | None = None  # weights to start from
    start_layout: str | None = None  # their layout, if it is smaller than `layout`
    seed: int = 1


def augment_strip(strip: Image, text: str, rng: np.random.Generator) -> Image:
    """Return a normalised strip with other proportions, slant, shapes and stroke width.

    Normalisation makes digits taller and narrower when a strip was cropped closely than when it
    holds other print; the change of proportions covers the range between. The strip stays wide
    enough for its text.
    """
    rows, columns = strip.shape
    larger, narrower = np.clip(rng.normal((0.12, 0.05), (0.15, 0.18)), -0.3, 0.42)
    tall, wide = np.exp((larger + narrower / 2, larger / 2 - narrower / 2))
    lean = rng.normal(-0.04, 0.1)  # shift of x for each row, from the middle
    middle, high = middle_and_height(strip.sum(axis=1, dtype=np.float64) + 1)
    tall = min(tall, max(1.0, 0.9 * rows / high))  # no writing is cut off
    middle += rng.normal(0, 1.0)
    reach = abs(lean) * rows / 2
    width = max(round(columns * wide + 2 * reach), COLUMNS_A_STEP * min_ctc_steps(text))
    # Map each point of the result to the strip, with elastic distortion: shapes of other hands.
    x = np.arange(width, dtype=np.float32)[None, :]
    y = np.arange(rows, dtype=np.float32)[:, None] - np.float32(rows / 2)
    moved = rng.normal(0, rng.uniform(0, _BEND), (2, 5, 3 + width // 10)).astype(np.float32)
    across, down = (
        cv2.resize(part, (width, rows), interpolation=cv2.INTER_CUBIC) for part in moved
    )
    across += (x - np.float32(reach) + np.float32(lean) * y) * np.float32(1 / wide)
    down += y * np.float32(1 / tall) + np.float32(middle)
    out = cv2.remap(strip, across, down, cv2.INTER_LINEAR)
    stroke = rng.random()
    if stroke < 0.1:
        out = cv2.dilate(out, np.ones((2, 2), np.uint8))
    elif stroke < 0.25:
        thinner = cv2.erode(out, np.ones((2, 2), np.uint8))
        if thinner.sum() > _KEPT * out.sum():
            out = thinner
    elif stroke < 0.35:
        out = cv2.GaussianBlur(out, (0, 0), rng.uniform(0.4, 0.9))
    return np.asarray(cv2.convertScaleAbs(out, alpha=rng.uniform(0.75, 1.25)), np.uint8)


def batches(
    pool: Pool, size: int, rng: np.random.Generator, *, change: bool = False
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int32]]]:
    """Yield every strip once, in batches of similar width and in random order.

    A batch is (n, 32, columns, 1) float32 in [0, 1], in which narrower strips are padded with
    paper, and (n, 16) labels: indices into CLASSES plus one, padded with 0. With `change`, nine
    strips in ten are augmented.
    """
    widths = np.diff(pool.starts)
    # Batch strips of similar width, to pad little; at random among these.
    order = np.argsort(widths * rng.uniform(0.9, 1.1, len(pool)), kind="stable")
    groups = [order[start : start + size] for start in range(0, len(order), size)]
    for number in rng.permutation(len(groups)):
        chosen = groups[number]
        strips = [pool.strip(int(index)) for index in chosen]
        if change:
            strips = [
                augment_strip(strip, str(pool.texts[index]), rng) if rng.random() < 0.9 else strip
                for strip, index in zip(strips, chosen, strict=True)
            ]
        columns = -(-max(strip.shape[1] for strip in strips) // _ALIGNED) * _ALIGNED
        images = np.zeros((len(chosen), ROWS, columns, 1), np.float32)
        labels = np.zeros((len(chosen), LONGEST), np.int32)
        for row, (index, strip) in enumerate(zip(chosen, strips, strict=True)):
            text = pool.texts[index]
            images[row, :, : strip.shape[1], 0] = strip
            labels[row, : len(text)] = [CLASSES.index(digit) + 1 for digit in text]
        images *= np.float32(1 / 255)
        yield images, labels


def made_pool(run: StripRun, part: Part, count: int) -> Pool:
    """Return the strips of a part of a run; they are kept in its folder."""
    return kept_pool(run.out, part, count, partial(_draw, run, part))


def _draw(run: StripRun, part: Part, start: int, count: int) -> list[tuple[Image, str]]:
    cv2.setNumThreads(1)
    synthesizer = StripSynthesizer(digits_of(run.data, part), seed=run.seed)
    rng = np.random.default_rng((run.seed, part == "train", start))
    return draw_strips(synthesizer, count, rng)


def draw_strips(
    synthesizer: StripSynthesizer, count: int, rng: np.random.Generator
) -> list[tuple[Image, str]]:
    """Draw `count` strips, each normalised as for one of the looks of the reader."""
    strips: list[tuple[Image, str]] = []
    while len(strips) < count:
        strip = synthesizer(rng)
        image = normalise_strip(strip.grey, level=bool(rng.random() < LEVELLED))
        if fits(image, strip.text):
            strips.append((image, strip.text))
    return strips


def min_ctc_steps(text: str) -> int:
    """Return the fewest time steps in which CTC can emit `text`: repeats need a blank between."""
    return len(text) + sum(a == b for a, b in pairwise(text))


def fits(strip: Image, text: str) -> bool:
    """Return whether a normalised strip has enough time steps for CTC to emit `text`."""
    return len(text) <= LONGEST and strip.shape[1] >= COLUMNS_A_STEP * min_ctc_steps(text)


def exact_share(network: Any, pool: Pool) -> float:
    """Return the share of strips in `pool` whose whole text is read, without a grammar."""
    right = 0
    for images, labels in batches(pool, 256, np.random.default_rng(0)):
        logits = np.asarray(network(images, training=False))[:, 0]
        texts = [decode_greedily(row, CHARACTER_OF) for row in logits]
        wanted = ["".join(CLASSES[label - 1] for label in row if label) for row in labels]
        right += sum(text == truth for text, truth in zip(texts, wanted, strict=True))
    return right / len(pool)


def train_strips(run: StripRun, *, command: str = "") -> Path:
    """Train, and return the folder of the run: its best weights, history and settings.

    Raises ConfigError if Keras, its backend or a set is missing.
    """
    keras = require_keras()
    if run.layout not in LAYOUTS:
        raise ConfigError(f"There is no layout {run.layout!r}. Choose one of {', '.join(LAYOUTS)}.")
    keras.utils.set_random_seed(run.seed)
    run.out.mkdir(parents=True, exist_ok=True)
    training = made_pool(run, "train", run.strips)
    validation = made_pool(run, "validation", run.validation)
    network = build_strip_network(LAYOUTS[run.layout], precision=run.precision)
    begun: list[NDArray[np.float32]] | None = None
    if run.start is not None and run.start_layout is not None:
        smaller = build_strip_network(LAYOUTS[run.start_layout])
        load_weights(smaller, run.start)
        grow(network, smaller)
    elif run.start is not None:
        load_weights(network, run.start)
        begun = network.get_weights()
    steps = run.epochs * -(-len(training) // run.batch_size)
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, steps, warmup_target=run.learning_rate, warmup_steps=min(200, steps // 10)
    )
    network.compile(
        optimizer=keras.optimizers.AdamW(rate, weight_decay=1e-4, clipnorm=5.0),
        loss=ctc_loss,
        jit_compile=False,  # XLA would compile for every width, and is slower here
    )
    about = {
        "command": command,
        "keras": f"{keras.__version__} on {keras.config.backend()}",
        "config": {n: v for n, v in asdict(run).items() if n not in ("data", "out", "start")},
        "parameters": network.count_params(),
    }
    (run.out / RUN).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    history: list[dict[str, float]] = []
    best = -1.0
    for epoch in range(run.epochs):
        started = time.monotonic()
        loss = _epoch(network, training, run, epoch)
        share = exact_share(network, validation)
        seconds = round(time.monotonic() - started, 1)
        history.append({"loss": loss, "val_exact": share, "seconds": seconds})
        (run.out / HISTORY).write_text(json.dumps(history, indent=1), encoding="utf-8")
        sys.stderr.write(f"epoch {epoch + 1}/{run.epochs}  loss {loss:.4f}  ")
        sys.stderr.write(f"validation exact {100 * share:.2f} %  {seconds:.0f} s\n")
        if share > best:
            best = share
            network.save_weights(run.out / WEIGHTS)
    # The mean of weights along the path of training is often nearer to the minimum than any of them
    # (Izmailov et al. 2018).
    others = {"the last": network.get_weights(), "those it began from": begun}
    network.load_weights(run.out / WEIGHTS)
    found = network.get_weights()
    for name, other in others.items():
        if other is None:
            continue
        network.set_weights(mean_weights(found, other))
        share = exact_share(network, validation)
        sys.stderr.write(f"mean of the best weights and {name}  exact {100 * share:.2f} %\n")
        if share > best:
            best = share
            network.save_weights(run.out / WEIGHTS)
    return run.out


def _epoch(network: Any, pool: Pool, run: StripRun, epoch: int) -> float:
    total, count = 0.0, 0
    rng = np.random.default_rng((run.seed, epoch))
    for number, (images, labels) in enumerate(
        batches(pool, run.batch_size, rng, change=True), start=1
    ):
        total += float(network.train_on_batch(images, labels)) * len(images)
        count += len(images)
        if number % _KEEP == 0:
            network.save_weights(run.out / LAST_WEIGHTS)
            sys.stderr.write(f"  {count:,} of {len(pool):,} strips  loss {total / count:.4f}\n")
    return total / count


def ctc_loss(labels: Any, logits: Any) -> Any:
    """Return the CTC loss over the one row of the logits."""
    from keras import config, losses

    steps = logits[:, 0]
    if config.backend() != "tensorflow":
        return losses.ctc(labels, steps)
    import tensorflow as tf

    # For dense labels, as Keras passes them, TensorFlow runs a loop of small operations. The kernel
    # for sparse labels gives the same result in a tenth of the time. It refuses empty labels, whose
    # path is all blanks; any class stands in for them here.
    empty = labels[:, 0] == 0
    first = tf.where(empty, tf.ones_like(labels[:, 0]), labels[:, 0])
    labels = tf.concat([first[:, None], labels[:, 1:]], axis=1)
    places = tf.where(labels > 0)
    sparse = tf.SparseTensor(
        places, tf.cast(tf.gather_nd(labels, places), tf.int32), tf.shape(labels, tf.int64)
    )
    lengths = tf.fill([tf.shape(steps)[0]], tf.shape(steps)[1])
    loss = tf.nn.ctc_loss(sparse, steps, None, lengths, logits_time_major=False, blank_index=BLANK)
    blank = -tf.reduce_sum(tf.nn.log_softmax(steps)[:, :, BLANK], axis=1)
    return tf.where(empty, blank, loss)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.strip.train", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    defaults = StripRun(data=Path(), out=Path())
    parser.add_argument("--data", type=Path, required=True, help="folder of the .npz sets")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--layout", choices=LAYOUTS, default=defaults.layout)
    for name in ("strips", "validation", "epochs", "batch-size", "seed"):
        value = getattr(defaults, name.replace("-", "_"))
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--learning-rate", type=float, default=defaults.learning_rate)
    parser.add_argument(
        "--precision",
        choices=("mixed_bfloat16", "float32"),
        default=defaults.precision,
        help="dtype policy of Keras; the fastest on this processor unless given",
    )
    parser.add_argument("--start", type=Path, help="weights of another run to start from")
    parser.add_argument("--start-layout", choices=LAYOUTS, help="their layout, if it is smaller")
    run = StripRun(**vars(parser.parse_args(arguments)))
    try:
        train_strips(run, command=command_of(run, "python -m training.strip.train"))
    except CounterfoilError as exc:
        sys.stderr.write(f"{exc}\n")
        return exc.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
