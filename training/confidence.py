"""Fit how much the evidence of each reader counts: the weights of `pipeline.readers.confidence`.

    python -m training.confidence --data DIR [--strips 32000] [--install]

Strips are composed from digits of writers that trained neither reader. Both bundled readers read
them under the grammar that a field of their kind would have. The fit maximises the likelihood of
the truth (a concave problem, solved by Newton's method) on half of the strips; the other half
measures the calibration error.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.fields import clean_fields
from pipeline.grammar.base import Grammar
from pipeline.grammar.parse import parse_grammar
from pipeline.readers.base import FieldStrip
from pipeline.readers.confidence import Evidence, EvidenceWeights, candidates, rank
from pipeline.readers.glyph import read_glyphs
from pipeline.readers.runtime import Model
from pipeline.readers.strip import read_ctc
from pipeline.types import Box, Strip
from training.cards import SHIPPED
from training.evaluation.metrics import HIGH_CONFIDENCE, calibration_error, reliability
from training.strip.pool import digits_of
from training.synthesis.strips import LabelledStrip, StripSynthesizer

CARD = "confidence.json"
_RIDGE = 1e-3  # keeps a weight finite when the strips hold no evidence about it
_GROUP = 64
_AT_ONCE = 32 * _GROUP  # strips drawn and read between two progress messages


@dataclass(frozen=True, slots=True)
class ReadStrip:
    """The text of one strip, and the evidence of both readers."""

    truth: str
    evidence: dict[str, Evidence]


def collect_evidence(
    strips: Sequence[LabelledStrip], glyph: Model, strip: Model
) -> list[ReadStrip]:
    """Read labelled strips with both readers."""
    sample = []
    for start in range(0, len(strips), _GROUP):
        some = strips[start : start + _GROUP]
        asked = [
            FieldStrip(
                Strip("strip", Box(0, 0, s.grey.shape[1], s.grey.shape[0]), s.grey),
                grammar_of(s),
                ruled=True,
            )
            for s in some
        ]
        cleaned = clean_fields(asked)
        by_glyphs = read_glyphs(asked, cleaned, glyph)
        by_ctc = read_ctc(asked, cleaned, strip)
        sample += [
            ReadStrip(s.text, candidates(*both))
            for s, *both in zip(some, by_ctc, by_glyphs, strict=True)
        ]
    return sample


def grammar_of(strip: LabelledStrip) -> Grammar:
    """Return the grammar of a field for such a strip; it fixes neither the length nor the point."""
    if strip.text and "amount" in strip.traits and not strip.text.startswith("0"):
        return parse_grammar("amount(digits=16)")
    return parse_grammar("digits(1,16)")


def fit(sample: Sequence[ReadStrip]) -> EvidenceWeights:
    """Return the weights under which the truths are likeliest."""
    tables, truths = zip(*(_table(one) for one in sample), strict=True)
    w = np.array([0.5, 0.2, 0.0])
    for _ in range(50):
        gradient, curvature = -_RIDGE * w, _RIDGE * np.eye(3)
        for x, truth in zip(tables, truths, strict=True):
            scores = x @ w
            p = np.exp(scores - scores.max())
            p /= p.sum()
            mean = p @ x
            gradient += x[truth] - mean
            curvature += (x.T * p) @ x - np.outer(mean, mean)
        step = np.linalg.solve(curvature, gradient)
        w = w + step * min(1.0, 2.0 / float(np.abs(step).max()))
        if np.abs(step).max() < 1e-6:
            break
    return EvidenceWeights(*(round(float(value), 4) for value in w))


def _table(one: ReadStrip) -> tuple[NDArray[np.float64], int]:
    """Return the evidence, (candidates, 3), and the row of the truth.

    The last row stands for every value that no reader proposed.
    """
    values = list(one.evidence)
    rows = [[*e.features(), 0.0] for e in one.evidence.values()]
    rows.append([0.0, 0.0, 1.0])
    return np.array(rows), values.index(one.truth) if one.truth in values else len(values)


def measure(sample: Sequence[ReadStrip], weights: EvidenceWeights) -> dict[str, float]:
    """Exact share and expected calibration error of the sample strips, and what becomes of points.

    A missed decimal point makes an amount a hundred times too large.
    """
    best = [rank(one.evidence, weights)[0] for one in sample]
    right = [item.value == one.truth for item, one in zip(best, sample, strict=True)]
    confidence = [item.probability for item in best]
    missed = [
        item.probability
        for item, one in zip(best, sample, strict=True)
        if "." in one.truth and item.value == one.truth.replace(".", "")
    ]
    return {
        "strips": len(sample),
        "exact": round(float(np.mean(right)), 4),
        "calibration_error": round(calibration_error(reliability(confidence, right)), 4),
        "with_a_point": sum("." in one.truth for one in sample),
        "point_missed": len(missed),
        "point_missed_surely": sum(sure >= HIGH_CONFIDENCE for sure in missed),
    }


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.confidence", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--data", type=Path, required=True, help="folder of the .npz sets")
    parser.add_argument("--strips", type=int, default=32000)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--install", action="store_true", help="bundle the weights")
    options = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    glyph, strip = Model.bundled("glyph"), Model.bundled("strip")
    synthesizer = StripSynthesizer(digits_of(options.data, "validation"), seed=options.seed)
    rng = np.random.default_rng(options.seed)
    sample: list[ReadStrip] = []
    while (left := options.strips - len(sample)) > 0:
        sample += collect_evidence(
            [synthesizer(rng) for _ in range(min(_AT_ONCE, left))], glyph, strip
        )
        sys.stderr.write(f"  {len(sample):,} of {options.strips:,} strips read\n")
    weights = fit(sample[0::2])
    card: dict[str, Any] = {
        "weights": asdict(weights),
        "command": f"python -m training.confidence --data DIR --strips {options.strips} "
        f"--seed {options.seed}",
        "readers": {"glyph": glyph.card.sha256, "strip": strip.card.sha256},
        "fitted_on": "half of the strips, composed from digits of held-out writers of MNIST",
        "fitted": measure(sample[0::2], weights),
        "other_half": measure(sample[1::2], weights),
    }
    text = json.dumps(card, indent=2) + "\n"
    if options.install:
        (SHIPPED / CARD).write_text(text, encoding="utf-8")
    sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
