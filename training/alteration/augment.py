"""Change strips while the alteration detector trains: other crops and hands, and thin strikes.

A thin or pale stroke leaves a number legible, so it is read with a high confidence. Most strokes in
the pool are bolder: thin ones are drawn here on intact strips as the network sees them. That costs
little and gives new ones in every epoch.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from pipeline.readers.normalise import ROWS
from pipeline.types import Image
from training.strip.train import augment_strip
from training.synthesis.alterations import WAYS

_CUT: Final = 0.25  # share of strips whose ends are cut off,
_MOST_CUT: Final = 28  # by up to so many columns
_INK: Final = 110  # of 255: fainter pixels do not count as writing
_FINE: Final = 4  # strikes are drawn at this multiple of the resolution
_NIB: Final = (0.6, 2.6)  # pixels
# Those that leave a number legible, the commonest twice.
_WAYS: Final = (
    *("line", "line", "double line", "slash", "slash", "cross", "cross", "zigzag", "wave", "wave"),
    "each digit",
)


def changed(strip: Image, rng: np.random.Generator, *, keep_ends: bool) -> Image:
    """Return a strip, (32, columns), as other hands and crops might show it."""
    if not keep_ends and rng.random() < _CUT:
        # A stroke may run beyond the field, whose strip then ends in the middle of it.
        left, right = rng.integers(0, 1 + min(_MOST_CUT, strip.shape[1] // 5), 2)
        strip = strip[:, left : strip.shape[1] - right]
    return augment_strip(strip, "", rng) if rng.random() < 0.7 else strip


def thinly_struck(strip: Image, rng: np.random.Generator) -> Image | None:
    """Return an intact strip, (32, columns), struck out by a thin or pale pen.

    None where it holds no writing that is high enough.
    """
    middle = strip[9:23] >= _INK
    columns = np.flatnonzero(middle.any(axis=0))
    if len(columns) < 4:
        return None
    left, right = int(columns[0]), int(columns[-1]) + 1
    if right - left > 60 and rng.random() < 0.5:  # without the sides of a box
        left, right = left + 4, right - 4
    rows = np.flatnonzero((strip[:, left:right] >= _INK).mean(axis=1) > 0.06)
    if len(rows) < 8:
        return None
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    if bottom - top > 27:  # of a box
        top, bottom = 5, 27
    high = float(bottom - top)
    canvas = np.zeros((ROWS * _FINE, strip.shape[1] * _FINE), np.uint8)
    nib = max(1, round(float(np.exp(rng.uniform(*np.log(_NIB)))) * _FINE))
    for stroke in WAYS[str(rng.choice(_WAYS))](float(right - left), high, high, rng):
        points = np.rint((stroke + np.array([left, top])) * _FINE * 8).astype(np.int32)
        cv2.polylines(canvas, [points], False, 255, nib, cv2.LINE_AA, 3)
    size = (strip.shape[1], ROWS)
    layer = cv2.resize(canvas, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    layer *= rng.uniform(0.3, 1.0)
    if rng.random() < 0.5:  # pencil
        layer *= 1 - rng.uniform(0, 0.4) * rng.random(layer.shape)
    ink = strip.astype(np.float32)
    over = np.maximum(ink, layer) if rng.random() < 0.5 else ink + layer - ink * layer / 255
    return np.clip(over, 0, 255).astype(np.uint8)
