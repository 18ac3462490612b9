"""How people are asked for the value of a field."""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import Final

# Of the questions that are asked blindly, those whose answer is known; of the fields that policy
# releases, those that people key again.
PLANTED_SHARE: Final = 0.02
AUDIT_SHARE: Final = 0.01


class VerifyMode(StrEnum):
    """How people verify a field. Its template says so."""

    CONFIRM = "confirm"  # they see what the machine read
    BLIND = "blind"  # they do not; where a person and the machine agree, the field closes
    DOUBLE = "double"  # two people key it, neither of whom sees any other value


class KeyingMode(StrEnum):
    """What a person was asked when she keyed a field."""

    CONFIRM = "confirm"  # the machine's value was shown
    BLIND = "blind"  # it was not; where both agree, the field closes
    DOUBLE = "double"  # by two people, neither of whom sees the other's value
    THIRD = "third"  # two values differ; a fresh person who sees neither
    PLANTED = "planted"  # the value is known: it measures the person
    AUDIT = "audit"  # policy released the value: it measures the policy


def is_chosen(share: float, *of: str) -> bool:
    """Say whether something is in a sample of `share`, 0 to 1. The same texts always are, or not.

    A hash chooses, so that nobody foresees it and tests are exact.
    """
    return _drawn(*of) < share * 2**64


def draw(count: int, *of: str) -> int:
    """Return a number from 0 to `count` - 1, the same for the same texts."""
    return _drawn(*of) % count


def _drawn(*of: str) -> int:
    return int.from_bytes(hashlib.sha256("\0".join(of).encode()).digest()[:8], "big")
