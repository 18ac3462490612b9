"""Read fields: clean each strip once, read it with both readers, and combine what they saw.

The glyph reader takes the ink of the cleaned strip, the strip reader its grey image. The alteration
detector takes the strip as scanned, since cleaning may remove the stroke that strikes a number out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from core.policy import ReviewReason
from pipeline.cleaning.clean import CleanStrip, cell_count, clean_strip
from pipeline.cleaning.paper import is_blank
from pipeline.grammar.base import Grammar
from pipeline.readers.alteration import detect_alterations
from pipeline.readers.base import BOTH, GLYPH, MAX_ALTERNATIVES, STRIP, FieldStrip, Hypotheses
from pipeline.readers.characters import find_characters
from pipeline.readers.confidence import EvidenceWeights, candidates, rank
from pipeline.readers.glyph import read_glyphs
from pipeline.readers.loaded import Readers
from pipeline.readers.runtime import Model
from pipeline.readers.segments import read_segments
from pipeline.readers.strip import read_ctc
from pipeline.sight import require_sight
from pipeline.types import Alternative, FieldReading

# The factor on the confidence of a value that a person must look at, however sure the readers are.
# A value without a decimal point where the grammar allows one: the glyph reader knows no point and
# the strip reader misses faint ones, and 12.50 read as 1250 is wrong a hundredfold. An empty field
# of a template in which the glyph reader reads digits: the strip reader is too sure about shapes it
# has not learnt.
UNPROVEN_FACTOR: Final = 0.5

# What a reader that was not asked has seen.
NOTHING: Final = Hypotheses("", (), 0.0)

# The probabilities from which a number is never released. A bold, crossed or blotted digit looks
# overwritten, so there the detector must be surer.
STRUCK_OUT: Final = 0.5
OVERWRITTEN: Final = 0.97

# What speaks against an empty field of one digit: sides of its box that differ so much in
# thickness, or ink as large as this share of the strip's height.
UNEVEN_BOX: Final = 1.35
MARK: Final = 0.2


def clean_fields(fields: Sequence[FieldStrip]) -> list[CleanStrip]:
    """Remove what is printed on each strip, with as many comb cells as its grammar expects."""
    return [
        clean_strip(field.strip.grey, ruled=field.ruled, cells=cell_count(field.grammar))
        for field in fields
    ]


def read_fields(
    fields: Sequence[FieldStrip], cleaned: Sequence[CleanStrip], readers: Readers
) -> list[FieldReading]:
    """Read each field with the readers that `readers.of_fields` names."""
    seen = [] if readers.of_fields == STRIP else read_glyphs(fields, cleaned, readers.glyph)
    return conclude(fields, cleaned, seen, readers)


def conclude(
    fields: Sequence[FieldStrip],
    cleaned: Sequence[CleanStrip],
    by_glyphs: Sequence[Hypotheses],
    readers: Readers,
) -> list[FieldReading]:
    """Return the readings of fields that the glyph reader has read.

    Asks the strip reader, unless the glyph reader is to read alone. Ignores `by_glyphs` where the
    strip reader is to read alone.
    """
    if readers.of_fields == GLYPH:
        by_ctc = [NOTHING] * len(fields)
        read = [from_one_reader(*each, GLYPH) for each in zip(fields, by_glyphs, strict=True)]
    else:
        by_ctc = read_ctc(fields, cleaned, readers.strip)
        if readers.of_fields == STRIP:
            by_glyphs = [NOTHING] * len(fields)
            read = [from_one_reader(*each, STRIP) for each in zip(fields, by_ctc, strict=True)]
        else:
            read = [
                combine(*each, readers.evidence_weights)
                for each in zip(fields, by_glyphs, by_ctc, strict=True)
            ]
    read = [
        with_characters(*each)
        for each in zip(read, fields, cleaned, by_glyphs, by_ctc, strict=True)
    ]
    read = [
        cap_without_decimal_point(
            doubt_one_digit(require_sight(reading, field), field, clean),
            field.grammar,
        )
        for reading, field, clean in zip(read, fields, cleaned, strict=True)
    ]
    return block_altered(read, fields, cleaned, readers.alteration)


def with_characters(
    reading: FieldReading,
    field: FieldStrip,
    clean: CleanStrip,
    by_glyphs: Hypotheses,
    by_ctc: Hypotheses,
) -> FieldReading:
    """Return `reading` with the place of each character of its value."""
    if not reading.value:
        return reading
    found = find_characters(reading, field.strip, clean.ink, by_glyphs, by_ctc)
    return replace(reading, characters=found)


def combine(
    field: FieldStrip, by_glyphs: Hypotheses, by_ctc: Hypotheses, weights: EvidenceWeights
) -> FieldReading:
    """Return the reading of a field that both readers have read."""
    alternatives = rank(candidates(by_ctc, by_glyphs), weights)[:MAX_ALTERNATIVES]
    best = alternatives[0]
    seen = by_ctc.raw or by_glyphs.raw
    if best.value == "" and seen and len(alternatives) == 1:
        return _nothing_legal(field, seen, BOTH)
    from_ctc = any(item.value == best.value for item in by_ctc.legal)
    raw = by_ctc.raw if from_ctc or best.value == "" else by_glyphs.raw
    reading = FieldReading(
        name=field.strip.name,
        value=best.value,
        raw=raw,
        confidence=best.probability,
        alternatives=alternatives,
        box=field.strip.box,
        rule=None if best.value == raw else field.grammar.name,
        reader=BOTH,
    )
    contradicted = best.value == "" and by_glyphs.raw != "" and field.paper is not None
    return unproven(reading) if contradicted else reading


def from_one_reader(field: FieldStrip, seen: Hypotheses, reader: str) -> FieldReading:
    """Return the reading of a field that only `reader` has read."""
    name, box = field.strip.name, field.strip.box
    if not seen.legal or seen.empty > seen.legal[0].probability:
        if seen.raw:
            return _nothing_legal(field, seen.raw, reader)
        empty = Alternative("", seen.empty)
        return FieldReading(name, "", "", seen.empty, (empty,), box, reader=reader)
    best = seen.legal[0]
    return FieldReading(
        name=name,
        value=best.value,
        raw=seen.raw,
        confidence=best.probability,
        alternatives=seen.legal,
        box=box,
        rule=None if best.value == seen.raw else field.grammar.name,
        reader=reader,
    )


def _nothing_legal(field: FieldStrip, raw: str, reader: str) -> FieldReading:
    """Return the reading of a field with writing in it that the grammar does not allow."""
    name, box, rule = field.strip.name, field.strip.box, field.grammar.name
    return FieldReading(name, None, raw, 0.0, (), box, rule=rule, reader=reader)


def doubt_one_digit(reading: FieldReading, field: FieldStrip, clean: CleanStrip) -> FieldReading:
    """Block the reading of one digit that may follow its box or the guides in it.

    A digit drawn along guides is unlike any that the networks know: where its segments make another
    digit than they read, either may be right. A field is empty only if all ink is an even box.
    """
    if cell_count(field.grammar) != 1 or reading.blocked is not None:
        return reading
    segments = None
    if clean.box is not None:
        segments = read_segments(clean.ink.mask, clean.ink.stroke)
    followed = clean.box is not None and clean.box.followed
    if reading.value and segments in (None, reading.value) and not followed:
        return reading
    if reading.value == "" and not _is_marked(field, clean):
        return reading
    doubtful = unproven(reading)
    if segments is not None and not reading.value:  # what is drawn is not nothing
        drawn = Alternative(segments, UNPROVEN_FACTOR)
        alternatives = (drawn, *doubtful.alternatives)[:MAX_ALTERNATIVES]
        doubtful = replace(
            doubtful,
            value=segments,
            confidence=UNPROVEN_FACTOR,
            alternatives=alternatives,
            characters=(),  # no reader has seen it
        )
    return replace(doubtful, blocked=ReviewReason.FOLLOWS_BOX)


def _is_marked(field: FieldStrip, clean: CleanStrip) -> bool:
    """Say whether there is more in a strip of one digit than an even box."""
    if clean.box is not None and clean.box.unevenness >= UNEVEN_BOX:
        return True
    ys, xs = np.nonzero(clean.ink.mask)
    if len(ys) == 0:  # no ink at all, or too little of it stands out
        return clean.box is None and clean.ink.contrast == 0 and not is_blank(field.strip.grey)
    return bool(max(np.ptp(ys), np.ptp(xs)) >= MARK * len(clean.ink.mask))


def block_altered(
    read: Sequence[FieldReading],
    fields: Sequence[FieldStrip],
    cleaned: Sequence[CleanStrip],
    model: Model,
) -> list[FieldReading]:
    """Block the release of numbers that were struck out or overwritten.

    A number that was scribbled over may read as empty, so every field with ink is looked at.
    """
    inked = [
        index
        for index, (reading, clean) in enumerate(zip(read, cleaned, strict=True))
        if reading.blocked is None and clean.ink.mask.any()
    ]
    found = detect_alterations(
        [fields[index].strip.grey for index in inked], [cleaned[index] for index in inked], model
    )
    blocked = list(read)
    for index, alteration in zip(inked, found, strict=True):
        if alteration.struck_out >= STRUCK_OUT:
            blocked[index] = replace(read[index], blocked=ReviewReason.STRUCK_OUT)
        elif alteration.overwritten >= OVERWRITTEN:
            blocked[index] = replace(read[index], blocked=ReviewReason.OVERWRITTEN)
    return blocked


def cap_without_decimal_point(reading: FieldReading, grammar: Grammar) -> FieldReading:
    """Lower the confidence of a value without a decimal point where `grammar` allows one."""
    if not reading.value or "." in reading.value or "." not in grammar.value_characters():
        return reading
    return unproven(reading)


def unproven(reading: FieldReading) -> FieldReading:
    """Return `reading` half as sure: a person must look at it, however sure the readers are."""
    return replace(
        reading,
        confidence=UNPROVEN_FACTOR * reading.confidence,
        alternatives=tuple(
            replace(item, probability=UNPROVEN_FACTOR * item.probability)
            for item in reading.alternatives
        ),
    )
