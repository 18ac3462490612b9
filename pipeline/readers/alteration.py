"""The alteration detector: was the number on a strip struck out or overwritten?

A network looks at the writing as scanned: cleaning may take a stroke through the digits for a ruled
line of the form and remove it. What cleaning kept only says where the writing is, so that it fills
the network's 32 rows and a thin stroke stays visible. The whole number is classified, whatever its
digits are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.cleaning.clean import CleanStrip
from pipeline.readers.normalise import normalise_strip
from pipeline.readers.runtime import Model
from pipeline.readers.strip import padded_batches
from pipeline.types import Image

CLASSES: Final = "-XO"  # as on the model card: intact, struck out, overwritten
_BRIGHTER: Final = np.rint(np.sqrt(np.arange(256) * 255)).astype(np.uint8)
_ROOM: Final = 0.12  # of the height of the writing, shown above and below it, and twice beside it


@dataclass(frozen=True, slots=True)
class Alteration:
    """Calibrated probabilities that a number was altered."""

    struck_out: float
    overwritten: float


def detect_alterations(
    images: Sequence[Image], cleaned: Sequence[CleanStrip], model: Model
) -> list[Alteration]:
    """Classify the writing on each strip, (h, w) uint8 of any size, as it was cut from the page."""
    views = [view_of_writing(*each) for each in zip(images, cleaned, strict=True)]
    return classify_normalised(views, model)


def view_of_writing(grey: Image, clean: CleanStrip) -> Image:
    """Return the part of a strip around what cleaning kept, normalised: (32, columns)."""
    mask = clean.ink.mask
    left, top, wide, high = cv2.boundingRect(mask)
    if not wide:
        return normalise_strip(grey)
    scale = mask.shape[1] / grey.shape[1]
    room = max(2.0, _ROOM * high / scale)
    rows = _around(top / scale, (top + high) / scale, room)
    columns = _around(left / scale, (left + wide) / scale, 2 * room)
    return normalise_strip(grey[rows, columns])


def brighten(images: Image) -> Image:
    """Return normalised strips with faint ink raised: a thin stroke is faint beside the digits."""
    return np.take(_BRIGHTER, images)


def _around(first: float, past: float, room: float) -> slice:
    return slice(max(0, int(first - room)), int(past + room) + 1)


def classify_normalised(images: Sequence[Image], model: Model) -> list[Alteration]:
    """Classify normalised strips, (32, columns) each."""
    found = []
    for logits in run_strips(images, model):
        scaled = np.exp((logits - logits.max()) / np.float32(model.card.temperature))
        shares = scaled / scaled.sum()
        found.append(Alteration(float(shares[1]), float(shares[2])))
    return found


def run_strips(images: Sequence[Image], model: Model) -> list[NDArray[np.float32]]:
    """Return the (3,) logits of each normalised strip."""
    found: dict[int, NDArray[np.float32]] = {}
    for chosen, batch in padded_batches(images):
        found |= dict(zip(chosen, model.run(brighten(batch)), strict=True))
    return [found[index] for index in range(len(images))]
