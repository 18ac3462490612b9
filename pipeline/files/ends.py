"""Where an image ends in its file, by its structure: nothing is decoded.

Structures: ITU-T T.81, annex B (JPEG); ISO/IEC 15948 (PNG); the GIF89a specification; RIFF (WebP);
ISO/IEC 14496-12 (HEIC and AVIF); netpbm's pbm(5), pgm(5) and ppm(5).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from pipeline.files.gif import end_of_gif
from pipeline.files.isobmff import end_of_boxes
from pipeline.files.media import AVIF, BMP, GIF, HEIC, JPEG, PNG, PNM, WEBP

_MARKER = re.compile(rb"\xff+([^\xff])")
_END_OF_SCAN = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # no stuffed byte, no restart
_EOI, _SOS = 0xD9, 0xDA
_WITHOUT_LENGTH = {0x01, 0xD8, *range(0xD0, 0xD8)}
_PNG_HEADER_BYTES = 8
_BMP_HEADER_BYTES = 26  # at least
_GAP = rb"(?:\s|#[^\n]*\n)+"
_NUMBER = _GAP + rb"(\d{1,9})"
_PNM_HEADER = re.compile(rb"P(?:([14])" + 2 * _NUMBER + rb"|([2356])" + 3 * _NUMBER + rb")\s")
_PLAIN_SAMPLES = re.compile(rb"(?:[\s\d]+|#[^\n]*\n)*")  # of a PNM that is written in text


def end_of_image(data: bytes, kind: str, start: int = 0) -> int | None:
    """Return where the image of `kind` that begins at byte `start` ends.

    Returns None if it does not end, or if its kind does not tell: a TIFF may have its bytes
    anywhere, and PDF and ZIP are read from their ends.
    """
    find = _ENDS.get(kind)
    end = None if find is None else find(data, start)
    return None if end is None or end > len(data) else end


def _end_of_jpeg(data: bytes, start: int) -> int | None:
    """A JPEG has an image: bytes without a scan are no JPEG."""
    at, scans = start + 2, 0
    while found := _MARKER.match(data, at):
        marker, at = found[1][0], found.end()
        if marker == _EOI:
            return at if scans else None
        if marker in _WITHOUT_LENGTH:
            continue
        at += int.from_bytes(data[at : at + 2])
        if marker == _SOS:
            scans += 1
            end = _END_OF_SCAN.search(data, at)
            if end is None:
                return None
            at = end.start()
    return None


def _end_of_png(data: bytes, start: int) -> int | None:
    at = start + _PNG_HEADER_BYTES
    while at + 12 <= len(data):
        kind = data[at + 4 : at + 8]
        at += 12 + int.from_bytes(data[at : at + 4])
        if kind == b"IEND":
            return at
    return None


def _end_of_webp(data: bytes, start: int) -> int:
    return start + 8 + int.from_bytes(data[start + 4 : start + 8], "little")


def _end_of_bmp(data: bytes, start: int) -> int | None:
    size = int.from_bytes(data[start + 2 : start + 6], "little")
    return start + size if size > _BMP_HEADER_BYTES else None  # some writers state none


def _end_of_pnm(data: bytes, start: int) -> int | None:
    header = _PNM_HEADER.match(data, start)
    if header is None:
        return None
    form, *sizes = (part for part in header.groups() if part is not None)
    width, height = int(sizes[0]), int(sizes[1])
    if form in b"123":
        samples = _PLAIN_SAMPLES.match(data, header.end())
        return header.end() if samples is None else samples.end()
    if form == b"4":
        return header.end() + -(-width // 8) * height
    depth = 2 if int(sizes[2]) > 255 else 1
    return header.end() + width * height * depth * (3 if form == b"6" else 1)


_ENDS: Mapping[str, Callable[[bytes, int], int | None]] = {
    JPEG: _end_of_jpeg,
    PNG: _end_of_png,
    GIF: end_of_gif,
    WEBP: _end_of_webp,
    BMP: _end_of_bmp,
    HEIC: end_of_boxes,
    AVIF: end_of_boxes,
    PNM: _end_of_pnm,
}
