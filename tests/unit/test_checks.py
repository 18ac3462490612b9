"""Checks across fields: what holds, what fails, and what nobody can say."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.check_digits import SCHEMES, Scheme, fits
from core.checks import (
    NUMBER,
    TEXT,
    Check,
    CheckDigit,
    CheckState,
    DateWindow,
    Days,
    Equal,
    InList,
    InOrder,
    Sum,
    Twin,
    Unique,
    check_as_json,
    check_from_json,
    failing_fields,
    finding_as_json,
    finding_from_json,
    judge_page,
)
from pipeline.grammar.languages import checksum

DAY = "DDMMYYYY 0001-01-01 9999-12-31"
SHORT = "DDMMYY 2000-01-01 2035-12-31"
HOLDS, FAILS, UNKNOWN = CheckState.HOLDS, CheckState.FAILS, CheckState.UNKNOWN

CASES: list[tuple[Check, dict[str, str | None], CheckState, str]] = [
    (Equal("e", ("a", "b"), (NUMBER, NUMBER)), {"a": "1250.00", "b": "1250"}, HOLDS, ""),
    (Equal("e", ("a", "b"), (NUMBER, NUMBER)), {"a": "1250.00", "b": "1250.01"}, FAILS,
     "a is 1250.00 and b is 1250.01."),
    (Equal("e", ("a", "b"), (TEXT, TEXT)), {"a": "007", "b": "7"}, FAILS, "a is 007 and b is 7."),
    (Equal("e", ("a", "b", "c"), (TEXT,) * 3), {"a": "7", "b": "7", "c": ""}, UNKNOWN,
     "c is empty."),
    (Equal("e", ("a", "b"), (DAY, SHORT)), {"a": "31122024", "b": "311224"}, HOLDS, ""),
    (Equal("e", ("a", "b"), (DAY, SHORT)), {"a": "31121924", "b": "311224"}, FAILS,
     "a is 31121924 and b is 311224."),
    (Sum("s", ("a", "b", "c")), {"a": "0.10", "b": "0.20", "c": "0.3"}, HOLDS, ""),
    (Sum("s", ("a", "b", "c")), {"a": "1", "b": "2", "c": "4"}, FAILS,
     "1 + 2 is 3, but c is 4."),
    (Sum("s", ("a", "b", "c")), {"a": "1", "b": "", "c": "1"}, UNKNOWN, "b is empty."),
    (Sum("s", ("a", "b", "c"), "0"), {"a": "1", "b": "", "c": "1"}, HOLDS, ""),
    (Sum("s", ("a", "b", "c"), "0"), {"a": "1", "b": None, "c": "1"}, UNKNOWN, "b has no value."),
    (Sum("s", ("a", "b", "c")), {"a": "1", "c": "1"}, UNKNOWN, "b has no value."),
    (Sum("s", ("a", "b")), {"a": "1a", "b": "1"}, UNKNOWN, "a is no number: '1a'."),
    (Sum("s", ("a", "b")), {"a": "NaN", "b": "NaN"}, UNKNOWN, "a is no number: 'NaN'."),
    (Sum("s", ("a", "b")), {"a": "\u0661", "b": "1"}, UNKNOWN, "a is no number: '\u0661'."),
    (InOrder("o", ("a", "b"), (NUMBER, NUMBER)), {"a": "9", "b": "10"}, HOLDS, ""),
    (InOrder("o", ("a", "b"), (NUMBER, NUMBER)), {"a": "11", "b": "10"}, FAILS,
     "a, 11, is larger than b, 10."),
    (InOrder("o", ("a", "b"), (DAY, DAY)), {"a": "02012024", "b": "01012024"}, FAILS,
     "a, 2024-01-02, is later than b, 2024-01-01."),
    (DateWindow("d", ("a",), DAY, "2024-01-01", ""), {"a": "31122023"}, FAILS,
     "a, 2023-12-31, is before 2024-01-01."),
    (DateWindow("d", ("a",), DAY, "", "2024-01-01"), {"a": "02012024"}, FAILS,
     "a, 2024-01-02, is after 2024-01-01."),
    (DateWindow("d", ("a",), SHORT, "2024-01-01", "2024-12-31"), {"a": "290224"}, HOLDS, ""),
    (DateWindow("d", ("a",), DAY, "2024-01-01", ""), {"a": "30022024"}, UNKNOWN,
     "a is no certain day: '30022024'."),
    (Days("d", ("a", "b"), (DAY, DAY), 0, 90), {"a": "01012024", "b": "31032024"}, HOLDS, ""),
    (Days("d", ("a", "b"), (DAY, DAY), 0, 90), {"a": "01012024", "b": "01042024"}, FAILS,
     "From a, 2024-01-01, to b, 2024-04-01, pass 91 days; it must be 90 or fewer."),
    (Days("d", ("a", "b"), (DAY, DAY), 0, None), {"a": "02012024", "b": "01012024"}, FAILS,
     "From a, 2024-01-02, to b, 2024-01-01, pass -1 days; it must be 0 or more."),
    (CheckDigit("c", ("a", "b"), "luhn"), {"a": "7992739871", "b": "3"}, HOLDS, ""),
    (CheckDigit("c", ("a",), "luhn"), {"a": "79927398714"}, FAILS,
     "The check digit of 79927398714 does not fit, so at least one digit is wrong."),
    (CheckDigit("c", ("a",), "luhn"), {"a": "1.5"}, FAILS, "'1.5' holds more than digits."),
    (InList("l", ("a",), frozenset({"10", "20"}), "x.csv"), {"a": "20"}, HOLDS, ""),
    (InList("l", ("a",), frozenset({"10", "20"}), "x.csv"), {"a": "30"}, FAILS,
     "30 is not in x.csv."),
    (Unique("u", ("a",)), {"a": "1"}, UNKNOWN, "Only a server knows the other pages."),
]  # fmt: skip


@pytest.mark.parametrize(("check", "values", "state", "message"), CASES)
def test_what_is_found(
    check: Check, values: dict[str, str | None], state: CheckState, message: str
) -> None:
    (finding,) = judge_page([check], values)
    assert (finding.state, finding.message) == (state, message)
    assert (finding.name, finding.fields) == (check.name, check.fields)
    assert failing_fields([finding]) == (set(check.fields) if state is FAILS else set())


@pytest.mark.parametrize("check", [case[0] for case in CASES])
def test_a_check_and_its_finding_survive_the_database(check: Check) -> None:
    assert check_from_json(json.loads(json.dumps(check_as_json(check)))) == check
    finding = check.found(FAILS, "so", [Twin("1", "x.png")])
    assert finding_from_json(json.loads(json.dumps(finding_as_json(finding)))) == finding


def test_pages_with_the_same_values_are_twins() -> None:
    check = Unique("once", ("account", "number"))
    values = {"account": "12", "number": "3"}
    assert check.key(values) == Unique("other", ("number", "account")).key(values)
    assert check.key(values) != check.key({"account": "1", "number": "23"})
    assert check.key({"account": "12", "number": ""}) is None
    (finding,) = judge_page([check], values, {"once": [Twin("p", "a.png")]})
    assert finding.message == "a.png has the same account 12 and number 3."
    assert judge_page([check], values, {})[0].state is HOLDS


@given(st.lists(st.decimals(0, 10**18, places=4), min_size=1, max_size=40), st.integers(-1, 1))
def test_sums_are_exact(parts: list[Decimal], off: int) -> None:
    """The last of 60 digits counts."""
    names = [f"f{n}" for n in range(len(parts))]
    total = sum((int(part * 10000) for part in parts), off)
    values: dict[str, str | None] = {
        name: format(part, "f") for name, part in zip(names, parts, strict=True)
    }
    values["total"] = f"{total // 10000}.{total % 10000:04}" if total >= 0 else "0"
    (finding,) = judge_page([Sum("s", (*names, "total"))], values)
    assert (finding.state is HOLDS) == (off == 0 or total < 0)


@given(st.sampled_from(SCHEMES), st.text("0123456789", min_size=9, max_size=9))
def test_check_digits_are_those_of_the_grammar(scheme: Scheme, digits: str) -> None:
    assert fits(scheme, digits) == checksum(scheme, 9).accepts(digits)
