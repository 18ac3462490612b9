"""GIF, strictly: the first image holds exactly its pixels, and the file goes on to its end.

Pillow takes whatever codes there are. Structure: GIF89a specification, sections 17 to 27 and
appendix F (variable-length codes).
"""

from __future__ import annotations

from collections.abc import Iterator

from core.errors import InputError
from pipeline.files.media import damaged, truncated

_HEADER_BYTES, _FLAGS = 13, 10
_EXTENSION, _IMAGE, _TRAILER = 0x21, 0x2C, 0x3B
_MAX_CODES = 4096
_GROW_UNTIL = 12  # bits of a code


def check_gif(data: bytes) -> int:
    """Return the number of images. Raises InputError if the first, or the file, is not whole."""
    *images, _ = _walk(data, 0)
    if not images:
        raise damaged("GIF", "there is no image in it")
    width, height, at = images[0]
    bits = _byte(data, at)
    _, codes = _blocks(data, at + 1)
    _check_codes(codes, bits, width * height)
    return len(images)


def end_of_gif(data: bytes, start: int) -> int | None:
    """Return where the GIF that begins at `start` ends, or None if it is not whole."""
    try:
        *_, (_, _, end) = _walk(data, start)
    except InputError:
        return None
    return end


def _walk(data: bytes, start: int) -> Iterator[tuple[int, int, int]]:
    """Yield width, height and place of each image, then 0, 0 and where the GIF ends."""
    at = start + _HEADER_BYTES + _table_bytes(data, start + _FLAGS)
    while (kind := _byte(data, at)) != _TRAILER:
        if kind == _EXTENSION:
            at, _ = _blocks(data, at + 2)
        elif kind == _IMAGE:
            width = int.from_bytes(data[at + 5 : at + 7], "little")
            height = int.from_bytes(data[at + 7 : at + 9], "little")
            at += 10 + _table_bytes(data, at + 9)
            yield width, height, at
            at, _ = _blocks(data, at + 1)
        else:
            raise damaged("GIF", "its structure is garbled")
    yield 0, 0, at + 1


def _byte(data: bytes, at: int) -> int:
    if at >= len(data):
        raise truncated("GIF", "the end is missing")
    return data[at]


def _table_bytes(data: bytes, at: int) -> int:
    flags = _byte(data, at)
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _blocks(data: bytes, at: int) -> tuple[int, bytes]:
    """Return where a chain of blocks ends, and what they hold."""
    held = []
    while size := _byte(data, at):
        if at + 1 + size > len(data):
            raise truncated("GIF", "the end is missing")
        held.append(data[at + 1 : at + 1 + size])
        at += 1 + size
    return at + 1, b"".join(held)


def _check_codes(data: bytes, bits: int, wanted: int) -> None:
    """Raise InputError unless the codes stand for `wanted` pixels and end with the end code."""
    if not 1 <= bits <= 11:
        raise damaged("GIF", "its pixels cannot be unpacked")
    clear, end = 1 << bits, (1 << bits) + 1
    lengths: list[int] = []
    size, before, pixels = bits + 1, 0, 0
    held = count = at = 0
    while True:
        while count < size:
            if at >= len(data):
                if pixels == wanted:
                    return  # some writers leave the end code out
                raise truncated("GIF", "a part of the image is missing")
            held |= data[at] << count
            count += 8
            at += 1
        code = held & ((1 << size) - 1)
        held >>= size
        count -= size
        if code == clear:
            lengths = [1] * clear + [0, 0]
            size, before = bits + 1, 0
            continue
        if code == end:
            break
        if not lengths:
            lengths = [1] * clear + [0, 0]
        known = len(lengths)
        if code > known or (code == known and not before) or pixels > wanted:
            raise damaged("GIF", "its pixels cannot be unpacked")
        length = before + 1 if code == known else lengths[code]
        if before and known < _MAX_CODES:
            lengths.append(before + 1)
            if known + 1 == 1 << size and size < _GROW_UNTIL:
                size += 1
        pixels += length
        before = length
    if pixels != wanted:
        raise truncated("GIF", "a part of the image is missing")
