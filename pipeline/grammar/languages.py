"""The sets of strings that a field may hold, each as an automaton.

Each is defined by what must be remembered of a prefix: how many digits, a remainder, which bounds
it still touches. The arguments are those of the grammars in `docs/templates.md`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, Literal

from pipeline.grammar.automaton import DIGITS, Automaton, build_automaton

Scheme = Literal["luhn", "mod11", "mod97", "aba"]

SCHEMES: Final[tuple[Scheme, ...]] = ("luhn", "mod11", "mod97", "aba")


@lru_cache(maxsize=128)
def digits(least: int, most: int) -> Automaton:
    """Return the automaton of all strings of `least` to `most` digits."""
    return build_automaton(
        DIGITS,
        0,
        lambda count, _: count + 1 if count < most else None,
        lambda count: count >= least,
    )


@lru_cache(maxsize=128)
def one_of(choices: tuple[str, ...]) -> Automaton:
    """Return the automaton of these strings alone."""
    return build_automaton(
        "".join(sorted(set("".join(choices)))),
        frozenset(choices),
        lambda rests, c: frozenset(rest[1:] for rest in rests if rest.startswith(c)) or None,
        lambda rests: "" in rests,
    )


@lru_cache(maxsize=128)
def whole_numbers(low: int, high: int) -> Automaton:
    """Return the automaton of the numbers from `low` to `high`, without leading zeros."""
    most = len(str(high))

    def step(key: int | frozenset[int], digit: str) -> int | frozenset[int] | None:
        if isinstance(key, frozenset):
            return frozenset(more - 1 for more in key if more > 0) or None
        if key == 0:
            return None
        number = 10 * max(key, 0) + int(digit)
        # The key of a prefix is the number itself, or, where it touches neither bound any more, how
        # many digits may follow.
        inside = set()
        for more in range(most - len(str(number)) + 1 if number else 0):
            lowest = number * 10**more
            highest = lowest + 10**more - 1
            if low <= lowest and highest <= high:
                inside.add(more)
            elif lowest <= high and highest >= low:
                return number
        return frozenset(inside) if number else 0

    def accepts(key: int | frozenset[int]) -> bool:
        return 0 in key if isinstance(key, frozenset) else low <= key <= high

    nothing_yet: int | frozenset[int] = -1
    return build_automaton(DIGITS, nothing_yet, step, accepts)


@lru_cache(maxsize=128)
def checksum(scheme: Scheme, length: int) -> Automaton:
    """Return the automaton of the strings of `length` digits whose check digits are right.

    luhn: ISO/IEC 7812-1, annex B. aba: weights 3, 7, 1; ten divides the sum. mod97: the number
    modulo 97 is 1 (ISO/IEC 7064, MOD 97-10). mod11: weights 1, 2, 3, ... from the right; eleven
    divides the sum, as in ISBN-10.
    """
    modulus = {"luhn": 10, "aba": 10, "mod11": 11, "mod97": 97}[scheme]

    def step(key: tuple[int, int], character: str) -> tuple[int, int] | None:
        place, rest = key
        digit = int(character)
        if place == length:
            return None
        if scheme == "luhn":
            doubled = (length - place) % 2 == 0
            rest += sum(divmod(2 * digit, 10)) if doubled else digit
        elif scheme == "aba":
            rest += (3, 7, 1)[place % 3] * digit
        elif scheme == "mod11":
            rest += (length - place) * digit
        else:
            rest = 10 * rest + digit
        return place + 1, rest % modulus

    wanted = 1 if scheme == "mod97" else 0
    return build_automaton(DIGITS, (0, 0), step, lambda key: key == (length, wanted))
