"""TIFF written by hand: frames in a chain, with marks, and images in directories below them."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

import PIL.Image


@dataclass(frozen=True, slots=True)
class TiffPage:
    """A frame: an image of mode "L", its NewSubfileType, and the images below it.

    The pixels of a `lost` one are beyond the end of the file. The images below it stand in its
    SubIFDs, or, with `chain`, in a chain that begins there.
    """

    image: PIL.Image.Image
    kind: int = 0
    below: Sequence[TiffPage] = field(default_factory=tuple)
    lost: bool = False
    chain: bool = False


def tiff_of(pages: Sequence[TiffPage], *, order: str, big: bool) -> bytes:
    """Return a TIFF of these frames; `order` is "<" or ">"."""
    writer = _Writer(order, big)
    writer.chain(pages, writer.first)
    return bytes(writer.data)


class _Writer:
    def __init__(self, order: str, big: bool) -> None:
        self._order = order
        self._offset = "Q" if big else "I"
        self._size = 8 if big else 4
        self._count = "Q" if big else "H"
        mark = b"II" if order == "<" else b"MM"
        version = struct.pack(f"{order}HHH", 43, 8, 0) if big else struct.pack(f"{order}H", 42)
        self.data = bytearray(mark + version)
        self.first = len(self.data)  # where the offset of the first directory stands
        self.data += bytes(self._size)

    def chain(self, pages: Sequence[TiffPage], place: int) -> None:
        """Write frames, each of which names the next; the offset of the first goes to `place`."""
        for page in pages:
            place = self._frame(page, place)

    def _frame(self, page: TiffPage, place: int) -> int:
        """Write a frame; return where the offset of the next one belongs."""
        pixels = page.image.tobytes()
        start = len(self.data) + (1 << 24 if page.lost else 0)
        if not page.lost:
            self.data += pixels
        self.data += bytes(len(self.data) % 2)
        width, height = page.image.size
        entries = [
            (254, page.kind), (256, width), (257, height), (258, 8), (259, 1), (262, 1),
            (273, start), (277, 1), (278, height), (279, len(pixels)),
        ]  # fmt: skip
        heads = 1 if page.chain else len(page.below)  # of chains below this frame
        form = f"{self._order}HH{self._offset}{self._offset}"
        there = len(self.data)
        self._point(place, there)
        count = len(entries) + bool(page.below)
        self.data += struct.pack(self._order + self._count, count)
        for tag, value in entries:
            self.data += struct.pack(form, tag, 16 if self._size == 8 else 4, 1, value)
        inline = len(self.data) + struct.calcsize(f"{self._order}HH{self._offset}")
        if page.below:
            self.data += struct.pack(form, 330, 18 if self._size == 8 else 13, heads, 0)
        following = len(self.data)
        self.data += bytes(self._size)
        if page.below:
            places = [inline]
            if heads > 1:
                self._point(inline, len(self.data))
                places = [len(self.data) + self._size * n for n in range(heads)]
                self.data += bytes(self._size * heads)
            if page.chain:
                self.chain(page.below, places[0])
            else:
                for sub, where in zip(page.below, places, strict=True):
                    self.chain([sub], where)
        return following

    def _point(self, place: int, target: int) -> None:
        struct.pack_into(self._order + self._offset, self.data, place, target)
