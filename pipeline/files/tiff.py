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
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import PIL.Image

from core.errors import InputError
from core.limits import MAX_PAGE_PIXELS
from pipeline.files.following import following
from pipeline.files.grey import DECODE_ERRORS, to_grey
from pipeline.files.libtiff import Rows
from pipeline.files.media import check_size, damaged, truncated, unsupported
from pipeline.files.oblong import with_square_pixels
from pipeline.files.passed_over import PassedOver
from pipeline.files.tiff_roles import FrameRole, find_pages
from pipeline.files.tiff_strips import Strips
from pipeline.types import Image

_WIDTH, _HEIGHT = 256, 257
_NEW_SUBFILE_TYPE, _SUB_IFDS = 254, 330
_BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER = 258, 259, 262, 266
_SAMPLES, _ROWS_PER_STRIP, _PLANAR, _T4_OPTIONS = 277, 278, 284, 292
_TILE_WIDTH, _TILE_HEIGHT, _JPEG_TABLES = 322, 323, 347
_OFFSETS, _COUNTS = (273, 324), (279, 325)  # of strips, of tiles
_EMBEDDED, _EMBEDDED_LENGTH = 513, 514  # a JPEG within, as TIFF 6.0 has it
# BYTE, SHORT, LONG, UNDEFINED, IFD, LONG8, IFD8
_FORMATS = {1: "B", 3: "H", 4: "I", 7: "B", 13: "I", 16: "Q", 18: "Q"}
_RATIONALS = (5, 10, 12)  # RATIONAL, SRATIONAL and DOUBLE, of 8 bytes
_MOST_BESIDE = 20  # thumbnails and masks of a single page
_MAX_BEHIND = 64 << 20  # bytes behind the last frame that are searched
_WHITE_IS_ZERO, _YCBCR = 0, 6
_OLD_JPEG, _JPEG = 6, 7
_ORIENTATION = 274
# How Pillow turns a frame upright, by the orientation that it states.
_TURNS = {
    2: PIL.Image.Transpose.FLIP_LEFT_RIGHT, 3: PIL.Image.Transpose.ROTATE_180,
    4: PIL.Image.Transpose.FLIP_TOP_BOTTOM, 5: PIL.Image.Transpose.TRANSPOSE,
    6: PIL.Image.Transpose.ROTATE_270, 7: PIL.Image.Transpose.TRANSVERSE,
    8: PIL.Image.Transpose.ROTATE_90,
}  # fmt: skip
_SIZES = {"B": 1, "H": 2, "I": 4, "Q": 8}


@dataclass(frozen=True, slots=True)
class TiffFrame:
    """Where the pixels of a frame are, and whether white is 0 in it."""

    strips: Strips
    white_is_zero: bool


@dataclass(frozen=True, slots=True)
class TiffStructure:
    """Of each frame, its strips or what is wrong; and why the chain of frames broke off, if so.

    `roles` says which frames are pages, `end` where the last byte stands that a directory knows of.
    """

    frames: tuple[TiffFrame | InputError, ...]
    roles: tuple[FrameRole, ...]
    broken_off: InputError | None = None
    end: int = 0

    @property
    def pages(self) -> int:
        """The number of pages; where the chain broke off counts as one."""
        return sum(role.is_page for role in self.roles) + (self.broken_off is not None)


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
    frames: list[TiffFrame | InputError] = []
    roles: list[FrameRole] = []
    end = 0
    seen: set[int] = set()
    broken_off: InputError | None = None
    while at and len(frames) <= max_frames:
        if at in seen:
            broken_off = damaged("TIFF", "its pages form a loop")
            break
        seen.add(at)
        directory = _Directory.read(stream, size, order, big, at)
        if directory is None:
            what = f"all pages after page {len(frames)} are" if frames else "its first page is"
            broken_off = truncated("TIFF", f"{what} missing")
            break
        try:
            frames.append(directory.frame(stream, size, max_pixels))
        except InputError as exc:
            frames.append(exc)
        roles.append(directory.role(stream, size))
        end = max(end, directory.last_byte(stream, size, at))
        at = directory.following
    if not frames:
        raise broken_off or damaged("TIFF", "it has no pages")
    return TiffStructure(tuple(frames), find_pages(roles), broken_off, end)


