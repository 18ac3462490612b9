"""From a decoded Pillow image of any mode to the grey image that later stages work on."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from pipeline.types import Image

# What Pillow raises for bytes that it cannot decode. Its documentation names only OSError.
DECODE_ERRORS = (
    OSError, SyntaxError, ValueError, EOFError, TypeError, KeyError, IndexError, OverflowError,
    ZeroDivisionError, AttributeError, NotImplementedError, RuntimeError, zlib.error,
    PIL.Image.DecompressionBombError, Warning,
)  # fmt: skip


_WHITES = (255.0, 1023.0, 4095.0, 16383.0, 65535.0)  # of 8, 10, 12, 14 and 16 bits


def to_grey(image: PIL.Image.Image) -> Image:
    """Return the image as grey (height, width) uint8, transparent pixels as white paper."""
    transparent = image.info.get("transparency")
    if image.mode in ("I;16", "I;16B", "I;16L", "I;16N", "I", "F"):
        grey = _from_wide(np.asarray(image))
        if isinstance(transparent, int):
            grey = np.where(np.asarray(image) == transparent, np.uint8(255), grey)
        return grey
    if image.mode in ("L", "1") and transparent is None:
        return np.asarray(image.convert("L"))
    has_alpha = image.mode in ("LA", "La", "PA", "RGBA", "RGBa")
    if has_alpha or (transparent is not None and image.mode in ("1", "L", "P", "RGB")):
        if image.mode in ("La", "RGBa"):  # premultiplied
            image = image.convert("LA" if image.mode == "La" else "RGBA")
        rgba = image.convert("RGBA")
        paper = PIL.Image.new("RGBA", rgba.size, "white")
        return np.asarray(PIL.Image.alpha_composite(paper, rgba).convert("L"))
    if image.mode == "LAB":
        return np.asarray(image.getchannel("L"))
    if image.mode in ("P", "HSV"):
        image = image.convert("RGB")
    return np.asarray(image.convert("L"))


def _from_wide(values: NDArray[Any]) -> Image:
    """Scale integers of 16 or 32 bits, or floating-point values, to 0..255.

    These formats have no agreed white: scanners put 10, 12 or 14 bits into 16. So white is the
    least of the usual ones that holds all but a thousandth of the values (a sensor has dead
    pixels). If none does, their own range is stretched.
    """
    wide = np.nan_to_num(values.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = (float(wide.min()), float(wide.max())) if wide.size else (0.0, 0.0)
    most = float(np.quantile(wide[::3, ::3], 0.999)) if wide.size else 0.0
    whites = _WHITES if np.issubdtype(values.dtype, np.integer) else (1.0, *_WHITES)
    if low >= 0 and high <= whites[-1]:
        white = next(white for white in whites if most <= white)
        return np.asarray(np.rint(np.minimum(wide * (255.0 / white), 255.0)), dtype=np.uint8)
    span = high - low
    return np.asarray(np.rint((wide - low) * (255.0 / span if span else 0.0)), dtype=np.uint8)
