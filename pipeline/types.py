"""The values that pass between the stages of reading. All frozen; arrays are never written to.

Pixel coordinates have their origin at the top left of the upright page (after its EXIF
orientation is applied), x to the right, y down. Images are uint8, rows by columns.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.checks import Check
from core.errors import InputError
from core.keying import VerifyMode
from core.policy import ReviewReason

Image = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Box:
    """An upright rectangle in pixels; `x, y` is its top left corner."""

    x: float
    y: float
    w: float
    h: float


@dataclass(frozen=True, slots=True)
class EncodedPage:
    """One page image as it is stored, of the media type that its first bytes tell.

    `number` is that of the page in its document, from 1, if it is known.
    """

    data: bytes
    media_type: str
    number: int | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """One decoded page: `grey` is (height, width), upright, 0 black to 255 white as scanned."""

    grey: Image


@dataclass(frozen=True, slots=True)
class Strip:
    """The image of one field, upright, as cut from the page (dark or light paper alike)."""

    name: str
    box: Box  # of the page
    grey: Image  # (height, width)


@dataclass(frozen=True, slots=True)
class Glyph:
    """The image of one character, ready for the CNN."""

    box: Box  # of the strip that it was cut from
    image: Image  # (28, 28), ink 255 on 0


@dataclass(frozen=True, slots=True)
class Alternative:
    value: str
    probability: float


@dataclass(frozen=True, slots=True)
class Character:
    """One character of a value, and where it stands.

    `probability` is that of `text` in this place, whatever stands beside it. `alternatives` are
    other characters that may stand there, best first.
    """

    box: Box  # of the page
    text: str
    probability: float
    alternatives: tuple[Alternative, ...] = ()


@dataclass(frozen=True, slots=True)
class FieldReading:
    """What was read in one field.

    `raw` is the best string whatever the grammar, `value` the best one that the grammar allows: ""
    for a field that was seen and is empty, None where nothing legal was seen (the writing is not
    legal, or the place of the field could not be seen). `rule` names the grammar that made value
    and raw differ. `confidence` is the calibrated probability that `value` is right as a whole, ""
    included; without a value it is 0. `alternatives` come best first and their probabilities sum to
    at most 1. `characters` are those of `value`, one each, or none where no reader tells where they
    are. With `blocked`, a person must see the field, however sure its value: that is why.
    """

    name: str
    value: str | None
    raw: str
    confidence: float
    alternatives: tuple[Alternative, ...]
    box: Box  # of the page
    characters: tuple[Character, ...] = ()
    rule: str | None = None
    reader: str = "glyph"  # that read it
    required: bool = True  # False: the template says that it may be left empty
    blocked: ReviewReason | None = None
    grammar: str = "digits"  # what it may hold, in the grammar's normal form
    verify: VerifyMode = VerifyMode.CONFIRM  # how people verify it


@dataclass(frozen=True, slots=True)
class PageReading:
    """What was read on one page. With `error`, the page could not be read and has no fields.

    `template` is the name of the template that fits the page; where none does, those of all that
    were tried. `passed_over` says why a page was not to be read: it has no fields and no error.

    `turn` is how many quarter turns clockwise bring the page upright; boxes are those of the page
    as it was decoded, before them.
    """

    width: int
    height: int
    template: str | None
    fields: tuple[FieldReading, ...] = ()
    error: InputError | None = None
    template_score: float | None = None  # 0 to 1: how well the template sits on the page
    turn: int = 0
    passed_over: str | None = None
    checks: tuple[Check, ...] = ()  # of the template, across the fields
