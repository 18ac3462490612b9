"""How the words of two readers become the reading of a field."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.fields import heed_point, read_fields, speak_alone, weigh
from pipeline.grammar.parse import parse_grammar
from pipeline.readers.base import StripToRead
from pipeline.readers.confidence import Weights
from pipeline.readers.loaded import BOTH, GLYPH, STRIP, Readers, load_readers
from pipeline.readers.strip import StripOpinion
from pipeline.types import Alternative, Box, FieldReading, GlyphReading, Strip

WEIGHTS = Weights(strip=0.8, glyph=0.4, other=-1.0)
BOX = Box(3, 4, 300, 60)
INK = (GlyphReading(Box(5, 5, 10, 20), "1", 0.9), GlyphReading(Box(20, 5, 10, 20), "2", 0.9))


@pytest.fixture(scope="module")
def readers() -> Readers:
    return load_readers()


def asked(grammar: str) -> StripToRead:
    strip = Strip("amount", BOX, np.full((60, 300), 200, np.uint8))
    return StripToRead(strip, parse_grammar(grammar), ruled=False)


def glyphs_read(value: str | None, confidence: float) -> FieldReading:
    alternatives = () if value is None else (Alternative(value, confidence),)
    return FieldReading("amount", value, value or "77", confidence, alternatives, BOX, INK)


def test_what_both_read_keeps_the_places_of_its_digits() -> None:
    said = StripOpinion("12", (Alternative("12", 0.95),), 0.0)
    reading = weigh(asked("digits(2)"), glyphs_read("12", 0.9), said, WEIGHTS)
    assert (reading.value, reading.raw, reading.rule, reading.reader) == ("12", "12", None, BOTH)
    assert reading.glyphs == INK
    assert reading.confidence == reading.alternatives[0].probability > 0.9


def test_what_only_one_reads_has_no_places_and_names_the_rule() -> None:
    said = StripOpinion("172", (Alternative("17", 0.6), Alternative("12", 0.2)), 0.0)
    reading = weigh(asked("digits(2)"), glyphs_read("72", 0.4), said, WEIGHTS)
    assert (reading.value, reading.raw, reading.rule) == ("17", "172", "digits(2)")
    assert reading.glyphs == ()
    assert reading.confidence < 0.9


def test_writing_without_a_legal_value_is_neither_a_number_nor_nothing() -> None:
    said = StripOpinion("123", (), 0.001)
    reading = weigh(asked("digits(8)"), glyphs_read(None, 0.0), said, WEIGHTS)
    assert (reading.value, reading.raw, reading.confidence) == (None, "123", 0.0)
    assert reading.rule == "digits(8)"


def test_the_strip_reader_alone() -> None:
    strip = asked("digits(2)")
    read = speak_alone(strip, StripOpinion("12", (Alternative("12", 0.9),), 0.05))
    nothing = speak_alone(strip, StripOpinion("", (Alternative("11", 0.01),), 0.97))
    illegal = speak_alone(strip, StripOpinion("1", (), 0.2))
    assert (read.value, read.confidence, read.reader) == ("12", 0.9, STRIP)
    assert (nothing.value, nothing.confidence) == ("", 0.97)
    assert (illegal.value, illegal.raw, illegal.confidence) == (None, "1", 0.0)


def test_the_glyph_reader_alone_is_unsure_where_a_point_may_stand() -> None:
    reading = glyphs_read("12", 0.96)
    assert heed_point(reading, parse_grammar("digits")) is reading
    unsure = heed_point(reading, parse_grammar("amount(USD)"))
    assert unsure.confidence == unsure.alternatives[0].probability == 0.48


@pytest.mark.parametrize("who", [GLYPH, STRIP, BOTH])
def test_an_empty_field_reads_as_nothing_whoever_reads(who: str, readers: Readers) -> None:
    (reading,) = read_fields([asked("digits(4)")], replace(readers, of_fields=who))
    assert (reading.value, reading.raw, reading.reader) == ("", "", who)


def test_each_reader_has_the_hash_of_its_weights(readers: Readers) -> None:
    hashes = {readers.sha256(name) for name in (GLYPH, STRIP, BOTH, "micr")}
    assert len(hashes) == 4
    assert all(len(value) == 64 for value in hashes)
    assert readers.sha256(STRIP) == readers.strip.card.sha256
