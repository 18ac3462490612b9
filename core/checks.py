"""Checks across the fields of a page: what a template states, and whether it is so.

A check holds, fails, or is unknown because a value is missing. Numbers are decimals, never floats.
The same code judges a page that was just read and one whose fields people have changed since.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal, localcontext
from enum import StrEnum
from typing import Any, ClassVar, Final

from core.check_digits import Scheme, fits

Values = Mapping[str, str | None]  # by field; "": it is empty; None: it has no value

TEXT: Final = "text"
NUMBER: Final = "number"  # any other kind is that of a date: "DDMMYYYY 2000-01-01 2035-12-31"

_EXACT: Final = 256  # digits: more than any sum of values has
_NUMBER: Final = re.compile(r"-?[0-9]{1,64}(\.[0-9]{1,64})?", re.ASCII)


class CheckState(StrEnum):
    HOLDS = "holds"
    FAILS = "fails"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Twin:
    """Another page with the same values."""

    page_id: str
    label: str  # what people call it


@dataclass(frozen=True, slots=True)
class Finding:
    """What became of a check on one page. `message` is a sentence for people."""

    name: str
    fields: tuple[str, ...]
    state: CheckState
    message: str
    twins: tuple[Twin, ...] = ()

    @property
    def fails(self) -> bool:
        return self.state is CheckState.FAILS


class _UnknownError(Exception):
    """A check cannot be decided; the message says why."""


class _Check(ABC):
    """What all checks have: the name of the rule, and the fields that it is about, each once."""

    __slots__ = ()
    kind: ClassVar[str]
    name: str
    fields: tuple[str, ...]

    def judge(self, values: Values) -> Finding:
        """Say whether it is so."""
        try:
            fault = self._fault(values)
        except _UnknownError as exc:
            return self.found(CheckState.UNKNOWN, str(exc))
        return self.found(CheckState.FAILS if fault else CheckState.HOLDS, fault)

    def found(self, state: CheckState, message: str, twins: Sequence[Twin] = ()) -> Finding:
        return Finding(self.name, self.fields, state, message, tuple(twins))

    @abstractmethod
    def _fault(self, values: Values) -> str:
        """Return what is wrong, "" if nothing is. Raises _UnknownError."""


@dataclass(frozen=True, slots=True)
class Equal(_Check):
    """All fields hold the same, compared as what `read_as` says."""

    kind: ClassVar[str] = "equal"
    name: str
    fields: tuple[str, ...]
    read_as: tuple[str, ...]  # for each field TEXT, NUMBER or a date

    def _fault(self, values: Values) -> str:
        read = [_read(values, *one) for one in zip(self.fields, self.read_as, strict=True)]
        if all(one == read[0] for one in read):
            return ""
        return _list_of([f"{field} is {values[field]}" for field in self.fields]) + "."


@dataclass(frozen=True, slots=True)
class Sum(_Check):
    """The parts add up to the total, which is the last of `fields`."""

    kind: ClassVar[str] = "sum"
    name: str
    fields: tuple[str, ...]
    empty: str | None = None  # what an empty field counts as; None: it makes the check unknown

    def _fault(self, values: Values) -> str:
        *parts, total = (_number(values, field, self.empty) for field in self.fields)
        with localcontext(prec=_EXACT):
            added = sum(parts, Decimal(0))
        if added == total:
            return ""
        terms = " + ".join(_plain(part) for part in parts)
        return f"{terms} is {_plain(added)}, but {self.fields[-1]} is {_plain(total)}."


@dataclass(frozen=True, slots=True)
class InOrder(_Check):
    """No field is larger, or later, than the next."""

    kind: ClassVar[str] = "in_order"
    name: str
    fields: tuple[str, ...]
    read_as: tuple[str, ...]  # for each field NUMBER, or for each a date
    empty: str | None = None  # what an empty number counts as

    def _fault(self, values: Values) -> str:
        read = []
        for field, kind in zip(self.fields, self.read_as, strict=True):
            is_number = kind == NUMBER
            read.append(
                _number(values, field, self.empty) if is_number else _day(values, field, kind)
            )
        for before, after, first, second in zip(
            read, read[1:], self.fields, self.fields[1:], strict=False
        ):
            if before > after:  # type: ignore[operator]  # all are numbers, or all are dates
                larger = "larger" if self.read_as[0] == NUMBER else "later"
                return f"{first}, {_shown(before)}, is {larger} than {second}, {_shown(after)}."
        return ""


@dataclass(frozen=True, slots=True)
class DateWindow(_Check):
    """A date lies between two days, both included. A bound of "" is none."""

    kind: ClassVar[str] = "date"
    name: str
    fields: tuple[str, ...]  # one
    read_as: str
    first: str
    last: str

    def _fault(self, values: Values) -> str:
        day = _day(values, self.fields[0], self.read_as)
        if self.first and day < datetime.date.fromisoformat(self.first):
            return f"{self.fields[0]}, {day}, is before {self.first}."
        if self.last and day > datetime.date.fromisoformat(self.last):
            return f"{self.fields[0]}, {day}, is after {self.last}."
        return ""


@dataclass(frozen=True, slots=True)
class Days(_Check):
    """So many days pass from one date to the other. A bound of None is none."""

    kind: ClassVar[str] = "days"
    name: str
    fields: tuple[str, ...]  # two
    read_as: tuple[str, ...]
    least: int | None
    most: int | None

    def _fault(self, values: Values) -> str:
        first, last = (
            _day(values, field, kind) for field, kind in zip(self.fields, self.read_as, strict=True)
        )
        days = (last - first).days
        said = f"From {self.fields[0]}, {first}, to {self.fields[1]}, {last}, pass {days} days"
        if self.least is not None and days < self.least:
            return f"{said}; it must be {self.least} or more."
        if self.most is not None and days > self.most:
            return f"{said}; it must be {self.most} or fewer."
        return ""


@dataclass(frozen=True, slots=True)
class CheckDigit(_Check):
    """The digits of the fields, one field after the other, pass a check."""

    kind: ClassVar[str] = "check_digit"
    name: str
    fields: tuple[str, ...]
    scheme: Scheme

    def _fault(self, values: Values) -> str:
        digits = "".join(_text(values, field) for field in self.fields)
        if not digits.isascii() or not digits.isdigit():
            return f"'{digits}' holds more than digits."
        if fits(self.scheme, digits):
            return ""
        return f"The check digit of {digits} does not fit, so at least one digit is wrong."


@dataclass(frozen=True, slots=True)
class InList(_Check):
    """The value of a field is in a list. `origin` names the list for people."""

    kind: ClassVar[str] = "in_list"
    name: str
    fields: tuple[str, ...]  # one
    values: frozenset[str]
    origin: str

    def _fault(self, values: Values) -> str:
        value = _text(values, self.fields[0])
        return "" if value in self.values else f"{value} is not in {self.origin}."


@dataclass(frozen=True, slots=True)
class Unique(_Check):
    """No other page of the tenant has the same values in these fields: the database knows."""

    kind: ClassVar[str] = "unique"
    name: str
    fields: tuple[str, ...]

    def key(self, values: Values) -> str | None:
        """Return what pages with the same values share, None where a value is missing."""
        named = sorted((field, values.get(field)) for field in self.fields)
        if not all(value for _, value in named):
            return None
        return hashlib.sha256(json.dumps(named).encode()).hexdigest()[:40]

    def judge_among(self, values: Values, twins: Sequence[Twin]) -> Finding:
        """Say whether it is so, if `twins` are the other pages with the same values."""
        try:
            shown = _list_of([f"{field} {_text(values, field)}" for field in self.fields])
        except _UnknownError as exc:
            return self.found(CheckState.UNKNOWN, str(exc))
        if not twins:
            return self.found(CheckState.HOLDS, "")
        return self.found(CheckState.FAILS, f"{twins[0].label} has the same {shown}.", twins)

    def _fault(self, values: Values) -> str:
        for field in self.fields:
            _text(values, field)
        raise _UnknownError("Only a server knows the other pages.")


Check = Equal | Sum | InOrder | DateWindow | Days | CheckDigit | InList | Unique

_KINDS: Final[dict[str, type[Check]]] = {
    one.kind: one for one in (Equal, Sum, InOrder, DateWindow, Days, CheckDigit, InList, Unique)
}


def judge_page(
    checks: Iterable[Check], values: Values, twins: Mapping[str, Sequence[Twin]] | None = None
) -> tuple[Finding, ...]:
    """Return a finding for each check of a page.

    `twins` has the other pages with the same values, by the name of the check; None: nobody knows
    them.
    """
    return tuple(
        check.judge_among(values, twins.get(check.name, ()))
        if isinstance(check, Unique) and twins is not None
        else check.judge(values)
        for check in checks
    )


def failing_fields(findings: Iterable[Finding]) -> set[str]:
    """Return the names of the fields that are in a check that fails."""
    return {field for finding in findings if finding.fails for field in finding.fields}


# --- as JSON ------------------------------------------------------------------------------------


def check_as_json(check: Check) -> dict[str, Any]:
    """Return a check as the database keeps it."""
    members = {k: sorted(v) if isinstance(v, frozenset) else v for k, v in asdict(check).items()}
    return {"kind": check.kind} | members


def check_from_json(stored: Mapping[str, Any]) -> Check:
    """Return the check that `check_as_json` made."""
    members: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in stored.items()
        if name != "kind"
    }
    kind = _KINDS[stored["kind"]]
    if kind is InList:
        members["values"] = frozenset(members["values"])
    return kind(**members)


def finding_as_json(finding: Finding) -> dict[str, Any]:
    """Return a finding as the database keeps it."""
    return asdict(finding)


def finding_from_json(stored: Mapping[str, Any]) -> Finding:
    """Return the finding that `finding_as_json` made."""
    return Finding(
        name=stored["name"],
        fields=tuple(stored["fields"]),
        state=CheckState(stored["state"]),
        message=stored["message"],
        twins=tuple(Twin(**twin) for twin in stored["twins"]),
    )


# --- values -------------------------------------------------------------------------------------


def _text(values: Values, field: str) -> str:
    value = values.get(field)
    if value is None:
        raise _UnknownError(f"{field} has no value.")
    if value == "":
        raise _UnknownError(f"{field} is empty.")
    return value


def _number(values: Values, field: str, empty: str | None = None) -> Decimal:
    if values.get(field) == "" and empty is not None:
        return Decimal(empty)
    text = _text(values, field)
    if not _NUMBER.fullmatch(text):
        raise _UnknownError(f"{field} is no number: '{text}'.")
    return Decimal(text)


def _day(values: Values, field: str, kind: str) -> datetime.date:
    text = _text(values, field)
    layout, first, last = kind.split()
    window = datetime.date.fromisoformat(first), datetime.date.fromisoformat(last)
    days = [day for day in _days(text, layout, window) if window[0] <= day <= window[1]]
    if len(days) != 1:
        raise _UnknownError(f"{field} is no certain day: '{text}'.")
    return days[0]


def _days(
    text: str, layout: str, window: tuple[datetime.date, datetime.date]
) -> Iterable[datetime.date]:
    """Yield the days that the digits of a date may mean: two digits of a year leave several."""
    if len(text) != len(layout) or not text.isascii() or not text.isdigit():
        return
    part = {
        letter: int("".join(c for c, at in zip(text, layout, strict=True) if at == letter))
        for letter in "DMY"
    }
    years = [part["Y"]]
    if layout.count("Y") == 2:
        centuries = range(window[0].year // 100, window[1].year // 100 + 1)
        years = [100 * century + part["Y"] for century in centuries]
    for year in years:
        try:
            yield datetime.date(year, part["M"], part["D"])
        except ValueError:
            continue


def _read(values: Values, field: str, kind: str) -> str | Decimal | datetime.date:
    if kind == TEXT:
        return _text(values, field)
    return _number(values, field) if kind == NUMBER else _day(values, field, kind)


def _plain(number: Decimal) -> str:
    return format(number, "f")


def _shown(value: Decimal | datetime.date) -> str:
    return _plain(value) if isinstance(value, Decimal) else str(value)


def _list_of(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + f" and {parts[-1]}"
