"""What an export holds: its format, its columns, and what a value becomes in a cell."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any, Final, Self

Cell = str | int | float | Decimal | date | datetime | None


class ExportFormat(StrEnum):
    XLSX = "xlsx"
    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"


class Kind(StrEnum):
    """What the cells of a column are."""

    TEXT = "text"
    AMOUNT = "amount"  # a number with two decimals
    DATE = "date"
    COUNT = "count"
    SHARE = "share"  # 0 to 1
    TIME = "time"


# Columns that tell of a page, by their keys: a heading to begin with, and the kind.
OF_PAGE: Final = {
    "batch": ("Batch", Kind.TEXT),
    "file": ("File", Kind.TEXT),
    "page": ("Page", Kind.COUNT),
    "label": ("Name in the file", Kind.TEXT),
    "template": ("Template", Kind.TEXT),
    "page_state": ("State of the page", Kind.TEXT),
    "checks": ("Checks that fail", Kind.TEXT),
    "page_id": ("Page id", Kind.TEXT),
}
# What may be told of each field beside its value.
OF_FIELD: Final = {
    "state": ("state", Kind.TEXT),
    "confidence": ("confidence", Kind.SHARE),
    "released_by": ("released by", Kind.TEXT),
    "released_at": ("released at", Kind.TIME),
    "raw": ("as read", Kind.TEXT),
    "model": ("model", Kind.TEXT),
    "crop": ("picture", Kind.TEXT),
}
# The last column of every export: which values are missing, and why.
NOT_RELEASED: Final = "Not released"

_AMOUNT = re.compile(r"amount\b")
_DATE = re.compile(r"date\((DDMMYYYY|MMDDYYYY|YYYYMMDD)\b")
_PARTS: Final = {
    "DDMMYYYY": (slice(4, 8), slice(2, 4), slice(0, 2)),
    "MMDDYYYY": (slice(4, 8), slice(0, 2), slice(2, 4)),
    "YYYYMMDD": (slice(0, 4), slice(4, 6), slice(6, 8)),
}
_CENTS = Decimal("0.01")
# What a spreadsheet's number, a double, keeps exactly.
_MAX_EXACT = Decimal(10) ** 13


@dataclass(frozen=True, slots=True)
class ExportColumn:
    """A column: of a page, of a field's value, or of a detail of a field."""

    key: str  # of OF_PAGE, "value", or of OF_FIELD
    heading: str
    field: str | None = None

    def as_json(self) -> dict[str, Any]:
        return {"key": self.key, "heading": self.heading, "field": self.field}

    @classmethod
    def from_json(cls, said: dict[str, Any]) -> Self:
        return cls(said["key"], said["heading"], said["field"])


def kind_of_grammar(grammar: str | None) -> Kind:
    """Return what the values of a field are, by its grammar in normal form.

    An amount of more than two decimals stays text, and so does a date that leaves its century open.
    """
    text = grammar or ""
    if _AMOUNT.match(text) and not re.search(r"decimals=[34]", text):
        return Kind.AMOUNT
    return Kind.DATE if _DATE.match(text) else Kind.TEXT


def cell_of_value(value: str, kind: Kind, grammar: str | None) -> Cell:
    """Return a released value as a cell; as text where it is not what its kind says.

    Somebody may have recorded what the field may not hold. Digits stay text, with their zeros.
    """
    if kind == Kind.AMOUNT:
        try:
            amount = Decimal(value).quantize(_CENTS)
        except InvalidOperation:
            return value
        exact = amount == Decimal(value) and abs(amount) < _MAX_EXACT
        return amount if exact else value
    form = _DATE.match(grammar or "")
    if kind == Kind.DATE and form and re.fullmatch("[0-9]{8}", value):
        year, month, day = (int(value[part]) for part in _PARTS[form[1]])
        try:
            return date(year, month, day)
        except ValueError:
            return value
    return value
