"""The `checks` of a template: rules across the fields of a page."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import yaml

from core.check_digits import SCHEMES, Scheme
from core.checks import (
    NUMBER,
    TEXT,
    Check,
    CheckDigit,
    DateWindow,
    Days,
    Equal,
    InList,
    InOrder,
    Sum,
    Unique,
)
from pipeline.grammar.base import Grammar
from pipeline.grammar.forms import AmountForm, ChoiceForm, DateForm, DigitsForm, RangeForm
from pipeline.placing.check_lists import MAX_VALUES, VALUE, VALUE_RULE, file_of
from pipeline.placing.yaml_nodes import (
    error_at,
    items,
    mapping,
    shown,
    suggestion,
    text_of,
    value_of,
)

MAX_CHECKS: Final = 100
MAX_RULE_NAME: Final = 100  # characters

_WHOLE: Final = re.compile(r"[+-]?[0-9]{1,6}", re.ASCII)
_AMOUNT: Final = re.compile(r"[0-9]{1,18}(\.[0-9]{1,4})?", re.ASCII)

_Found = Mapping[str, yaml.Node]
_Grammars = Mapping[str, Grammar]

# What states each rule, and the keys that may stand beside it.
_BESIDE: Final[dict[str, tuple[str, ...]]] = {
    "equal": (),
    "sum": ("is", "empty"),
    "in_order": ("empty",),
    "date": ("from", "to"),
    "days": ("from", "to"),
    "check_digit": ("scheme",),
    "in_list": ("csv", "column", "values"),
    "unique": (),
}
_KEYS: Final = ("name", *_BESIDE, *dict.fromkeys(key for keys in _BESIDE.values() for key in keys))


def parse_checks(node: yaml.Node, grammars: _Grammars) -> tuple[Check, ...]:
    """Return the checks of a template whose fields have these grammars. Raises TemplateError."""
    checks: dict[str, Check] = {}
    for item in items(node, "checks", MAX_CHECKS):
        found = mapping(item, "a check", _KEYS)
        name = text_of(value_of(dict(found), "name", "a check", item), "a check's name").strip()
        if not name or len(name) > MAX_RULE_NAME or not name.isprintable():
            raise error_at(
                found["name"], f"the name of a check has 1 to {MAX_RULE_NAME} characters."
            )
        if name in checks:
            raise error_at(found["name"], f"two checks are named '{name}'.")
        where = f"check '{name}'"
        rules = [key for key in _BESIDE if key in found]
        if len(rules) != 1:
            raise error_at(
                item,
                f"{where} must state one rule, not {len(rules)}.",
                hint=f"The rules are: {', '.join(_BESIDE)}.",
            )
        (rule,) = rules
        for key in found:
            if key not in ("name", rule, *_BESIDE[rule]):
                raise error_at(found[key], f"{where}: '{key}' does not belong to '{rule}'.")
        checks[name] = _PARSERS[rule](name, where, item, found, grammars)
    return tuple(checks.values())


# --- one rule each ------------------------------------------------------------------------------


def _equal(name: str, where: str, _item: yaml.Node, found: _Found, grammars: _Grammars) -> Check:
    node = found["equal"]
    fields = _fields(node, where, grammars, least=2)
    kinds = [_kind(grammars[field]) for field in fields]
    if any(kind == "date" for kind in kinds):
        return Equal(name, fields, _dates(node, where, fields, grammars))
    # Leading zeros count in an account, and do not in an amount.
    is_number = any(kind == NUMBER for kind in kinds)
    if is_number:
        _all_numbers(node, where, fields, grammars)
    return Equal(name, fields, (NUMBER if is_number else TEXT,) * len(fields))


def _sum(name: str, where: str, item: yaml.Node, found: _Found, grammars: _Grammars) -> Check:
    parts = _fields(found["sum"], where, grammars, least=1)
    total_node = value_of(dict(found), "is", where, item)
    total = _field(total_node, where, grammars)
    if total in parts:
        raise error_at(total_node, f"{where}: '{total}' is both a part and the total.")
    _all_numbers(found["sum"], where, (*parts, total), grammars)
    return Sum(name, (*parts, total), _empty(where, found))


def _in_order(name: str, where: str, _item: yaml.Node, found: _Found, grammars: _Grammars) -> Check:
    node = found["in_order"]
    fields = _fields(node, where, grammars, least=2)
    if all(_kind(grammars[field]) == "date" for field in fields):
        if "empty" in found:
            raise error_at(found["empty"], f"{where}: 'empty' is for numbers, not for dates.")
        return InOrder(name, fields, _dates(node, where, fields, grammars))
    _all_numbers(node, where, fields, grammars)
    return InOrder(name, fields, (NUMBER,) * len(fields), _empty(where, found))


def _date(name: str, where: str, item: yaml.Node, found: _Found, grammars: _Grammars) -> Check:
    field = _field(found["date"], where, grammars)
    (kind,) = _dates(found["date"], where, (field,), grammars)
    first, last = (
        _day_of(found[key], f"{where}: {key}") if key in found else "" for key in ("from", "to")
    )
    if not first and not last:
        raise error_at(item, f"{where} needs 'from', 'to' or both, such as 'from: 2024-04-01'.")
    if first and last and first > last:
        raise error_at(found["to"], f"{where}: 'to' is before 'from'.")
    return DateWindow(name, (field,), kind, first, last)


def _days(name: str, where: str, item: yaml.Node, found: _Found, grammars: _Grammars) -> Check:
    node = found["days"]
    fields = _fields(node, where, grammars, least=2, most=2)
    kinds = _dates(node, where, fields, grammars)
    least, most = (_whole(found, key, where) for key in ("from", "to"))
    if least is None and most is None:
        raise error_at(item, f"{where} needs 'from', 'to' or both: numbers of days.")
    if least is not None and most is not None and least > most:
        raise error_at(found["to"], f"{where}: 'to' is less than 'from'.")
    return Days(name, fields, kinds, least, most)


def _check_digit(
    name: str, where: str, item: yaml.Node, found: _Found, grammars: _Grammars
) -> Check:
    node = found["check_digit"]
    fields = _fields(node, where, grammars, least=1)
    scheme_node = value_of(dict(found), "scheme", where, item)
    text = text_of(scheme_node, f"{where}: scheme")
    scheme: Scheme | None = next((one for one in SCHEMES if one == text.lower()), None)
    if scheme is None:
        raise error_at(
            scheme_node,
            f"{where}: the scheme '{shown(scheme_node)}' is unknown.",
            hint=suggestion(text, SCHEMES),
        )
    return CheckDigit(name, fields, scheme)


def _in_list(name: str, where: str, item: yaml.Node, found: _Found, grammars: _Grammars) -> Check:
    field = _field(found["in_list"], where, grammars)
    file = file_of(found["csv"], where) if "csv" in found else ""
    if "column" in found and not file:
        raise error_at(found["column"], f"{where}: a 'column' is one of a 'csv' file.")
    if "values" not in found:
        if not file:
            raise error_at(item, f"{where} needs a list: 'csv: FILE' or 'values: [10, 20]'.")
        raise error_at(
            found["csv"],
            f"{where}: the values of {file} are not in this text.",
            hint="`counterfoil template add`, `submit` and `read` take them from the file beside"
            " the template. Or write them out: 'values: [10, 20]'.",
        )
    values = _values(found["values"], where)
    return InList(name, (field,), frozenset(values), file or "the list")


def _unique(name: str, where: str, _item: yaml.Node, found: _Found, grammars: _Grammars) -> Check:
    return Unique(name, _fields(found["unique"], where, grammars, least=1))


_Parser = Callable[[str, str, yaml.Node, _Found, _Grammars], Check]
_PARSERS: Final[dict[str, _Parser]] = {
    "equal": _equal,
    "sum": _sum,
    "in_order": _in_order,
    "date": _date,
    "days": _days,
    "check_digit": _check_digit,
    "in_list": _in_list,
    "unique": _unique,
}


# --- their parts --------------------------------------------------------------------------------


def _fields(
    node: yaml.Node, where: str, grammars: _Grammars, *, least: int, most: int = 50
) -> tuple[str, ...]:
    """Return the names of fields in a list; one alone need not be in a list."""
    nodes = [node] if isinstance(node, yaml.ScalarNode) else items(node, "fields", 500)
    names = tuple(_field(one, where, grammars) for one in nodes)
    if not least <= len(names) <= most:
        count = str(least) if least == most else f"{least} to {most}"
        raise error_at(node, f"{where} takes {count} fields, not {len(names)}.")
    for one, name in zip(nodes, names, strict=True):
        if names.count(name) > 1:
            raise error_at(one, f"{where}: the field '{name}' is named twice.")
    return names


def _field(node: yaml.Node, where: str, grammars: _Grammars) -> str:
    name = text_of(node, where)
    if name not in grammars:
        raise error_at(
            node,
            f"{where}: there is no field '{shown(node)}'.",
            hint=suggestion(name, grammars),
        )
    return name


def _kind(grammar: Grammar) -> str:
    match grammar.form:
        case AmountForm() | RangeForm():
            return NUMBER
        case DateForm():
            return "date"
        case DigitsForm():
            return "digits"
        case ChoiceForm(choices) if all(_AMOUNT.fullmatch(choice) for choice in choices):
            return "digits"
    return TEXT


def _all_numbers(node: yaml.Node, where: str, fields: Sequence[str], grammars: _Grammars) -> None:
    for field in fields:
        if _kind(grammars[field]) in ("date", TEXT):
            raise error_at(
                node,
                f"{where}: '{field}' ({grammars[field].name}) is no number to calculate with.",
            )


def _dates(
    node: yaml.Node, where: str, fields: Sequence[str], grammars: _Grammars
) -> tuple[str, ...]:
    kinds = []
    for field in fields:
        form = grammars[field].form
        if not isinstance(form, DateForm):
            raise error_at(node, f"{where}: '{field}' ({grammars[field].name}) is no date.")
        if form.layout.count("Y") == 2 and form.last.year - form.first.year >= 100:
            raise error_at(
                node,
                f"{where}: two digits of a year leave the century of '{field}' open.",
                hint="State a window in its grammar, such as date(DDMMYY,2000-2035).",
            )
        kinds.append(f"{form.layout} {form.first} {form.last}")
    return tuple(kinds)


def _empty(where: str, found: _Found) -> str | None:
    if "empty" not in found:
        return None
    text = text_of(found["empty"], f"{where}: empty")
    if not _AMOUNT.fullmatch(text):
        raise error_at(found["empty"], f"{where}: 'empty' is a number, usually 0.")
    return text


def _whole(found: _Found, key: str, where: str) -> int | None:
    if key not in found:
        return None
    text = text_of(found[key], f"{where}: {key}")
    if not _WHOLE.fullmatch(text):
        raise error_at(found[key], f"{where}: '{key}' is a whole number of days.")
    return int(text)


def _day_of(node: yaml.Node, where: str) -> str:
    text = text_of(node, where)
    try:
        if len(text) != 10:
            raise ValueError
        return str(datetime.date.fromisoformat(text))
    except ValueError:
        raise error_at(node, f"{where}: '{shown(node)}' is no day such as 2024-04-01.") from None


def _values(node: yaml.Node, where: str) -> list[str]:
    """Return the values of a list, or of one text with spaces between them."""
    if isinstance(node, yaml.ScalarNode):
        values = text_of(node, f"{where}: values").split()
    else:
        values = [text_of(one, where) for one in items(node, "values", MAX_VALUES)]
    if not 1 <= len(values) <= MAX_VALUES:
        raise error_at(node, f"{where}: a list has 1 to {MAX_VALUES:,} values.")
    for value in values:
        if not VALUE.fullmatch(value):
            raise error_at(node, f"{where}: '{value[:40]}' {VALUE_RULE}")
    return values
