"""Read fields: clean each strip once, ask both readers, and weigh what they say.

The glyph reader gets the ink, the strip reader the grey image of the same cleaned strip.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pipeline.cleaning.clean import CleanStrip, cell_count, clean_strip
from pipeline.grammar.parse import Grammar
from pipeline.readers.base import StripToRead
from pipeline.readers.confidence import Weights, gather, judge
from pipeline.readers.glyph import read_strips
from pipeline.readers.loaded import BOTH, GLYPH, STRIP, Readers
from pipeline.readers.runtime import Model
from pipeline.readers.strip import ALTERNATIVES, StripOpinion, form_opinions
from pipeline.types import Alternative, FieldReading

# Of the confidence, where a point may stand and none was seen. The glyph reader knows none and the
# strip reader misses faint ones: 12.50 read as 1250 is a hundredfold fault, and a person must look.
UNSEEN = 0.5


def clean_field(strip: StripToRead) -> CleanStrip:
    """Clean a strip of its print, with the cells that its grammar lets expect."""
    return clean_strip(strip.strip.grey, ruled=strip.ruled, cells=cell_count(strip.grammar))


def read_fields(strips: Sequence[StripToRead], readers: Readers) -> list[FieldReading]:
    """Read each strip with all readers that are there."""
    cleaned = [clean_field(strip) for strip in strips]
    alone = readers.of_fields == STRIP
    seen = [] if alone else read_strips(strips, cleaned, readers.glyph)
    return conclude(strips, cleaned, seen, readers)


def conclude(
    strips: Sequence[StripToRead],
    cleaned: Sequence[CleanStrip],
    seen: Sequence[FieldReading],
    readers: Readers,
) -> list[FieldReading]:
    """Return the readings of strips of which the glyph reader's are known, `seen`.

    Where the strip reader is to read alone, `seen` is not looked at.
    """
    if readers.of_fields == GLYPH:
        return [heed_point(reading, one.grammar) for one, reading in zip(strips, seen, strict=True)]
    said = hear_strip_reader(strips, cleaned, readers.strip)
    if readers.of_fields == STRIP:
        return [speak_alone(one, opinion) for one, opinion in zip(strips, said, strict=True)]
    return [
        weigh(one, reading, opinion, readers.weights)
        for one, reading, opinion in zip(strips, seen, said, strict=True)
    ]


def hear_strip_reader(
    strips: Sequence[StripToRead], cleaned: Sequence[CleanStrip], model: Model
) -> list[StripOpinion]:
    """Return what the strip reader says of each strip."""
    grammars = [strip.grammar.plainly() for strip in strips]
    uncleaned = [strip.strip.grey for strip in strips]
    return form_opinions([clean.grey for clean in cleaned], grammars, model, uncleaned)


def weigh(
    strip: StripToRead, glyph: FieldReading, opinion: StripOpinion, weights: Weights
) -> FieldReading:
    """Return the reading of a field on which both readers have been heard."""
    alternatives = judge(gather(opinion, glyph), weights)[:ALTERNATIVES]
    best = alternatives[0]
    seen = opinion.raw or glyph.raw
    if best.value == "" and seen and len(alternatives) == 1:
        # There is writing, and nothing legal in it.
        return _nothing_legal(strip, seen, BOTH)
    by_strip = any(item.value == best.value for item in opinion.legal)
    raw = opinion.raw if by_strip or best.value == "" else glyph.raw
    same = glyph.value is not None and glyph.value == best.value.replace(".", "")
    reading = FieldReading(
        name=strip.strip.name,
        value=best.value,
        raw=raw,
        confidence=best.probability,
        alternatives=alternatives,
        box=strip.strip.box,
        glyphs=glyph.glyphs if same else (),
        rule=None if best.value == raw else strip.grammar.name,
        reader=BOTH,
    )
    return heed_point(reading, strip.grammar)


def speak_alone(strip: StripToRead, opinion: StripOpinion) -> FieldReading:
    """Return what the strip reader makes of a field by itself."""
    name, box = strip.strip.name, strip.strip.box
    if not opinion.legal or opinion.nothing > opinion.legal[0].probability:
        if opinion.raw:
            return _nothing_legal(strip, opinion.raw, STRIP)
        nothing = Alternative("", opinion.nothing)
        return FieldReading(name, "", "", opinion.nothing, (nothing,), box, reader=STRIP)
    best = opinion.legal[0]
    rule = None if best.value == opinion.raw else strip.grammar.name
    reading = FieldReading(
        name,
        best.value,
        opinion.raw,
        best.probability,
        opinion.legal,
        box,
        rule=rule,
        reader=STRIP,
    )
    return heed_point(reading, strip.grammar)


def _nothing_legal(strip: StripToRead, raw: str, reader: str) -> FieldReading:
    name, box, rule = strip.strip.name, strip.strip.box, strip.grammar.name
    return FieldReading(name, None, raw, 0.0, (), box, rule=rule, reader=reader)


def heed_point(reading: FieldReading, grammar: Grammar) -> FieldReading:
    """Return the reading, unsure if it has no point where one may stand: a point is soon missed."""
    if not reading.value or "." in reading.value or "." not in grammar.values():
        return reading
    return replace(
        reading,
        confidence=UNSEEN * reading.confidence,
        alternatives=tuple(
            replace(item, probability=UNSEEN * item.probability) for item in reading.alternatives
        ),
    )
