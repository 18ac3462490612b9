"""The reader of the E-13B line (MICR) at the foot of a cheque: lattice, cells, characters, fields.

A character that the network is not sure of is read as "?", and a field with one has no value: the
line carries few check digits, so that a guess would go unnoticed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pipeline.readers.micr_fields import MicrField, parse_fields
from pipeline.readers.micr_line import (
    MODULE_INCH,
    Band,
    Line,
    cut_band,
    cut_cells,
    find_line,
    has_ink,
)
from pipeline.readers.runtime import Model
from pipeline.types import Box, Page

BLANK, OTHER = " ", "?"  # no ink; ink that is no character of E-13B
CLASSES = "0123456789⑆⑇⑈⑉" + OTHER
SURE = 0.95  # a character below this calibrated probability is not read
MIN_CHARACTERS = 6  # a line has at least a cheque number
_MIN_ROWS = 8  # of a page at 40 dpi, below which no line was ever read
MIN_SHARE = 0.5  # of the inked cells that must be E-13B, or it is a line of something else


@dataclass(frozen=True, slots=True)
class MicrCharacter:
    """What was read in one cell: one of the 14 characters, or "?" where none is sure."""

    box: Box  # of the page
    character: str
    probability: float  # calibrated, of the likeliest character, whether or not it is sure


@dataclass(frozen=True, slots=True)
class MicrReading:
    """An E-13B line.

    `raw` has the symbols as Unicode does (⑆ transit, ⑇ amount, ⑈ on-us, ⑉ dash), one space for a
    gap of any width and "?" for a character that could not be read. `confidence` is the probability
    that all of `raw` is right. `dpi` is the resolution that the size of the print tells.
    """

    raw: str
    fields: tuple[MicrField, ...]
    confidence: float
    box: Box  # of the page
    characters: tuple[MicrCharacter, ...]
    dpi: float

    def __getitem__(self, name: str) -> str | None:
        """Return the value of a field, or None where it is not there or could not be read."""
        return next((field.value for field in self.fields if field.name == name), None)


def read_micr(page: Page, model: Model, within: Box | None = None) -> MicrReading | None:
    """Read the E-13B line of an upright page, with `Model.bundled("micr")`.

    It is looked for in the rows of `within`, in pixels of the page, or in the lower part without.
    Returns None where there is none, or none that can be read.
    """
    rows = None
    if within is not None:
        height = page.grey.shape[0]
        top, bottom = round(within.y), round(within.y + within.h)
        rows = (min(max(0, top), height), min(max(0, bottom), height))
    if min(page.grey.shape) < 32 or (rows is not None and rows[1] - rows[0] < _MIN_ROWS):
        return None
    band = cut_band(page.grey, rows)
    line = find_line(band.darkness)
    return None if line is None else _read(band, line, model)


def _read(band: Band, line: Line, model: Model) -> MicrReading | None:
    cells = line.cells
    images = cut_cells(band.darkness, cells, line.ink)
    inked = has_ink(images)
    probabilities = model.probabilities(images[inked])
    highest = np.ones(len(images))
    highest[inked] = probabilities.max(axis=1)
    taken = [BLANK] * len(images)
    for cell, best in zip(
        np.flatnonzero(inked).tolist(), probabilities.argmax(axis=1).tolist(), strict=True
    ):
        taken[cell] = CLASSES[best] if highest[cell] >= SURE else OTHER
    span = _span(taken)
    if span is None:
        return None
    first, last = span
    text = taken[first : last + 1]
    good = sum(character not in (BLANK, OTHER) for character in text)
    if good < MIN_CHARACTERS or good < MIN_SHARE * (len(text) - text.count(BLANK)):
        return None
    raw: list[str] = []
    characters: list[MicrCharacter | None] = []
    for number in range(first, last + 1):
        if taken[number] == BLANK:
            if raw[-1] != BLANK:
                raw.append(BLANK)
                characters.append(None)
            continue
        box = band.on_page(cells.box(number, number))
        raw.append(taken[number])
        characters.append(MicrCharacter(box, taken[number], float(highest[number])))
    string = "".join(raw)
    sure = np.array([1.0 if c is None else c.probability for c in characters])
    boxes = [None if c is None else c.box for c in characters]
    return MicrReading(
        raw=string,
        fields=parse_fields(string, sure.tolist(), boxes),
        confidence=0.0 if OTHER in string else math.exp(float(np.log(sure).sum())),
        box=band.on_page(cells.box(first, last)),
        characters=tuple(c for c in characters if c is not None),
        dpi=cells.module[0] / band.scale / MODULE_INCH,
    )


def _span(taken: list[str]) -> tuple[int, int] | None:
    """Return the first and the last cell of the line.

    Ink that is no E-13B is dropped at both ends (the edge of the paper, a signature) unless it
    touches the line: there it may be a character of it.
    """
    read = [i for i, character in enumerate(taken) if character not in (BLANK, OTHER)]
    if not read:
        return None
    first, last = read[0], read[-1]
    while first > 0 and taken[first - 1] == OTHER:
        first -= 1
    while last + 1 < len(taken) and taken[last + 1] == OTHER:
        last += 1
    return first, last
