"""What a person types becomes the value that it stands for, or is refused with the reason."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import InputError
from pipeline.grammar.base import Grammar
from pipeline.grammar.parse import parse_grammar
from pipeline.grammar.typed import ILLEGAL, normalise_typed

GRAMMARS = [
    parse_grammar(name)
    for name in (
        "digits",
        "digits(6)",
        "digits(2,4)",
        "amount",
        "amount(INR)",
        "amount(EUR)",
        "amount(JPY)",
        "amount(CLP)",
        "amount(USD,grouping=none,decimals=4,digits=3)",
        "amount(grouping=points,decimals=3)",
        "date(DDMMYYYY,2000-2035)",
        "date(MMDDYYYY)",
        "date(DDMMYY,2000-2035)",
        "date(YYYYMMDD,2024-04-01..2025-03-31)",
        "checksum(luhn,16)",
        "checksum(mod11,10)",
        "checksum(mod97,6)",
        "checksum(aba)",
        "one_of(Yes,No,N/A,10.5,2024-01)",
        "range(1,500)",
        "range(0,18)",
    )
]
# "1.250" is 1250 on such paper, and 1.250 as a value.
AMBIGUOUS = "amount(grouping=points,decimals=3)"


@pytest.mark.parametrize(
    ("grammar", "typed", "value"),
    [
        ("digits", " 12 ", "12"),
        ("digits", "007\n", "007"),
        ("digits", "１２３", "123"),  # full-width
        ("digits", "٣٤٥", "345"),  # Arabic-Indic
        ("digits", "१२", "12"),  # Devanagari
        ("digits", "\ufeff\u200e12\u00a0", "12"),
        ("digits(12)", "000123456789", "000123456789"),
        ("amount(INR)", "1,234.50", "1234.50"),
        ("amount(INR)", "1234.5", "1234.50"),
        ("amount(INR)", "₹ 1,234", "1234"),
        ("amount(INR)", "inr 12,34,567 /-", "1234567"),
        ("amount(JPY)", "￥1,250", "1250"),
        ("amount(USD)", "$1,250.00", "1250.00"),
        ("amount(EUR)", "1.250,00 €", None),
        ("amount(EUR)", "€ 1.250,00", "1250.00"),
        ("amount(EUR)", "1250.00", "1250.00"),  # the value itself
        ("amount(EUR)", "1.250", "1250"),
        ("amount(EUR)", "12,5", "12.50"),
        ("date(DDMMYYYY)", "5/7/2020", "05072020"),
        ("date(DDMMYYYY)", "05 – 07 – 2020", "05072020"),
        ("date(DDMMYYYY)", "05072020", "05072020"),
        ("date(MMDDYYYY)", "12.31.2020", "12312020"),
        ("date(DDMMYY,2000-2035)", "5/7/2020", "050720"),
        ("date(DDMMYY,2000-2035)", "5/7/1920", None),
        ("date(YYYYMMDD)", "2020-7-5", "20200705"),
        ("one_of(Yes,No)", "YES", "Yes"),
        ("one_of(a,A)", "A", "A"),
        ("range(1,500)", "٥٠٠", "500"),
    ],
)
def test_what_is_meant(grammar: str, typed: str, value: str | None) -> None:
    if value is None:
        with pytest.raises(InputError):
            normalise_typed(typed, parse_grammar(grammar), required=True)
    else:
        assert normalise_typed(typed, parse_grammar(grammar), required=True) == value


@pytest.mark.parametrize(
    ("grammar", "typed", "said", "takes"),
    [
        ("digits", "abc", "it contains 'a'", "digits and nothing else, for example 123456"),
        ("digits", "=cmd|calc", "it contains '='", ""),
        ("digits", "1 2", "it contains a space", ""),
        ("digits", "12²", "it contains '²'", ""),  # 122 is not meant
        ("digits", "\u202e12", "a character that cannot be seen (U+202E)", ""),
        ("digits(6)", "123", "it has 3 digits", "6 digits, for example 123456"),
        ("digits(1)", "", "must not be empty", "1 digit, for example 1"),
        ("amount(INR)", "100,000", "Write 1,00,000 or 100000", "an amount in INR"),
        ("amount(USD)", "1,00,000.5", "Write 100,000.5 or 100000.5", ""),
        ("amount(USD)", "1,50", "its digits are grouped wrongly.", "for example 123,456.50"),
        ("amount(USD)", "0050", "it begins with 0", ""),
        ("amount(USD)", "1.505", "it has 3 digits after the decimal mark", ""),
        ("amount(USD)", "€5", "it contains '€'", ""),
        ("amount(JPY)", "5.00", "it has a decimal mark", "without a decimal mark"),
        ("amount(grouping=points,decimals=3)", "1.250", "it may mean 1,250 or 1250", ""),
        ("date(DDMMYYYY,2000-2035)", "31/02/2020", "no such day in the calendar", "31/12/2024"),
        ("date(DDMMYYYY,2000-2035)", "5/7/1999", "it is not from 2000-01-01 to 2035-12-31", ""),
        ("date(DDMMYYYY)", "2020-07-05", "its day has 4 digits", "as day, month, year"),
        ("date(MMDDYYYY)", "31/12/2020", "there is no month 31", ""),
        ("date(DDMMYYYY)", "5/7/20", "its year has 2 digits", ""),
        ("checksum(luhn,16)", "4111111111111112", "its check digit does not fit", ""),
        ("range(5,500)", "501", "it is above 500", "a whole number from 5 to 500"),
        ("range(5,500)", "4", "it is below 5", ""),
        ("range(5,500)", "007", "it begins with 0", ""),
        ("one_of(10,20)", "30", "it is not in the list", "one of 10, 20"),
    ],
)
def test_what_is_said(grammar: str, typed: str, said: str, takes: str) -> None:
    with pytest.raises(InputError) as caught:
        normalise_typed(typed, parse_grammar(grammar), required=True)
    assert caught.value.code == ILLEGAL
    assert said in caught.value.message
    assert takes in caught.value.hint


@pytest.mark.parametrize("grammar", GRAMMARS, ids=lambda grammar: grammar.name)
@pytest.mark.parametrize("typed", ["", "  ", "\u200b\n"])
def test_nothing_is_a_value_of_an_optional_field(grammar: Grammar, typed: str) -> None:
    assert normalise_typed(typed, grammar, required=False) == ""
    with pytest.raises(InputError, match="must not be empty"):
        normalise_typed(typed, grammar, required=True)


@pytest.mark.parametrize("grammar", GRAMMARS, ids=lambda grammar: grammar.name)
def test_the_example_is_legal(grammar: Grammar) -> None:
    assert grammar.form is not None
    takes = grammar.form.takes()
    example = takes.split("for example ")[1] if "for example" in takes else takes.split()[2]
    assert normalise_typed(example.rstrip(","), grammar, required=True)


# Near to what is legal, so that much of it is legal or nearly so.
near = st.text("0123456789012345678901,.-/=₹€¥$ INRe٣१７−", max_size=18)
dates = st.builds(
    lambda parts, mark: mark.join(map(str, parts)),
    st.tuples(*[st.integers(0, 40), st.integers(0, 13), st.integers(1990, 2040)]).flatmap(
        st.permutations
    ),
    st.sampled_from(["/", "-", ".", " ", " / "]),
)
texts = st.one_of(near, dates, st.text(max_size=12), st.text("0123456789", max_size=20))


@settings(max_examples=200)
@given(st.sampled_from(GRAMMARS), texts, st.booleans())
def test_any_text_is_refused_in_words_or_becomes_a_value(
    grammar: Grammar, text: str, required: bool
) -> None:
    value = _normalised(text, grammar, required)
    if value is None:
        return
    if value == "":
        assert not required
    else:
        assert grammar.transcribed().accepts(value)
        assert set(value) <= grammar.value_characters()
    again = _normalised(value, grammar, required)
    assert again == value or (again is None and grammar.name == AMBIGUOUS)


@settings(max_examples=200)
@given(st.sampled_from(GRAMMARS), st.data())
def test_what_the_grammar_allows_keeps_its_value(grammar: Grammar, data: st.DataObject) -> None:
    """A text of the paper becomes the value that the readers give it."""
    text, state = "", 0
    automaton = grammar.automaton
    while not (automaton.accepting[state] and data.draw(st.booleans())):
        legal = [n for n, after in enumerate(automaton.table[state]) if after >= 0]
        if not legal:
            break
        column = data.draw(st.sampled_from(legal))
        text, state = text + automaton.characters[column], int(automaton.table[state, column])
    if not automaton.accepting[state]:
        return
    value = _normalised(text, grammar, True)
    assert value == grammar.value(text) or (value is None and grammar.name == AMBIGUOUS)


def _normalised(text: str, grammar: Grammar, required: bool) -> str | None:
    """Return the value, or None for a refusal, which must be a sentence."""
    refusal = None
    try:
        return normalise_typed(text, grammar, required=required)
    except InputError as exc:
        refusal = exc
    assert refusal.code == ILLEGAL
    assert refusal.message.endswith(".")
    assert refusal.hint.startswith("It takes ")
    assert not any(unicodedata.category(c)[0] == "C" for c in refusal.message)
    return None
