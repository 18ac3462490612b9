"""Dates between two days, with day, month and year in a given order, as an automaton."""

from __future__ import annotations

import calendar
import datetime
from collections.abc import Hashable
from functools import lru_cache
from typing import Final

from pipeline.grammar.automaton import DIGITS, Automaton, build_automaton

FORMATS: Final = ("DDMMYYYY", "DDMMYY", "MMDDYYYY", "MMDDYY", "YYYYMMDD")
SEPARATORS: Final = "/-."

_DAYS: Final = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


@lru_cache(maxsize=128)
def dates(form: str, first: datetime.date, last: datetime.date) -> Automaton:
    """Return the automaton of the dates from `first` to `last`, written as `form`, one of FORMATS.

    A separator may stand between two parts. A year of two digits leaves the century open: such a
    date is legal if it lies in the window in any century. Raises ValueError where no date is legal.
    """
    window = _Window(form, first, last)
    known: dict[Hashable, str] = {}

    # A key is the digits so far, or the first digits met after which the same may follow, and
    # whether a separator has just been seen.
    def step(key: tuple[str, bool], character: str) -> tuple[str, bool] | None:
        text, parted = key
        if character in SEPARATORS:
            between = 0 < len(text) < len(form) and form[len(text) - 1] != form[len(text)]
            return (text, True) if between and not parted else None
        if len(text) == len(form):
            return None
        text += character
        future = window.future(text)
        return None if future is None else (known.setdefault((len(text), future), text), False)

    return build_automaton(
        DIGITS + SEPARATORS, ("", False), step, lambda key: len(key[0]) == len(form)
    )


class _Window:
    """The dates of a window, and what may follow their first digits."""

    def __init__(self, form: str, first: datetime.date, last: datetime.date) -> None:
        self._form, self._first, self._last = form, first, last

    def future(self, text: str) -> Hashable | None:
        """Return a key for what may follow the digits `text`, or None where nothing may.

        Beginnings with the same key have the same endings. Two with the same endings may have
        different keys, where finding out costs more than it saves.
        """
        form, first, last = self._form, self._first, self._last
        letter = form[len(text) - 1]
        if letter != "Y" and form[: len(text)].count(letter) == 1:
            return text if text[-1] <= ("1" if letter == "M" else "3") else None
        if letter == "M" and not 1 <= self._part(text, "M") <= 12:
            return None
        if len(text) == len(form):
            return "end" if self._legal(text) else None
        if form[0] == "Y":
            if len(text) > 4:
                return text
            return _years(text, first.year, last.year)
        if len(text) < 4:
            return text
        month, day = self._part(text, "M"), self._part(text, "D")
        if not 1 <= month <= 12 or not 1 <= day <= _DAYS[month - 1]:
            return None
        low = first.year + ((month, day) < (first.month, first.day))
        high = last.year - ((month, day) > (last.month, last.day))
        years = text[4:] if self._form.count("Y") == 2 else _years(text[4:], low, high)
        return None if years is None else ((month, day) == (2, 29), low, high, years)

    def _part(self, text: str, letter: str) -> int:
        return int(text[self._form.index(letter) : self._form.rindex(letter) + 1])

    def _legal(self, text: str) -> bool:
        month, day, year = (self._part(text, letter) for letter in "MDY")
        years = [year]
        if self._form.count("Y") == 2:
            low = self._first.year
            years = list(range(low + (year - low) % 100, self._last.year + 1, 100))
        for candidate in years:
            try:
                if self._first <= datetime.date(candidate, month, day) <= self._last:
                    return True
            except ValueError:
                continue
        return False


def _years(text: str, low: int, high: int) -> Hashable | None:
    """Return a key for what may follow the first digits of a year, or None where nothing may.

    Years lie between `low` and `high`; the window may begin or end within these two.
    """
    span = 10 ** (4 - len(text))
    begin = int(text or 0) * span
    if begin + span <= low or begin > high:
        return None
    if low < begin and begin + span <= high and len(text) in (2, 4):
        return calendar.isleap(begin)  # of a century: its first year decides
    return text
