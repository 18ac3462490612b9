"""Fine-tune the strip reader on a site's verified fields, and promote it only if it is better.

A part of the verified fields is held out, by file. The current weights (the champion) learn from
the rest, mixed with synthetic strips so that they do not forget. The result (the challenger) is
converted to int8 and compared with the champion, both in the form that ships. `compare` defines
what winning means.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from core.errors import ConfigError, InputError
from pipeline.readers.runtime import Model
from pipeline.readers.strip import read_images
from pipeline.types import Alternative, Image
from training.adaptation.corrections import Correction, as_pool, split_by_file
from training.adaptation.crossing import cross, find_gaps
from training.cards import SHIPPED
from training.evaluation.metrics import HIGH_CONFIDENCE, wilson
from training.litert import require_tensorflow
from training.runs import fastest_precision, load_weights, mean_weights, require_keras
from training.strip.export import Converted, convert_strips, pool_logits, read_greedily, strip_card
from training.strip.network import LAYOUTS, build_strip_network
from training.strip.pool import Pool, join_strips
from training.strip.train import batches, ctc_loss, draw_strips
from training.synthesis.strips import StripSynthesizer

LEAST_TRAINED, LEAST_HELD_OUT = 100, 50
LEVEL = 0.05  # significance level of the one-sided exact McNemar test
MARGIN = 0.03  # most that the share of synthetic strips read right may fall, at the 95 % bound
_TRAINED = 0.85  # share of the other fields that trains; the rest helps to fit the temperature

Say = Callable[[str, int, int], None]  # what is being done, how much of it is done, out of how much


@dataclass(frozen=True, slots=True)
class Tuning:
    """The settings of the fine-tuning."""

    held_out: float = 0.3  # share of the verified fields that is held out, by file
    passes: int = 40  # over the verified fields; each adds as many crossed strips
    synthetic: float = 0.4  # share of synthetic strips among those that train
    batch_size: int = 64
    learning_rate: float = 1.6e-3  # at first; it falls to 0 along a cosine
    tuned: float = 0.5  # share of the tuned weights in the result; the rest is the champion's
    precision: str = field(default_factory=fastest_precision)  # dtype policy during training
    strips: int = 8_000  # number of synthetic strips for training
    validation: int = 1_000  # number of synthetic strips for the comparison
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Readings:
    """What one model reads on the held-out fields and on the synthetic strips."""

    exact: tuple[bool, ...]  # for each field: whether the whole string is right
    confidences: tuple[float, ...]
    synthetic: tuple[bool, ...]

    @property
    def surely_wrong(self) -> int:
        pairs = zip(self.exact, self.confidences, strict=True)
        return sum(not right and sure >= HIGH_CONFIDENCE for right, sure in pairs)

    @property
    def sure(self) -> int:
        return sum(confidence >= HIGH_CONFIDENCE for confidence in self.confidences)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of the comparison; `won` says whether all three conditions hold."""

    fields: int  # number of held-out fields
    champion_right: int
    challenger_right: int
    better: int  # fields that only the challenger reads right
    worse: int  # fields that only the champion reads right
    p: float
    champion_sure: int  # fields with a confidence of HIGH_CONFIDENCE or more
    challenger_sure: int
    champion_surely_wrong: int  # of these, read wrong
    challenger_surely_wrong: int
    synthetic: int  # number of synthetic strips
    champion_synthetic: int  # of these, read right
    challenger_synthetic: int
    synthetic_loss_bound: float  # one-sided 95 % bound of the share that it reads fewer

    @property
    def won(self) -> bool:
        return not self.reasons

    @property
    def reasons(self) -> list[str]:
        """Return why the challenger did not win."""
        found = []
        if self.p >= LEVEL:
            found.append(
                f"it is not significantly better on the held-out fields (p = {self.p:.3g})"
            )
        promised = (
            1 - HIGH_CONFIDENCE
        ) * self.challenger_sure  # the most wrong ones that its confidence allows
        if self.challenger_surely_wrong > max(self.champion_surely_wrong, promised):
            found.append(
                f"it is wrong on {self.challenger_surely_wrong} of the {self.challenger_sure} "
                f"held-out fields of which it is sure, and the current reader on "
                f"{self.champion_surely_wrong} of {self.champion_sure}; sure means a confidence of "
                f"{HIGH_CONFIDENCE} or more"
            )
        if self.synthetic_loss_bound > MARGIN:
            found.append(
                f"it may read up to {100 * self.synthetic_loss_bound:.1f} % fewer synthetic "
                f"strips, more than {100 * MARGIN:.0f} %"
            )
        return found

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {
            "won": self.won,
            "reasons": self.reasons,
            "champion_interval": wilson(self.champion_right, self.fields),
            "challenger_interval": wilson(self.challenger_right, self.fields),
        }


@dataclass(frozen=True, slots=True)
class Challenger:
    """Fine-tuned weights, and their int8 form."""

    network: Any  # keras.Model
    layout: str
    converted: Converted


