"""The grammar of a field from its text in a template, such as `date(DDMMYYYY,2000-2035)`."""

from __future__ import annotations

import datetime
import difflib
import re
from collections.abc import Callable
from typing import Final

from core.errors import TemplateError
from pipeline.grammar.amounts import CURRENCIES, Grouping, amounts, decimal_mark
from pipeline.grammar.automaton import DIGITS
from pipeline.grammar.base import ANY_DIGITS, MAX_DIGITS, Grammar, make_grammar
from pipeline.grammar.dates import FORMATS, dates
from pipeline.grammar.forms import (
    AmountForm,
    ChecksumForm,
    ChoiceForm,
    DateForm,
    DigitsForm,
    RangeForm,
)
from pipeline.grammar.languages import SCHEMES, checksum, digits, one_of, whole_numbers

MAX_MAJOR: Final = 12  # digits of an amount before the decimal mark, if nothing else is stated
MAX_CHOICES: Final = 500  # of one_of

KNOWN_GRAMMARS: Final = (
    "digits",
    "digits(n)",
    "digits(min,max)",
    "amount(INR)",
    "date(DDMMYYYY)",
    "date(MMDDYY,2000-2035)",
    "checksum(luhn,16)",
    "one_of(10,20)",
    "range(1,500)",
)

_CALL: Final = re.compile(r"\s*([a-zA-Z_]+)\s*(?:\(([^()]*)\))?\s*", re.ASCII)
_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,17}", re.ASCII)
_COUNT: Final = re.compile(r"[0-9]{1,4}", re.ASCII)
_DAY: Final = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_CHOICE: Final = re.compile(r"[0-9A-Za-z./-]{1,64}", re.ASCII)


def parse_grammar(text: str) -> Grammar:
    """Return the grammar that `text` states, e.g. `digits(6)` or `date(DDMMYYYY)`.

    Raises TemplateError (code "bad-grammar"), which names the nearest known grammar or what is
    wrong with the arguments.
    """
    match = _CALL.fullmatch(text)
    if match is None or match[1].lower() not in _PARSERS:
        raise _unknown(text)
    parse, arguments = _PARSERS[match[1].lower()], match[2]
    return parse(text, [] if arguments is None else [part.strip() for part in arguments.split(",")])


def _digits(text: str, arguments: list[str]) -> Grammar:
    if not arguments:
        return ANY_DIGITS
    if len(arguments) > 2 or not all(_COUNT.fullmatch(part) for part in arguments):
        raise _wrong(
            text,
            "digits takes one whole number (the length) or two (the shortest and the longest).",
        )
    least, most = int(arguments[0]), int(arguments[-1])
    if not 1 <= least <= most <= MAX_DIGITS:
        raise _wrong(
            text, f"the length must lie between 1 and {MAX_DIGITS}, the smaller number first."
        )
    name = f"digits({least})" if least == most else f"digits({least},{most})"
    return make_grammar(name, digits(least, most), form=DigitsForm(least, most))


def _amount(text: str, arguments: list[str]) -> Grammar:
    currency = ""
    if arguments and "=" not in arguments[0]:
        currency = arguments.pop(0).upper()
        if currency not in CURRENCIES:
            raise _wrong(text, f"the known currencies are {', '.join(CURRENCIES)}.")
    sign, usual, places = CURRENCIES.get(currency, ("", Grouping.THOUSANDS, 2))
    options = {"grouping": str(usual), "decimals": str(places), "digits": str(MAX_MAJOR)}
    stated = [[side.strip().lower() for side in part.split("=")] for part in arguments]
    if any(len(part) != 2 or part[0] not in options for part in stated) or len(
        {part[0] for part in stated}
    ) < len(stated):
        raise _wrong(
            text, "amount takes a currency, grouping=, decimals= and digits=, each at most once."
        )
    defaults = dict(options)
    options |= {part[0]: part[1] for part in stated}
    if options["grouping"] not in tuple(Grouping):
        raise _wrong(text, f"grouping is one of {', '.join(Grouping)}.")
    grouping = Grouping(options["grouping"])
    if not _COUNT.fullmatch(options["decimals"]) or int(options["decimals"]) > 4:
        raise _wrong(text, "decimals is a number from 0 to 4.")
    if not _COUNT.fullmatch(options["digits"]) or not 1 <= int(options["digits"]) <= 18:
        raise _wrong(text, "digits is a number from 1 to 18.")
    decimals, most = int(options["decimals"]), int(options["digits"])
    normal = {"grouping": str(grouping), "decimals": str(decimals), "digits": str(most)}
    parts = [currency] if currency else []
    parts += [f"{key}={value}" for key, value in normal.items() if value != defaults[key]]
    automaton = amounts(sign, grouping, decimals, most)
    silent = {character: "" for character in automaton.characters if character not in DIGITS}
    if decimals:
        silent[decimal_mark(grouping)] = "."
    name = f"amount({','.join(parts)})" if parts else "amount"
    return make_grammar(
        name,
        automaton,
        silent,
        amounts("", Grouping.NONE, decimals, most),
        AmountForm(currency, sign, grouping, decimals, most),
    )


