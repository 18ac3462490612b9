"""Check digits: whether the last digits of a number fit the others."""

from __future__ import annotations

from typing import Final, Literal

Scheme = Literal["luhn", "mod11", "mod97", "aba"]

SCHEMES: Final[tuple[Scheme, ...]] = ("luhn", "mod11", "mod97", "aba")


def fits(scheme: Scheme, digits: str) -> bool:
    """Say whether a string of ASCII digits passes.

    luhn: ISO/IEC 7812-1, annex B. aba: nine digits, weights 3, 7, 1; ten divides the sum. mod97:
    the number modulo 97 is 1 (ISO/IEC 7064, MOD 97-10). mod11: weights 1, 2, 3, ... from the right;
    eleven divides the sum (as in ISBN-10).
    """
    figures = [int(digit) for digit in reversed(digits)]
    if scheme == "mod97":
        return int(digits) % 97 == 1
    if scheme == "aba":
        weights = (1, 7, 3) * 3
        return len(figures) == 9 and _sum(figures, weights) % 10 == 0
    if scheme == "mod11":
        return _sum(figures, range(1, len(figures) + 1)) % 11 == 0
    doubled = [sum(divmod(figure * (1 + at % 2), 10)) for at, figure in enumerate(figures)]
    return sum(doubled) % 10 == 0


def _sum(figures: list[int], weights: range | tuple[int, ...]) -> int:
    return sum(figure * weight for figure, weight in zip(figures, weights, strict=True))
