"""Scores of a glyph classifier: counts with their uncertainty, never a bare percentage."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.types import Image
from training.datasets import DigitSet, Labels
from training.evaluation.metrics import Bin, equal_width_bins, wilson

Probabilities = NDArray[np.float32]
_LENGTHS = range(1, 13)


@dataclass(frozen=True, slots=True)
class Score:
    """How many readings there were, and how many of them were right."""

    count: int
    right: int

    @property
    def accuracy(self) -> float:
        return self.right / self.count if self.count else 0.0

    @property
    def error_percent(self) -> float:
        return 100 * (self.count - self.right) / self.count if self.count else 0.0

    def interval(self) -> tuple[float, float]:
        """Return the 95 % interval of the error in per cent (Wilson 1927)."""
        low, high = wilson(self.count - self.right, self.count)
        return 100 * low, 100 * high

    def as_card(self) -> dict[str, object]:
        low, high = self.interval()
        return {
            "count": self.count,
            "wrong": self.count - self.right,
            "error_percent": round(self.error_percent, 3),
            "interval_95_percent": [round(low, 3), round(high, 3)],
        }


@dataclass(frozen=True, slots=True)
class Mistake:
    """A digit that was read as another."""

    image: Image  # (28, 28)
    label: int
    read: int
    probability: float  # of what was read


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The scores of one model on one set."""

    name: str
    score: Score
    by_class: tuple[Score, ...]  # of the digits 0 to 9
    by_length: dict[int, Score]  # of strings composed of these digits
    confusion: NDArray[np.int64]  # (10, 10): rows are the truth, columns what was read
    worst: tuple[Mistake, ...]  # most certain first


def evaluate(digits: DigitSet, probabilities: Probabilities, *, worst: int = 40) -> Evaluation:
    """Compare (n, 10) probabilities with the labels of a set."""
    read = probabilities.argmax(axis=1)
    right = read == digits.labels
    confusion = np.zeros((10, 10), np.int64)
    np.add.at(confusion, (digits.labels, read), 1)
    wrong = np.flatnonzero(~right)
    wrong = wrong[np.argsort(-probabilities[wrong, read[wrong]])][:worst]
    return Evaluation(
        name=digits.name,
        score=Score(len(digits), int(right.sum())),
        by_class=tuple(
            Score(int(row.sum()), int(row[digit])) for digit, row in enumerate(confusion)
        ),
        by_length={length: score_strings(right, length) for length in _LENGTHS},
        confusion=confusion,
        worst=tuple(
            Mistake(
                digits.images[i],
                int(digits.labels[i]),
                int(read[i]),
                float(probabilities[i, read[i]]),
            )
            for i in wrong
        ),
    )


def score_strings(
    right: NDArray[np.bool_], length: int, *, strings: int = 10_000, seed: int = 7
) -> Score:
    """Score strings of `length` digits drawn from a set; one is right if all its digits are.

    The digits count as perfectly segmented, so this is the error of the classifier alone.
    """
    if len(right) == 0:
        return Score(0, 0)
    drawn = np.random.default_rng((seed, length)).integers(0, len(right), (strings, length))
    return Score(strings, int(right[drawn].all(axis=1).sum()))


def fit_temperature(logits: NDArray[np.float32], labels: Labels) -> float:
    """Return the temperature that maximises the likelihood of the labels (Guo et al. 2017).

    `logits`, (n, classes), and `labels`, (n,), come from held-out writers.
    """

    def loss(temperature: float) -> float:
        scaled = logits.astype(np.float64) / temperature
        scaled -= scaled.max(axis=1, keepdims=True)
        chosen = scaled[np.arange(len(labels)), labels]
        return float((np.log(np.exp(scaled).sum(axis=1)) - chosen).mean())

    return best_temperature(loss, sections=40)


def best_temperature(loss: Callable[[float], float], *, sections: int) -> float:
    """Return the temperature from 0.2 to 5 with the least loss, which must have one minimum there.

    A golden-section search in the logarithm narrows the range to 0.618 ** `sections` of itself.
    """
    low, high = math.log(0.2), math.log(5)
    ratio = (math.sqrt(5) - 1) / 2
    for _ in range(sections):
        a, b = high - ratio * (high - low), low + ratio * (high - low)
        if loss(math.exp(a)) < loss(math.exp(b)):
            high = b
        else:
            low = a
    return math.exp((low + high) / 2)


def classifier_bins(probabilities: Probabilities, labels: Labels) -> list[Bin]:
    """Bin the confidence of the likeliest class, (n, classes), against the labels (n,)."""
    right = probabilities.argmax(axis=1) == labels
    return equal_width_bins(probabilities.max(axis=1), right)


def summary(evaluations: Sequence[Evaluation]) -> str:
    """Return one line for each set, for the terminal."""
    lines = []
    for evaluation in evaluations:
        low, high = evaluation.score.interval()
        score = evaluation.score
        lines.append(
            f"{evaluation.name:12} {score.count - score.right:6} of {score.count:6} wrong: "
            f"{score.error_percent:.2f} % (95 %: {low:.2f} to {high:.2f})"
        )
    return "\n".join(lines)
