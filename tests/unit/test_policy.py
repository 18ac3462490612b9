"""Nothing is released but what the threshold allows."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from core.policy import Decision, decide

CONFIDENCE = st.floats(0, 1)


@given(value=st.none() | st.text(max_size=3), confidence=CONFIDENCE)
def test_without_a_threshold_everything_is_reviewed(value: str | None, confidence: float) -> None:
    assert decide(value, confidence, None) is Decision.REVIEW


@given(confidence=CONFIDENCE, threshold=CONFIDENCE)
def test_what_is_not_there_is_reviewed(confidence: float, threshold: float) -> None:
    assert decide(None, confidence, threshold) is Decision.REVIEW
    assert decide("", confidence, threshold) is Decision.REVIEW


@given(confidence=CONFIDENCE, threshold=CONFIDENCE)
def test_the_threshold_itself_is_sure_enough(confidence: float, threshold: float) -> None:
    expected = Decision.ACCEPTED if confidence >= threshold else Decision.REVIEW
    assert decide("253", confidence, threshold) is expected


def test_no_number_at_all_is_not_sure() -> None:
    assert decide("253", float("nan"), 0.0) is Decision.REVIEW
