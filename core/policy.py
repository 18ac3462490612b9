"""What happens to a reading: released by the machine, or shown to a person."""

from __future__ import annotations

from enum import StrEnum


class Decision(StrEnum):
    ACCEPTED = "accepted"
    REVIEW = "review"


def decide(value: str | None, confidence: float, release_threshold: float | None) -> Decision:
    """Decide a field from its calibrated `confidence` (0 to 1).

    Without a threshold nothing is released: whoever sets one states how sure is sure enough.
    A field without a legal value, or with nothing in it, always goes to a person.
    """
    if release_threshold is None or not value:
        return Decision.REVIEW
    return Decision.ACCEPTED if confidence >= release_threshold else Decision.REVIEW
