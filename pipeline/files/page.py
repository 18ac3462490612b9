"""From the bytes of one page image to a `Page`: complete, bounded, upright and grey, or an error.

Whoever reads further need not ask again: every pixel comes from the file, once through one
normalisation, whatever the scanner wrote.
"""

from __future__ import annotations

import io
import struct
import zlib

import PIL.Image

from pipeline.files.exif import parse_orientation, upright
from pipeline.files.grey import DECODE_ERRORS, grey_of
from pipeline.files.jpeg import decode_jpeg
from pipeline.files.media import JPEG, PNG, TIFF, broken, check_size, cut_off, sniff, wrong_kind
from pipeline.types import Image, Page

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # of the PNG colour types
# First column and row of each pass of an interlaced PNG, and its steps.
_ADAM7 = (
    (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4),
    (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2),
)  # fmt: skip
_PIECE = 1 << 20


def decode_page(data: bytes, *, max_pixels: int = 50_000_000) -> Page:
    """Decode a JPEG, a PNG or a TIFF of one frame.

    Returns the grey page, (height, width) uint8: EXIF orientation applied, 16 bits brought to 8,
    colour, CMYK and palettes to luma (ITU-R 601-2), transparency laid over white. Raises
    InputError with a stable `code` for bytes that are empty (`empty-file`), of another kind
    (`wrong-type`), cut off (`truncated`), damaged (`damaged`), of a variety that is not read
    (`unsupported-variety`), or that would have more than `max_pixels` (`too-many-pixels`).
    """
    kind = sniff(data[:1024])
    if kind == JPEG:
        grey, orientation = decode_jpeg(data, max_pixels)
    elif kind == PNG:
        grey, orientation = _decode_png(data, max_pixels)
    elif kind == TIFF:
        # Only here: whoever reads JPEG and PNG alone never loads libtiff's part.
        from pipeline.files.tiff import decode_single_tiff

        return decode_single_tiff(data, max_pixels)
    else:
        raise wrong_kind(data[:1024], "JPEG or PNG")
    return Page(upright(grey, orientation))


def _decode_png(data: bytes, max_pixels: int) -> tuple[Image, int]:
    orientation = _check_png(data, max_pixels)
    try:
        with PIL.Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            image.load()
            return grey_of(image), orientation
    except DECODE_ERRORS as exc:
        raise broken("PNG", "it cannot be decoded") from exc


def _check_png(data: bytes, max_pixels: int) -> int:
    """Check every chunk's length and checksum, and return the orientation that EXIF states.

    Pillow does not check the chunks that hold the pixels.
    """
    orientation = 1
    header: bytes | None = None
    at = 8
    pixels: list[bytes] = []
    while True:
        if at + 12 > len(data):
            raise cut_off("PNG", "the end is missing")
        length = int.from_bytes(data[at : at + 4])
        kind = data[at + 4 : at + 8]
        end = at + 8 + length
        if end + 4 > len(data):
            raise cut_off("PNG", "the end is missing")
        if zlib.crc32(memoryview(data)[at + 4 : end]) != int.from_bytes(data[end : end + 4]):
            raise broken("PNG", "its checksum is wrong")
        if header is None:
            if kind != b"IHDR" or length != 13:
                raise broken("PNG", "its header is missing")
            header = data[at + 8 : end]
            width, height = int.from_bytes(header[:4]), int.from_bytes(header[4:8])
            check_size("PNG", width, height, max_pixels)
        elif kind == b"IDAT":
            pixels.append(data[at + 8 : end])
        elif kind == b"eXIf":
            orientation = parse_orientation(data[at + 8 : end])
        elif kind == b"IEND":
            break
        at = end + 4
    _check_png_pixels(header, pixels)
    return orientation


def _check_png_pixels(header: bytes, chunks: list[bytes]) -> None:
    """Raise InputError if the pixels unpack to less than the header promises.

    Pillow takes the end of the compressed stream for the end of the image and leaves the rest
    black. Costs a third of the decoding.
    """
    width, height, bits, colour, _, _, interlace = struct.unpack(">IIBBBBB", header)
    if colour not in _CHANNELS or bits not in (1, 2, 4, 8, 16):
        raise broken("PNG", "its header makes no sense")
    per_pixel = bits * _CHANNELS[colour]
    needed = 0
    for x, y, step_x, step_y in _ADAM7 if interlace else ((0, 0, 1, 1),):
        columns, rows = -(-(width - x) // step_x), -(-(height - y) // step_y)
        if columns > 0 and rows > 0:
            needed += rows * (1 + (columns * per_pixel + 7) // 8)
    unpacker = zlib.decompressobj()
    try:
        for chunk in chunks:
            while chunk and needed > 0:
                needed -= len(unpacker.decompress(chunk, _PIECE))
                chunk = unpacker.unconsumed_tail
        while needed > 0 and (rest := unpacker.decompress(b"", _PIECE)):
            needed -= len(rest)
    except zlib.error as exc:
        raise broken("PNG", "its pixels cannot be unpacked") from exc
    if needed > 0:
        raise cut_off("PNG", "a part of the image is missing")
