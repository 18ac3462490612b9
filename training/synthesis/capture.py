"""Turn a strip into an image: a scanner, a fax mode, a phone camera, JPEG compression.

Whole pages use `training.synthesis.scan`; strips get rougher and more varied treatment.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.types import Image
from training.synthesis.digit_strips import Shadow, shade

Floats = NDArray[np.float32]

_GOOD = 0.6  # share of everyday office scans, which are easy to read
_BLACKEST = 0.72 * 255  # a darker fax is discarded, and the strip is scanned in grey


def capture(page: Floats, height: float, rng: np.random.Generator) -> tuple[Image, set[str]]:
    """Return the image of a strip of grey levels, (h, w), and the names of what was done to it.

    `height` is the height of a digit in pixels; small writing is spared what would destroy it.
    """
    traits: set[str] = set()
    good = rng.random() < _GOOD
    if rng.random() < 0.45:
        traits.add("turned")
        page = turn(page, rng)
    if good:
        traits.add("good scan")
    elif rng.random() < 0.25:
        traits.add("shadow")
        kind: Shadow = "edge" if rng.random() < 0.4 else "gradient"
        rows, columns = page.shape
        page = page * shade(rows, columns, kind, rng, rng.uniform(0.1, 0.6)).astype(np.float32)
    low = not good and rng.random() < 0.12
    if low:
        traits.add("low contrast")
        share = rng.uniform(0.3, 0.65)
        page = rng.uniform(0.2, 0.95) * 255 * (1 - share) + np.float32(share) * page
    if not good and rng.random() < 0.2 and height > 18:
        traits.add("enlarged")
        page = _enlarge(page, float(rng.uniform(max(0.4, 13 / height), 0.9)))
    elif rng.random() < 0.7:
        sigma = rng.uniform(0.3, min(0.7 if good else 1.6, 0.06 * height))
        page = np.asarray(cv2.GaussianBlur(page, (0, 0), sigma), np.float32)
        traits.add("blur")
    if rng.random() < 0.75:
        grain = np.float32(min(rng.exponential(3.5), 4.0 if low or good else 14.0))
        page = page + grain * rng.standard_normal(page.shape, dtype=np.float32)
        traits.add("noise")
    image = np.clip(page, 0, 255).astype(np.uint8)
    faxed = height > 16 and "shadow" not in traits
    if faxed and rng.random() < 0.15 and (fax := _fax(image, rng)).mean() > _BLACKEST:
        traits.add("bitonal")
        image = fax
    if rng.random() < 0.7:
        traits.add("jpeg")
        image = _jpeg(image, int(rng.integers(60 if good else 30, 96)))
    return image, traits


def turn(page: Floats, rng: np.random.Generator) -> Floats:
    """Rotate a strip a little and change its perspective."""
    rows, columns = page.shape
    corners = np.array([[0, 0], [columns, 0], [columns, rows], [0, rows]], np.float32)
    angle = np.deg2rad(rng.normal(0, 1.3))
    middle = np.array([columns / 2, rows / 2])
    spin = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    moved = (corners - middle) @ spin + middle + rng.normal(0, 0.025, (4, 2)) * rows
    warp = cv2.getPerspectiveTransform(corners, moved.astype(np.float32))
    turned = cv2.warpPerspective(
        page, warp, (columns, rows), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(turned, np.float32)


def _enlarge(page: Floats, share: float) -> Floats:
    rows, columns = page.shape
    size = (max(8, int(columns * share)), max(8, int(rows * share)))
    small = cv2.resize(page, size, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (columns, rows), interpolation=cv2.INTER_LINEAR))


def _fax(image: Image, rng: np.random.Generator) -> Image:
    """Return the strip in black and white, as from a fax mode with an imperfect threshold."""
    soft = cv2.GaussianBlur(image, (0, 0), 0.7)
    level, _ = cv2.threshold(soft, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    return np.asarray(
        cv2.threshold(soft, level + rng.uniform(-12, 8), 255, cv2.THRESH_BINARY)[1], np.uint8
    )


def _jpeg(image: Image, quality: int) -> Image:
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE), np.uint8)
