"""JPEG, strictly: every pixel comes from the file, or there is an error.

libjpeg fills whatever is missing with grey and goes on with a warning, which neither Pillow nor
OpenCV passes on. A cheque whose amount was filled with grey is a lost number. simplejpeg raises on
every warning. What libjpeg does not even warn of is checked here: a progressive file without its
last scans, which shows the whole image, but coarse.

Structure: ITU-T T.81, annexes B and G. Why so: docs/decisions/0011-jpeg-by-simplejpeg.md.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

import numpy as np
import PIL.Image
import simplejpeg

from core.errors import InputError
from pipeline.files.media import check_size, damaged, truncated, unsupported
from pipeline.types import Image

_EOI, _SOS, _APP1, _DHT = 0xD9, 0xDA, 0xE1, 0xC4
_SEQUENTIAL, _PROGRESSIVE = (0xC0, 0xC1), 0xC2
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_WITHOUT_LENGTH = {0x01, 0xD8, *range(0xD0, 0xD8)}
_MARKER = re.compile(rb"\xff+([^\xff])")
_END_OF_SCAN = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # no stuffed byte, no restart
_EXIF = b"Exif\0\0"
_ALL_BITS = 16  # more than a coefficient has
_BLOCK = bytes(32)
_END_OF_BLOCK = 0  # the symbol of Huffman tables that says that all further coefficients are 0
# Encoders write some ten. Each costs libjpeg a pass over all blocks, however little it holds.
_MAX_SCANS = 100


def decode_jpeg(data: bytes, max_pixels: int) -> tuple[Image, bytes]:
    """Decode a JPEG to grey (height, width) uint8, as stored; return its EXIF as well.

    Raises InputError if anything is missing or damaged, or above `max_pixels`.
    """
    components, exif = _check_markers(data, max_pixels)
    if _BLOCK in data:
        _check_zeros(data)
    try:
        if components < 4:  # of YCbCr only the luma is decoded, which is the grey that we want
            return simplejpeg.decode_jpeg(data, "GRAY")[:, :, 0], exif
        cmyk = simplejpeg.decode_jpeg(data, "CMYK")
    except ValueError as exc:
        raise _fault(data) from exc
    height, width, _ = cmyk.shape
    # CMYK is stored inverted: everybody does as Adobe does.
    inks = PIL.Image.frombytes("CMYK", (width, height), cmyk.tobytes(), "raw", "CMYK;I")
    return np.asarray(inks.convert("L")), exif


def _fault(data: bytes) -> InputError:
    """Return the error for a file that libjpeg decodes only with a warning, or not at all."""
    try:
        simplejpeg.decode_jpeg(data, "GRAY", strict=False)
    except ValueError:
        return damaged("JPEG", "it cannot be decoded, or it is of a rare variety")
    return truncated("JPEG", "a part of the image is missing or garbled")


def _check_zeros(data: bytes) -> None:
    """Raise InputError if a block of zeros replaces pixels: Huffman codes fit into any bits.

    To a sequential JPEG, zeros are its shortest code again and again. If that is the end of a block
    of pixels, they are flat paper, and a block that was lost changes their number. With any other
    code they are a pattern that no scan has.
    """
    sequential, codes = False, set()
    for marker, body, at in _segments(data):
        sequential = sequential or marker in _SEQUENTIAL
        if marker == _DHT:
            codes |= _shortest_codes(body)
        elif marker == _SOS:
            end = _END_OF_SCAN.search(data, at)
            lost = data.find(_BLOCK, at, end.start() if end else len(data)) >= 0
            if lost and sequential and _END_OF_BLOCK not in codes:
                raise truncated("JPEG", "a block of it was lost")


def _shortest_codes(body: bytes) -> set[int]:
    """Return what the code of zeros means in each table of AC coefficients of a segment."""
    found, at = set(), 0
    while at + 17 <= len(body):
        count = sum(body[at + 1 : at + 17])
        if body[at] & 0x10 and at + 17 < len(body):
            found.add(body[at + 17])
        at += 17 + count
    return found


def _check_markers(data: bytes, max_pixels: int) -> tuple[int, bytes]:
    """Check the markers: up to the scan if it brings the whole image, else up to the end.

    Returns the number of colour components, and the EXIF or b"". Raises InputError.
    """
    frame, scans, exif = 0, 0, b""
    components: list[int] = []
    missing = np.empty((0, 64), np.uint8)  # (component, coefficient): low bits yet to come
    for marker, body, _ in _segments(data):
        if marker in _FRAMES:
            if frame:
                raise damaged("JPEG", "it has two headers")
            frame, components = marker, _read_frame(marker, body, max_pixels)
            missing = np.full((len(components), 64), _ALL_BITS, np.uint8)
        elif marker == _APP1 and body.startswith(_EXIF):
            exif = exif or body
        elif marker == _SOS:
            if not frame or len(body) < 6:
                raise damaged("JPEG", "its header is missing")
            scanned = np.isin(components, list(body[1 : 1 + 2 * body[0] : 2]))
            if frame == _PROGRESSIVE:
                first, last, bits = body[-3:]
                missing[scanned, first : last + 1] = bits & 15
            else:
                missing[scanned] = 0
            scans += 1
            if scans > _MAX_SCANS:
                raise unsupported("JPEG", f"it has more than {_MAX_SCANS} scans")
            if scans == 1 and not missing.any():
                break
    if not scans or missing.any():
        raise truncated("JPEG", "a part of the image is missing")
    return len(components), exif


def _segments(data: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Yield every marker that has a length, with the bytes of its segment and where it ends.

    The end marker is the last.

    Raises InputError.
    """
    at = 2
    while found := _MARKER.match(data, at):
        marker, at = found[1][0], found.end()
        if marker == _EOI:
            return
        if marker in _WITHOUT_LENGTH:
            continue
        length = int.from_bytes(data[at : at + 2])
        if at + length > len(data):
            raise truncated("JPEG", "the end is missing")
        body = data[at + 2 : at + length]
        at += length
        yield marker, body, at
        if marker == _SOS:
            end = _END_OF_SCAN.search(data, at)
            at = end.start() if end else len(data)
    if len(data) > at + 1 and data[at] != 0xFF:
        raise damaged("JPEG", "its structure is invalid")
    raise truncated("JPEG", "the end is missing")


def _read_frame(marker: int, body: bytes, max_pixels: int) -> list[int]:
    """Return the numbers of the colour components; raises InputError for what is not read."""
    if len(body) < 6 or len(body) < 6 + 3 * body[5]:
        raise damaged("JPEG", "its header is too short")
    bits, height, width, count = struct.unpack_from(">BHHB", body)
    if marker not in (*_SEQUENTIAL, _PROGRESSIVE) or bits != 8:
        raise unsupported("JPEG", "lossless, arithmetic or 12-bit")
    check_size("JPEG", width, height, max_pixels)
    if count not in (1, 3, 4):
        raise unsupported("JPEG", f"{count} colour channels")
    return list(body[6 : 6 + 3 * count : 3])
