"""Which way is up, as EXIF states it."""

from __future__ import annotations

import struct

import numpy as np

from pipeline.types import Image

_ORIENTATION, _SHORT = 0x0112, 3


def parse_orientation(data: bytes) -> int:
    """Read the orientation (1 to 8) from EXIF, given without the `Exif\\0\\0` before it.

    Nothing here is worth refusing a scan for: what makes no sense is as if it were not there.
    """
    order = {b"II*\x00": "<", b"MM\x00*": ">"}.get(data[:4])
    if order is None or len(data) < 8:
        return 1
    (ifd,) = struct.unpack_from(order + "I", data, 4)
    if ifd + 2 > len(data):
        return 1
    (entries,) = struct.unpack_from(order + "H", data, ifd)
    orientation = 1
    for at in range(ifd + 2, min(ifd + 2 + 12 * entries, len(data) - 11), 12):
        tag, kind, count = struct.unpack_from(order + "HHI", data, at)
        if (tag, kind, count) == (_ORIENTATION, _SHORT, 1):
            (value,) = struct.unpack_from(order + "H", data, at + 8)
            if 1 <= value <= 8:
                orientation = value
    return orientation


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
