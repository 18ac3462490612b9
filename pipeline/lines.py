"""Read the lines of a page without a template, some of which are print."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from core.policy import ReviewReason
from pipeline.cleaning.clean import CleanStrip
from pipeline.fields import conclude, unproven
from pipeline.handwriting import ENOUGH_DIGITS, are_handwritten, line_shape
from pipeline.placing.layout import PageLines
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
    page: PageLines,
    fields: Sequence[FieldStrip],
    cleaned: Sequence[CleanStrip],
    readers: Readers,
) -> list[FieldReading]:
    """Read the lines of one page that the glyph reader takes for digits: `line-1`, `line-2`, ...

    `fields` are the strips of the page's lines. A line that may be print or a piece of larger
    writing is blocked, and half as sure.
    """
    seen = read_glyphs(fields, cleaned, readers.glyph)
    kept = _like_digits(seen)
    read = conclude(
        [fields[i] for i in kept], [cleaned[i] for i in kept], [seen[i] for i in kept], readers
    )
    reasons = _reasons(page, seen, kept)
    return [
        replace(_blocked(line, reason), name=f"line-{number}")
        for number, (line, reason) in enumerate(zip(read, reasons, strict=True), start=1)
    ]


def _reasons(
    page: PageLines, seen: Sequence[Hypotheses], kept: Sequence[int]
) -> list[ReviewReason | None]:
    """Return why the value of each line in `kept` must not be released."""
    rejected = set(range(len(seen))) - set(kept)
    letters = [*page.text_heights]
    letters += [page.lines[i].height for i in rejected if page.lines[i].pieces >= ENOUGH_DIGITS]
    shapes = [line_shape(seen[i].glyphs) for i in kept]
    reasons: list[ReviewReason | None] = []
    for i, by_hand in zip(kept, are_handwritten(shapes, letters), strict=True):
        if page.lines[i].torn:
            reasons.append(ReviewReason.TORN)
        elif page.lines[i].misfit or not by_hand:
            reasons.append(ReviewReason.MAYBE_PRINT)
        else:
            reasons.append(None)
    return reasons


def _blocked(line: FieldReading, reason: ReviewReason | None) -> FieldReading:
    """Return `line` blocked for `reason`, unless it is already; an empty one needs no proof."""
    if reason is None or not line.value:
        return line
    return replace(unproven(line), blocked=line.blocked or reason)


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