def below_frames(structure: TiffStructure) -> Iterator[PassedOver]:
    """Yield the images that stand below frames, in directories outside the chain."""
    for number, role in enumerate(structure.roles, 1):
        yield from role.below(number)


def behind_tiff(stream: BinaryIO, structure: TiffStructure) -> list[PassedOver]:
    """Return the files that stand behind all that the directories of a TIFF know of."""
    if structure.broken_off is not None or any(role.sub_images for role in structure.roles):
        return []  # what follows may belong to directories that are not known
    size = stream.seek(0, os.SEEK_END) - structure.end
    stream.seek(structure.end)
    return following(stream.read(min(max(size, 0), _MAX_BEHIND)), 0)


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

    def role(self, stream: BinaryIO, size: int) -> FrameRole:
        """Return what the directory says about the use of its frame."""
        tags = (_WIDTH, _HEIGHT, _NEW_SUBFILE_TYPE, _SUB_IFDS)
        width, height, kind, below = (self.numbers(stream, size, tag) or [] for tag in tags)
        return FrameRole(
            size=(width[0], height[0]) if width and height else (0, 0),
            kind=kind[0] if kind else 0,
            sub_images=len(below),
        )

    def last_byte(self, stream: BinaryIO, size: int, at: int) -> int:
        """Return where the last byte of the directory at `at`, its values and its pixels ends."""
        pointer = self.order + ("Q" if self.big else "I")
        ends = [at + len(self.entries) * (20 if self.big else 12) + (16 if self.big else 6)]
        for kind, count, inline in self.entries.values():
            length = count * _SIZES.get(_FORMATS.get(kind, ""), 8 if kind in _RATIONALS else 1)
            if length > len(inline):
                ends.append(struct.unpack(pointer, inline)[0] + length)
        pairs = (*zip(_OFFSETS, _COUNTS, strict=True), (_EMBEDDED, _EMBEDDED_LENGTH))
        for offsets_tag, counts_tag in pairs:
            offsets = self.numbers(stream, size, offsets_tag) or []
            counts = self.numbers(stream, size, counts_tag) or []
            ends += [start + count for start, count in zip(offsets, counts, strict=False)]
        return max((end for end in ends if end <= size), default=0)

    def frame(self, stream: BinaryIO, size: int, max_pixels: int) -> TiffFrame:
        """Return where the frame's pixels are. Raises InputError if it cannot be read."""
        if 0 in self.entries:  # what a block of zeros over the directory looks like
            raise damaged("TIFF page", "its directory is garbled")
        missing = truncated("TIFF", "a part of this page is missing")
        values: dict[int, list[int]] = {}
        for tag in self.entries:
            numbers = self.numbers(stream, size, tag) if tag in _NEEDED else []
            if numbers is None:
                raise missing
            values[tag] = numbers
        if not values.get(_WIDTH) or not values.get(_HEIGHT):
            raise damaged("TIFF page", "it does not state its size")
        width, height = values[_WIDTH][0], values[_HEIGHT][0]
        check_size("TIFF page", width, height, max_pixels)
        if values.get(_COMPRESSION) == [_OLD_JPEG]:
            raise unsupported("TIFF page", "JPEG as of TIFF 6.0, since withdrawn")
        tiled = bool(values.get(_OFFSETS[1]))
        offsets, counts = (tuple(values.get(tags[tiled], ())) for tags in (_OFFSETS, _COUNTS))
        if not offsets or not values.get(_PHOTOMETRIC):
            raise damaged("TIFF page", "its directory is garbled")
        if any(not 8 <= start < size for start in offsets):
            raise missing
        if any(a + n > size for a, n in zip(offsets, counts, strict=False)):
            raise missing
        return TiffFrame(
            _strips_of(values, width, height, offsets, counts, tiled),
            values[_PHOTOMETRIC][0] == _WHITE_IS_ZERO,
        )


_NEEDED = {
    _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER, _SAMPLES, _ROWS_PER_STRIP,
    _PLANAR, _T4_OPTIONS, _TILE_WIDTH, _TILE_HEIGHT, _JPEG_TABLES, *_OFFSETS, *_COUNTS,
}  # fmt: skip


