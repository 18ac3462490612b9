"""The content of a strip, before it is written: amounts, dates, codes, and no number at all.

The alphabet of the strip reader is `0123456789.`. The point separates the minor unit (cents, paise)
from the major one, however it is written: `12.34`, `12,34`, `12-34`, a raised and underlined 34,
`34/100`. Without it, 1234 and 12.34 would read the same, an error by a factor of a hundred.
Everything else is background and reads as nothing: group separators, currency signs, strokes before
and after the number (`/-`, `=`, `.-`), the 100 of a fraction. These carry no value and vary without
end, and the grammar need not allow for them. Sets whose labels hold digits alone are compared
without the point.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from training.synthesis.allographs import LETTERS

ALPHABET = "0123456789."
LONGEST = 16  # characters of a text

# Lengths of numbers, in digits: mostly those of amounts, but every length up to LONGEST occurs.
_LENGTHS = np.array([3, 8, 14, 17, 18, 15, 10, 6, 3, 2, 1, 1, 0.5, 0.5, 0.5, 0.5])
_FIRST = np.array([2, 5, 3, 2, 2, 1.5, 1, 1, 1, 1.5]) / 20  # of the first digit of a count
# Of the first digit, 1 to 9, in half of all numbers (Benford's law): if a leading 1 were rare, the
# reader would take it for the border beside it.
_LEADING = np.log10(1 + 1 / np.arange(1, 10))
_SIGNS = ("₹", "$", "£", "€", "Rs", "Rs.")
_TRAILS = (
    *("/-", "/-", "/-", "/-", "/=", "=", "-", "--", "only", ".-", ",-", ".=", ".", ",", "'", "#"),
    "xx/100",
)
_LEADS = ("=", "-", "*", "**", "#", ".")


@dataclass(frozen=True, slots=True)
class Token:
    """One character to write."""

    character: str
    reads: str = ""  # what it contributes to the text of the strip
    scale: float = 1.0  # share of the usual height
    lift: float = 0.0  # rise of its base line, in heights of a digit
    underlined: bool = False
    beneath: bool = False  # it stands under the underlined characters before it


@dataclass(frozen=True, slots=True)
class Line:
    """The content of one strip."""

    tokens: tuple[Token, ...]
    traits: frozenset[str]
    comb: bool = False  # one digit in each cell
    boxed: bool = False  # in the box of a cheque, after its printed currency sign

    @property
    def text(self) -> str:
        return "".join(token.reads for token in self.tokens)


def draw_line(rng: np.random.Generator) -> Line:
    """Draw a number as in a field: a count, an amount, a date, another number, digits in a comb."""
    kind = rng.random()
    if kind < 0.1:
        return draw_count(rng)
    if kind < 0.24:
        return draw_cheque_amount(rng)
    if kind < 0.66:
        return draw_amount(rng)
    if kind < 0.71:
        return draw_date(rng)
    comb = kind > 0.84
    length = int(rng.choice((2, 4, 5, 6, 8, 8, 8, 8, 10, 12))) if comb else _length(rng)
    digits = _date(rng) if comb and length == 8 else _digits(length, rng)
    return Line(
        tuple(Token(digit, digit) for digit in digits),
        frozenset({"comb" if comb else "plain"}),
        comb,
    )


def draw_count(rng: np.random.Generator) -> Line:
    """Draw a count, a score or an answer: one or two digits, more often low than high.

    A single 1 looks like the side of a box. If it were rare, the reader would take it for one.
    """
    digits = str(rng.choice(10, p=_FIRST))
    if rng.random() < 0.4:
        digits += str(rng.integers(10))
    return Line(tuple(Token(digit, digit) for digit in digits), frozenset({"count"}))


def draw_amount(rng: np.random.Generator) -> Line:
    """Draw an amount: currency sign, groups, minor unit, trailing strokes."""
    major = _digits(min(_length(rng), 12), rng)
    traits = {"amount"}
    tokens: list[Token] = []
    if rng.random() < 0.3:
        sign = str(rng.choice(_SIGNS))
        traits.add(f"sign {sign}")
        tokens += _plain(sign)
    elif rng.random() < 0.08:
        traits.add("lead")
        tokens += _plain(str(rng.choice(_LEADS)))
    separator = str(rng.choice(("", "", ".", ",", ",", "'", " ")))
    grouping = "indian" if rng.random() < (0.5 if separator == "," else 0.1) else "western"
    if separator and len(major) > 3:
        traits |= {f"group {separator}", grouping}
    # Many people write the zeros at the end of a round number smaller, and some raise them.
    round_from = len(major.rstrip("0")) if rng.random() < 0.3 else len(major)
    small, raised = float(rng.uniform(0.5, 0.85)), float(rng.uniform(0, 0.2))
    for index, digit in enumerate(major):
        if separator and index and _starts_group(len(major) - index, grouping):
            tokens.append(Token(separator))
        of_tail = index >= round_from
        tokens.append(Token(digit, digit, small if of_tail else 1.0, raised if of_tail else 0.0))
    if rng.random() < 0.26:
        style, minor = _minor(separator, rng)
        traits.add(style)
        tokens += minor
        if rng.random() < 0.1:
            tokens += _plain(str(rng.choice(("-", "=", "/-"))))
    elif rng.random() < 0.5:
        trail = str(rng.choice(_TRAILS))
        traits.add(f"trail {trail}")
        tokens += _plain(trail)
    return Line(tuple(tokens), frozenset(traits))


def draw_cheque_amount(rng: np.random.Generator) -> Line:
    """Draw an amount as in the box of an Indian cheque: mostly round, such as `1,25,000/-`."""
    major = _digits(int(rng.integers(4, 10)), rng)
    if rng.random() < 0.6:
        major = major[: len(major) - 3] + "000"
    grouped = rng.random() < 0.8
    grouping = "indian" if rng.random() < 0.85 else "western"
    tokens: list[Token] = []
    for index, digit in enumerate(major):
        if grouped and index and _starts_group(len(major) - index, grouping):
            tokens.append(Token(","))
        tokens.append(Token(digit, digit))
    if rng.random() < 0.8:
        tokens += _plain(str(rng.choice(("/-", "/-", "/-", "/-", "/-", "/=", "-", "=", "/"))))
    elif rng.random() < 0.3:
        tokens += _minor(",", rng)[1]
    return Line(tuple(tokens), frozenset({"amount", "cheque"}), boxed=True)


def draw_date(rng: np.random.Generator) -> Line:
    """Draw a date with separators; only its digits are read."""
    day, month = f"{rng.integers(1, 32):02d}", f"{rng.integers(1, 13):02d}"
    if rng.random() < 0.4:
        day, month = day.lstrip("0"), month.lstrip("0")
    year = f"{rng.integers(1990, 2036)}"[0 if rng.random() < 0.6 else 2 :]
    parts = [day, month, year] if rng.random() < 0.8 else [year, month, day]
    separator = str(rng.choice(("/", "/", "/", "-", ".", " ")))
    tokens: list[Token] = []
    for part in parts:
        tokens += [Token(separator)] if tokens else []
        tokens += [Token(digit, digit) for digit in part]
    return Line(tuple(tokens), frozenset({"date", f"date {separator}"}))


def draw_words(rng: np.random.Generator) -> Line:
    """Draw handwriting that is no number: words, or a row of dashes, crosses or stars."""
    if rng.random() < 0.25:
        filling = str(rng.choice(("-", "x", "*", "=", "#"))) * int(rng.integers(2, 8))
        return Line(tuple(_plain(filling)), frozenset({"filling"}))
    words = ("".join(rng.choice(list(LETTERS), rng.integers(2, 8))) for _ in range(2))
    return Line(tuple(_plain(" ".join(words))), frozenset({"words"}))


def _plain(characters: str) -> list[Token]:
    small = dict.fromkeys(LETTERS, 0.85)
    return [Token(character, scale=small.get(character, 1.0)) for character in characters]


def _starts_group(left: int, grouping: str) -> bool:
    """Return whether a separator stands before the digit that has `left` digits up to the end."""
    if grouping == "indian":
        return left == 3 or (left > 3 and left % 2 == 1)
    return left % 3 == 0


def _minor(separator: str, rng: np.random.Generator) -> tuple[str, list[Token]]:
    """Return the minor unit, in one of the ways to write it."""
    style = str(rng.choice(("point", "raised", "underlined", "over 100", "fraction", "dash")))
    digits = "00" if rng.random() < 0.4 else f"{rng.integers(100):02d}"
    first, second = Token(digits[0], f".{digits[0]}"), Token(digits[1], digits[1])
    if style in ("point", "dash"):
        mark = "-" if style == "dash" else "," if separator == "." else "."
        return style, [Token(mark, "."), Token(digits[0], digits[0]), second]
    scale, lift = float(rng.uniform(0.45, 0.75)), float(rng.uniform(0.25, 0.55))
    if style == "over 100" and rng.random() < 0.5:
        scale, lift = 1.0, 0.0
    small = [replace(token, scale=scale, lift=lift) for token in (first, second)]
    if style == "over 100":
        hundred = [Token(c, scale=scale, lift=lift * 0.3) for c in "/100"]
        return style, [Token(" "), *small, *hundred]
    if style == "raised":
        return style, [*([Token(".")] if rng.random() < 0.3 else []), *small]
    lined = [replace(token, underlined=True) for token in small]
    if style == "underlined":
        return style, lined
    below = [
        Token(c, scale=scale * 0.9, lift=lift - scale - 0.15, beneath=i == 0)
        for i, c in enumerate("100")
    ]
    return style, [*lined, *below]


def _length(rng: np.random.Generator) -> int:
    return 1 + int(rng.choice(len(_LENGTHS), p=_LENGTHS / _LENGTHS.sum()))


def _digits(length: int, rng: np.random.Generator) -> str:
    """Return digits as in real numbers: often round, rarely with a leading 0."""
    digits = rng.integers(0, 10, length)
    if rng.random() < 0.5:
        digits[0] = rng.choice(np.arange(1, 10), p=_LEADING)
    elif digits[0] == 0 and rng.random() < 0.9:
        digits[0] = rng.integers(1, 10)
    if rng.random() < 0.05:  # a repdigit, which no other draw is likely to give
        digits[:] = digits[0]
    if length > 1 and rng.random() < 0.35:
        digits[-int(rng.integers(1, length)) :] = 0
    return "".join(map(str, digits))


def _date(rng: np.random.Generator) -> str:
    return f"{rng.integers(1, 32):02d}{rng.integers(1, 13):02d}{rng.integers(1990, 2036)}"