def _date(text: str, arguments: list[str]) -> Grammar:
    if not 1 <= len(arguments) <= 2 or arguments[0].upper() not in FORMATS:
        raise _wrong(text, f"date takes a format ({', '.join(FORMATS)}), and a window if you like.")
    name = layout = arguments[0].upper()
    window = (datetime.date.min, datetime.date.max)
    if len(arguments) == 2:
        window = _window(text, arguments[1])
        first, last = window
        years = (first.month, first.day, last.month, last.day) == (1, 1, 12, 31)
        name += f",{first.year:04}-{last.year:04}" if years else f",{first}..{last}"
    # A window is never empty: it holds at least its first day.
    return make_grammar(
        f"date({name})",
        dates(layout, *window),
        dict.fromkeys("/-.", ""),
        form=DateForm(layout, *window),
    )


def _window(text: str, window: str) -> tuple[datetime.date, datetime.date]:
    years = re.fullmatch(r"([0-9]{4})\s*-\s*([0-9]{4})", window, re.ASCII)
    days = re.fullmatch(rf"({_DAY})\s*\.\.\s*({_DAY})", window, re.ASCII)
    try:
        if years is not None:
            first = datetime.date(int(years[1]), 1, 1)
            last = datetime.date(int(years[2]), 12, 31)
        elif days is not None:
            first, last = (datetime.date.fromisoformat(day) for day in days.groups())
        else:
            raise ValueError
    except ValueError:
        raise _wrong(text, "a window is 2000-2035 or 2024-04-01..2025-03-31.") from None
    if first > last:
        raise _wrong(text, "the window ends before it begins.")
    return first, last


def _checksum(text: str, arguments: list[str]) -> Grammar:
    scheme = next((known for known in SCHEMES if arguments and known == arguments[0].lower()), None)
    if scheme is None:
        raise _wrong(text, f"checksum takes a scheme ({', '.join(SCHEMES)}) and the length.")
    if scheme == "aba":
        if arguments[1:] not in ([], ["9"]):
            raise _wrong(text, "an aba number has nine digits.")
        return make_grammar("checksum(aba)", checksum("aba", 9), form=ChecksumForm("aba", 9))
    most = 10 if scheme == "mod11" else MAX_DIGITS  # the eleventh weight would be 0
    if len(arguments) != 2 or not _COUNT.fullmatch(arguments[1]):
        raise _wrong(text, f"checksum({scheme},n) takes the length, check digits included.")
    length = int(arguments[1])
    if not 3 <= length <= most:
        raise _wrong(text, f"the length must lie between 3 and {most}.")
    return make_grammar(
        f"checksum({scheme},{length})",
        checksum(scheme, length),
        form=ChecksumForm(scheme, length),
    )


def _one_of(text: str, arguments: list[str]) -> Grammar:
    choices = tuple(dict.fromkeys(arguments))
    if not 1 <= len(choices) <= MAX_CHOICES or not all(map(_CHOICE.fullmatch, choices)):
        raise _wrong(
            text, f"one_of takes 1 to {MAX_CHOICES} strings of letters, digits, '.', '/' and '-'."
        )
    return make_grammar(f"one_of({','.join(choices)})", one_of(choices), form=ChoiceForm(choices))


def _range(text: str, arguments: list[str]) -> Grammar:
    if len(arguments) != 2 or not all(map(_NUMBER.fullmatch, arguments)):
        raise _wrong(
            text, "range takes two whole numbers of up to 18 digits, without leading zeros."
        )
    low, high = int(arguments[0]), int(arguments[1])
    if low > high:
        raise _wrong(text, "the smaller number must come first.")
    return make_grammar(f"range({low},{high})", whole_numbers(low, high), form=RangeForm(low, high))


_PARSERS: Final[dict[str, Callable[[str, list[str]], Grammar]]] = {
    "digits": _digits,
    "amount": _amount,
    "date": _date,
    "checksum": _checksum,
    "one_of": _one_of,
    "range": _range,
}


def _unknown(text: str) -> TemplateError:
    near = _nearest(text)
    hint = f"Did you mean '{near}'?" if near else f"Known are: {', '.join(KNOWN_GRAMMARS)}."
    return TemplateError(f"the grammar '{_shown(text)}' is unknown.", hint=hint, code="bad-grammar")


def _wrong(text: str, why: str) -> TemplateError:
    return TemplateError(f"the grammar '{_shown(text)}' is wrong: {why}", code="bad-grammar")


def _shown(text: str) -> str:
    return text if len(text) <= 40 else text[:39] + "…"


def _nearest(text: str) -> str | None:
    """Return the known grammar nearest to a misspelt one, with the given arguments if they fit."""
    word, _, rest = text[:80].strip().partition("(")
    near = difflib.get_close_matches(word.strip().lower(), _PARSERS, n=1, cutoff=0.65)
    if not near:
        return None
    arguments = [part.strip() for part in rest.rstrip(") ").split(",")] if rest.strip(") ") else []
    try:
        return _PARSERS[near[0]](text, arguments).name
    except TemplateError:
        return next(known for known in KNOWN_GRAMMARS if known.startswith(near[0] + "("))
