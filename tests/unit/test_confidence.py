"""What two readers see as one probability: what must always hold of it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.readers.base import Hypotheses
from pipeline.readers.confidence import Evidence, EvidenceWeights, candidates, rank
from pipeline.types import Alternative

WEIGHTS = EvidenceWeights(strip=0.8, glyph=0.4, other=-1.0)

values = st.text("0123456789.", max_size=4)
probabilities = st.floats(0, 1)


def seen(*legal: tuple[str, float], empty: float = 0.0) -> Hypotheses:
    """What a reader sees in a strip: its legal values with their probabilities."""
    return Hypotheses(
        legal[0][0] if legal else "", tuple(Alternative(*each) for each in legal), empty
    )


@given(st.dictionaries(values, st.builds(Evidence, probabilities, probabilities), min_size=1))
def test_probabilities_sum_to_less_than_one_and_come_best_first(
    evidence: dict[str, Evidence],
) -> None:
    ranked = rank(evidence, WEIGHTS)
    probabilities = [item.probability for item in ranked]
    assert {item.value for item in ranked} == set(evidence)
    assert probabilities == sorted(probabilities, reverse=True)
    assert 0 < sum(probabilities) < 1


@given(probabilities, probabilities, probabilities)
def test_more_evidence_never_makes_a_value_less_sure(low: float, high: float, glyph: float) -> None:
    low, high = sorted((low, high))
    rival = Evidence(0.3, 0.3)

    def sure(strip: float) -> float:
        seen = {"12": Evidence(strip, glyph), "17": rival}
        return next(item.probability for item in rank(seen, WEIGHTS) if item.value == "12")

    assert sure(high) >= sure(low)


def test_two_that_agree_are_surer_than_one_and_one_contradicted_less_sure() -> None:
    alone = rank(candidates(seen(("12", 0.9)), seen()), WEIGHTS)[0]
    agreed = rank(candidates(seen(("12", 0.9)), seen(("12", 0.9))), WEIGHTS)[0]
    against = rank(candidates(seen(("12", 0.9)), seen(("17", 0.9))), WEIGHTS)[0]
    assert against.probability < alone.probability < agreed.probability
    assert {alone.value, agreed.value, against.value} == {"12"}


def test_the_glyph_reader_knows_no_point_and_still_counts() -> None:
    evidence = candidates(seen(("12.50", 0.8), ("1250", 0.1)), seen(("1250", 0.9)))
    assert set(evidence) == {"12.50", "1250", ""}
    assert evidence["12.50"] == Evidence(0.8, 0.9)
    # What is named first decides, the glyph reader cannot tell the two apart.
    assert rank(evidence, WEIGHTS)[0].value == "12.50"


def test_that_nothing_stands_there_is_a_value_like_others() -> None:
    empty = rank(candidates(seen(empty=0.99), seen(empty=0.9)), WEIGHTS)[0]
    torn = rank(candidates(seen(empty=0.99), seen(("7", 0.9))), WEIGHTS)[0]
    assert empty.value == torn.value == ""
    assert empty.probability > torn.probability


def test_the_bundled_weights_load() -> None:
    weights = EvidenceWeights.bundled()
    assert weights.strip > 0
    assert weights.score(Evidence(0.9, 0.9)) > weights.score(Evidence(0.1, 0.1))
