"""Pixels that are not square, as fax machines make them, brought to square ones.

The resolutions across and down are read from the file, whatever its kind; only their ratio counts.
"""

from __future__ import annotations

import struct

import cv2

from pipeline.imageops import as_image
from pipeline.types import Image

_PNG_DENSITY, _PNG_PIXELS = b"pHYs", b"IDAT"
_JFIF = b"JFIF\0"
_LEAST = 1.05  # below it, the ratio is that of a page that was measured inexactly
_MOST = 4.0  # above it, the numbers make no sense; the standard fax has 204 by 98 dots per inch

Density = tuple[float, float]  # dots across and down, in the same unit
SQUARE: Density = (1.0, 1.0)


def density_of_png(data: bytes) -> Density:
    """Return the density that a sound PNG states (its `pHYs` chunk)."""
    at = 8
    while at + 8 <= len(data):
        length, kind = int.from_bytes(data[at : at + 4]), data[at + 4 : at + 8]
        if kind == _PNG_DENSITY and length == 9:
            across, down = struct.unpack_from(">II", data, at + 8)
            return float(across), float(down)
        if kind == _PNG_PIXELS:
            break
        at += 12 + length
    return SQUARE


def density_of_jpeg(data: bytes) -> Density:
    """Return the density that a JPEG states in its first segment (JFIF 1.02, page 5)."""
    if data[2:4] != b"\xff\xe0" or data[6:11] != _JFIF or len(data) < 18:
        return SQUARE
    _, across, down = struct.unpack_from(">BHH", data, 13)
    return float(across), float(down)


def with_square_pixels(image: Image, density: Density) -> Image:
    """Return an image as stored, (h, w) uint8, with the coarser direction stretched."""
    across, down = density
    if min(across, down) <= 0 or not _LEAST < max(across, down) / min(across, down) <= _MOST:
        return image
    finer = max(across, down)
    size = round(image.shape[1] * finer / across), round(image.shape[0] * finer / down)
    return as_image(cv2.resize(image, size, interpolation=cv2.INTER_CUBIC))
