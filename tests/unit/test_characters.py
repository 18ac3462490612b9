"""Where the characters of a value stand, and how sure each is by itself."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from pipeline.cleaning.ink import separate_ink
from pipeline.fields import clean_fields, read_fields
from pipeline.grammar.parse import parse_grammar
from pipeline.readers.base import BOTH, GLYPH, STRIP, FieldStrip, Hypotheses, Trace
from pipeline.readers.characters import find_characters
from pipeline.readers.ctc_align import align, align_quickly
from pipeline.readers.loaded import load_readers
from pipeline.types import Alternative, Box, Character, FieldReading, Strip

NOTHING = Hypotheses("", (), 0.0)
LEFTS = (30, 90, 150, 210)  # columns of the digits of `written`


def written(text: str) -> np.ndarray:
    """A strip (80, 300) with a digit from each of LEFTS on, about 30 wide."""
    grey = np.full((80, 300), 235, np.uint8)
    for left, digit in zip(LEFTS, text, strict=False):
        cv2.putText(grey, digit, (left, 62), cv2.FONT_HERSHEY_SIMPLEX, 1.7, 40.0, 4)
    return grey


def reading(value: str, *alternatives: tuple[str, float]) -> FieldReading:
    known = tuple(Alternative(*one) for one in alternatives)
    return FieldReading("amount", value, value, known[0].probability, known, Box(0, 0, 300, 80))


def place(read: FieldReading, by_glyphs: Hypotheses, by_ctc: Hypotheses) -> tuple[Character, ...]:
    grey = written(read.value or "")
    strip = Strip("amount", Box(1000, 500, 600, 160), grey)  # the page has twice its resolution
    return find_characters(read, strip, separate_ink(grey), by_glyphs, by_ctc)


def trace_of(text: str) -> Trace:
    """What a strip reader says that emits each digit in the middle of its ink, steps of 4."""
    posterior = np.full((75, 12), 0.001, np.float32)
    posterior[:, -1] = 0.989
    for left, digit in zip(LEFTS, text, strict=False):
        posterior[(left + 15) // 4, [int(digit), -1]] = 0.989, 0.001
    return Trace(posterior, "0123456789.", 0.0, 4.0)


def test_the_strip_reader_places_each_digit_on_its_ink() -> None:
    read = reading("4718", ("4718", 0.9))
    found = place(read, NOTHING, Hypotheses("4718", (), 0.0, trace=trace_of("4718")))
    assert "".join(one.text for one in found) == "4718"
    for one, left in zip(found, LEFTS, strict=True):
        assert 1000 + 2 * left - 8 <= one.box.x <= 1000 + 2 * left + 28
        assert one.box.x + one.box.w <= 1000 + 2 * (left + 40)
        assert 500 + 2 * 15 < one.box.y < 500 + 2 * 30
        assert 60 <= one.box.h <= 110


def test_a_text_that_the_reader_did_not_favour_is_placed_too() -> None:
    read = reading("4218", ("4218", 0.9))
    found = place(read, NOTHING, Hypotheses("4718", (), 0.0, trace=trace_of("4718")))
    assert [round((one.box.x - 1000) / 2) // 60 for one in found] == [0, 1, 2, 3]


def test_each_character_has_the_probability_of_all_alternatives_with_it() -> None:
    read = reading("12", ("12", 0.7), ("17", 0.15), ("72", 0.05), ("13", 0.04), ("112", 0.03))
    seen = tuple(Character(Box(x, 0, 10, 20), "1", 0.5) for x in (5, 25))
    first, second = place(read, Hypotheses("11", (), 0.0, seen), NOTHING)
    assert (first.text, second.text) == ("1", "2")
    assert first.probability == pytest.approx(0.89)
    assert second.probability == pytest.approx(0.75)
    assert [one.value for one in second.alternatives] == ["7", "3"]
    assert [one.probability for one in second.alternatives] == pytest.approx([0.15, 0.04])
    assert (first.box, second.box) == (seen[0].box, seen[1].box)


def test_a_point_stands_between_the_digits_beside_it() -> None:
    read = reading("1.5", ("1.5", 0.9))
    seen = tuple(Character(Box(x, 4, 10, 20), "1", 0.5) for x in (5, 40))
    one, point, five = place(read, Hypotheses("15", (), 0.0, seen), NOTHING)
    assert (one.box.x, five.box.x) == (5, 40)
    assert (point.text, point.box) == (".", Box(15, 4, 25, 20))


@pytest.mark.parametrize(
    ("value", "by_ctc"),
    [
        ("12345", Hypotheses("", (), 0.0)),  # five digits, of which nobody says where they are
        ("AB", Hypotheses("4718", (), 0.0, trace=trace_of("4718"))),  # not among its classes
        ("1" * 60, Hypotheses("4718", (), 0.0, trace=trace_of("4718"))),  # more than its steps
    ],
)
def test_what_no_reader_places_has_no_characters(value: str, by_ctc: Hypotheses) -> None:
    assert place(reading(value, (value, 0.9)), NOTHING, by_ctc) == ()


@pytest.mark.parametrize("who", [GLYPH, STRIP, BOTH])
def test_whoever_reads_knows_where(who: str) -> None:
    strip = Strip("number", Box(0, 0, 300, 80), written("3582"))
    fields = [FieldStrip(strip, parse_grammar("digits(4)"), ruled=False)]
    (read,) = read_fields(fields, clean_fields(fields), replace(load_readers(), of_fields=who))
    assert "".join(one.text for one in read.characters) == read.value
    assert [round(one.box.x) // 60 for one in read.characters] == [0, 1, 2, 3]


def test_too_few_steps_are_refused() -> None:
    scores = np.zeros((3, 12), np.float32)
    assert [first for first, _ in align(scores, [1, 2], blank=11)] == [0, 1]
    with pytest.raises(ValueError, match="too few"):
        align(scores, [1, 1, 2], blank=11)


def test_the_quick_way_is_that_of_the_full_one() -> None:
    trace = trace_of("4718")
    full = align(np.log(trace.posterior), [4, 7, 1, 8], blank=11)
    assert align_quickly(trace.posterior, [4, 7, 1, 8]) == full
