"""The reader of the E-13B line (MICR) at the foot of a cheque: lattice, cells, characters, parts.

A character that the network is not sure of is read as "?", and a part with a "?" has no value: the
line has so few check digits that a wrong guess would go unnoticed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from pipeline.readers.micr_line import (
    MODULE_INCH,
    Band,
    Line,
    cut_band,
    cut_cells,
    find_line,
    has_ink,
)
from pipeline.readers.micr_parts import MicrPart, is_understood, parse_parts
from pipeline.readers.runtime import Model
from pipeline.types import Box, Page

BLANK, OTHER = " ", "?"  # no ink; ink that is no character of E-13B
CLASSES: Final = "0123456789⑆⑇⑈⑉" + OTHER
MIN_PROBABILITY: Final = 0.95  # calibrated; a less probable character is not read
MIN_CHARACTERS: Final = 6  # a line has at least a cheque number
MIN_SHARE: Final = 0.5  # of the inked cells that must be E-13B, or it is a line of something else
_MIN_ROWS: Final = 8  # of a page at 40 dpi; no line was ever read in fewer rows
_MIN_SIDE: Final = 32  # pixels: on a smaller page no line fits


@dataclass(frozen=True, slots=True)
class MicrReading:
    """An E-13B line.

    `raw` has the symbols of Unicode (⑆ transit, ⑇ amount, ⑈ on-us, ⑉ dash), one space for a gap of
    any width and "?" for a character that could not be read. `confidence` is the probability that
    all of `raw` is right. `understood`: every character was read and belongs to a part, so that a
    missing part was left out. `dpi` is the resolution of the page, from the size of the characters.
    """

    raw: str
    parts: tuple[MicrPart, ...]
    confidence: float
    box: Box  # of the page
    understood: bool
    dpi: float

    def __getitem__(self, name: str) -> str | None:
        """Return the value of a part, or None where it is missing or could not be read."""
        return next((part.value for part in self.parts if part.name == name), None)


def read_micr(page: Page, model: Model, within: Box | None = None) -> MicrReading | None:
    """Read the E-13B line of an upright page, with `Model.bundled("micr")`.

    Looks in the rows of `within`, in pixels of the page, or else in the lower 40 % of the page.
    Returns None where there is no line, or none that can be read.
    """
    rows = None
    if within is not None:
        height = page.grey.shape[0]
        top, bottom = round(within.y), round(within.y + within.h)
        rows = (min(max(0, top), height), min(max(0, bottom), height))
    if min(page.grey.shape) < _MIN_SIDE or (rows is not None and rows[1] - rows[0] < _MIN_ROWS):
        return None
    band = cut_band(page.grey, rows)
    line = find_line(band.darkness)
    return None if line is None else _read(band, line, model)


def _read(band: Band, line: Line, model: Model) -> MicrReading | None:
    images = cut_cells(band.darkness, line.cells, line.ink)
    inked = has_ink(images)
    found = model.probabilities(images[inked])
    probabilities = np.ones(len(images))
    probabilities[inked] = found.max(axis=1)
    cells = [BLANK] * len(images)
    for cell, best in zip(np.flatnonzero(inked).tolist(), found.argmax(axis=1), strict=True):
        cells[cell] = CLASSES[best] if probabilities[cell] >= MIN_PROBABILITY else OTHER
    span = _span(cells)
    if span is None:
        return None
    first, last = span
    line_cells = cells[first : last + 1]
    good = sum(character not in (BLANK, OTHER) for character in line_cells)
    if good < MIN_CHARACTERS or good < MIN_SHARE * (len(line_cells) - line_cells.count(BLANK)):
        return None
    # One blank for each gap.
    kept = [
        cell for cell in range(first, last + 1) if cells[cell] != BLANK or cells[cell - 1] != BLANK
    ]
    raw = "".join(cells[cell] for cell in kept)
    sure = [float(probabilities[cell]) for cell in kept]
    boxes = [
        None if cells[cell] == BLANK else band.on_page(line.cells.box(cell, cell)) for cell in kept
    ]
    return MicrReading(
        raw=raw,
        parts=parse_parts(raw, sure, boxes),
        confidence=0.0 if OTHER in raw else math.exp(float(np.log(sure).sum())),
        box=band.on_page(line.cells.box(first, last)),
        understood=is_understood(raw),
        dpi=line.cells.module[0] / band.scale / MODULE_INCH,
    )


def _span(cells: list[str]) -> tuple[int, int] | None:
    """Return the first and the last cell of the line.

    Ink that is no E-13B is dropped at both ends (the edge of the paper, a signature), unless it
    touches the line: there it may be one of its characters.
    """
    read = [i for i, character in enumerate(cells) if character not in (BLANK, OTHER)]
    if not read:
        return None
    first, last = read[0], read[-1]
    while first > 0 and cells[first - 1] == OTHER:
        first -= 1
    while last + 1 < len(cells) and cells[last + 1] == OTHER:
        last += 1
    return first, last
