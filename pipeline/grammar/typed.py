"""What a person typed for a field: the value that it stands for, or what is wrong with it.

A person may type what stands on the paper, in any of the ways that the grammar allows there, or
the value itself as the readers return it. Both become that value.
"""

from __future__ import annotations

import datetime
import re
import unicodedata
from collections.abc import Iterator
from typing import Final

from core.errors import InputError
from pipeline.grammar.amounts import TAILS, decimal_mark, group_digits, separator_of
from pipeline.grammar.automaton import DIGITS
from pipeline.grammar.base import Grammar
from pipeline.grammar.dates import SEPARATORS
from pipeline.grammar.forms import (
    AmountForm,
    ChecksumForm,
    ChoiceForm,
    DateForm,
    DigitsForm,
    RangeForm,
)

ILLEGAL: Final = "illegal-value"

_SHOWN: Final = 40  # characters of a wrong value in a message
# Decompositions (UAX #15) that change how wide a character is and nothing else. Others do: the ² of
# 12² would become a digit.
_WIDTHS: Final = ("<wide>", "<narrow>", "<small>", "<noBreak>")
# What cannot be seen and comes along when text is copied: soft hyphen, direction marks, joiners,
# byte order mark. Characters that turn the order of others around are not among them.
_INVISIBLE: Final = "\u00ad\u061c\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"
_MINUS: Final = "\u2212"
_NAMES: Final = {"D": "day", "M": "month", "Y": "year"}


def normalise_typed(text: str, grammar: Grammar, *, required: bool) -> str:
    """Return the value of `grammar` that a person means by `text`; "" for an empty field.

    Trimmed and normalised: digits of every script and full-width characters become ASCII, dashes
    become hyphens. Of an amount, the sign of its currency and signs without value go, and a minor
    unit that was typed short is filled up (`1234.5` is 1234.50). Parts of a date may have one digit
    if they are separated. The value itself comes back as it is.

    Raises InputError (code ILLEGAL): its message says what is wrong, its hint what the field takes.
    An empty text is wrong only where the field is `required`.
    """
    plain = fold(text)
    if not plain:
        if required:
            raise _illegal("This field must not be empty", grammar)
        return ""
    values = set(_values(plain, grammar))
    if len(values) == 1:
        return values.pop()
    if values:
        mark = decimal_mark(grammar.form.grouping) if isinstance(grammar.form, AmountForm) else "."
        ways = " or ".join(sorted(value.replace(".", mark) for value in values))
        fault = f"it may mean {ways}. Write it in one of these ways"
    else:
        fault = _fault(plain, grammar)
    raise _illegal(f"'{_shown(text)}' is not allowed in this field: {fault}", grammar)


def fold(text: str) -> str:
    """Return `text` trimmed, with the plain ASCII character for each variant of it."""
    return "".join(_plain(character) for character in text).strip()


def _plain(character: str) -> str:
    digit = unicodedata.decimal(character, None)
    if digit is not None:
        return str(digit)
    if character in _INVISIBLE:
        return ""
    if unicodedata.decomposition(character).startswith(_WIDTHS):
        character = unicodedata.normalize("NFKC", character)
    category = unicodedata.category(character) if len(character) == 1 else ""
    if category == "Pd" or character == _MINUS:
        return "-"
    return " " if category == "Zs" else character


def _values(text: str, grammar: Grammar) -> Iterator[str]:
    """Yield every value that `text` may stand for, as on paper or as a value."""
    as_value = grammar.transcribed()
    for form in _spellings(text, grammar):
        for allowed in (grammar, as_value):
            if allowed.accepts(form):
                yield allowed.value(form)


def _spellings(text: str, grammar: Grammar) -> Iterator[str]:
    """Yield `text`, and what the grammar writes for what people may write otherwise."""
    match grammar.form:
        case AmountForm() as form:
            yield from _amounts(text, form)
        case DateForm() as form:
            yield from _dates(text, form)
        case ChoiceForm(choices) if text not in choices:
            yield from (one for one in choices if one.casefold() == text.casefold())
        case _:
            yield text


def _amounts(text: str, form: AmountForm) -> Iterator[str]:
    """Yield an amount without its sign and the spaces around signs, its minor unit full."""
    for sign in (form.sign, form.currency):
        if sign and text[: len(sign)].upper() == sign:
            text = text[len(sign) :].lstrip()
            break
    tail = next((tail for tail in TAILS if text.endswith(tail)), "")
    text = text.removesuffix(tail).rstrip() + tail
    yield text
    for mark in {decimal_mark(form.grouping), "."}:
        major, found, minor = text.removesuffix(tail).rpartition(mark)
        short = 0 < len(minor) < form.decimals and all(c in DIGITS for c in minor)
        if found and short:
            yield f"{major}{mark}{minor.ljust(form.decimals, '0')}{tail}"


def _dates(text: str, form: DateForm) -> Iterator[str]:
    yield text
    parts = _date_parts(text, form)
    if parts is None:
        return
    for letter, part in parts.items():
        if letter != "Y" and len(part) == 1:
            parts[letter] = f"0{part}"
        elif letter == "Y" and len(part) == 4 and form.layout.count("Y") == 2:
            day = _day(parts["Y"], parts["M"], parts["D"])
            if day is not None and form.first <= day <= form.last:
                parts["Y"] = part[2:]
    if all(len(part) == form.layout.count(letter) for letter, part in parts.items()):
        yield "".join(parts.values())


