"""What a field may hold: a small language in a template, and its meaning as a set of strings."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from core.errors import TemplateError

MAX_DIGITS: Final = 64  # longer than any number that a person writes by hand into one field

KNOWN_GRAMMARS: Final = (
    "digits",
    "digits(n)",
    "digits(min,max)",
    "date(DDMMYYYY)",
    "date(DDMMYY)",
    "date(MMDDYYYY)",
    "date(YYYYMMDD)",
)

_DATE_FORMATS: Final = ("DDMMYYYY", "DDMMYY", "MMDDYYYY", "YYYYMMDD")
_CALL: Final = re.compile(r"\s*([a-zA-Z_]+)\s*(?:\(([^()]*)\))?\s*", re.ASCII)
_DIGITS: Final = re.compile(r"[0-9]+", re.ASCII)
_DAYS: Final = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


@dataclass(frozen=True, slots=True)
class Grammar:
    """A set of legal strings of digits.

    `name` is its normal form as a template writes it (`digits(6)`); it is also the name of the
    rule that a reading shows when this constraint changed the value. Lengths are in characters.
    """

    name: str
    min_length: int
    max_length: int
    date_format: str | None = None  # one of DDMMYYYY, DDMMYY, MMDDYYYY, YYYYMMDD

    def accepts(self, text: str) -> bool:
        """Say whether `text` is legal. Only ASCII digits are; an empty string never is."""
        if not self.min_length <= len(text) <= self.max_length or not _DIGITS.fullmatch(text):
            return False
        return self.date_format is None or _is_date(text, self.date_format)


ANY_DIGITS: Final = Grammar("digits", 1, MAX_DIGITS)


def parse_grammar(text: str) -> Grammar:
    """Return the grammar that `text` states, e.g. `digits(6)` or `date(DDMMYYYY)`.

    Raises TemplateError (code "bad-grammar") with the known ones, and the nearest of them.
    """
    match = _CALL.fullmatch(text)
    if match is None or match[1].lower() not in _PARSERS:
        raise _unknown(text)
    parse, arguments = _PARSERS[match[1].lower()], match[2]
    return parse(text, [] if arguments is None else [part.strip() for part in arguments.split(",")])


def _digits(text: str, arguments: list[str]) -> Grammar:
    if not arguments:
        return ANY_DIGITS
    if len(arguments) > 2 or not all(re.fullmatch(r"[0-9]{1,4}", part) for part in arguments):
        raise _wrong(text, "digits takes one whole number (the length) or two (least, most).")
    least, most = int(arguments[0]), int(arguments[-1])
    if not 1 <= least <= most <= MAX_DIGITS:
        raise _wrong(text, f"the length must lie between 1 and {MAX_DIGITS}, the least first.")
    return Grammar(f"digits({least})" if least == most else f"digits({least},{most})", least, most)


def _date(text: str, arguments: list[str]) -> Grammar:
    if len(arguments) != 1 or arguments[0].upper() not in _DATE_FORMATS:
        raise _wrong(text, f"date takes one format of {', '.join(_DATE_FORMATS)}.")
    form = arguments[0].upper()
    return Grammar(f"date({form})", len(form), len(form), form)


_PARSERS: Final[dict[str, Callable[[str, list[str]], Grammar]]] = {
    "digits": _digits,
    "date": _date,
}


def _is_date(text: str, form: str) -> bool:
    day = int(text[form.index("DD") :][:2])
    month = int(text[form.index("MM") :][:2])
    year_at, year_size = form.index("Y"), form.count("Y")
    year = int(text[year_at : year_at + year_size])
    if not 1 <= month <= 12 or not 1 <= day <= _DAYS[month - 1]:
        return False
    # Two digits leave the century open; 00 may be 2000, a leap year.
    leap = year % 4 == 0 and (year_size == 2 or year % 100 != 0 or year % 400 == 0)
    return leap or (month, day) != (2, 29)


def _unknown(text: str) -> TemplateError:
    shown = text if len(text) <= 40 else text[:39] + "…"
    near = _nearest(text)
    hint = f"did you mean '{near}'?" if near else f"known are {', '.join(KNOWN_GRAMMARS)}."
    return TemplateError(f"grammar '{shown}' is unknown;", hint=hint, code="bad-grammar")


def _wrong(text: str, why: str) -> TemplateError:
    shown = text if len(text) <= 40 else text[:39] + "…"
    return TemplateError(f"grammar '{shown}' is wrong:", hint=why, code="bad-grammar")


def _nearest(text: str) -> str | None:
    """Return the legal grammar nearest to a misspelt one, with its own arguments if these fit."""
    word, _, rest = text[:80].strip().partition("(")
    near = difflib.get_close_matches(word.strip().lower(), _PARSERS, n=1, cutoff=0.6)
    if not near:
        return None
    arguments = [part.strip() for part in rest.rstrip(") ").split(",")] if rest.strip(") ") else []
    try:
        return _PARSERS[near[0]](text, arguments).name
    except TemplateError:
        return next(known for known in KNOWN_GRAMMARS if known.startswith(near[0] + "("))
