"""The fields of a template that are read from the E-13B line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from pipeline.geometry import transform_box
from pipeline.placing.register import Placement, mismatch_error
from pipeline.placing.template import FieldSpec, Template
from pipeline.readers.base import MICR
from pipeline.readers.micr import OTHER, MicrReading, read_micr
from pipeline.readers.runtime import Model
from pipeline.types import Alternative, Box, FieldReading, Page

MIN_SCORE_WITHOUT_LINE: Final = 0.8  # of a placement; one below it must be confirmed by the line


def read_micr_fields(
    page: Page, template: Template, placement: Placement, model: Model
) -> list[FieldReading]:
    """Read the fields that are parts of the E-13B line, in the template's order.

    `page` is the page after its quarter turns. A part that is missing from a line that was
    understood whole is empty: banks leave out the account. Where no line was found, or a required
    part is missing too, or a character of the line could not be read or belongs to no part, a
    missing part has no value and confidence 0. Raises TemplateError (code "template-mismatch") for
    a page that fits badly and whose line is not one of this template's.
    """
    specs = [spec for spec in template.fields if spec.micr is not None]
    if template.micr is None or not specs:
        return []
    place = transform_box(placement.matrix, template.micr)
    line = read_micr(page, model, place)
    if placement.score < MIN_SCORE_WITHOUT_LINE and not _confirms(line, specs):
        raise mismatch_error(
            template,
            f"{placement.score:.0%} of its frames found, {MIN_SCORE_WITHOUT_LINE:.0%} needed "
            "without an E-13B line of this kind",
        )
    whole = line is not None and line.understood and _has_required(line, specs)
    return [_field(spec, line, place, whole=whole) for spec in specs]


def _confirms(line: MicrReading | None, specs: Sequence[FieldSpec]) -> bool:
    """Say whether the line has the required parts, as far as it can be read."""
    required = {spec.micr for spec in specs if spec.required}
    read = {part.name for part in line.parts} if line else set()
    # Where a character could not be read, a part may be there unseen.
    return required <= read or (line is not None and OTHER in line.raw)


def _has_required(line: MicrReading, specs: Sequence[FieldSpec]) -> bool:
    """Say whether the line has all parts that are never left out; else a part of it is hidden."""
    return {spec.micr for spec in specs if spec.required} <= {part.name for part in line.parts}


def _field(spec: FieldSpec, line: MicrReading | None, place: Box, *, whole: bool) -> FieldReading:
    if line is None:
        return _reading(spec, place, None)
    part = next((part for part in line.parts if part.name == spec.micr), None)
    if part is None:
        return _reading(spec, line.box, "" if whole else None, line.confidence)
    if part.value is None:
        return _reading(spec, part.box, None, raw=part.raw)
    if not spec.grammar.accepts(part.value):
        return _reading(spec, part.box, None, raw=part.raw, rule=spec.grammar.name)
    reading = _reading(spec, part.box, part.value, part.confidence, raw=part.raw)
    whole_value = len(part.characters) == len(part.value)
    return replace(reading, characters=part.characters if whole_value else ())


def _reading(
    spec: FieldSpec,
    box: Box,
    value: str | None,
    confidence: float = 0.0,
    *,
    raw: str = "",
    rule: str | None = None,
) -> FieldReading:
    """Return a reading of the E-13B line; without a value its confidence is 0."""
    if value is None:
        return FieldReading(spec.name, None, raw, 0.0, (), box, rule=rule, reader=MICR)
    only = (Alternative(value, confidence),)
    return FieldReading(spec.name, value, raw, confidence, only, box, reader=MICR)