def _date_parts(text: str, form: DateForm) -> dict[str, str] | None:
    """Return the digits of a date by the letter of the part, or None if there are not three."""
    parts = re.split(rf" *[{re.escape(SEPARATORS)} ] *", text)
    if len(parts) == 1 and len(text) == len(form.layout):
        parts = [
            "".join(c for c, at in zip(text, form.layout, strict=True) if at == letter)
            for letter in form.order()
        ]
    if len(parts) != 3 or not all(part and set(part) <= set(DIGITS) for part in parts):
        return None
    return dict(zip(form.order(), parts, strict=True))


def _day(year: str, month: str, day: str) -> datetime.date | None:
    try:
        return datetime.date(int(year), int(month), int(day))
    except ValueError:
        return None


# --- what is wrong ------------------------------------------------------------------------------


def _illegal(what: str, grammar: Grammar) -> InputError:
    takes = grammar.form.takes() if grammar.form else grammar.name
    return InputError(f"{what}.", hint=f"It takes {takes}.", code=ILLEGAL)


def _fault(text: str, grammar: Grammar) -> str:
    """Say what is wrong with a text that stands for no value."""
    form = grammar.form
    if isinstance(form, ChoiceForm):
        return "it is not in the list"
    allowed = grammar.automaton.characters
    if isinstance(form, AmountForm):
        text = next(_amounts(text, form))
        allowed += "."
    elif isinstance(form, DateForm):
        allowed += " "
    wrong = next((character for character in text if character not in allowed), None)
    if wrong is not None:
        return f"it contains {_character(wrong)}"
    match form:
        case DigitsForm():
            return f"it has {_digits(text)}"
        case RangeForm(low, high):
            if text.startswith("0") and len(text) > 1:
                return "it begins with 0"
            above = len(text) > len(str(high)) or int(text) > high
            return f"it is above {high}" if above else f"it is below {low}"
        case ChecksumForm(_, length):
            if len(text) != length:
                return f"it has {_digits(text)}"
            return "its check digit does not fit, so at least one digit is wrong"
        case DateForm():
            return _fault_of_date(text, form)
        case AmountForm():
            return _fault_of_amount(text, form)
    return "it is not written in that way"


def _fault_of_date(text: str, form: DateForm) -> str:
    parts = _date_parts(text, form)
    if parts is None:
        if set(text) <= set(DIGITS):
            return f"it has {_digits(text)}"
        return "it does not have the three parts of a date"
    for letter, part in parts.items():
        most = form.layout.count(letter)
        if len(part) > most or (letter == "Y" and len(part) < most):
            return f"its {_NAMES[letter]} has {_digits(part)}"
    if not 1 <= int(parts["M"]) <= 12:
        return f"there is no month {parts['M']}"
    years = [parts["Y"]]
    if len(parts["Y"]) == 2:
        years = [f"{century:02}{parts['Y']}" for century in range(100)]
    if not any(_day(year, parts["M"], parts["D"]) for year in years):
        return "there is no such day in the calendar"
    return f"it is not from {form.first} to {form.last}"


def _fault_of_amount(text: str, form: AmountForm) -> str:
    for tail in sorted(TAILS, key=len, reverse=True):
        if text.endswith(tail):
            text = text.removesuffix(tail)
            break
    mark, separator = decimal_mark(form.grouping), separator_of(form.grouping)
    major, _, minor = text.partition(mark)
    digits = [c for c in major if c in DIGITS]
    if minor and form.decimals == 0:
        return "it has a decimal mark"
    if not digits:
        return "there is no digit before the decimal mark"
    if len(digits) > form.most:
        return f"it has {_digits(digits)} before the decimal mark"
    if major.startswith("0") and len(major) > 1:
        return "it begins with 0"
    if mark in text and not set(minor) <= set(DIGITS):
        return "what follows the decimal mark is not a number"
    if len(minor) > form.decimals:
        return f"it has {_digits(minor)} after the decimal mark"
    if mark in text and form.decimals and not minor:
        return "there is no digit after the decimal mark"
    if separator and separator in major:
        if len(major) - major.rfind(separator) != 4:  # what was meant for a group is not certain
            return "its digits are grouped wrongly"
        plain = "".join(digits)
        ways = (group_digits(plain, form.grouping), plain)
        return "its digits are grouped wrongly. Write " + " or ".join(
            f"{way}{mark}{minor}" if minor else way for way in ways
        )
    return "it is not written as an amount"


def _digits(digits: str | list[str]) -> str:
    return f"{len(digits)} digit" + ("" if len(digits) == 1 else "s")


def _character(character: str) -> str:
    if character == " ":
        return "a space"
    if unicodedata.category(character)[0] in "CZ":
        return f"a character that cannot be seen (U+{ord(character):04X})"
    return f"'{character}'"


def _shown(text: str) -> str:
    seen = "".join(
        c if unicodedata.category(c)[0] != "C" else "\N{REPLACEMENT CHARACTER}" for c in text
    )
    return seen if len(seen) <= _SHOWN else f"{seen[: _SHOWN - 1]}…"
