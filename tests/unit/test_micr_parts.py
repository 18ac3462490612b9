"""The parts of an E-13B line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.readers.micr_parts import MICR_PARTS, MicrPart, is_understood, parse_parts
from pipeline.types import Box

ALPHABET = "0123456789⑆⑇⑈⑉ ?"


def _parse(raw: str) -> dict[str, MicrPart]:
    boxes = [None if c == " " else Box(10 * i, 0, 7, 9) for i, c in enumerate(raw)]
    parts = parse_parts(raw, [0.99] * len(raw), boxes)
    assert len({part.name for part in parts}) == len(parts)
    return {part.name: part for part in parts}


def _values(raw: str) -> dict[str, str | None]:
    return {name: part.value for name, part in _parse(raw).items()}


def test_a_line_of_an_indian_cheque() -> None:
    parts = _parse("⑈309141⑈ 500211012⑆ 426160⑈ 31")
    assert {name: part.value for name, part in parts.items()} == {
        "cheque_number": "309141",
        "sort_code": "500211012",
        "account": "426160",
        "transaction_code": "31",
    }
    assert parts["cheque_number"].box == Box(10, 0, 57, 9)
    assert parts["transaction_code"].confidence == pytest.approx(0.99**2)


def test_the_account_may_be_left_out() -> None:
    assert _values("⑈120619⑈ 500015048⑆ 31") == {
        "cheque_number": "120619",
        "sort_code": "500015048",
        "transaction_code": "31",
    }


def test_a_character_that_was_not_read_takes_its_part_only() -> None:
    parts = _parse("⑈3?9141⑈ 500211012⑆ 426160⑈ 3?")
    assert parts["cheque_number"].value is None
    assert parts["cheque_number"].confidence == 0
    assert parts["transaction_code"].value is None
    assert parts["sort_code"].value == "500211012"


@pytest.mark.parametrize(
    "raw", ["309141⑈ 500211012⑆", "⑈309141 500211012⑆ 31", "⑈30914⑈ 500211012⑆", "1234567", ""]
)
def test_a_line_without_its_symbols_or_digits_has_no_parts(raw: str) -> None:
    assert _values(raw) == {}


def test_a_part_that_is_too_long_is_no_part() -> None:
    assert _values("⑈309141⑈ 500211012⑆ 42616077⑈ 31") == {
        "cheque_number": "309141",
        "sort_code": "500211012",
    }
    assert "transaction_code" not in _values("⑈309141⑈ 500211012⑆ 426160⑈ 3141")


def test_lines_of_american_cheques() -> None:
    assert _values("⑆021000021⑆ 123⑉456789⑈ 1025") == {
        "routing_number": "021000021",
        "account": "123-456789",
        "cheque_number": "1025",
    }
    assert _values("⑈001025⑈ ⑆021000021⑆ 123456789⑈ ⑇0000012345⑇") == {
        "cheque_number": "001025",
        "routing_number": "021000021",
        "account": "123456789",
        "amount": "0000012345",
    }


def test_an_account_with_a_gap_is_not_taken() -> None:
    assert _values("⑆021000021⑆ 123 456789⑈ 1025") == {"routing_number": "021000021"}


def test_a_gap_inside_the_account_does_not_make_a_transaction_code_of_it() -> None:
    assert set(_values("⑈309141⑈ 500211012⑆ 42 6160⑈ 31")) == {"cheque_number", "sort_code"}


def test_a_wrong_check_digit_takes_the_value_away() -> None:
    part = _parse("⑆021000012⑆ 123456789⑈ 1025")["routing_number"]
    assert (part.value, part.confidence, part.raw) == (None, 0, "021000012")
    assert _values("⑆021000021⑆ 123456789⑈")["routing_number"] == "021000021"


@given(st.text("0123456789", min_size=8, max_size=8), st.integers(0, 8), st.integers(1, 9))
def test_one_wrong_digit_never_passes_the_check(eight: str, place: int, by: int) -> None:
    total = sum(int(digit) * weight for digit, weight in zip(eight, (3, 7, 1) * 3, strict=False))
    routing = eight + str(-total % 10)
    assert _values(f"⑆{routing}⑆")["routing_number"] == routing
    other = str((int(routing[place]) + by) % 10)
    assert _values(f"⑆{routing[:place]}{other}{routing[place + 1 :]}⑆")["routing_number"] is None


@pytest.mark.parametrize(
    ("raw", "understood"),
    [
        ("⑈309141⑈ 500211012⑆ 426160⑈ 31", True),
        ("⑈120619⑈ 500015048⑆ 31", True),
        ("⑈120619⑈ 500015048⑆", True),
        ("⑈309141⑈ 500211012⑆ 426?60⑈ 31", False),
        ("⑈309141⑈ 500211012⑆ 42 6160⑈ 31", False),  # a gap in the account
        ("⑈309141⑈ 500211012⑆ 42616077⑈ 31", False),  # too long for one
        ("⑈309141⑈ 500211012⑆ ⑈ 31", False),  # only its symbol is left
        ("⑆021000021⑆ 123456789⑈ 1025", True),
        ("⑈001025⑈ ⑆021000021⑆ 123456789⑈ 22 ⑇0000012345⑇", True),
        ("⑆021000021⑆ 123 456789⑈ ⑇0000012345⑇", False),
        ("1234567", False),
        ("", False),
    ],
)
def test_a_line_is_understood_where_each_character_belongs_to_a_part(
    raw: str, understood: bool
) -> None:
    assert is_understood(raw) == understood


@given(st.text(ALPHABET, max_size=60))
def test_any_line_parses_and_values_hold_digits_only(raw: str) -> None:
    for name, value in _values(raw).items():
        assert name in MICR_PARTS
        assert value is None or value.replace("-", "").isdigit(), name
