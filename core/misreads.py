"""What a value may be instead: the alternatives of its reading, and one digit misread or mistyped.

Probabilities are compared as log odds: the log of how likely the other value is, against the one
that is there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

# How often, in hundredths, a digit that was read as the row's is in truth the column's, where it
# was misread: posteriors of the glyph reader for 8,000 digits of MNIST and 6,000 of the Swiss hands
# (training writers only), mixed with some of every confusion.
_CONFUSIONS: Final = (
    (0, 37, 6, 3, 7, 6, 15, 3, 8, 16),
    (4, 0, 10, 18, 5, 9, 11, 19, 7, 16),
    (4, 12, 0, 10, 2, 2, 2, 53, 5, 11),
    (5, 5, 6, 0, 2, 11, 3, 9, 9, 50),
    (1, 55, 1, 1, 0, 3, 2, 19, 2, 15),
    (2, 2, 1, 11, 1, 0, 6, 1, 5, 70),
    (38, 6, 2, 2, 18, 18, 0, 2, 11, 2),
    (1, 80, 2, 3, 3, 1, 1, 0, 1, 9),
    (9, 6, 5, 21, 7, 8, 7, 4, 0, 34),
    (4, 27, 2, 6, 42, 6, 2, 8, 4, 0),
)

# Of a value that a person keyed: how often it is wrong, and how its errors are shared out: a digit
# for another, neighbours that changed places, anything else.
_KEYED_WRONG: Final = 2e-3
_ONE_DIGIT, _SWAPPED, _ELSE = 0.8, 0.15, 0.05
_ELSE_EACH: Final = 1e-3  # of `_ELSE`, what one value has
_NO_READING: Final = 1e-7  # what the machine gives to a value that it did not think of

# The machine is never surer than that. Of 78 real misreadings of one digit, 62 have the true value
# among their alternatives (courtesy amounts, benchmarks.balance): the rest is left to the others.
_LEAST_DOUBT: Final = 1e-3
_UNLISTED: Final = 0.25


@dataclass(frozen=True, slots=True)
class Instead:
    """Another value that a field may have. `why` is a part of a sentence."""

    value: str
    log_odds: float
    why: str


def instead_of(
    value: str, confidence: float, alternatives: Mapping[str, float], *, keyed: bool
) -> list[Instead]:
    """Return what a field may hold instead of `value`, each value once.

    `confidence` is that of the machine in what it read, and `alternatives` the values that it
    thought of with their probabilities, 0 to 1. With `keyed` a person typed the value.
    """
    others = {other: share for other, share in alternatives.items() if share > 0}
    found: dict[str, Instead] = {}
    for one in _keyed(value, others) if keyed else _read(value, confidence, others):
        known = found.get(one.value)
        if one.value != value and (known is None or one.log_odds > known.log_odds):
            found[one.value] = one
    return list(found.values())


def _read(value: str, confidence: float, others: Mapping[str, float]) -> Iterator[Instead]:
    sure = min(max(confidence, _LEAST_DOUBT), 1 - _LEAST_DOUBT)
    for other, share in others.items():
        yield Instead(other, _odds(share, sure), "the machine's other reading")
    for other, share, digits in _one_digit(value):
        yield Instead(other, _odds(_UNLISTED * (1 - sure) * share, sure), _why(*digits, "read as"))


def _keyed(value: str, others: Mapping[str, float]) -> Iterator[Instead]:
    """Weigh what the machine saw against what people do when they type."""
    best = max(others, key=lambda other: others[other], default=None)
    seen = dict(others)
    if best is not None:
        doubt = max(1 - others[best], _LEAST_DOUBT)
        for other, share, _ in _one_digit(best):
            seen.setdefault(other, _UNLISTED * doubt * share)
    as_keyed = seen.get(value, _NO_READING) * (1 - _KEYED_WRONG)

    def weighed(other: str, slip: float, why: str) -> Instead:
        machine = seen.get(other, _NO_READING)
        return Instead(other, _odds(_KEYED_WRONG * slip * machine, as_keyed), why)

    places = sum("0" <= character <= "9" for character in value)
    for other in others:
        yield weighed(other, _ELSE * _ELSE_EACH, "what the machine had read")
    for other, _, digits in _one_digit(value):
        yield weighed(other, _ONE_DIGIT / 9 / places, _why(*digits, "typed as"))
    swaps = list(_swapped(value))
    for other in swaps:
        yield weighed(other, _SWAPPED / len(swaps), "two digits changed places")


def _one_digit(value: str) -> Iterator[tuple[str, float, tuple[str, str]]]:
    """Yield each value with one digit replaced, its share of all, and the digit: true, seen."""
    places = [at for at, character in enumerate(value) if "0" <= character <= "9"]
    for at in places:
        for truth, share in enumerate(_CONFUSIONS[int(value[at])]):
            if share and not (truth == 0 and at == places[0] and len(places) > 1):
                other = f"{value[:at]}{truth}{value[at + 1 :]}"
                yield other, share / 100 / len(places), (str(truth), value[at])


def _swapped(value: str) -> Iterator[str]:
    for at, (left, right) in enumerate(pairwise(value)):
        if left != right and (left + right).isdigit() and not (at == 0 and right == "0"):
            yield f"{value[:at]}{right}{left}{value[at + 2 :]}"


def _why(truth: str, seen: str, verb: str) -> str:
    return f"{_a(truth)} {verb} {_a(seen)}"


def _a(digit: str) -> str:
    return f"an {digit}" if digit == "8" else f"a {digit}"


def _odds(share: float, against: float) -> float:
    return math.log(share) - math.log(against)
