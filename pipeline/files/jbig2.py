"""JBIG2, as it is in PDFs: its segments follow one another without a gap, and hold their image.

The arithmetic coding of its pixels has no check of its own, so a flipped bit in them cannot be
noticed. A block of zeros can: blank paper packs so well that even a blank page needs few bytes.
Structure: ITU-T T.88, 7.2 (segment headers), 7.4.6 (generic regions), 7.4.8 (page information).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.files.libtiff import GROUP4, unpack_fax
from pipeline.files.media import damaged, truncated

_PAGE, _GENERIC = 48, (36, 38, 39)
_REGIONS = {4, 6, 7, 20, 22, 23, *_GENERIC, 40, 42, 43}
_KINDS = {0, 16, _PAGE, 49, 50, 51, 52, 53, 62} | _REGIONS
_UNKNOWN = 0xFFFFFFFF  # a length or a height that is stated elsewhere
_LONG_FORM = 7  # of the number of segments that a segment refers to
_BLOCK = bytes(32)
_REGION_HEADER = struct.Struct(">IIIIBB")  # width, height, x, y, how it is combined; its own flags


@dataclass(frozen=True, slots=True)
class _Segment:
    kind: int
    data: bytes


def check_jbig2(data: bytes, shared: bytes, width: int, height: int) -> None:
    """Raise InputError unless the segments make up an image of this size.

    `shared` are the segments that several images have in common (`JBIG2Globals`).
    """
    list(_segments(shared))
    segments = list(_segments(data))
    sizes = [struct.unpack_from(">II", s.data) for s in segments if s.kind == _PAGE]
    if len(sizes) != 1 or sizes[0][0] != width or sizes[0][1] not in (height, _UNKNOWN):
        raise damaged("image", "it is not of the size that it states")
    regions = [segment for segment in segments if segment.kind in _REGIONS]
    if not regions:
        raise truncated("image", "its pixels are missing")
    for region in regions:
        _check_region(region)


def _check_region(region: _Segment) -> None:
    if len(region.data) < _REGION_HEADER.size:
        raise truncated("image", "a part of it is missing")
    columns, rows, _, _, _, flags = _REGION_HEADER.unpack_from(region.data)
    if region.kind in _GENERIC and flags & 1:  # packed as a fax
        unpack_fax(region.data[_REGION_HEADER.size :], GROUP4, columns, rows)
    elif _BLOCK in region.data:
        raise damaged("image", "a block of it was lost")


def _segments(data: bytes) -> Iterator[_Segment]:
    """Yield every segment. Raises InputError if they do not follow one another to the end."""
    at = 0
    try:
        while at < len(data):
            number, flags, references = struct.unpack_from(">IBB", data, at)
            at += 5
            count = references >> 5
            if count == _LONG_FORM:
                count = struct.unpack_from(">I", data, at)[0] & 0x1FFFFFFF
                at += 4 + (count + 8) // 8
            else:
                at += 1
            at += count * (1 if number <= 256 else 2 if number <= 65536 else 4)
            at += 4 if flags & 0x40 else 1  # the page that it belongs to
            (length,) = struct.unpack_from(">I", data, at)
            at += 4
            kind = flags & 0x3F
            if kind not in _KINDS:
                raise damaged("image", "its structure is garbled")
            if length == _UNKNOWN:
                length = len(data) - at  # only allowed for the last one that holds pixels
            if at + length > len(data):
                raise truncated("image", "a part of it is missing")
            yield _Segment(kind, data[at : at + length])
            at += length
    except struct.error as exc:
        raise truncated("image", "a part of it is missing") from exc
