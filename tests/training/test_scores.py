"""Scores, their intervals, and calibration."""

from __future__ import annotations

import numpy as np
import pytest

from training.datasets import DigitSet
from training.evaluation.metrics import calibration_error
from training.glyph.scores import Score, classifier_bins, evaluate, fit_temperature


def test_the_interval_is_that_of_wilson() -> None:
    low, high = Score(10_000, 9_970).interval()  # 0.30 % wrong
    assert low == pytest.approx(0.2102, abs=1e-3)
    assert high == pytest.approx(0.4281, abs=1e-3)
    assert Score(50, 50).interval()[0] == 0
    assert Score(0, 0).interval() == (0, 100)


def test_an_evaluation_counts_what_was_read() -> None:
    labels = np.array([0, 1, 1, 7], np.uint8)
    read = np.array([0, 1, 7, 7])
    probabilities = np.full((4, 10), 0.02, np.float32)
    probabilities[np.arange(4), read] = 0.82
    found = evaluate(DigitSet("mnist", np.zeros((4, 28, 28), np.uint8), labels), probabilities)
    assert found.score == Score(4, 3)
    assert found.by_class[1] == Score(2, 1)
    assert found.confusion[1, 7] == 1
    assert [(m.label, m.read) for m in found.worst] == [(1, 7)]
    assert found.by_length[1].accuracy == pytest.approx(0.75, abs=0.02)
    assert found.by_length[4].accuracy == pytest.approx(0.75**4, abs=0.02)


def test_the_temperature_is_found_again() -> None:
    rng = np.random.default_rng(4)
    logits = rng.normal(0, 2, (20_000, 10)).astype(np.float32)
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (chances.cumsum(axis=1) > rng.uniform(size=(20_000, 1))).argmax(axis=1)
    labels = labels.astype(np.uint8)
    assert fit_temperature(logits * 2.5, labels) == pytest.approx(2.5, rel=0.05)
    assert calibration_error(classifier_bins(chances, labels)) < 0.02
    sharp = np.exp(2.5 * logits) / np.exp(2.5 * logits).sum(axis=1, keepdims=True)
    assert calibration_error(classifier_bins(sharp, labels)) > 0.1
