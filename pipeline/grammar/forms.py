"""What a grammar states, as values: what `parse` read in a template, for sentences about it.

`takes` says in words what a field with this grammar may hold, and gives an example.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Final

from pipeline.grammar.amounts import Grouping, decimal_mark, group_digits
from pipeline.grammar.languages import Scheme, checksum

_SHOWN_CHOICES: Final = 10
_EXAMPLE_DAY: Final = datetime.date(2024, 12, 31)
_PARTS: Final = {"D": "day", "M": "month", "Y": "year"}


@dataclass(frozen=True, slots=True)
class DigitsForm:
    least: int
    most: int
    limited: bool = True  # False: the template says no length, and `most` is only a bound

    def takes(self) -> str:
        example = ("1234567890" * self.most)[: max(self.least, min(self.most, 6))]
        if not self.limited:
            return f"digits and nothing else, for example {example}"
        if self.least == self.most:
            return f"{_count(self.most, 'digit')}, for example {example}"
        return f"{self.least} to {_count(self.most, 'digit')}, for example {example}"


@dataclass(frozen=True, slots=True)
class AmountForm:
    currency: str  # ISO 4217, or ""
    sign: str  # of the currency, or ""
    grouping: Grouping
    decimals: int  # digits of the minor unit
    most: int  # digits before the decimal mark

    def takes(self) -> str:
        mark = decimal_mark(self.grouping)
        minor = f"{mark}{'5'.ljust(self.decimals, '0')}" if self.decimals else ""
        example = group_digits("123456"[: self.most], self.grouping) + minor
        kind = f"an amount in {self.currency}" if self.currency else "an amount"
        if self.decimals:
            extent = (
                f"of at most {_count(self.most, 'digit')} before the '{mark}' and, where there is"
                f" one, at most {self.decimals} after it"
            )
        else:
            extent = f"of at most {_count(self.most, 'digit')}, without a decimal mark"
        return f"{kind} {extent}, for example {example}"


@dataclass(frozen=True, slots=True)
class DateForm:
    layout: str  # such as DDMMYYYY
    first: datetime.date
    last: datetime.date

    def parts(self) -> list[str]:
        """Return the parts in their order, such as DD, MM, YYYY."""
        return ["".join(c for c in self.layout if c == letter) for letter in self.order()]

    def order(self) -> str:
        """Return the first letters of the parts in their order, such as DMY."""
        return "".join(dict.fromkeys(self.layout))

    def takes(self) -> str:
        day = min(max(_EXAMPLE_DAY, self.first), self.last)
        shown = {"D": f"{day.day:02}", "M": f"{day.month:02}", "Y": f"{day.year:04}"}
        shown["Y"] = shown["Y"][-self.layout.count("Y") :]
        separator = "-" if self.layout[0] == "Y" else "/"
        order = ", ".join(_PARTS[letter] for letter in self.order())
        window = ""
        if (self.first, self.last) != (datetime.date.min, datetime.date.max):
            window = f" from {self.first} to {self.last}"
        example = separator.join(shown[letter] for letter in self.order())
        return f"a date{window} as {order} ({self.layout}), for example {example}"


@dataclass(frozen=True, slots=True)
class ChecksumForm:
    scheme: Scheme
    length: int

    def takes(self) -> str:
        example = checksum(self.scheme, self.length).example()
        return f"{self.length} digits that pass the {self.scheme} check, for example {example}"


@dataclass(frozen=True, slots=True)
class ChoiceForm:
    choices: tuple[str, ...]

    def takes(self) -> str:
        shown = ", ".join(self.choices[:_SHOWN_CHOICES])
        more = len(self.choices) - _SHOWN_CHOICES
        return f"one of {shown}" + (f" and {more} others" if more > 0 else "")


@dataclass(frozen=True, slots=True)
class RangeForm:
    low: int
    high: int

    def takes(self) -> str:
        return (
            f"a whole number from {self.low} to {self.high}, without leading zeros,"
            f" for example {self.high}"
        )


Form = DigitsForm | AmountForm | DateForm | ChecksumForm | ChoiceForm | RangeForm


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")
