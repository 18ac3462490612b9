"""How people are asked for the value of a field."""

from __future__ import annotations

from enum import StrEnum


class KeyingMode(StrEnum):
    """What a person was asked when she keyed a field."""

    CONFIRM = "confirm"  # the machine's value was shown
    BLIND = "blind"  # it was not; where both agree, the field closes
    DOUBLE = "double"  # by two people, neither of whom sees the other's value
    THIRD = "third"  # two values differ; a fresh person who sees neither
    PLANTED = "planted"  # the value is known: it measures the person
    AUDIT = "audit"  # policy released the value: it measures the policy
