"""The fields of a template that are read from the E-13B line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from core.errors import TemplateError
from pipeline.geometry import transform_box
from pipeline.placing.register import Placement, mismatch
from pipeline.placing.template import FieldSpec, Template
from pipeline.readers.base import MICR
from pipeline.readers.micr import OTHER, MicrReading, read_micr
from pipeline.readers.runtime import Model
from pipeline.types import Alternative, Box, FieldReading, Page

UNDOUBTED: Final = 0.8  # the score of a placement that the line need not confirm


def read_micr_fields(
    page: Page, template: Template, placement: Placement, model: Model
) -> list[FieldReading]:
    """Read the template's fields with a part of the E-13B line, in its order, on a righted page.

    A part that is not on a line of which every character was read is empty: banks leave out the
    account. But a field that is required, or a line that could not be read or found, has no value
    and confidence 0, so that a person looks. Raises TemplateError (code "template-mismatch") for a
    page that fits badly and whose line is not this template's.
    """
    specs = [spec for spec in template.fields if spec.micr is not None]
    if template.micr is None or not specs:
        return []
    place = transform_box(placement.matrix, template.micr)
    reading = read_micr(page, model, place)
    if placement.score < UNDOUBTED and not _confirms(reading, specs):
        raise _refusal(template, placement)
    return [_field(spec, reading, place) for spec in specs]


def _confirms(reading: MicrReading | None, specs: Sequence[FieldSpec]) -> bool:
    """Tell whether the line has the required parts, as far as it can be read."""
    required = {spec.micr for spec in specs if spec.required}
    there = {part.name for part in reading.fields} if reading else set()
    # Where a character could not be read, a part may be there unseen.
    return required <= there or (reading is not None and OTHER in reading.raw)


def _refusal(template: Template, placement: Placement) -> TemplateError:
    return mismatch(
        template,
        f"{placement.score:.0%} of its frames found, {UNDOUBTED:.0%} needed without an E-13B line"
        " of this kind",
    )


def _field(spec: FieldSpec, reading: MicrReading | None, place: Box) -> FieldReading:
    if reading is None:
        return FieldReading(spec.name, None, "", 0.0, (), place, reader=MICR)
    part = next((part for part in reading.fields if part.name == spec.micr), None)
    if part is None:
        # Without any field the line is not set as a cheque's, and what is missing is not known.
        sure = bool(reading.fields) and OTHER not in reading.raw and not spec.required
        value, confidence = ("", reading.confidence) if sure else (None, 0.0)
        alternatives = (Alternative("", confidence),) if sure else ()
        return FieldReading(
            spec.name, value, "", confidence, alternatives, reading.box, reader=MICR
        )
    legal = part.value is not None and spec.grammar.accepts(part.value)
    if part.value is None or not legal:
        rule = None if part.value is None else spec.grammar.name
        return FieldReading(spec.name, None, part.raw, 0.0, (), part.box, rule=rule, reader=MICR)
    return FieldReading(
        spec.name,
        part.value,
        part.raw,
        part.confidence,
        (Alternative(part.value, part.confidence),),
        part.box,
        reader=MICR,
    )
