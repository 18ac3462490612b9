"""Nothing is released but what the threshold allows, and every other field has a reason."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from core.policy import ReviewReason, review_reason

CONFIDENCE = st.floats(0, 1)
THRESHOLD = st.none() | CONFIDENCE


@given(value=st.text(min_size=1, max_size=3), confidence=CONFIDENCE, required=st.booleans())
def test_without_a_threshold_everything_is_reviewed(
    value: str, confidence: float, required: bool
) -> None:
    reason = review_reason(value, confidence, None, required=required, blocked=None)
    assert reason is ReviewReason.NO_THRESHOLD


@given(confidence=CONFIDENCE, threshold=THRESHOLD, required=st.booleans())
def test_a_field_without_a_value_is_reviewed(
    confidence: float, threshold: float | None, required: bool
) -> None:
    reason = review_reason(None, confidence, threshold, required=required, blocked=None)
    assert reason is ReviewReason.NO_VALUE


@given(confidence=CONFIDENCE, threshold=THRESHOLD)
def test_an_empty_field_that_is_required_is_reviewed(
    confidence: float, threshold: float | None
) -> None:
    reason = review_reason("", confidence, threshold, required=True, blocked=None)
    assert reason is ReviewReason.REQUIRED_EMPTY


@given(confidence=CONFIDENCE, threshold=THRESHOLD)
def test_an_empty_field_that_is_optional_is_a_value_like_others(
    confidence: float, threshold: float | None
) -> None:
    empty = review_reason("", confidence, threshold, required=False, blocked=None)
    assert empty is review_reason("0", confidence, threshold, required=False, blocked=None)


@given(confidence=CONFIDENCE, threshold=CONFIDENCE)
def test_the_threshold_itself_is_sure_enough(confidence: float, threshold: float) -> None:
    expected = None if confidence >= threshold else ReviewReason.BELOW_THRESHOLD
    assert review_reason("253", confidence, threshold, required=True, blocked=None) is expected


def test_a_confidence_that_is_no_number_is_not_sure() -> None:
    reason = review_reason("253", float("nan"), 0.0, required=True, blocked=None)
    assert reason is ReviewReason.BELOW_THRESHOLD


@given(
    value=st.none() | st.text(max_size=3),
    confidence=CONFIDENCE,
    threshold=THRESHOLD,
    required=st.booleans(),
    blocked=st.sampled_from(ReviewReason),
)
def test_what_the_pipeline_blocked_is_never_released_and_says_why(
    value: str | None,
    confidence: float,
    threshold: float | None,
    required: bool,
    blocked: ReviewReason,
) -> None:
    reason = review_reason(value, confidence, threshold, required=required, blocked=blocked)
    assert reason is blocked
