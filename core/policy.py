"""Release policy: which values the machine may release, and why a person must see the others."""

from __future__ import annotations

from enum import StrEnum


class Decision(StrEnum):
    ACCEPTED = "accepted"
    REVIEW = "review"


class ReviewReason(StrEnum):
    """Why policy gave a field to a person. The codes are stable; docs/api.md describes them."""

    NO_VALUE = "no-value"
    REQUIRED_EMPTY = "required-empty"
    NO_THRESHOLD = "no-threshold"
    BELOW_THRESHOLD = "below-threshold"
    # What the pipeline found: such a field is never released, however sure its value.
    OFF_PAGE = "off-page"
    CUT = "cut"
    TOO_DARK = "too-dark"
    TOO_FAINT = "too-faint"
    TOO_SMALL = "too-small"
    UNSURE_PLACE = "unsure-place"
    STRUCK_OUT = "struck-out"
    OVERWRITTEN = "overwritten"
    MAYBE_PRINT = "maybe-print"
    TORN = "torn"
    FOLLOWS_BOX = "follows-box"
    # A check across fields, which the template states, contradicts the value or another one.
    CHECK_FAILS = "check-fails"
    # It was released, and two people read something else.
    AUDIT_DIFFERS = "audit-differs"
    # What a person found in a value that policy had released.
    FAILED_AUDIT = "failed-audit"
    ASKED_AGAIN = "asked-again"  # a person asked for a released value to be looked at again


def review_reason(
    value: str | None,
    confidence: float,
    release_threshold: float | None,
    *,
    required: bool,
    blocked: ReviewReason | None,
    check_fails: bool = False,
) -> ReviewReason | None:
    """Return why a person must see a field, or None where its value may be released.

    `value` is the best legal value, "" for an empty field and None where there is no legal one;
    `confidence` is its calibrated probability, 0 to 1. Without a threshold nothing is released:
    whoever sets one states how sure is sure enough. A field that is not `required` may be
    released as empty under the same threshold. A field that the pipeline has `blocked` is released
    under none, and its reason comes before all others. Nor is a field in a check that fails.
    """
    if blocked is not None:
        return blocked
    if value is None:
        return ReviewReason.NO_VALUE
    if required and not value:
        return ReviewReason.REQUIRED_EMPTY
    if check_fails:
        return ReviewReason.CHECK_FAILS
    if release_threshold is None:
        return ReviewReason.NO_THRESHOLD
    if not confidence >= release_threshold:  # NaN is never sure
        return ReviewReason.BELOW_THRESHOLD
    return None
