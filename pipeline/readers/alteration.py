"""The alteration detector: was the number on a strip struck out or overwritten?

A network looks at the strip as scanned: cleaning may take a stroke through the digits for a ruled
line of the form and remove it. It classifies the whole strip, whatever the digits are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.readers.normalise import normalise_strip
from pipeline.readers.runtime import Model
from pipeline.readers.strip import padded_batches
from pipeline.types import Image

CLASSES: Final = "-XO"  # as on the model card: intact, struck out, overwritten


@dataclass(frozen=True, slots=True)
class Alteration:
    """Calibrated probabilities that a number was altered."""

    struck_out: float
    overwritten: float


def detect_alterations(images: Sequence[Image], model: Model) -> list[Alteration]:
    """Classify each strip, (h, w) uint8 of any size, as it was cut from the page."""
    return classify_normalised([normalise_strip(image) for image in images], model)


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
        found |= dict(zip(chosen, model.run(batch), strict=True))
    return [found[index] for index in range(len(images))]
