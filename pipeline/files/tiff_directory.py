"""A directory of a TIFF: the tags of one image, and where all that it knows of stands in the file.

Structure: TIFF 6.0, section 2; BigTIFF (https://www.awaresystems.be/imaging/tiff/bigtiff.html).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from pipeline.files.tiff_roles import FrameRole

WIDTH, HEIGHT = 256, 257
OFFSETS, COUNTS = (273, 324), (279, 325)  # of strips, of tiles
_NEW_SUBFILE_TYPE, _SUB_IFDS = 254, 330
_EMBEDDED, _EMBEDDED_LENGTH = 513, 514  # a JPEG within, as TIFF 6.0 has it
# BYTE, SHORT, LONG, UNDEFINED, IFD, LONG8, IFD8
_FORMATS = {1: "B", 3: "H", 4: "I", 7: "B", 13: "I", 16: "Q", 18: "Q"}
_SIZES = {"B": 1, "H": 2, "I": 4, "Q": 8}
_RATIONALS = (5, 10, 12)  # RATIONAL, SRATIONAL and DOUBLE, of 8 bytes
_MAX_BELOW = 10_000  # images below one frame that are counted


@dataclass(frozen=True, slots=True)
class Directory:
    order: str
    big: bool
    entries: dict[int, tuple[int, int, bytes]]  # tag -> type, count, value or its offset
    following: int

    @classmethod
    def read(cls, stream: BinaryIO, size: int, order: str, big: bool, at: int) -> Directory | None:
        """Return the directory at offset `at`, or None if the file ends before it does."""
        count_format, entry_size, offset_format = ("Q", 20, "Q") if big else ("H", 12, "I")
        if at + _SIZES[count_format] > size:
            return None
        stream.seek(at)
        (count,) = struct.unpack(order + count_format, stream.read(_SIZES[count_format]))
        length = count * entry_size
        if at + length + _SIZES[count_format] + _SIZES[offset_format] > size:
            return None
        body = stream.read(length + _SIZES[offset_format])
        entries = {}
        for start in range(0, length, entry_size):
            tag, kind, values = struct.unpack_from(order + "HH" + offset_format, body, start)
            entries[tag] = (kind, values, body[start + (12 if big else 8) : start + entry_size])
        (following,) = struct.unpack_from(order + offset_format, body, length)
        return cls(order, big, entries, following)

    def numbers(self, stream: BinaryIO, size: int, tag: int) -> list[int] | None:
        """Return the integers of a tag: [] if there is none, None if the file ends before them."""
        if tag not in self.entries:
            return []
        kind, count, inline = self.entries[tag]
        if kind not in _FORMATS:
            return []
        length = count * _SIZES[_FORMATS[kind]]
        if length > len(inline):
            (at,) = struct.unpack(self.order + ("Q" if self.big else "I"), inline)
            if at + length > size:
                return None
            stream.seek(at)
            inline = stream.read(length)
        layout = f"{self.order}{_FORMATS[kind].replace('I', 'u4').replace('H', 'u2')}"
        layout = layout.replace("Q", "u8").replace("B", "u1")
        values: list[int] = np.frombuffer(inline[:length], layout).tolist()
        return values

    def role(self, stream: BinaryIO, size: int, below: int) -> FrameRole:
        """Return what the directory says about the use of its frame, `below` images below it."""
        tags = (WIDTH, HEIGHT, _NEW_SUBFILE_TYPE)
        width, height, kind = (self.numbers(stream, size, tag) or [] for tag in tags)
        return FrameRole(
            size=(width[0], height[0]) if width and height else (0, 0),
            kind=kind[0] if kind else 0,
            sub_images=below,
        )

    def below(self, stream: BinaryIO, size: int, seen: set[int]) -> tuple[int, int]:
        """Return how many images stand below this one, and where their last byte ends.

        They are those that its SubIFDs name, those that follow in a chain, and those below these.
        `seen` are the offsets that were followed before; it grows.
        """
        count = end = 0
        waiting = (self.numbers(stream, size, _SUB_IFDS) or [])[::-1]
        while waiting and count < _MAX_BELOW:
            at = waiting.pop()
            count += 1
            if at in seen:
                continue
            seen.add(at)
            directory = Directory.read(stream, size, self.order, self.big, at)
            if directory is not None:
                end = max(end, directory.last_byte(stream, size, at))
                if directory.following and directory.following not in seen:
                    waiting.append(directory.following)
                waiting += (directory.numbers(stream, size, _SUB_IFDS) or [])[::-1]
        return count, end

    def last_byte(self, stream: BinaryIO, size: int, at: int) -> int:
        """Return where the last byte of the directory at `at`, its values and its pixels ends."""
        pointer = self.order + ("Q" if self.big else "I")
        ends = [at + len(self.entries) * (20 if self.big else 12) + (16 if self.big else 6)]
        for kind, count, inline in self.entries.values():
            length = count * _SIZES.get(_FORMATS.get(kind, ""), 8 if kind in _RATIONALS else 1)
            if length > len(inline):
                ends.append(struct.unpack(pointer, inline)[0] + length)
        pairs = (*zip(OFFSETS, COUNTS, strict=True), (_EMBEDDED, _EMBEDDED_LENGTH))
        for offsets_tag, counts_tag in pairs:
            offsets = self.numbers(stream, size, offsets_tag) or []
            counts = self.numbers(stream, size, counts_tag) or []
            ends += [start + count for start, count in zip(offsets, counts, strict=False)]
        return max((end for end in ends if end <= size), default=0)
