"""How sure a value is: what two readers saw in one field, as one calibrated probability.

The readers fail differently: the glyph reader where digits touch or print remains, the strip reader
at shapes that it has not learnt. So a value that both see is surer than either reader is of it, and
a value that only one sees is less sure. The score of each candidate is a weighted sum of the two
log-odds; one more candidate, with a constant score, stands for every value that neither reader
names. The softmax over all scores gives the probabilities (a conditional logit: McFadden 1974).
`training.confidence` fits the weights on strips of held-out writers.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Final

from core.errors import ConfigError
from pipeline.readers.base import Hypotheses
from pipeline.types import Alternative

# Probabilities are kept this far from 0 and 1: what one reader rules out the other may be sure of.
CTC_MARGIN: Final = 1e-4
GLYPH_MARGIN: Final = 1e-2


@dataclass(frozen=True, slots=True)
class Evidence:
    """What speaks for a value: the probability that each reader gives it."""

    strip: float
    glyph: float

    def features(self) -> tuple[float, float]:
        """Return the log-odds of both readers, the strip reader's first."""
        return _log_odds(self.strip, CTC_MARGIN), _log_odds(self.glyph, GLYPH_MARGIN)


def _log_odds(probability: float, margin: float) -> float:
    bounded = min(max(probability, margin), 1 - margin)
    return math.log(bounded / (1 - bounded))


@dataclass(frozen=True, slots=True)
class EvidenceWeights:
    """How much the log-odds of each reader count."""

    strip: float
    glyph: float
    other: float  # the score of all values that neither reader names

    @classmethod
    def bundled(cls) -> EvidenceWeights:
        """Load the weights that belong to the bundled readers."""
        file = resources.files("pipeline.readers") / "weights" / "confidence.json"
        try:
            card = json.loads(file.read_text(encoding="utf-8"))["weights"]
            return cls(**{name: float(card[name]) for name in cls.__slots__})
        except (OSError, ValueError, KeyError, TypeError) as exc:
            raise ConfigError(
                f"The weights of the confidence cannot be used ({type(exc).__name__}: {exc}).",
                code="bad-weights",
            ) from exc

    def score(self, evidence: Evidence) -> float:
        """Return the score of a value: the weighted sum of the log-odds."""
        strip, glyph = evidence.features()
        return self.strip * strip + self.glyph * glyph


def candidates(by_ctc: Hypotheses, by_glyphs: Hypotheses) -> dict[str, Evidence]:
    """Return the evidence for each value that a reader names, and for "", an empty field.

    The glyph reader knows no decimal point: it reads 12.50 as 1250. That counts as evidence for
    12.50 where the strip reader sees a point.
    """
    glyph = {item.value: item.probability for item in by_glyphs.legal} | {"": by_glyphs.empty}
    strip = {item.value: item.probability for item in by_ctc.legal} | {"": by_ctc.empty}
    with_point = {value.replace(".", "") for value in strip if "." in value}
    values = list(strip) + [
        value for value in glyph if value not in strip and value not in with_point
    ]
    return {
        value: Evidence(strip.get(value, 0.0), glyph.get(value.replace(".", ""), 0.0))
        for value in values
    }


def rank(evidence: Mapping[str, Evidence], weights: EvidenceWeights) -> tuple[Alternative, ...]:
    """Return the values with their probabilities, likeliest first; they sum to less than 1."""
    scores = {value: weights.score(seen) for value, seen in evidence.items()}
    top = max([weights.other, *scores.values()])
    total = math.exp(weights.other - top) + sum(math.exp(s - top) for s in scores.values())
    ranked = sorted(scores, key=lambda value: -scores[value])
    return tuple(Alternative(value, math.exp(scores[value] - top) / total) for value in ranked)
