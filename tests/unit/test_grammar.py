"""What a field may hold."""

from __future__ import annotations

import datetime
import re
from datetime import date

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import TemplateError
from pipeline.grammar.amounts import Grouping
from pipeline.grammar.automaton import DIGITS
from pipeline.grammar.base import ANY_DIGITS, MAX_DIGITS
from pipeline.grammar.parse import KNOWN_GRAMMARS, parse_grammar

lengths = st.integers(1, MAX_DIGITS)
digit_strings = st.text("0123456789", max_size=MAX_DIGITS + 2)


@settings(deadline=None)
@given(lengths, digit_strings)
def test_digits_of_one_length(n: int, text: str) -> None:
    grammar = parse_grammar(f"digits({n})")
    assert (grammar.min_length, grammar.max_length) == (n, n)
    assert grammar.accepts(text) == (len(text) == n)


@settings(deadline=None)
@given(lengths, lengths, digit_strings)
def test_digits_of_a_range(a: int, b: int, text: str) -> None:
    least, most = sorted((a, b))
    grammar = parse_grammar(f" digits( {least} , {most} ) ")
    assert grammar.accepts(text) == (least <= len(text) <= most)
    assert parse_grammar(grammar.name) == grammar


@given(st.text(max_size=9))
def test_only_ascii_digits_are_digits(text: str) -> None:
    expected = len(text) >= 1 and set(text) <= set("0123456789")
    assert ANY_DIGITS.accepts(text) == expected
    assert parse_grammar("digits") == ANY_DIGITS


@pytest.mark.parametrize("text", ["", "٣", "1 2", "1\n", "-1", "1.0", "²"])
def test_what_is_no_number(text: str) -> None:
    assert not ANY_DIGITS.accepts(text)


@settings(deadline=None)
@given(st.dates(datetime.date(1, 1, 1)))
def test_every_date_is_accepted(day: datetime.date) -> None:
    parts = {"DD": f"{day.day:02}", "MM": f"{day.month:02}", "YYYY": f"{day.year:04}"}
    assert parse_grammar("date(DDMMYYYY)").accepts(parts["DD"] + parts["MM"] + parts["YYYY"])
    assert parse_grammar("date(MMDDYYYY)").accepts(parts["MM"] + parts["DD"] + parts["YYYY"])
    assert parse_grammar("date(YYYYMMDD)").accepts(parts["YYYY"] + parts["MM"] + parts["DD"])
    assert parse_grammar("date(DDMMYY)").accepts(parts["DD"] + parts["MM"] + parts["YYYY"][2:])


@settings(deadline=None)
@given(st.integers(0, 99), st.integers(0, 99), st.integers(1, 9999))
def test_only_dates_are_accepted(day: int, month: int, year: int) -> None:
    try:
        datetime.date(year, month, day)
        exists = True
    except ValueError:
        exists = False
    assert parse_grammar("date(DDMMYYYY)").accepts(f"{day:02}{month:02}{year:04}") == exists


@settings(max_examples=30, deadline=None)
@given(st.dates(), st.dates(), st.dates(), st.sampled_from(["DDMMYYYY", "MMDDYYYY", "YYYYMMDD"]))
def test_a_window_of_dates(a: date, b: date, day: date, form: str) -> None:
    first, last = sorted((a, b))
    grammar = parse_grammar(f"date({form},{first}..{last})")
    assert parse_grammar(grammar.name) == grammar
    for shown in (day, first, last):
        year, month, number = str(shown).split("-")
        parts = {"DD": number, "MM": month, "YYYY": year}
        order = re.findall("D+|M+|Y+", form)
        for separator in ("", "/", "-", "."):
            text = separator.join(parts[part] for part in order)
            assert grammar.accepts(text) == (first <= shown <= last)
            if grammar.accepts(text):
                assert grammar.value(text) == text.replace(separator, "")


@pytest.mark.parametrize(
    ("grammar", "legal", "illegal"),
    [
        ("date(DDMMYY,2000-2035)", ["290200", "010135", "311200"], ["290201", "010136", "310400"]),
        ("date(DDMMYYYY,2000-2035)", ["29022000"], ["29022100", "31121999", "01012036", "2900"]),
        ("date(MMDDYY,2099-2101)", ["010100", "123199", "010101"], ["022900", "010102"]),
        ("date(DDMMYYYY)", ["01/02/2024", "01.02-2024"], ["01//022024", "/01022024", "0/1022024",
                                                          "01022024/", "00000000"]),
    ],
)  # fmt: skip
def test_dates_at_the_edge(grammar: str, legal: list[str], illegal: list[str]) -> None:
    assert [text for text in legal + illegal if parse_grammar(grammar).accepts(text)] == legal