def _strips_of(
    values: dict[int, list[int]],
    width: int,
    height: int,
    offsets: tuple[int, ...],
    counts: tuple[int, ...],
    tiled: bool,
) -> Strips:
    """Return the strips, or tiles, of a frame with these tags. Raises InputError."""

    def first(tag: int, otherwise: int) -> int:
        return (values.get(tag) or [otherwise])[0]

    samples = first(_SAMPLES, 1)
    separate = first(_PLANAR, 1) == 2
    bits = values.get(_BITS) or [1]
    pixel_bits = bits[0] if separate else bits[0] * samples
    if tiled:
        columns, full_rows = first(_TILE_WIDTH, 0), first(_TILE_HEIGHT, 0)
    else:
        columns, full_rows = width, min(first(_ROWS_PER_STRIP, height), height)
    if min(columns, full_rows, samples, pixel_bits) < 1 or len(set(bits)) > 1:
        raise damaged("TIFF page", "its directory is garbled")
    check_size("TIFF page", columns, full_rows, MAX_PAGE_PIXELS)
    down = -(-height // full_rows)
    if tiled:
        rows = [full_rows] * (down * -(-width // columns))
    else:
        rows = [full_rows] * (down - 1) + [height - (down - 1) * full_rows]
    compression = first(_COMPRESSION, 1)
    return Strips(
        compression=compression,
        offsets=offsets,
        counts=counts,
        columns=columns,
        rows=tuple(rows * (samples if separate else 1)),
        full_rows=full_rows,
        row_bits=columns * pixel_bits,
        fill_order=first(_FILL_ORDER, 1),
        t4_options=first(_T4_OPTIONS, 0),
        jpeg_tables=bytes(values.get(_JPEG_TABLES, ())),
        subsampled=first(_PHOTOMETRIC, 0) == _YCBCR and compression != _JPEG,
    )


def decode_frame(
    image: PIL.Image.Image, stream: BinaryIO, index: int, frame: TiffFrame
) -> PIL.Image.Image:
    """Decode frame `index` of a TIFF open in Pillow to an upright image of mode "1" or "L".

    A frame of oblong pixels, as faxes have, is stretched to square ones.

    Raises InputError if anything of it is missing or garbled.
    """
    try:
        image.seek(index)
        across, down = _resolution(image)
        orientation = image.getexif().get(_ORIENTATION, 1)
        fax = frame.strips.check(stream)
        if fax is not None and fax.shape[0] == image.height and frame.strips.columns == image.width:
            decoded = _bilevel(fax, image.width, frame.white_is_zero, orientation)
        else:
            image.load()  # this also turns the frame upright
            decoded = image.copy() if image.mode == "1" else PIL.Image.fromarray(to_grey(image))
    except DECODE_ERRORS as exc:
        raise damaged("TIFF page", "it cannot be decoded") from exc
    if orientation in (5, 6, 7, 8):
        across, down = down, across
    grey = np.asarray(decoded.convert("L")) if across != down else None
    if grey is not None and (square := with_square_pixels(grey, (across, down))) is not grey:
        return PIL.Image.fromarray(square)
    return decoded


def _bilevel(rows: Rows, width: int, white_is_zero: bool, orientation: int) -> PIL.Image.Image:
    """Return unpacked rows of a fax as an upright image of mode "1"."""
    height = rows.shape[0]
    mode = "1;I" if white_is_zero else "1"
    image = PIL.Image.frombytes("1", (width, height), rows.tobytes(), "raw", mode)
    turn = _TURNS.get(orientation)
    return image if turn is None else image.transpose(turn)


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

    A TIFF of several pages is refused: none may be skipped silently.
    """
    stream = io.BytesIO(data)
    structure = read_structure(stream, max_pixels, _MOST_BESIDE)
    frame = structure.frames[0]
    if isinstance(frame, InputError):
        raise frame
    if structure.broken_off:
        raise structure.broken_off
    if structure.pages > 1 or len(structure.frames) > _MOST_BESIDE:
        raise InputError(
            "The TIFF has several pages, but one is expected here.",
            hint="Save the page that you need as a file of its own.",
            code="several-pages",
        )
    with open_tiff(stream) as image:
        decoded = decode_frame(image, stream, 0, frame)
    return np.asarray(decoded.convert("L"))
