"""The strip reader: a whole field at once, without segmentation, as a posterior over time.

A convolutional network with CTC reads digits that touch, lean or overlap, which no contour
separates. What it returns is not a string but probabilities, in which `pipeline.search` finds
the likeliest legal strings.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.normalise import ROWS, normalise_strip
from pipeline.readers.runtime import Model
from pipeline.types import Image

# Strips are padded with paper to one of these widths: each width is a plan of tensors of its own.
WIDTHS = (64, 96, 128, 160, 192, 256, 384, 512)
BATCH = 8  # strips a call


def posteriors(strips: Sequence[Image], model: Model) -> list[NDArray[np.float32]]:
    """Return for each strip, (h, w) uint8 of any size, its (steps, 12) probabilities.

    The columns are the digits and the decimal point, and last CTC's blank. A step is four columns
    of the normalised strip; the steps of the padding are left out.
    """
    images = [normalise_strip(strip) for strip in strips]
    by_width: dict[int, list[int]] = defaultdict(list)
    for index, image in enumerate(images):
        by_width[next(width for width in WIDTHS if width >= image.shape[1])].append(index)
    found: dict[int, NDArray[np.float32]] = {}
    for width, indices in by_width.items():
        for start in range(0, len(indices), BATCH):
            chosen = indices[start : start + BATCH]
            batch = np.zeros((len(chosen), ROWS, width, 1), np.uint8)
            for row, index in enumerate(chosen):
                batch[row, :, : images[index].shape[1], 0] = images[index]
            logits = model.run(batch)[:, 0] / np.float32(model.card.temperature)
            shares = np.exp(logits - logits.max(axis=-1, keepdims=True))
            shares /= shares.sum(axis=-1, keepdims=True)
            for row, index in enumerate(chosen):
                steps = images[index].shape[1] * shares.shape[1] // width
                found[index] = np.roll(shares[row, :steps], -1, axis=-1)  # the blank comes first
    return [found[index] for index in range(len(images))]
