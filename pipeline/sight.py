"""Was the place of a field seen? A field off the page, in the black or washed out is not empty."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np

from core.policy import ReviewReason
from pipeline.geometry import corners, transform_points
from pipeline.imageops import as_image, cumulative_histogram, quantile
from pipeline.placing.register import Placement
from pipeline.placing.template import FieldSpec
from pipeline.readers.base import FieldStrip
from pipeline.types import FieldReading, Page, Strip

# How far a box may reach beyond the page's edge. Placements are this exact, and a printed border is
# about as wide.
MAX_BEYOND: Final = 2.0  # pixels
MAX_BEYOND_SHARE: Final = 0.04  # of the box's height
OFF_PAGE: Final = 0.1  # of a box: with no more of it on the page, it is off the page

# What must be seen of a field that is called empty.
MIN_ROWS: Final = 12  # pixels: in a lower strip no digit is legible
MIN_PAPER: Final = 45.0  # of 255: on darker paper a faint stroke is lost in noise
MIN_CONTRAST: Final = (
    0.25  # of the page's darkest ink to its paper: on paler pages strokes are lost
)
# The share of the paper's tone by which the strip's tone may differ. Lost parts of an image are
# black or mid-grey; shadows and tinted boxes are nearer to the paper.
MAX_TONE_GAP: Final = 0.25

_INK: Final = 0.005  # of the page's pixels: at least so many are ink
_DIM: Final = 110.0  # of 255: darker paper is brightened before it is read
_BRIGHT: Final = 220.0  # to this tone
_BLACK: Final = 16.0  # darker paper shows no ink


@dataclass(frozen=True, slots=True)
class Tones:
    """The tones of a page, 0 to 255: of its `paper`, and of its darkest and its lightest ink."""

    paper: float
    darkest: float
    lightest: float

    @property
    def contrast(self) -> float:
        """How much of the paper's light the darkest ink takes away, 0 to 1; or of light ink."""
        if self.is_dark_on_light:
            return (self.paper - self.darkest) / max(self.paper, 1.0)
        return (self.lightest - self.paper) / 255

    @property
    def is_dark_on_light(self) -> bool:
        """Dim paper with darker ink counts as light; a negative does not."""
        return self.paper - self.darkest >= self.lightest - self.paper


def measure_tones(page: Page) -> Tones:
    """Return the tones of a page. Most of its pixels are paper."""
    some = page.grey[::8, ::8]
    counts = cumulative_histogram(np.ascontiguousarray(some))
    darkest, lightest = (quantile(counts, share, "lower") for share in (_INK, 1 - _INK))
    return Tones(quantile(counts, 0.5), darkest, lightest)


def median_tone(strip: Strip) -> float:
    """Return the median of a strip's pixels, by counting: a third of `np.median`'s time."""
    return quantile(cumulative_histogram(strip.grey), 0.5)


def beyond_edge(page: Page, placement: Placement, spec: FieldSpec) -> ReviewReason | None:
    """Return OFF_PAGE or CUT for a field that is not wholly on the upright `page`."""
    height, width = page.grey.shape
    quad = transform_points(placement.matrix, corners(placement.box(spec)))
    # The middles of the sides, so that a box that leans a little may lie along the edge.
    sides = (quad + np.roll(quad, -1, axis=0)) / 2
    beyond = max(-sides.min(), float((sides - (width, height)).max()))
    high = float(np.hypot(*(quad[3] - quad[0])))
    if beyond <= max(MAX_BEYOND, MAX_BEYOND_SHARE * high):
        return None
    (left, top), (right, bottom) = quad.min(axis=0), quad.max(axis=0)
    wide = max(0.0, min(right, width) - max(left, 0.0)) / max(right - left, 1e-6)
    tall = max(0.0, min(bottom, height) - max(top, 0.0)) / max(bottom - top, 1e-6)
    return ReviewReason.OFF_PAGE if wide * tall <= OFF_PAGE else ReviewReason.CUT


def brighten(strip: Strip, tone: float, tones: Tones) -> Strip:
    """Return a strip whose paper is dim, from a dark scan or a shadow, with bright paper.

    `tone` is the strip's median, `tones` are those of its page. Readers take ink on dark paper for
    the paper's negative. Strips of light ink stay as they are.
    """
    if not _BLACK <= tone < _DIM or not tones.is_dark_on_light:
        return strip
    return replace(strip, grey=as_image(cv2.convertScaleAbs(strip.grey, alpha=_BRIGHT / tone)))


def require_sight(reading: FieldReading, field: FieldStrip) -> FieldReading:
    """Return the reading of a field without its value where its place could not be seen.

    An empty value may be released, so it needs the same proof as a number; and of a number that the
    page's edge cuts, digits may be missing.
    """
    if field.blocked is None:
        reason = _why_unseen(field) if reading.value == "" else None
        return reading if reason is None else _unseen(reading, reason)
    if field.blocked is ReviewReason.UNSURE_PLACE and reading.value:
        return replace(reading, blocked=field.blocked)
    return _unseen(reading, field.blocked)


def _unseen(reading: FieldReading, reason: ReviewReason) -> FieldReading:
    return replace(
        reading, value=None, confidence=0.0, alternatives=(), characters=(), blocked=reason
    )


def _why_unseen(field: FieldStrip) -> ReviewReason | None:
    if field.paper is None:
        return None
    grey = field.strip.grey
    if len(grey) < MIN_ROWS:
        return ReviewReason.TOO_SMALL
    if not field.framed:
        return ReviewReason.UNSURE_PLACE
    tone = median_tone(field.strip) if field.tone is None else field.tone
    gap = MAX_TONE_GAP * field.paper
    if field.paper < MIN_PAPER or tone < field.paper - gap:
        return ReviewReason.TOO_DARK
    if field.contrast < MIN_CONTRAST or tone > field.paper + gap:
        return ReviewReason.TOO_FAINT
    return None
