"""Read the lines of a page without a template, some of which are print."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from pipeline.cleaning.clean import CleanStrip
from pipeline.fields import conclude
from pipeline.readers.base import FieldStrip, Hypotheses
from pipeline.readers.glyph import read_glyphs
from pipeline.readers.loaded import Readers
from pipeline.types import FieldReading

# A line of n digits is print where the glyph reader's confidence is below
# MIN_CONFIDENCE_PER_DIGIT ** n, kept between LEAST_CONFIDENCE and ENOUGH_CONFIDENCE.
MIN_CONFIDENCE_PER_DIGIT: Final = 0.75
ENOUGH_CONFIDENCE: Final = 0.25
LEAST_CONFIDENCE: Final = 0.02
# Lines as sure as this tell how high the numbers of the page are.
SURELY_DIGITS: Final = 0.9


def read_lines(
    lines: Sequence[FieldStrip], cleaned: Sequence[CleanStrip], readers: Readers
) -> list[FieldReading]:
    """Read the lines of one page that the glyph reader takes for digits: `line-1`, `line-2`, ..."""
    seen = read_glyphs(lines, cleaned, readers.glyph)
    kept = _like_digits(seen)
    read = conclude(
        [lines[i] for i in kept], [cleaned[i] for i in kept], [seen[i] for i in kept], readers
    )
    return [replace(line, name=f"line-{number}") for number, line in enumerate(read, start=1)]


def _like_digits(lines: Sequence[Hypotheses]) -> list[int]:
    """Return the indices of the lines that read like digits."""
    kept = [i for i, line in enumerate(lines) if line.legal and _confidence(line) >= _needed(line)]
    sure = [_height(lines[i]) for i in kept if _confidence(lines[i]) >= SURELY_DIGITS]
    if sure:
        # A line half as high as the numbers of the page that reads badly is print beside them.
        least = 0.5 * float(np.median(sure))
        kept = [
            i for i in kept if _confidence(lines[i]) >= SURELY_DIGITS or _height(lines[i]) >= least
        ]
    return kept


def _confidence(line: Hypotheses) -> float:
    return line.legal[0].probability


def _needed(line: Hypotheses) -> float:
    by_length = MIN_CONFIDENCE_PER_DIGIT ** len(line.legal[0].value)
    return max(min(by_length, ENOUGH_CONFIDENCE), LEAST_CONFIDENCE)


def _height(line: Hypotheses) -> float:
    return float(np.median([glyph.box.h for glyph in line.glyphs]))
