"""Text that people and files bring along."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InputError
from core.text import checked_line, printable


@given(st.text(max_size=30), st.integers(0, 20))
def test_a_line_is_taken_whole_or_refused_in_words(text: str, longest: int) -> None:
    refusal = None
    try:
        line = checked_line(text, "The note", longest=longest)
    except InputError as exc:
        refusal = exc
    if refusal:
        assert refusal.code == "bad-text"
        assert refusal.message.startswith("The note ")
        assert refusal.message.endswith(".")
        assert printable(refusal.message) == refusal.message
        return
    assert len(line) <= longest
    assert line == unicodedata.normalize("NFC", text.strip())
    assert printable(line) == line
    assert checked_line(line, "The note", longest=longest) == line


@pytest.mark.parametrize("text", ["शुक्रवार", "می‌خواهم", "👩‍🔧", "a\u200fb", "Muñoz & Söhne"])
def test_every_script_is_text(text: str) -> None:
    assert checked_line(text, "A name", longest=50) == unicodedata.normalize("NFC", text)


@given(st.text(st.characters(), max_size=20))
def test_what_cannot_be_shown_is_replaced_and_nothing_else(text: str) -> None:
    shown = printable(text)
    assert len(shown) == len(text)
    assert not any(unicodedata.category(character) in ("Cc", "Cs") for character in shown)
    assert printable(shown) == shown
