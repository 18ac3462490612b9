"""The boxes of HEIC and AVIF files: complete, and the coded images in them without lost blocks.

Neither coding has a check of its own, and what decoders make of damage is an image like others. But
HEVC never has three zeros in a row (ITU-T H.265, 7.4.2), and AV1's arithmetic coder hardly ever.
Structure: ISO/IEC 14496-12, 4.2 (boxes), 8.11 (meta); ISO/IEC 23008-12.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from pipeline.files.media import damaged, truncated

_BLOCK = bytes(64)
_CODED = {b"hvc1", b"hev1", b"av01", b"avc1", b"jpeg"}  # items that are coded images
_MAX_ITEMS = 100_000


def check_boxes(data: bytes, kind: str) -> None:
    """Raise InputError if boxes or image data are missing, or a block of zeros is in the latter."""
    boxes = dict(_boxes(data, 0, len(data), kind))
    if b"meta" not in boxes:
        raise damaged(kind, "its directory is missing")
    start, end = boxes[b"meta"]
    try:
        inner = dict(_boxes(data, start + 4, end, kind))
        kinds = _item_kinds(data, *inner[b"iinf"], kind)
        held = inner.get(b"idat", (0, 0))[0]
        for item, at, length in _extents(data, *inner[b"iloc"], held):
            if at + length > len(data):
                raise truncated(kind, "a part of the image is missing")
            if kinds.get(item) in _CODED and data.find(_BLOCK, at, at + length) >= 0:
                raise damaged(kind, "a block of it was lost")
    except (KeyError, struct.error) as exc:
        raise damaged(kind, "its directory is garbled") from exc


def _boxes(data: bytes, at: int, end: int, kind: str) -> Iterator[tuple[bytes, tuple[int, int]]]:
    """Yield the kind of each box, and where its content begins and ends. Raises InputError."""
    while at + 8 <= end:
        size, name = struct.unpack_from(">I4s", data, at)
        header = 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, at + 8)
            header = 16
        elif size == 0:  # up to the end of the file
            size = end - at
        if size < header or at + size > end:
            raise truncated(kind, "a part of the file is missing")
        yield name, (at + header, at + size)
        at += size


def _item_kinds(data: bytes, start: int, end: int, kind: str) -> dict[int, bytes]:
    count_bytes = 2 if data[start] == 0 else 4
    found = {}
    for name, (at, _) in _boxes(data, start + 4 + count_bytes, end, kind):
        if name == b"infe" and data[at] >= 2:
            wide = data[at] >= 3
            number, _, item_kind = struct.unpack_from(">IH4s" if wide else ">HH4s", data, at + 4)
            found[number] = item_kind
    return found


def _extents(data: bytes, start: int, end: int, held: int) -> Iterator[tuple[int, int, int]]:
    """Yield item, offset in the file and length of each piece of data (`iloc`)."""
    version, sizes, more = data[start], data[start + 4], data[start + 5]
    offset_size, length_size, base_size = sizes >> 4, sizes & 15, more >> 4
    index_size = more & 15 if version else 0
    at = start + 6

    def take(size: int) -> int:
        nonlocal at
        if at + size > end:
            raise struct.error("the box ends before its entries")
        at += size
        return int.from_bytes(data[at - size : at])

    for _ in range(min(take(4 if version == 2 else 2), _MAX_ITEMS)):
        item = take(4 if version == 2 else 2)
        method = take(2) & 15 if version else 0
        take(2)  # the file that the data are in: this one
        base = take(base_size) + (held if method == 1 else 0)
        for _ in range(take(2)):
            take(index_size)
            offset, length = take(offset_size), take(length_size)
            if method < 2:
                yield item, base + offset, length
