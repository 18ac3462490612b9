"""Two readers' words as one probability: what must always hold of it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.readers.confidence import Evidence, Weights, gather, judge
from pipeline.readers.strip import StripOpinion
from pipeline.types import Alternative, Box, FieldReading

WEIGHTS = Weights(strip=0.8, glyph=0.4, other=-1.0)
BOX = Box(0, 0, 10, 10)

values = st.text("0123456789.", max_size=4)
shares = st.floats(0, 1)


def glyphs_say(*said: tuple[str, float]) -> FieldReading:
    alternatives = tuple(Alternative(value, share) for value, share in said)
    first = said[0] if said else (None, 0.0)
    return FieldReading("f", first[0], first[0] or "", first[1], alternatives, BOX)


def strip_says(*said: tuple[str, float], nothing: float = 0.0) -> StripOpinion:
    legal = tuple(Alternative(value, share) for value, share in said)
    return StripOpinion(said[0][0] if said else "", legal, nothing)


@given(st.dictionaries(values, st.builds(Evidence, shares, shares), min_size=1))
def test_probabilities_sum_to_less_than_one_and_come_best_first(
    evidence: dict[str, Evidence],
) -> None:
    judged = judge(evidence, WEIGHTS)
    probabilities = [item.probability for item in judged]
    assert {item.value for item in judged} == set(evidence)
    assert probabilities == sorted(probabilities, reverse=True)
    assert 0 < sum(probabilities) < 1


@given(shares, shares, shares)
def test_more_evidence_never_makes_a_value_less_sure(low: float, high: float, glyph: float) -> None:
    low, high = sorted((low, high))
    rival = Evidence(0.3, 0.3)

    def sure(strip: float) -> float:
        seen = {"12": Evidence(strip, glyph), "17": rival}
        return next(item.probability for item in judge(seen, WEIGHTS) if item.value == "12")

    assert sure(high) >= sure(low)


def test_two_that_agree_are_surer_than_one_and_one_contradicted_less_sure() -> None:
    alone = judge(gather(strip_says(("12", 0.9)), glyphs_say()), WEIGHTS)[0]
    agreed = judge(gather(strip_says(("12", 0.9)), glyphs_say(("12", 0.9))), WEIGHTS)[0]
    against = judge(gather(strip_says(("12", 0.9)), glyphs_say(("17", 0.9))), WEIGHTS)[0]
    assert against.probability < alone.probability < agreed.probability
    assert {alone.value, agreed.value, against.value} == {"12"}


def test_the_glyph_reader_knows_no_point_and_still_counts() -> None:
    evidence = gather(strip_says(("12.50", 0.8), ("1250", 0.1)), glyphs_say(("1250", 0.9)))
    assert set(evidence) == {"12.50", "1250", ""}
    assert evidence["12.50"] == Evidence(0.8, 0.9)
    # What is named first decides, the glyph reader cannot tell the two apart.
    assert judge(evidence, WEIGHTS)[0].value == "12.50"


def test_that_nothing_stands_there_is_a_value_like_others() -> None:
    empty = judge(gather(strip_says(nothing=0.99), glyphs_say(("", 0.9))), WEIGHTS)[0]
    torn = judge(gather(strip_says(nothing=0.99), glyphs_say(("7", 0.9))), WEIGHTS)[0]
    assert empty.value == torn.value == ""
    assert empty.probability > torn.probability


def test_the_bundled_weights_load() -> None:
    weights = Weights.bundled()
    assert weights.strip > 0
    assert weights.score(Evidence(0.9, 0.9)) > weights.score(Evidence(0.1, 0.1))
