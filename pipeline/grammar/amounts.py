"""Amounts of money as people write them, as an automaton."""

from __future__ import annotations

from enum import StrEnum
from functools import lru_cache
from typing import Final

from pipeline.grammar.automaton import DIGITS, Automaton, build_automaton


class Grouping(StrEnum):
    """How the digits before the decimal mark may be grouped; they never need to be."""

    THOUSANDS = "thousands"  # 1,000,000.00
    LAKHS = "lakhs"  # 10,00,000.00
    POINTS = "points"  # 1.000.000,00
    NONE = "none"  # 1000000.00


# By ISO 4217 code: the sign, the grouping and the number of digits of the minor unit.
CURRENCIES: Final = {
    "AUD": ("$", Grouping.THOUSANDS, 2),
    "BRL": ("$", Grouping.POINTS, 2),
    "CAD": ("$", Grouping.THOUSANDS, 2),
    "CLP": ("$", Grouping.POINTS, 0),
    "EUR": ("€", Grouping.POINTS, 2),
    "GBP": ("£", Grouping.THOUSANDS, 2),
    "INR": ("₹", Grouping.LAKHS, 2),
    "JPY": ("¥", Grouping.THOUSANDS, 0),
    "USD": ("$", Grouping.THOUSANDS, 2),
    "UYU": ("$", Grouping.POINTS, 2),
}
TAILS: Final = ("/-", "/=", "=", "-")  # marks that end an amount, against additions

_SEPARATORS: Final = {
    Grouping.THOUSANDS: ",",
    Grouping.LAKHS: ",",
    Grouping.POINTS: ".",
    Grouping.NONE: "",
}


@lru_cache(maxsize=128)
def amounts(sign: str, grouping: Grouping, decimals: int, most: int) -> Automaton:
    """Return the automaton of the amounts with at most `most` digits before the decimal mark.

    `sign` may stand in front, one of TAILS at the end. The minor unit is left out or has `decimals`
    digits. The only leading zero is that of 0.50.
    """
    separator = separator_of(grouping)
    mark = decimal_mark(grouping) if decimals else ""
    tails = (*TAILS, ".-") if grouping is Grouping.POINTS else TAILS

    # A key is the part of the amount, and what must be remembered within it: of the major unit, how
    # many digits, whether they are grouped, and how many are in the last group; of the minor unit,
    # how many digits; of the tail, what may still follow.
    def step(key: tuple[object, ...], c: str) -> tuple[object, ...] | None:
        match key:
            case ("start",) if c == sign:
                return ("sign",)
            case ("start" | "sign",) if c in DIGITS:
                return ("zero",) if c == "0" else ("major", 1, False, 1)
            case ("major", int(count), bool(grouped), int(size)):
                if c in DIGITS:
                    legal = count < most and (not grouped or size < 3)
                    return ("major", count + 1, grouped, size + 1) if legal else None
                if c == separator and _may_end(grouping, grouped, size):
                    return ("major", count, True, 0)
                if c == "-" and separator == "." and grouped and size == 0:
                    return ("tail", frozenset({""}))  # the point belongs to ".-", not to a group
            case ("minor", int(size)) if c in DIGITS:
                return ("minor", size + 1) if size < decimals else None
            case ("tail", frozenset() as rests):
                after = frozenset(rest[1:] for rest in rests if rest.startswith(c))
                return ("tail", after) if after else None
        if key[0] in ("zero", "major") and c == mark and accepts(key):
            return ("minor", 0)
        after = frozenset(tail[1:] for tail in tails if tail.startswith(c))
        return ("tail", after) if after and key[0] != "tail" and accepts(key) else None

    def accepts(key: tuple[object, ...]) -> bool:
        match key:
            case ("zero",):
                return True
            case ("major", _, grouped, size):
                return not grouped or size == 3
            case ("minor", size):
                return size == decimals
            case ("tail", frozenset() as rests):
                return "" in rests
        return False

    characters = "".join(dict.fromkeys(DIGITS + separator + mark + sign + "".join(tails)))
    start: tuple[object, ...] = ("start",)
    return build_automaton(characters, start, step, accepts)


def separator_of(grouping: Grouping) -> str:
    """Return the character between the groups of digits, "" where there are no groups."""
    return _SEPARATORS[grouping]


def group_digits(digits: str, grouping: Grouping) -> str:
    """Return the digits of a whole number with the separators of their groups."""
    groups = [digits[-3:]]
    digits, size = digits[:-3], 2 if grouping is Grouping.LAKHS else 3
    while digits:
        groups.insert(0, digits[-size:])
        digits = digits[:-size]
    return separator_of(grouping).join(groups)


def decimal_mark(grouping: Grouping) -> str:
    """Return the character between the major and the minor unit."""
    return "," if grouping is Grouping.POINTS else "."


def _may_end(grouping: Grouping, grouped: bool, size: int) -> bool:
    """Say whether another group may follow a group of `size` digits."""
    if grouping is Grouping.LAKHS:
        return size == 2 or (size == 1 and not grouped)
    return size == 3 or (0 < size < 3 and not grouped)
