"""The kinds of image that phones, cameras and drawing programs write: one page each.

A file of several images (an animation, a burst of a phone) gives its first; `Picture.images` says
how many there are. The size is checked before anything is decoded, completeness as far as each kind
allows: GIF by its codes, WebP, HEIC and AVIF by their structure and by blocks of zeros. BMP and PNM
are pixels as they are, so only missing bytes can be noticed.
"""

from __future__ import annotations

import io
import re
import warnings
from dataclasses import dataclass

import numpy as np
import PIL.Image

from pipeline.files.ends import end_of_image
from pipeline.files.gif import check_gif
from pipeline.files.grey import DECODE_ERRORS, to_grey
from pipeline.files.isobmff import check_boxes
from pipeline.files.media import AVIF, BMP, GIF, HEIC, PNM, WEBP, check_size, damaged, truncated
from pipeline.files.oblong import SQUARE, Density, with_square_pixels
from pipeline.files.page import orientation_of, upright
from pipeline.types import Image

# As Pillow and people call them.
_KINDS = {
    WEBP: ("WEBP", "WebP"), BMP: ("BMP", "BMP"), GIF: ("GIF", "GIF"), PNM: ("PPM", "PNM image"),
    HEIC: ("HEIF", "HEIC"), AVIF: ("AVIF", "AVIF"),
}  # fmt: skip
_WEBP_BLOCK = bytes(128)  # a page that was drawn has up to 30 zeros in a row
_BLANK = rb"(?:\s|#[^\n]*\n)+"
_PGM_HEADER = re.compile(rb"P5" + _BLANK + rb"(\d+)" + _BLANK + rb"(\d+)" + _BLANK + rb"(\d+)\s")


@dataclass(frozen=True, slots=True)
class Picture:
    grey: Image  # (h, w), upright, its pixels square
    images: int  # of its kind in the file, such as frames of an animation


def decode_picture(data: bytes, kind: str, max_pixels: int) -> Picture:
    """Decode the first image of a file of `kind`, a media type of `PICTURES`.

    Raises InputError if anything is missing or damaged, or above `max_pixels`.
    """
    form, name = _KINDS[kind]
    counted = _check(data, kind, name)
    try:
        if kind == HEIC:
            _register_heif()
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # Pillow warns of what it mends
            with PIL.Image.open(io.BytesIO(data), formats=[form]) as image:
                check_size(name, *image.size, max_pixels)
                images = max(counted, getattr(image, "n_frames", 1))
                decoded = _deep_pnm(data) if kind == PNM else None
                if decoded is None:
                    image.load()
                    decoded = to_grey(image)
                grey = with_square_pixels(decoded, _density(image))
                exif = image.getexif().tobytes()
    except DECODE_ERRORS as exc:
        raise damaged(name, "it cannot be decoded") from exc
    if (
        kind == WEBP
        and _WEBP_BLOCK in data[: end_of_image(data, kind)]
        and grey.min() != grey.max()
    ):
        raise damaged(name, "a block of it was lost")
    return Picture(upright(grey, orientation_of(exif)), images)


def _check(data: bytes, kind: str, name: str) -> int:
    """Check what Pillow does not, and return how many images there are if it cannot tell."""
    if kind in (HEIC, AVIF):
        return check_boxes(data, name)
    if kind == GIF:
        return check_gif(data)
    if kind in (WEBP, BMP):
        stated = int.from_bytes(data[4:8], "little") + 8
        if kind == BMP:
            stated = int.from_bytes(data[2:6], "little")
        if len(data) < stated:
            raise truncated(name, "the end is missing")
    return 1


def _density(image: PIL.Image.Image) -> Density:
    pair = image.info.get("dpi")
    return (float(pair[0]), float(pair[1])) if pair else SQUARE


def _deep_pnm(data: bytes) -> Image | None:
    """Decode a PGM of other than 8 bits, which Pillow does pixel by pixel; None for other kinds."""
    header = _PGM_HEADER.match(data)
    if header is None or not 0 < (most := int(header[3])) < 65536 or most == 255:
        return None
    kind = np.dtype(">u2" if most > 255 else "u1")
    size = int(header[2]), int(header[1])
    values = np.frombuffer(data, kind, size[0] * size[1], header.end()).reshape(size)
    return np.asarray(np.rint(np.minimum(values * (255.0 / most), 255.0)), np.uint8)


def _register_heif() -> None:
    import pi_heif

    pi_heif.register_heif_opener(
        thumbnails=False, depth_images=False, aux_images=False, decode_threads=1
    )
