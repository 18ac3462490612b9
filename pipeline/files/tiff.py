"""TIFF: every frame of the file, or word of why not.

The directories are followed here, before libtiff sees them: Pillow stops without a word where the
chain of frames breaks off, and OpenCV drops the frames behind a bad one.
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
from pipeline.files.grey import DECODE_ERRORS, grey_of
from pipeline.files.media import broken, check_size, cut_off
from pipeline.types import Image

_WIDTH, _HEIGHT = 256, 257
_OFFSETS, _COUNTS = (273, 324), (279, 325)  # of strips, of tiles
_FORMATS = {1: "B", 3: "H", 4: "I", 16: "Q"}  # BYTE, SHORT, LONG, LONG8
_SIZES = {"B": 1, "H": 2, "I": 4, "Q": 8}


@dataclass(frozen=True, slots=True)
class TiffStructure:
    """One entry a frame: None, or why it cannot be read. `end` is why the chain broke off."""

    frames: tuple[InputError | None, ...]
    end: InputError | None = None


def read_structure(stream: BinaryIO, max_pixels: int, max_frames: int) -> TiffStructure:
    """Follow the directories of a TIFF, at most `max_frames` + 1 of them.

    Raises InputError where not even the first can be found.
    """
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    head = stream.read(16)
    order = ">" if head[:2] == b"MM" else "<"
    big = head[2:4] in (b"+\0", b"\0+")
    if len(head) < (16 if big else 8):
        raise cut_off("TIFF", "there is only its beginning")
    (at,) = struct.unpack_from(order + ("Q" if big else "I"), head, 8 if big else 4)
    frames: list[InputError | None] = []
    seen: set[int] = set()
    end: InputError | None = None
    while at and len(frames) <= max_frames:
        if at in seen:
            end = broken("TIFF", "its frames run in a circle")
            break
        seen.add(at)
        directory = _Directory.read(stream, size, order, big, at)
        if directory is None:
            end = cut_off("TIFF", f"after frame {len(frames)} there is more, but it is missing")
            break
        frames.append(directory.fault(stream, size, max_pixels))
        at = directory.following
    if not frames:
        raise end or broken("TIFF", "it has no frames")
    if end and end.code == "truncated":
        end = cut_off("TIFF", f"it goes on after frame {len(frames)}, but the rest is missing")
    return TiffStructure(tuple(frames), end)


@dataclass(frozen=True, slots=True)
class _Directory:
    order: str
    big: bool
    entries: dict[int, tuple[int, int, bytes]]  # tag -> type, count, value or its offset
    following: int

    @classmethod
    def read(cls, stream: BinaryIO, size: int, order: str, big: bool, at: int) -> _Directory | None:
        """Return the directory at `at`, or None if it does not lie in the file."""
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
        """Return the whole numbers of a tag, [] without it, None if they are not in the file."""
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
        """Return why the frame cannot be read, as far as its directory tells."""
        widths, heights = (self.numbers(stream, size, tag) for tag in (_WIDTH, _HEIGHT))
        if not widths or not heights:
            return broken("TIFF frame", "it does not say how large it is")
        try:
            check_size("TIFF frame", widths[0], heights[0], max_pixels)
        except InputError as exc:
            return exc
        missing = cut_off("TIFF", "a part of this frame is missing")
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
    """Decode frame `index` of an open TIFF: upright, square pixels, mode "1" or "L".

    Raises InputError.
    """
    try:
        image.seek(index)
        across, down = _resolution(image)
        turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
        image.load()  # Pillow turns TIFF frames upright by itself
        if image.mode == "1":
            frame: PIL.Image.Image = image.copy()
        else:
            frame = PIL.Image.fromarray(grey_of(image))
    except DECODE_ERRORS as exc:
        raise broken("TIFF frame", "it cannot be decoded") from exc
    if turned:
        across, down = down, across
    if max(across, down) > 1.05 * min(across, down):  # standard fax: 204 by 98 dots per inch
        finer = max(across, down)
        width, height = round(frame.width * finer / across), round(frame.height * finer / down)
        if width * height <= 4 * frame.width * frame.height:
            return frame.convert("L").resize((width, height))
    return frame


def _resolution(image: PIL.Image.Image) -> tuple[float, float]:
    """Return the dots per inch across and down; equal ones where the file says nothing sensible."""
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
        raise broken("TIFF", "it cannot be decoded, or it is of a rare variety") from exc


def decode_single_tiff(data: bytes, max_pixels: int) -> Image:
    """Decode a TIFF of one frame; one of several is refused, so that no frame is passed over."""
    stream = io.BytesIO(data)
    structure = read_structure(stream, max_pixels, 1)
    if fault := structure.frames[0] or structure.end:
        raise fault
    if len(structure.frames) > 1:
        raise InputError(
            "The TIFF has several frames where one page is asked for.",
            hint="Send it as a document.",
            code="several-pages",
        )
    with open_tiff(stream) as image:
        frame = decode_frame(image, 0)
    return np.asarray(frame.convert("L"))
