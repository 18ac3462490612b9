"""Read the lines of a page without a template, of which some are print."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from pipeline.fields import clean_field, conclude
from pipeline.readers.base import StripToRead
from pipeline.readers.glyph import read_strips
from pipeline.readers.loaded import Readers
from pipeline.types import FieldReading

# The glyph reader's confidence a character below which a line is taken for print, and its
# confidence in a line that is never taken for print.
LIKE_DIGITS: Final = 0.75
PERHAPS_DIGITS: Final = 0.25


def read_lines(strips: Sequence[StripToRead], readers: Readers) -> list[FieldReading]:
    """Read the lines of one page that the glyph reader takes for digits: `line-1`, `line-2`, ..."""
    cleaned = [clean_field(strip) for strip in strips]
    seen = read_strips(strips, cleaned, readers.glyph)
    kept = _like_digits(seen)
    read = conclude(
        [strips[i] for i in kept], [cleaned[i] for i in kept], [seen[i] for i in kept], readers
    )
    return [replace(line, name=f"line-{number}") for number, line in enumerate(read, start=1)]


def _like_digits(lines: Sequence[FieldReading]) -> list[int]:
    """Return which lines read like digits."""
    kept = [
        i
        for i, line in enumerate(lines)
        if line.value
        and line.confidence >= max(min(LIKE_DIGITS ** len(line.value), PERHAPS_DIGITS), 0.02)
    ]
    sure = [_height(lines[i]) for i in kept if lines[i].confidence >= 0.9]
    if sure:
        # What is half as high as the numbers of the page and reads badly is print beside them.
        least = 0.5 * float(np.median(sure))
        kept = [i for i in kept if lines[i].confidence >= 0.9 or _height(lines[i]) >= least]
    return kept


def _height(line: FieldReading) -> float:
    return float(np.median([glyph.box.h for glyph in line.glyphs]))
