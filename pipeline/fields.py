"""Read fields: clean each strip once, ask both readers, and weigh what they say.

The glyph reader gets the ink, the strip reader the grey image of the same cleaned strip. Without
a strip reader the glyph reader speaks alone; it knows no decimal point, and where one may stand it
is never sure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pipeline.clean import CleanStrip, cell_count, clean_strip
from pipeline.confidence import Weights, gather, judge
from pipeline.grammar import Grammar
from pipeline.readers.glyph import StripToRead, read_strips
from pipeline.readers.loaded import Readers
from pipeline.readers.runtime import Model
from pipeline.readers.strip import ALTERNATIVES, StripOpinion, form_opinions
from pipeline.types import Alternative, FieldReading

# Where the value may hold a character that the reader does not know: 12.50 read as 1250 is a
# hundredfold fault, and a person has to look.
UNSEEN = 0.5


def read_fields(strips: Sequence[StripToRead], readers: Readers) -> list[FieldReading]:
    """Read each strip with all readers that are there."""
    cleaned = [clean_strip(s.strip.grey, ruled=s.ruled, cells=cell_count(s.grammar)) for s in strips]
    glyph, strip = readers.glyph, readers.strip
    if strip is None:
        assert glyph is not None
        return [
            _unsure_of_points(reading, one.grammar, glyph)
            for one, reading in zip(strips, read_strips(strips, cleaned, glyph), strict=True)
        ]
    opinions = hear_strip_reader(strips, cleaned, strip)
    if glyph is None:
        return [_alone(one, opinion) for one, opinion in zip(strips, opinions, strict=True)]
    assert readers.weights is not None
    seen = read_strips(strips, cleaned, glyph)
    return [
        weigh(one, reading, opinion, readers.weights)
        for one, reading, opinion in zip(strips, seen, opinions, strict=True)
    ]


def hear_strip_reader(
    strips: Sequence[StripToRead], cleaned: Sequence[CleanStrip], model: Model
) -> list[StripOpinion]:
    """Return what the strip reader says of each strip."""
    grammars = [strip.grammar.plainly() for strip in strips]
    return form_opinions([clean.grey for clean in cleaned], grammars, model)


def weigh(
    strip: StripToRead, glyph: FieldReading, opinion: StripOpinion, weights: Weights
) -> FieldReading:
    """Return the reading of a field on which both readers have been heard."""
    alternatives = judge(gather(opinion, glyph), weights)[:ALTERNATIVES]
    best = alternatives[0]
    seen = opinion.raw or glyph.raw
    if best.value == "" and seen and len(alternatives) == 1:
        # There is writing, and nothing legal in it.
        return replace(_nothing_legal(strip, seen), glyphs=glyph.glyphs)
    by_strip = any(item.value == best.value for item in opinion.legal)
    raw = opinion.raw if by_strip or best.value == "" else glyph.raw
    same = glyph.value is not None and glyph.value == best.value.replace(".", "")
    return FieldReading(
        name=strip.strip.name,
        value=best.value,
        raw=raw,
        confidence=best.probability,
        alternatives=alternatives,
        box=strip.strip.box,
        glyphs=glyph.glyphs if same else (),
        rule=None if best.value == raw else strip.grammar.name,
    )


def _alone(strip: StripToRead, opinion: StripOpinion) -> FieldReading:
    name, box = strip.strip.name, strip.strip.box
    if not opinion.legal or opinion.nothing > opinion.legal[0].probability:
        if opinion.raw:
            return _nothing_legal(strip, opinion.raw)
        nothing = Alternative("", opinion.nothing)
        return FieldReading(name, "", "", opinion.nothing, (nothing,), box)
    best = opinion.legal[0]
    rule = None if best.value == opinion.raw else strip.grammar.name
    return FieldReading(
        name, best.value, opinion.raw, best.probability, opinion.legal, box, rule=rule
    )


def _nothing_legal(strip: StripToRead, raw: str) -> FieldReading:
    return FieldReading(
        strip.strip.name, None, raw, 0.0, (), strip.strip.box, (), strip.grammar.name
    )


def _unsure_of_points(reading: FieldReading, grammar: Grammar, glyph: Model) -> FieldReading:
    if not reading.value or not grammar.values() - set(glyph.card.classes):
        return reading
    return replace(
        reading,
        confidence=UNSEEN * reading.confidence,
        alternatives=tuple(
            replace(item, probability=UNSEEN * item.probability) for item in reading.alternatives
        ),
    )
