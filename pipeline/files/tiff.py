"""TIFF: every frame of the file, or the reason why it cannot be read.

The chain of directories, one a frame, is followed here before libtiff sees it: Pillow stops
silently where the chain breaks off, and OpenCV drops all frames behind a bad one. People call a
frame a page, and so do the messages.
Structure: TIFF 6.0, section 2; BigTIFF (https://www.awaresystems.be/imaging/tiff/bigtiff.html).
"""

from __future__ import annotations

import io
import os
import struct
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import PIL.Image

from core.errors import InputError
from pipeline.files.grey import DECODE_ERRORS, to_grey
from pipeline.files.media import check_size, damaged, truncated
from pipeline.types import Image

_WIDTH, _HEIGHT = 256, 257
_OFFSETS, _COUNTS = (273, 324), (279, 325)  # of strips, of tiles
_FORMATS = {1: "B", 3: "H", 4: "I", 16: "Q"}  # BYTE, SHORT, LONG, LONG8
_SIZES = {"B": 1, "H": 2, "I": 4, "Q": 8}


@dataclass(frozen=True, slots=True)
class TiffStructure:
    """What is wrong with each frame, or None; and why the chain of frames broke off, if it did."""

    faults: tuple[InputError | None, ...]
    broken_off: InputError | None = None


def read_structure(stream: BinaryIO, max_pixels: int, max_frames: int) -> TiffStructure:
    """Follow the directories of a TIFF, at most `max_frames` + 1 of them.

    Raises InputError if not even the first is found.
    """
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    head = stream.read(16)
    order = ">" if head[:2] == b"MM" else "<"
    big = head[2:4] in (b"+\0", b"\0+")
    if len(head) < (16 if big else 8):
        raise truncated("TIFF", "there is only its beginning")
    (at,) = struct.unpack_from(order + ("Q" if big else "I"), head, 8 if big else 4)
    faults: list[InputError | None] = []
    seen: set[int] = set()
    broken_off: InputError | None = None
    while at and len(faults) <= max_frames:
        if at in seen:
            broken_off = damaged("TIFF", "its pages form a loop")
            break
        seen.add(at)
        directory = _Directory.read(stream, size, order, big, at)
        if directory is None:
            what = f"all pages after page {len(faults)} are" if faults else "its first page is"
            broken_off = truncated("TIFF", f"{what} missing")
            break
        faults.append(directory.fault(stream, size, max_pixels))
        at = directory.following
    if not faults:
        raise broken_off or damaged("TIFF", "it has no pages")
    return TiffStructure(tuple(faults), broken_off)


@dataclass(frozen=True, slots=True)
class _Directory:
    order: str
    big: bool
    entries: dict[int, tuple[int, int, bytes]]  # tag -> type, count, value or its offset
    following: int

    @classmethod
    def read(cls, stream: BinaryIO, size: int, order: str, big: bool, at: int) -> _Directory | None:
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

    def fault(self, stream: BinaryIO, size: int, max_pixels: int) -> InputError | None:
        """Return why the frame cannot be read, or None if its directory shows no reason."""
        widths, heights = (self.numbers(stream, size, tag) for tag in (_WIDTH, _HEIGHT))
        if not widths or not heights:
            return damaged("TIFF page", "it does not state its size")
        try:
            check_size("TIFF page", widths[0], heights[0], max_pixels)
        except InputError as exc:
            return exc
        missing = truncated("TIFF", "a part of this page is missing")
        for offsets_tag, counts_tag in zip(_OFFSETS, _COUNTS, strict=True):
            offsets = self.numbers(stream, size, offsets_tag)
            counts = self.numbers(stream, size, counts_tag)
            if offsets is None or counts is None:
                return missing
            if any(start >= size for start in offsets):
                return missing
            if any(a + n > size for a, n in zip(offsets, counts, strict=False)):
                return missing
        return None


def decode_frame(image: PIL.Image.Image, index: int) -> PIL.Image.Image:
    """Decode frame `index` of an open TIFF to an upright image of mode "1" or "L".

    A frame of oblong pixels, as faxes have, is stretched to square ones.

    Raises InputError.
    """
    try:
        image.seek(index)
        across, down = _resolution(image)
        turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
        image.load()  # this also turns the frame upright
        if image.mode == "1":
            frame: PIL.Image.Image = image.copy()
        else:
            frame = PIL.Image.fromarray(to_grey(image))
    except DECODE_ERRORS as exc:
        raise damaged("TIFF page", "it cannot be decoded") from exc
    if turned:
        across, down = down, across
    if max(across, down) > 1.05 * min(across, down):  # standard fax: 204 by 98 dots per inch
        finer = max(across, down)
        width, height = round(frame.width * finer / across), round(frame.height * finer / down)
        if width * height <= 4 * frame.width * frame.height:
            return frame.convert("L").resize((width, height))
    return frame


def _resolution(image: PIL.Image.Image) -> tuple[float, float]:
    """Return the dots per inch across and down, or equal numbers if the file has no valid ones."""
    pair = image.info.get("dpi")
    if not pair:
        return 1.0, 1.0
    across, down = (float(value) for value in pair)
    if not (10 <= across <= 10_000 and 10 <= down <= 10_000):
        return 1.0, 1.0
    return across, down


def open_tiff(stream: BinaryIO) -> PIL.Image.Image:
    """Open a TIFF in Pillow. Raises InputError."""
    stream.seek(0)
    try:
        return PIL.Image.open(stream, formats=["TIFF"])
    except DECODE_ERRORS as exc:
        raise damaged("TIFF", "it cannot be decoded, or it is of a rare variety") from exc


def decode_single_tiff(data: bytes, max_pixels: int) -> Image:
    """Decode a TIFF of one frame to grey (height, width) uint8. Raises InputError.

    A TIFF of several frames is refused: none may be skipped silently.
    """
    stream = io.BytesIO(data)
    structure = read_structure(stream, max_pixels, 1)
    if fault := structure.faults[0] or structure.broken_off:
        raise fault
    if len(structure.faults) > 1:
        raise InputError(
            "The TIFF has several pages, but one is expected here.",
            hint="Save the page that you need as a file of its own.",
            code="several-pages",
        )
    with open_tiff(stream) as image:
        frame = decode_frame(image, 0)
    return np.asarray(frame.convert("L"))
