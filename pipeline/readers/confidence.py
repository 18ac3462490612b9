"""How sure a value is: what two readers say of one field, as one calibrated probability.

The readers fail differently: the glyph reader where digits touch or print remains, the strip
reader at shapes that it has not seen. A value that both say is therefore surer than either is, and
one that only one says less sure. Each candidate's evidence is a weighted sum of log-odds, and one
more candidate stands for whatever neither reader thought of; the shares of all are the
probabilities (a conditional logit: McFadden 1974). The weights are fitted on strips of held-out
writers by `training.confidence`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Final

from core.errors import ConfigError
from pipeline.readers.strip import StripOpinion
from pipeline.types import Alternative, FieldReading

# A reader is never surer than this, for or against: what one rules out the other may be sure of.
STRIP_DOUBT: Final = 1e-4
GLYPH_DOUBT: Final = 1e-2


@dataclass(frozen=True, slots=True)
class Evidence:
    """What speaks for a value: each reader's probability of it."""

    strip: float
    glyph: float

    def features(self) -> tuple[float, float]:
        """Return what is weighed: both readers' log-odds."""
        return _log_odds(self.strip, STRIP_DOUBT), _log_odds(self.glyph, GLYPH_DOUBT)


def _log_odds(probability: float, doubt: float) -> float:
    bounded = min(max(probability, doubt), 1 - doubt)
    return math.log(bounded / (1 - bounded))


@dataclass(frozen=True, slots=True)
class Weights:
    """How much each piece of evidence counts."""

    strip: float
    glyph: float
    other: float  # of the candidate that neither reader thought of

    @classmethod
    def bundled(cls) -> Weights:
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
        strip, glyph = evidence.features()
        return self.strip * strip + self.glyph * glyph


def gather(strip: StripOpinion, glyph: FieldReading) -> dict[str, Evidence]:
    """Return the evidence for each value that one of the readers names.

    The glyph reader knows no point: it says of 12.50 that it is 1250, and that counts for 12.50
    where the strip reader sees one.
    """
    said = {item.value: item.probability for item in glyph.alternatives}
    seen = {item.value: item.probability for item in strip.legal} | {"": strip.nothing}
    pointed = {value.replace(".", "") for value in seen if "." in value}
    values = list(seen) + [value for value in said if value not in seen and value not in pointed]
    return {
        value: Evidence(seen.get(value, 0.0), said.get(value.replace(".", ""), 0.0))
        for value in values
    }


def judge(evidence: Mapping[str, Evidence], weights: Weights) -> tuple[Alternative, ...]:
    """Return the values with their probabilities, likeliest first; they sum to less than 1."""
    scores = {value: weights.score(seen) for value, seen in evidence.items()}
    top = max([weights.other, *scores.values()])
    total = math.exp(weights.other - top) + sum(math.exp(s - top) for s in scores.values())
    ranked = sorted(scores, key=lambda value: -scores[value])
    return tuple(Alternative(value, math.exp(scores[value] - top) / total) for value in ranked)