@pytest.mark.parametrize(
    ("grammar", "text", "value"),
    [
        ("amount", "1,250.50", "1250.50"),
        ("amount(INR)", "1,00,000/-", "100000"),
        ("amount(INR)", "₹12,50,000.00/-", "1250000.00"),
        ("amount(INR)", "100000=", "100000"),
        ("amount(INR)", "100,000", None),
        ("amount(USD)", "1,00,000", None),
        ("amount(USD)", "$100,000.00", "100000.00"),
        ("amount(USD)", "$1.5", None),
        ("amount(USD)", "1.000", None),
        ("amount(USD)", "0.50", "0.50"),
        ("amount(USD)", "00.50", None),
        ("amount(USD)", "050", None),
        ("amount(USD)", "1,00", None),
        ("amount(USD)", ",100", None),
        ("amount(USD)", "€5", None),
        ("amount(USD)", "", None),
        ("amount(USD)", "$", None),
        ("amount(USD)", "-", None),
        ("amount(USD,decimals=0)", "5.00", None),
        ("amount(USD,digits=3)", "1,000", None),
        ("amount(EUR)", "1.250.000,75", "1250000.75"),
        ("amount(CLP)", "1.000.-", "1000"),
        ("amount(CLP)", "1000.-", "1000"),
        ("amount(CLP)", "1.00", None),
        ("amount(grouping=none,decimals=3)", "1000.125", "1000.125"),
        ("amount(grouping=none)", "1,000", None),
    ],
)
def test_amounts(grammar: str, text: str, value: str | None) -> None:
    found = parse_grammar(grammar)
    assert (found.value(text) if found.accepts(text) else None) == value
    assert parse_grammar(found.name) == found


@settings(deadline=None)
@given(
    st.integers(1, 10**12 - 1),
    st.sampled_from([None, 0, 5, 99]),
    st.sampled_from(list(Grouping)),
    st.booleans(),
)
def test_every_amount_can_be_written(
    major: int, minor: int | None, grouping: Grouping, grouped: bool
) -> None:
    head, tail = str(major)[:-3], str(major)[-3:]
    separator = {"thousands": ",", "lakhs": ",", "points": ".", "none": ""}[grouping]
    step = 2 if grouping is Grouping.LAKHS else 3
    groups = [head[max(0, end - step) : end] for end in range(len(head), 0, -step)][::-1]
    written = separator.join([*groups, tail]) if grouped else str(major)
    decimals = "" if minor is None else f"{minor:02}"
    mark = "," if grouping is Grouping.POINTS else "."
    grammar = parse_grammar(f"amount(grouping={grouping})")
    text = written + (mark + decimals if decimals else "")
    assert grammar.accepts(text)
    assert grammar.value(text) == str(major) + ("." + decimals if decimals else "")
    assert grammar.min_length <= len(text) <= grammar.max_length


