"""The boxes of HEIC and AVIF files: complete, and the coded images in them without lost blocks.

Neither coding has a check of its own, and what decoders make of damage is an image like others. But
HEVC never has three zeros in a row (ITU-T H.265, 7.4.2), and AV1's arithmetic coder hardly ever.
Structure: ISO/IEC 14496-12, 4.2 (boxes), 8.11 (meta); ISO/IEC 23008-12.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

from core.errors import InputError
from pipeline.files.media import damaged, truncated

_BLOCK = bytes(64)
_CODED = {b"hvc1", b"hev1", b"av01", b"avc1", b"jpeg"}  # items that are coded images
_DERIVED = {b"grid", b"iovl", b"iden", b"tmap"}  # and images that are made of others
_HIDDEN = 1  # a flag of an item
_USUAL = {b"meta", b"mdat", b"moov", b"free", b"uuid"}  # of which a file consists
_BOX_NAME = re.compile(rb"[A-Za-z0-9 ]{4}")
_MAX_ITEMS = 100_000


def check_boxes(data: bytes, kind: str) -> int:
    """Return the number of images. Thumbnails, masks and the like are a part of theirs.

    Raises InputError if boxes or image data are missing, or a block of zeros is in the latter.
    """
    boxes = dict(_top_boxes(data, 0, kind))
    if b"meta" not in boxes:
        raise damaged(kind, "its directory is missing")
    start, end = boxes[b"meta"]
    try:
        inner = dict(_boxes(data, start + 4, end, kind))
        kinds, shown = _items(data, *inner[b"iinf"], kind)
        held = inner.get(b"idat", (0, 0))[0]
        for item, at, length in _extents(data, *inner[b"iloc"], held):
            if at + length > len(data):
                raise truncated(kind, "a part of the image is missing")
            if kinds.get(item) in _CODED and data.find(_BLOCK, at, at + length) >= 0:
                raise damaged(kind, "a block of it was lost")
        parts = _parts(data, *inner.get(b"iref", (0, 0)), kind)
    except (KeyError, struct.error) as exc:
        raise damaged(kind, "its directory is garbled") from exc
    return max(1, len(shown - parts))


def end_of_boxes(data: bytes, start: int) -> int | None:
    """Return where the HEIC or AVIF that begins at `start` ends, or None if it is not whole."""
    try:
        boxes = dict(_top_boxes(data, start, ""))
    except InputError:
        return None
    return max(end for _, end in boxes.values()) if b"meta" in boxes else None


def _top_boxes(data: bytes, start: int, kind: str) -> Iterator[tuple[bytes, tuple[int, int]]]:
    """Yield the boxes of one file, up to bytes that are none or that begin another file.

    Raises InputError if the file ends within a box.
    """
    at = start
    while at == start or _is_box(data, at):
        name, place = next(_boxes(data, at, len(data), kind), (b"", (0, 0)))
        if not name:
            return
        yield name, place
        at = place[1]


def _is_box(data: bytes, at: int) -> bool:
    """Say whether a box stands there, and not other bytes or the first box of another file."""
    name = data[at + 4 : at + 8]
    if name in _USUAL:
        return True
    within = 8 <= int.from_bytes(data[at : at + 4]) <= len(data) - at
    return within and _BOX_NAME.fullmatch(name) is not None and name != b"ftyp"


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


def _items(data: bytes, start: int, end: int, kind: str) -> tuple[dict[int, bytes], set[int]]:
    """Return the kind of each item (`iinf`), and which items are images that are to be shown."""
    count_bytes = 2 if data[start] == 0 else 4
    kinds, shown = {}, set()
    for name, (at, _) in _boxes(data, start + 4 + count_bytes, end, kind):
        if name == b"infe" and data[at] >= 2:
            wide = data[at] >= 3
            number, _, item_kind = struct.unpack_from(">IH4s" if wide else ">HH4s", data, at + 4)
            kinds[number] = item_kind
            if item_kind in _CODED | _DERIVED and not data[at + 3] & _HIDDEN:
                shown.add(number)
    return kinds, shown


def _parts(data: bytes, start: int, end: int, kind: str) -> set[int]:
    """Return the items that are a part of another one (`iref`): tiles, thumbnails, masks, maps."""
    if start == end:
        return set()
    form = "I" if data[start] else "H"
    found = set()
    for name, (at, _) in _boxes(data, start + 4, end, kind):
        item, count = struct.unpack_from(f">{form}H", data, at)
        if name in (b"thmb", b"auxl"):
            found.add(item)
        elif name == b"dimg":
            found.update(
                struct.unpack_from(f">{count}{form}", data, at + struct.calcsize(f">{form}H"))
            )
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
