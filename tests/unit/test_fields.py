"""How what two readers see becomes the reading of a field."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from core.policy import ReviewReason
from pipeline.fields import (
    cap_without_decimal_point,
    clean_fields,
    combine,
    from_one_reader,
    read_fields,
)
from pipeline.grammar.parse import parse_grammar
from pipeline.readers.base import BOTH, GLYPH, MICR, STRIP, FieldStrip, Hypotheses
from pipeline.readers.confidence import EvidenceWeights
from pipeline.readers.loaded import Readers, load_readers
from pipeline.types import Alternative, Box, Character, Strip

WEIGHTS = EvidenceWeights(strip=0.8, glyph=0.4, other=-1.0)
BOX = Box(3, 4, 300, 60)
GLYPHS = (Character(Box(5, 5, 10, 20), "1", 0.9), Character(Box(20, 5, 10, 20), "2", 0.9))


@pytest.fixture(scope="module")
def readers() -> Readers:
    return load_readers()


def field(grammar: str) -> FieldStrip:
    strip = Strip("amount", BOX, np.full((60, 300), 200, np.uint8))
    return FieldStrip(strip, parse_grammar(grammar), ruled=False)


def glyphs_of(value: str, probability: float) -> Hypotheses:
    return Hypotheses(value, (Alternative(value, probability),), 0.0, GLYPHS)


def test_what_both_read_is_surer_than_either() -> None:
    by_ctc = Hypotheses("12", (Alternative("12", 0.95),), 0.0)
    reading = combine(field("digits(2)"), glyphs_of("12", 0.9), by_ctc, WEIGHTS)
    assert (reading.value, reading.raw, reading.rule, reading.reader) == ("12", "12", None, BOTH)
    assert reading.confidence == reading.alternatives[0].probability > 0.9


def test_what_only_one_reads_names_the_rule() -> None:
    by_ctc = Hypotheses("172", (Alternative("17", 0.6), Alternative("12", 0.2)), 0.0)
    reading = combine(field("digits(2)"), glyphs_of("72", 0.4), by_ctc, WEIGHTS)
    assert (reading.value, reading.raw, reading.rule) == ("17", "172", "digits(2)")
    assert reading.confidence < 0.9


def test_writing_without_a_legal_value_is_neither_a_number_nor_empty() -> None:
    by_glyphs, by_ctc = Hypotheses("77", (), 0.0), Hypotheses("123", (), 0.001)
    reading = combine(field("digits(8)"), by_glyphs, by_ctc, WEIGHTS)
    assert (reading.value, reading.raw, reading.confidence) == (None, "123", 0.0)
    assert reading.rule == "digits(8)"


def test_where_both_see_nothing_the_field_is_empty_with_their_confidence() -> None:
    nothing = Hypotheses("", (), 0.98)
    reading = combine(field("digits(8)"), nothing, nothing, WEIGHTS)
    assert (reading.value, reading.raw, reading.rule) == ("", "", None)
    assert reading.confidence == reading.alternatives[0].probability > 0.9


def test_empty_is_not_sure_where_the_glyph_reader_reads_digits() -> None:
    for probability in (0.001, 0.5, 0.99):
        seen, nothing = glyphs_of("12", probability), Hypotheses("", (), 0.9999)
        placed = replace(field("digits(2)"), paper=200.0)
        reading = combine(placed, seen, nothing, WEIGHTS)
        assert reading.value == ""
        assert reading.confidence == reading.alternatives[0].probability <= 0.5


@pytest.mark.parametrize("reader", [GLYPH, STRIP])
def test_one_reader_alone(reader: str) -> None:
    strip = field("digits(2)")
    read = from_one_reader(strip, Hypotheses("12", (Alternative("12", 0.9),), 0.05), reader)
    empty = from_one_reader(strip, Hypotheses("", (Alternative("11", 0.01),), 0.97), reader)
    illegal = from_one_reader(strip, Hypotheses("1", (), 0.2), reader)
    assert (read.value, read.confidence, read.reader) == ("12", 0.9, reader)
    assert (empty.value, empty.confidence) == ("", 0.97)
    assert (illegal.value, illegal.raw, illegal.confidence) == (None, "1", 0.0)


def test_a_value_without_a_point_is_unsure_where_a_point_may_stand() -> None:
    reading = from_one_reader(field("digits"), glyphs_of("12", 0.96), GLYPH)
    assert cap_without_decimal_point(reading, parse_grammar("digits")) is reading
    unsure = cap_without_decimal_point(reading, parse_grammar("amount(USD)"))
    assert unsure.confidence == unsure.alternatives[0].probability == 0.48


@pytest.mark.parametrize("who", [GLYPH, STRIP, BOTH])
def test_an_empty_field_reads_as_empty_whoever_reads(who: str, readers: Readers) -> None:
    fields = [field("digits(4)")]
    (reading,) = read_fields(fields, clean_fields(fields), replace(readers, of_fields=who))
    assert (reading.value, reading.raw, reading.reader) == ("", "", who)


def test_each_reader_has_the_hash_of_its_weights(readers: Readers) -> None:
    hashes = {readers.sha256(name) for name in (GLYPH, STRIP, BOTH, MICR)}
    assert len(hashes) == 4
    assert all(len(value) == 64 for value in hashes)
    assert readers.sha256(STRIP) == readers.strip.card.sha256


@pytest.mark.parametrize(
    ("grey", "facts", "reason"),
    [
        (200, {"blocked": ReviewReason.OFF_PAGE}, ReviewReason.OFF_PAGE),
        (200, {"blocked": ReviewReason.CUT}, ReviewReason.CUT),
        (200, {"blocked": ReviewReason.UNSURE_PLACE}, ReviewReason.UNSURE_PLACE),
        (0, {}, ReviewReason.TOO_DARK),  # a black bar
        (128, {}, ReviewReason.TOO_DARK),  # what a decoder puts where the file ends
        (255, {"paper": 190.0}, ReviewReason.TOO_FAINT),  # washed out
        (40, {"paper": 40.0}, ReviewReason.TOO_DARK),  # ink cannot be told from paper
        (200, {"contrast": 0.1}, ReviewReason.TOO_FAINT),  # a page whose print is hardly there
        (200, {"framed": False}, ReviewReason.UNSURE_PLACE),  # the page may lie upside down
    ],
)
def test_a_field_that_cannot_be_seen_is_not_empty(
    grey: int, facts: dict[str, Any], reason: ReviewReason, readers: Readers
) -> None:
    strip = Strip("amount", BOX, np.full((60, 300), grey, np.uint8))
    unseen = FieldStrip(
        strip, parse_grammar("digits(4)"), **{"ruled": True, "paper": 200.0} | facts
    )
    (reading,) = read_fields([unseen], clean_fields([unseen]), readers)
    assert (reading.value, reading.raw, reading.confidence) == (None, "", 0.0)
    assert reading.alternatives == ()
    assert reading.blocked is reason


def test_a_strip_of_a_few_rows_is_not_empty_and_a_higher_one_is(readers: Readers) -> None:
    def read(rows: int) -> str | None:
        strip = Strip("amount", BOX, np.full((rows, 300), 200, np.uint8))
        fields = [FieldStrip(strip, parse_grammar("digits(4)"), ruled=True, paper=210.0)]
        return read_fields(fields, clean_fields(fields), readers)[0].value

    assert [read(5), read(60)] == [None, ""]