@settings(deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 10**6), st.data())
def test_ranges(a: int, b: int, data: st.DataObject) -> None:
    low, high = sorted((a, b))
    grammar = parse_grammar(f"range({low},{high})")
    near = [low - 1, low, low + 1, high - 1, high, high + 1, 10 * low, high // 10]
    for number in [*near, data.draw(st.integers(0, 10**7))]:
        assert number < 0 or grammar.accepts(str(number)) == (low <= number <= high)
        assert not grammar.accepts("0" + str(abs(number)))
    assert (grammar.min_length, grammar.max_length) == (len(str(low)), len(str(high)))
    assert parse_grammar(grammar.name) == grammar


@settings(deadline=None)
@given(st.lists(st.from_regex(r"[0-9A-Za-z./-]{1,6}", fullmatch=True), min_size=1, max_size=8))
def test_lists(choices: list[str]) -> None:
    grammar = parse_grammar(f"one_of({', '.join(choices)})")
    assert all(grammar.accepts(choice) and grammar.value(choice) == choice for choice in choices)
    for choice in choices:
        for other in (choice[:-1], choice + "0", choice[::-1]):
            assert grammar.accepts(other) == (other in choices)
    assert parse_grammar(grammar.name) == grammar


def _remainder(scheme: str, text: str) -> int:
    numbers = [int(c) for c in reversed(text)]
    if scheme == "luhn":
        return sum(numbers[::2] + [sum(map(int, str(2 * n))) for n in numbers[1::2]]) % 10
    if scheme == "mod11":
        return sum(weight * n for weight, n in enumerate(numbers, start=1)) % 11
    if scheme == "aba":
        return sum(weight * n for weight, n in zip((1, 7, 3) * 3, numbers, strict=True)) % 10
    return int(text) % 97 - 1


@settings(deadline=None)
@given(st.sampled_from(["luhn", "mod11", "mod97", "aba"]), st.text(DIGITS, min_size=3, max_size=10))
def test_checksums(scheme: str, text: str) -> None:
    if scheme == "aba":
        text = (text * 3)[:9]
    grammar = parse_grammar(
        "checksum(aba)" if scheme == "aba" else f"checksum({scheme},{len(text)})"
    )
    for last in range(100):
        changed = text[:-2] + f"{last:02}"
        assert grammar.accepts(changed) == (_remainder(scheme, changed) == 0)
    assert not grammar.accepts(text[:-1])


@pytest.mark.parametrize(
    ("grammar", "text"),
    [
        ("checksum(luhn,16)", "4539578763621486"),
        ("checksum(aba)", "021000021"),  # published by its bank
        ("checksum(mod11,10)", "0306406152"),  # an ISBN-10
        ("checksum(mod97,5)", "79444"),  # 794 and its check digits, the example of ISO 7064
    ],
)
def test_known_numbers_have_right_check_digits(grammar: str, text: str) -> None:
    assert parse_grammar(grammar).accepts(text)


@pytest.mark.parametrize("name", [*KNOWN_GRAMMARS[3:], "digits(2,5)", "amount(EUR)"])
def test_from_every_state_a_legal_end_is_reached(name: str) -> None:
    automaton = parse_grammar(name).automaton
    alive = automaton.accepting.copy()
    for _ in range(len(alive)):
        alive |= (alive[automaton.table] & (automaton.table >= 0)).any(axis=1)
    assert alive.all()
    # And no two states are the same.
    assert len(np.unique(np.column_stack([automaton.accepting, automaton.table]), axis=0)) == len(
        alive
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("digit(8)", "Did you mean 'digits(8)'?"),
        ("digist", "Did you mean 'digits'?"),
        ("dat(ddmmyyyy)", "Did you mean 'date(DDMMYYYY)'?"),
        ("roman", "Known are: digits, digits(n)"),
        ("digits(0)", "between 1 and 64"),
        ("digits(9,3)", "the smaller number first"),
        ("digits(1,2,3)", "one whole number"),
        ("digits(x)", "one whole number"),
        ("digits(99999)", "one whole number"),
        ("date", "a format (DDMMYYYY"),
        ("date(DDYYYY)", "a format (DDMMYYYY"),
        ("digits(4", "Did you mean 'digits(4)'?"),
        ("amount(XYZ)", "the known currencies are AUD"),
        ("amount(INR,tails=2)", "amount takes a currency"),
        ("amount(decimals=2,decimals=2)", "each at most once"),
        ("amount(decimals=9)", "from 0 to 4"),
        ("amount(digits=0)", "from 1 to 18"),
        ("amount(grouping=some)", "one of thousands"),
        ("date(DDMMYYYY,2035-2000)", "ends before it begins"),
        ("date(DDMMYYYY,2035)", "a window is"),
        ("date(DDMMYYYY,2023-02-29..2024-01-01)", "a window is"),
        ("date(DDMMYYYY,0000-2000)", "a window is"),
        ("checksum(crc,8)", "a scheme (luhn, mod11"),
        ("checksum(luhn)", "takes the length"),
        ("checksum(mod11,11)", "between 3 and 10"),
        ("checksum(aba,8)", "nine digits"),
        ("one_of(1,,2)", "1 to 500 strings"),
        ("one_of", "1 to 500 strings"),
        ("oneof(1,2)", "Did you mean 'one_of(1,2)'?"),
        ("range(5,1)", "smaller number must come first"),
        ("range(01,5)", "whole numbers"),
        ("", "Known are"),
        ("d" * 100_000, "Known are"),
    ],
)
def test_a_wrong_grammar_is_told_with_what_would_be_right(text: str, says: str) -> None:
    with pytest.raises(TemplateError) as error:
        parse_grammar(text)
    assert says in str(error.value)
    assert error.value.code == "bad-grammar"
    assert len(str(error.value)) < 250


@settings(deadline=None)
@given(st.text(max_size=40))
def test_any_text_is_a_grammar_or_a_template_error(text: str) -> None:
    try:
        grammar = parse_grammar(text)
    except TemplateError:
        return
    assert parse_grammar(grammar.name) == grammar
