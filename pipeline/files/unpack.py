"""Packed bytes, unpacked strictly: an end that is missing or a wrong checksum is an error."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from core.errors import InputError
from pipeline.files.media import damaged, truncated

_CHUNK = 1 << 20
_END_OF_RUNS = 128


def inflate(data: bytes, limit: int) -> bytes:
    """Return what zlib data unpack to, at most `limit` bytes. Raises InputError."""
    pieces, length = [], 0
    for piece in _inflated(data):
        length += len(piece)
        if length > limit:
            raise _too_large(limit)
        pieces.append(piece)
    return b"".join(pieces)


def inflated_length(data: bytes) -> int:
    """Return how many bytes zlib data unpack to. Raises InputError."""
    return sum(len(piece) for piece in _inflated(data))


def _inflated(data: bytes) -> Iterator[bytes]:
    """Yield what zlib data unpack to, in pieces; raises InputError, at the end for the checksum."""
    unpacker = zlib.decompressobj()
    try:
        while data and not unpacker.eof:
            yield unpacker.decompress(data, _CHUNK)
            data = unpacker.unconsumed_tail
        while not unpacker.eof and (rest := unpacker.decompress(b"", _CHUNK)):
            yield rest
    except zlib.error as exc:
        raise damaged("image", "its pixels cannot be unpacked") from exc
    if not unpacker.eof:
        raise truncated("image", "a part of it is missing")


def run_length(data: bytes, limit: int) -> bytes:
    """Return what the RunLength data of a PDF unpack to (ISO 32000-1, 7.4.5). Raises InputError."""
    pieces: list[bytes] = []
    at = length = 0
    while True:
        if at >= len(data):
            raise truncated("image", "a part of it is missing")
        code = data[at]
        if code == _END_OF_RUNS:
            return b"".join(pieces)
        if code < _END_OF_RUNS:
            piece = data[at + 1 : at + 2 + code]
            at += 2 + code
        else:
            piece = data[at + 1 : at + 2] * (257 - code)
            at += 2
        length += len(piece)
        if length > limit:
            raise _too_large(limit)
        pieces.append(piece)


def _too_large(limit: int) -> InputError:
    return InputError(
        f"The image unpacks to more than {limit >> 20} MB.",
        hint="Scan it at a lower resolution.",
        code="too-many-pixels",
    )