def mcnemar(better: int, worse: int) -> float:
    """Return the exact one-sided p value of McNemar's test.

    This is the probability of at least `better` improvements among all changes if improvements and
    losses are equally likely (binomial with p = 1/2).
    """
    changes = better + worse
    return float(sum(math.comb(changes, k) for k in range(better, changes + 1)) / 2**changes)


def loss_bound(before: Sequence[bool], after: Sequence[bool]) -> float:
    """Return the one-sided 95 % upper bound of the loss in accuracy (paired, normal approximation).

    One more strip counts as changed in each direction, so that few strips without any change prove
    little.
    """
    count = len(before)
    if count == 0:
        return 1.0
    lost = sum(a and not b for a, b in zip(before, after, strict=True))
    won = sum(b and not a for a, b in zip(before, after, strict=True))
    drop = (lost - won) / count
    variance = (lost + won + 2) / count - drop * drop
    return drop + 1.644854 * math.sqrt(max(0.0, variance) / count)


def compare(champion: Readings, challenger: Readings) -> Verdict:
    """Compare the two on the same fields and the same synthetic strips."""
    pairs = list(zip(champion.exact, challenger.exact, strict=True))
    better = sum(new and not old for old, new in pairs)
    worse = sum(old and not new for old, new in pairs)
    return Verdict(
        fields=len(pairs),
        champion_right=sum(champion.exact),
        challenger_right=sum(challenger.exact),
        better=better,
        worse=worse,
        p=mcnemar(better, worse),
        champion_sure=champion.sure,
        challenger_sure=challenger.sure,
        champion_surely_wrong=champion.surely_wrong,
        challenger_surely_wrong=challenger.surely_wrong,
        synthetic=len(champion.synthetic),
        champion_synthetic=sum(champion.synthetic),
        challenger_synthetic=sum(challenger.synthetic),
        synthetic_loss_bound=loss_bound(champion.synthetic, challenger.synthetic),
    )


def split(
    corrections: Sequence[Correction], tuning: Tuning
) -> tuple[list[Correction], list[Correction]]:
    """Split into training and held-out fields. Raises InputError if there are too few."""
    learnt, held_out = split_by_file(corrections, tuning.held_out, tuning.seed)
    if len(learnt) < LEAST_TRAINED or len(held_out) < LEAST_HELD_OUT:
        raise InputError(
            f"{len(corrections)} verified fields are too few: {len(learnt)} would train and "
            f"{len(held_out)} would decide; {LEAST_TRAINED} and {LEAST_HELD_OUT} are needed, "
            "from different files.",
            hint="Verify more pages, or name several sets.",
            code="too-few-fields",
        )
    return learnt, held_out


