"""From the bytes of one page image to a `Page`: complete, limited in size, upright and grey.

Later stages can rely on it: every pixel comes from the file, and whatever the scanner wrote has
been brought to one form.
"""

from __future__ import annotations

import struct

import numpy as np
import PIL.Image

from core.errors import InputError
from core.limits import MAX_PAGE_PIXELS
from pipeline.files.following import behind_image
from pipeline.files.grey import DECODE_ERRORS
from pipeline.files.jpeg import decode_jpeg
from pipeline.files.media import HEAD_BYTES, IMAGES, JPEG, PICTURES, PNG, TIFF, sniff, wrong_kind
from pipeline.files.oblong import density_of_jpeg, density_of_png, with_square_pixels
from pipeline.files.png import decode_png
from pipeline.types import Image, Page

_ORIENTATION = 0x0112


def decode_page(
    data: bytes, media_type: str | None = None, *, max_pixels: int = MAX_PAGE_PIXELS
) -> Page:
    """Decode the image of one page, of any kind but PDF; without `media_type` the bytes tell which.

    Returns the grey page, (height, width) uint8: EXIF orientation applied, pixels made square, 12
    and 16 bits brought to 8, colour, CMYK and palettes to luma (ITU-R 601-2), transparency laid
    over white. Raises InputError with a stable `code` for bytes that are empty (`empty-file`), of
    another kind (`wrong-type`), cut off (`truncated`), damaged (`damaged`), of a variety that is
    not read (`unsupported-variety`), of several images (`several-pages`), or that would have more
    than `max_pixels` (`too-many-pixels`).
    """
    kind = sniff(data[:HEAD_BYTES]) if media_type is None else media_type
    if kind == JPEG:
        grey, exif = decode_jpeg(data, max_pixels)
        density = density_of_jpeg(data)
    elif kind == PNG:
        grey, exif = decode_png(data, max_pixels)
        density = density_of_png(data)
    elif kind == TIFF:
        # Imported here, so that a process that reads only JPEG and PNG does not load it.
        from pipeline.files.tiff import decode_single_tiff

        return Page(decode_single_tiff(data, max_pixels))
    elif kind in PICTURES:
        from pipeline.files.pictures import decode_picture

        picture = decode_picture(data, kind, max_pixels)
        images = picture.images + len(behind_image(data, kind))
        if images > 1:
            raise InputError(
                f"There are {images} images in this file, but one is expected here.",
                hint="Save the one that you need as a file of its own.",
                code="several-pages",
            )
        return Page(picture.grey)
    else:
        raise wrong_kind(kind, IMAGES)
    return Page(upright(with_square_pixels(grey, density), orientation_of(exif)))


def orientation_of(exif: bytes) -> int:
    """Return the orientation (1 to 8) that EXIF states, or 1 if it states none.

    Nothing in EXIF is worth refusing a scan for: what makes no sense is ignored.
    """
    tags = PIL.Image.Exif()
    try:
        tags.load(exif)
        value = tags.get(_ORIENTATION, 1)
    except (*DECODE_ERRORS, struct.error):
        return 1
    return value if value in range(1, 9) else 1


def upright(image: Image, orientation: int) -> Image:
    """Return the image upright, given the orientation (1 to 8) in which it is stored.

    The orientation says where the first stored row and column belong (TIFF 6.0, page 36).
    """
    if orientation in (5, 6, 7, 8):
        image = image.T
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    return np.ascontiguousarray(image)
