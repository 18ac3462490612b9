"""AVIF of several images, as phones write HEIC: one file, one directory, one of them the main one.

Pillow writes one image a file, or a sequence. The coded images of such files are put into one here
(ISO/IEC 23008-12; MIAF, ISO/IEC 23000-22).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class _Coded:
    data: bytes
    properties: list[bytes]  # whole boxes


def avif_of(images: Sequence[bytes], thumbnails: Sequence[bytes], main: int) -> bytes:
    """Return an AVIF of the images of several AVIF files, of which number `main` is the main one.

    `thumbnails` belong to that one.
    """
    items = [_coded(data) for data in (*images, *thumbnails)]
    properties = list(dict.fromkeys(box for item in items for box in item.properties))
    infos = b"".join(
        _full(b"infe", 2, struct.pack(">HH4s", n, 0, b"av01") + b"\0")
        for n in range(1, len(items) + 1)
    )
    references = b"".join(
        _box(b"thmb", struct.pack(">HHH", n, 1, main + 1))
        for n in range(len(images) + 1, len(items) + 1)
    )
    associations = b"".join(
        struct.pack(">HB", n, len(item.properties))
        + bytes(_essential(box) | properties.index(box) + 1 for box in item.properties)
        for n, item in enumerate(items, 1)
    )
    parts = [
        _full(b"hdlr", 0, bytes(4) + b"pict" + bytes(13)),
        _full(b"pitm", 0, struct.pack(">H", main + 1)),
        _full(b"iinf", 0, struct.pack(">H", len(items)) + infos),
        _full(b"iref", 0, references) if references else b"",
        _box(
            b"iprp",
            _box(b"ipco", b"".join(properties))
            + _full(b"ipma", 0, struct.pack(">I", len(items)) + associations),
        ),
    ]
    start = 0
    for _ in range(2):  # the second time with the true offsets
        places, at = [], start
        for n, item in enumerate(items, 1):
            places.append(struct.pack(">HHHII", n, 0, 1, at, len(item.data)))
            at += len(item.data)
        location = b"\x44\x00" + struct.pack(">H", len(items)) + b"".join(places)
        head = _box(b"ftyp", b"avif" + bytes(4) + b"avifmif1miaf")
        head += _full(b"meta", 0, b"".join(parts) + _full(b"iloc", 0, location))
        start = len(head) + 8
    return head + _box(b"mdat", b"".join(item.data for item in items))


def _coded(data: bytes) -> _Coded:
    """Return the coded image of an AVIF as Pillow writes it, with what describes it."""
    top = _boxes(data)
    inner = _boxes(top[b"meta"][0][4:])
    described = _boxes(_boxes(inner[b"iprp"][0])[b"ipco"][0])
    boxes = [_box(kind, body) for kind, bodies in described.items() for body in bodies]
    return _Coded(top[b"mdat"][0], boxes)


def _boxes(data: bytes) -> dict[bytes, list[bytes]]:
    found: dict[bytes, list[bytes]] = {}
    at = 0
    while at + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        size = size or len(data) - at
        found.setdefault(kind, []).append(data[at + 8 : at + size])
        at += size
    return found


def _box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(body), kind) + body


def _full(kind: bytes, version: int, body: bytes) -> bytes:
    return _box(kind, bytes((version, 0, 0, 0)) + body)


def _essential(box: bytes) -> int:
    return 0x80 if box[4:8] == b"av1C" else 0
