"""What every reader of fields takes and returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from core.policy import ReviewReason
from pipeline.grammar.base import Grammar
from pipeline.types import Alternative, Character, Strip

GLYPH: Final = "glyph"  # the names of the readers, as `FieldReading.reader` states them
STRIP: Final = "strip"
BOTH: Final = "both"
MICR: Final = "micr"

MAX_ALTERNATIVES: Final = 5  # of one field


@dataclass(frozen=True, slots=True)
class FieldStrip:
    """The strip of one field, what the field may hold, and what is known of its place.

    `ruled`: the strip may show printed boxes and lines. `blocked` says what is wrong with the
    field's place. `paper` is the tone of the page's paper, 0 to 255; None without a template, where
    empty only means that the strip holds no number. `tone` is that of the strip before it was
    brightened, if it was, and `contrast` that of the page's ink, 0 to 1. `framed`: a printed frame
    near it confirms the place; a border around the whole page lies as well upside down.
    """

    strip: Strip
    grammar: Grammar
    ruled: bool
    blocked: ReviewReason | None = None
    paper: float | None = None
    tone: float | None = None
    contrast: float = 1.0
    framed: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """What a reader saw along a strip, from left to right: a CTC posterior.

    `posterior` is (steps, len(classes) + 1), the blank last. Step t has its middle at column
    `start + (t + 0.5) * step` of the strip.
    """

    posterior: NDArray[np.float32]
    classes: str
    start: float
    step: float


@dataclass(frozen=True, slots=True)
class Hypotheses:
    """What one reader saw in one strip.

    `raw` is the likeliest string whatever the grammar, "" where the reader saw no character.
    `legal` are the likeliest values that the grammar allows, best first, at most MAX_ALTERNATIVES;
    `empty` is the probability that nothing is written. These probabilities sum to at most 1.
    `glyphs` are the digits of the best legal value, from a reader that segments; `trace` is what a
    reader saw that does not.
    """

    raw: str
    legal: tuple[Alternative, ...]
    empty: float
    glyphs: tuple[Character, ...] = ()
    trace: Trace | None = None

    @property
    def doubt(self) -> float:
        """The probability of all but the likeliest: the best legal value, or an empty field."""
        return 1 - max([self.empty, *(item.probability for item in self.legal[:1])])
