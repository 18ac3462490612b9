"""Digits as the reader meets them: drawn on paper, scanned, and cut out of the scan again.

Published digits are clean. What thresholding and noise leave of them differs in ways that no
bending of the published image imitates, so that training sees some through the reader's own steps.
"""

from __future__ import annotations

import numpy as np

from pipeline.cleaning.ink import separate_ink
from pipeline.readers.segment import segment_glyphs
from pipeline.types import Image
from training.synthesis.digit_strips import Shadow, compose_strip

HEIGHTS = (18.0, 200.0)  # pixels of a frame of 28 rows, drawn evenly on a log scale
NOISE = 14.0  # grey levels, the most
SHADOWS: tuple[Shadow, ...] = ("none", "none", "gradient", "edge")


def rescan(digits: Image, rng: np.random.Generator) -> Image:
    """Return (n, 28, 28) uint8 glyphs of `digits`, the same shape, each scanned in its own way.

    A digit that the scan lost, or left in pieces that are not taken together, stays as it was.
    """
    scanned = digits.copy()
    low, high = np.log(HEIGHTS)
    for index, digit in enumerate(digits):
        height = float(np.exp(rng.uniform(low, high)))
        shadow = SHADOWS[int(rng.integers(len(SHADOWS)))]
        strip = compose_strip([digit], height, rng, noise=rng.uniform(0, NOISE), shadow=shadow)
        found = segment_glyphs(separate_ink(strip))
        for candidate in found.candidates:
            if candidate.last - candidate.first == len(found.skips):
                scanned[index] = candidate.glyph.image
    return scanned
