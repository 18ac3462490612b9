"""Imitate the scanner of a page: skew, a soft lens, sensor noise, black and white."""

from __future__ import annotations

import cv2
import numpy as np

from pipeline.types import Image
from training.synthesis.paper import Picture


def scan(
    picture: Picture,
    rng: np.random.Generator,
    *,
    skew: float = 0.5,
    shift: float = 4.0,
    noise: float = 3.0,
) -> Picture:
    """Return the picture as a flat-bed scanner records it, in the same size.

    `skew` is the largest turn in degrees, `shift` the largest move in pixels, `noise` the sigma
    of the sensor in grey levels.
    """
    height, width = picture.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), rng.uniform(-skew, skew), 1.0)
    turn = turn + np.array([[0, 0, rng.uniform(-shift, shift)], [0, 0, rng.uniform(-shift, shift)]])
    lid = tuple(int(v) for v in np.median(picture.reshape(-1, 3), axis=0) * 0.5 + 122)
    turned = cv2.warpAffine(
        picture, turn, (width, height), flags=cv2.INTER_CUBIC, borderValue=(*lid, 0)
    )
    soft = cv2.GaussianBlur(turned, (0, 0), 0.7).astype(np.float32)
    lamp = 1 + rng.uniform(-0.03, 0.03) * np.linspace(-1, 1, width, dtype=np.float32)
    seen = soft * lamp[None, :, None] + rng.normal(0, noise, (height, width, 1))
    return np.clip(seen, 0, 255).astype(np.uint8)


def bilevel(picture: Picture) -> Image:
    """Return the picture in the fax mode of an office scanner: (height, width) uint8, 0 or 255."""
    grey = cv2.GaussianBlur(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), (0, 0), 0.8)
    return np.where(grey < 150, 0, 255).astype(np.uint8)
