"""Digits as the reader sees them: drawn on paper, scanned, and segmented from the scan.

Published digits are clean. Thresholding and noise change them in ways that no distortion of the
published image imitates, so training sees some digits through the reader's own steps.
"""

from __future__ import annotations

import numpy as np

from pipeline.cleaning.ink import separate_ink
from pipeline.readers.segment import segment_glyphs
from pipeline.types import Image
from training.synthesis.digit_strips import Shadow, compose_strip

HEIGHTS = (18.0, 200.0)  # pixels: height of MNIST's frame of 28 rows, uniform on a log scale
NOISE = 14.0  # grey levels, at most
SHADOWS: tuple[Shadow, ...] = ("none", "none", "gradient", "edge")


def rescan(digits: Image, rng: np.random.Generator) -> Image:
    """Scan and segment each of `digits`, (n, 28, 28) uint8; the result has the same shape.

    A digit that the scan lost, or that segmentation leaves in pieces, stays unchanged.
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
