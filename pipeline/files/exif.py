"""The two things that EXIF says and a reader needs: which way is up, and the resolution."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from pipeline.types import Image

_ORIENTATION, _X_RESOLUTION, _RESOLUTION_UNIT = 0x0112, 0x011A, 0x0128
_SHORT, _RATIONAL = 3, 5


@dataclass(frozen=True, slots=True)
class Exif:
    orientation: int = 1  # 1 to 8, as TIFF 6.0 numbers them
    dpi: float | None = None


def parse_exif(data: bytes) -> Exif:
    """Read a TIFF structure without the `Exif\\0\\0` before it.

    Nothing here is worth refusing a scan for: what makes no sense is as if it were not there.
    """
    order = {b"II*\x00": "<", b"MM\x00*": ">"}.get(data[:4])
    if order is None or len(data) < 8:
        return Exif()
    (ifd,) = struct.unpack_from(order + "I", data, 4)
    if ifd + 2 > len(data):
        return Exif()
    (entries,) = struct.unpack_from(order + "H", data, ifd)
    orientation, unit, resolution = 1, 2, None
    for at in range(ifd + 2, min(ifd + 2 + 12 * entries, len(data) - 11), 12):
        tag, kind, count = struct.unpack_from(order + "HHI", data, at)
        if kind == _SHORT and count == 1 and tag in (_ORIENTATION, _RESOLUTION_UNIT):
            (value,) = struct.unpack_from(order + "H", data, at + 8)
            if tag == _RESOLUTION_UNIT:
                unit = value
            elif 1 <= value <= 8:
                orientation = value
        elif kind == _RATIONAL and count == 1 and tag == _X_RESOLUTION:
            (where,) = struct.unpack_from(order + "I", data, at + 8)
            if where + 8 <= len(data):
                top, bottom = struct.unpack_from(order + "II", data, where)
                resolution = top / bottom if bottom else None
    scale = {2: 1.0, 3: 2.54}.get(unit)
    return Exif(orientation, resolution * scale if resolution and scale else None)


def upright(image: Image, orientation: int) -> Image:
    """Return the image as a person holds it, given the orientation (1 to 8) that it was stored in.

    The values say where the stored first row and first column are: TIFF 6.0, page 36.
    """
    if orientation in (5, 6, 7, 8):
        image = image.T
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    return np.ascontiguousarray(image)
