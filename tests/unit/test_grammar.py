"""What a field may hold."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import TemplateError
from pipeline.grammar import ANY_DIGITS, MAX_DIGITS, parse_grammar

lengths = st.integers(1, MAX_DIGITS)
digit_strings = st.text("0123456789", max_size=MAX_DIGITS + 2)


@given(lengths, digit_strings)
def test_digits_of_one_length(n: int, text: str) -> None:
    grammar = parse_grammar(f"digits({n})")
    assert (grammar.min_length, grammar.max_length) == (n, n)
    assert grammar.accepts(text) == (len(text) == n)


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


@given(st.dates(datetime.date(1, 1, 1)))
def test_every_date_is_accepted(day: datetime.date) -> None:
    parts = {"DD": f"{day.day:02}", "MM": f"{day.month:02}", "YYYY": f"{day.year:04}"}
    assert parse_grammar("date(DDMMYYYY)").accepts(parts["DD"] + parts["MM"] + parts["YYYY"])
    assert parse_grammar("date(MMDDYYYY)").accepts(parts["MM"] + parts["DD"] + parts["YYYY"])
    assert parse_grammar("date(YYYYMMDD)").accepts(parts["YYYY"] + parts["MM"] + parts["DD"])
    assert parse_grammar("date(DDMMYY)").accepts(parts["DD"] + parts["MM"] + parts["YYYY"][2:])


@given(st.integers(0, 99), st.integers(0, 99), st.integers(1, 9999))
def test_only_dates_are_accepted(day: int, month: int, year: int) -> None:
    try:
        datetime.date(year, month, day)
        exists = True
    except ValueError:
        exists = False
    assert parse_grammar("date(DDMMYYYY)").accepts(f"{day:02}{month:02}{year:04}") == exists


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("digit(8)", "did you mean 'digits(8)'?"),
        ("digist", "did you mean 'digits'?"),
        ("dat(ddmmyyyy)", "did you mean 'date(DDMMYYYY)'?"),
        ("roman", "known are digits, digits(n)"),
        ("digits(0)", "between 1 and 64"),
        ("digits(9,3)", "the least first"),
        ("digits(1,2,3)", "one whole number"),
        ("digits(x)", "one whole number"),
        ("digits(99999)", "one whole number"),
        ("date", "one format of DDMMYYYY"),
        ("date(DDYYYY)", "one format of DDMMYYYY"),
        ("digits(4", "did you mean 'digits(4)'?"),
        ("", "known are"),
        ("d" * 100_000, "known are"),
    ],
)
def test_a_wrong_grammar_is_told_with_what_would_be_right(text: str, says: str) -> None:
    with pytest.raises(TemplateError) as error:
        parse_grammar(text)
    assert says in str(error.value)
    assert error.value.code == "bad-grammar"
    assert len(str(error.value)) < 250


@given(st.text(max_size=40))
def test_any_text_is_a_grammar_or_a_template_error(text: str) -> None:
    try:
        grammar = parse_grammar(text)
    except TemplateError:
        return
    assert parse_grammar(grammar.name) == grammar