def fine_tune(
    champion: Path,
    learnt: Sequence[Correction],
    synthetic: Pool,
    validation: Pool,
    tuning: Tuning,
    say: Say = lambda _what, _done, _total: None,
) -> Challenger:
    """Fine-tune the weights in the folder `champion`, and convert and calibrate the result.

    The result lies between the champion's weights and the fine-tuned ones: it reads the site's
    hands as well or better, and forgets less (Wortsman et al. 2022). The temperature is fitted on
    `validation` and on fields that did not train. Raises ConfigError if TensorFlow or the float
    weights are missing, or if training diverges.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    require_tensorflow()
    keras = require_keras()
    rest, calibrating = split_by_file(learnt, 1 - _TRAINED, tuning.seed + 1)
    own = as_pool(rest)
    gaps = find_gaps(own, Model.in_folder(champion))
    # In bfloat16 one run in about thirty diverged to NaN; float32 takes half as long again.
    for precision in dict.fromkeys((tuning.precision, "float32")):
        keras.utils.set_random_seed(tuning.seed)
        layout, network = _load(champion, precision)
        before = network.get_weights()
        if _learn(network, rest, own, gaps, synthetic, tuning, say):
            break
    else:
        raise ConfigError(
            "The fine-tuning diverged, and its result was discarded.",
            hint="Try again with another --seed.",
            code="diverged",
        )
    network.set_weights(mean_weights(network.get_weights(), before, tuning.tuned))
    say("converting", 0, 1)
    kept = as_pool(calibrating)
    representative = _join(own, _some(synthetic, len(rest), np.random.default_rng(0)))
    with _quiet():
        converted = convert_strips(network, layout, representative, _join(kept, validation))
    say("converting", 1, 1)
    return Challenger(network, layout, converted)


def _learn(
    network: Any,
    rest: Sequence[Correction],
    own: Pool,
    gaps: list[tuple[int | None, ...]],
    synthetic: Pool,
    tuning: Tuning,
    say: Say,
) -> bool:
    """Fine-tune `network`. Stops and returns False once its loss or weights are not finite.

    `own` holds the strips of `rest` without changes, `gaps` the columns where they may be cut.
    """
    from keras import optimizers

    added = round(2 * len(rest) * tuning.synthetic / (1 - tuning.synthetic))
    a_pass = -(-(2 * len(rest) + added) // tuning.batch_size)
    steps = tuning.passes * a_pass
    rate = optimizers.schedules.CosineDecay(
        0.0, steps, warmup_target=tuning.learning_rate, warmup_steps=min(30, steps // 10)
    )
    network.compile(
        optimizer=optimizers.AdamW(rate, weight_decay=1e-4, clipnorm=5.0),
        loss=ctc_loss,
        jit_compile=False,
    )
    done = 0
    for number in range(tuning.passes):
        rng = np.random.default_rng((tuning.seed, number))
        verified = _join(as_pool(rest, rng), cross(own, gaps, len(rest), rng))
        mixed = _join(verified, _some(synthetic, added, rng))
        for images, labels in batches(mixed, tuning.batch_size, rng, change=True):
            if not np.isfinite(network.train_on_batch(images, labels)):
                return False
            done += 1
            say("fine-tuning", done, steps)
    return all(np.isfinite(weights).all() for weights in network.get_weights())


def read(model: Model, fields: Sequence[Correction], synthetic: Pool) -> Readings:
    """Read as the product does, with the strip reader alone."""
    exact, confidences = [], []
    grammars = [field.grammar for field in fields]
    opinions = read_images([field.grey for field in fields], grammars, model)
    for own, opinion in zip(fields, opinions, strict=True):
        best = max((Alternative("", opinion.empty), *opinion.legal), key=lambda a: a.probability)
        exact.append(best.value == own.text)
        confidences.append(best.probability)
    texts = read_greedily(pool_logits(model, synthetic))
    right = tuple(text == str(truth) for text, truth in zip(texts, synthetic.texts, strict=True))
    return Readings(tuple(exact), tuple(confidences), right)


def write_challenger(folder: Path, challenger: Challenger, report: dict[str, Any]) -> None:
    """Write weights, card, float weights and report into a folder."""
    verdict = report["verdict"]
    card = strip_card(
        challenger.converted,
        challenger.network,
        challenger.layout,
        adapted_from=report["champion"],
        trained_on=["verified fields of this site, mixed with synthetic strips; not to be shipped"],
        scores={"held_out": {"count": verdict["fields"], "right": verdict["challenger_right"]}},
    )
    (folder / "strip.tflite").write_bytes(challenger.converted.weights)
    (folder / "strip.json").write_text(card, encoding="utf-8")
    challenger.network.save_weights(folder / "strip.weights.h5")
    (folder / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def draw_synthetic(count: int, part: int, seed: int, say: Say) -> Pool:
    """Draw synthetic strips with the drawn pen alone, without any data set.

    Different values of `part` give different pools.
    """
    size = 50
    shards = [(part, seed, start, min(size, count - start)) for start in range(0, count, size)]
    strips: list[tuple[Image, str]] = []
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as processes:
        for shard in processes.map(_draw, shards):
            strips += shard
            say("drawing synthetic strips", len(strips), count)
    return join_strips(strips)


def _draw(shard: tuple[int, int, int, int]) -> list[tuple[Image, str]]:
    part, seed, start, count = shard
    cv2.setNumThreads(1)
    rng = np.random.default_rng((seed, part, start))
    return draw_strips(StripSynthesizer(seed=seed), count, rng)


def champion_folder(site: Path | None) -> Path:
    """Return the folder of the current weights: the site's, or the bundled ones."""
    return SHIPPED if site is None else site


def _load(champion: Path, precision: str) -> tuple[str, Any]:
    weights = champion / "strip.weights.h5"
    if not weights.is_file():
        raise ConfigError(
            f"The float weights {weights.name} are not in {champion}; adaptation starts from them.",
            code="bad-weights",
        )
    card = json.loads((champion / "strip.json").read_text(encoding="utf-8"))
    layout = str(card.get("layout"))
    if layout not in LAYOUTS:
        raise ConfigError(
            f"The card in {champion} does not name a known layout.", code="bad-weights"
        )
    network = build_strip_network(LAYOUTS[layout], precision=precision)
    load_weights(network, weights)
    return layout, network


def _some(pool: Pool, count: int, rng: np.random.Generator) -> Pool:
    chosen = rng.choice(len(pool), count, replace=count > len(pool))
    return join_strips([(pool.strip(int(i)), str(pool.texts[i])) for i in chosen])


def _join(a: Pool, b: Pool) -> Pool:
    return Pool(
        np.concatenate([a.pixels, b.pixels], axis=1),
        np.concatenate([a.starts, a.starts[-1] + b.starts[1:]]),
        np.concatenate([a.texts, b.texts]),
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hide the messages of the converter's C++ code; show them if it fails."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        try:
            yield
        except BaseException:
            said.seek(0)
            os.write(kept, said.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
