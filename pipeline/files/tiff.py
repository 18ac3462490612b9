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
from pipeline.files.tiff_directory import COUNTS, HEIGHT, OFFSETS, WIDTH, Directory
from pipeline.files.tiff_roles import FrameRole, find_pages
from pipeline.files.tiff_strips import Strips
from pipeline.types import Image

_BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER = 258, 259, 262, 266
_SAMPLES, _ROWS_PER_STRIP, _PLANAR, _T4_OPTIONS = 277, 278, 284, 292
_TILE_WIDTH, _TILE_HEIGHT, _JPEG_TABLES = 322, 323, 347
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
    if big and order == ">":
        raise unsupported("TIFF", "BigTIFF of big-endian byte order")
    (at,) = struct.unpack_from(order + ("Q" if big else "I"), head, 8 if big else 4)
    frames: list[TiffFrame | InputError] = []
    roles: list[FrameRole] = []
    end = 0
    seen, seen_below = set[int](), set[int]()
    broken_off: InputError | None = None
    while at and len(frames) <= max_frames:
        if at in seen:
            broken_off = damaged("TIFF", "its pages form a loop")
            break
        seen.add(at)
        seen_below.add(at)
        directory = Directory.read(stream, size, order, big, at)
        if directory is None:
            what = f"all pages after page {len(frames)} are" if frames else "its first page is"
            broken_off = truncated("TIFF", f"{what} missing")
            break
        try:
            frames.append(_frame(directory, stream, size, max_pixels))
        except InputError as exc:
            frames.append(exc)
        below, end_below = directory.below(stream, size, seen_below)
        roles.append(directory.role(stream, size, below))
        end = max(end, end_below, directory.last_byte(stream, size, at))
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
    if structure.broken_off is not None:
        return []  # what follows may belong to directories that are not known
    size = stream.seek(0, os.SEEK_END) - structure.end
    stream.seek(structure.end)
    return following(stream.read(min(max(size, 0), _MAX_BEHIND)), 0)


def _frame(directory: Directory, stream: BinaryIO, size: int, max_pixels: int) -> TiffFrame:
    """Return where the frame's pixels are. Raises InputError if it cannot be read."""
    if 0 in directory.entries:  # what a block of zeros over the directory looks like
        raise damaged("TIFF page", "its directory is garbled")
    missing = truncated("TIFF", "a part of this page is missing")
    values: dict[int, list[int]] = {}
    for tag in directory.entries:
        numbers = directory.numbers(stream, size, tag) if tag in _NEEDED else []
        if numbers is None:
            raise missing
        values[tag] = numbers
    if not values.get(WIDTH) or not values.get(HEIGHT):
        raise damaged("TIFF page", "it does not state its size")
    width, height = values[WIDTH][0], values[HEIGHT][0]
    check_size("TIFF page", width, height, max_pixels)
    if values.get(_COMPRESSION) == [_OLD_JPEG]:
        raise unsupported("TIFF page", "JPEG as of TIFF 6.0, since withdrawn")
    tiled = bool(values.get(OFFSETS[1]))
    offsets, counts = (tuple(values.get(tags[tiled], ())) for tags in (OFFSETS, COUNTS))
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
    WIDTH, HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER, _SAMPLES, _ROWS_PER_STRIP,
    _PLANAR, _T4_OPTIONS, _TILE_WIDTH, _TILE_HEIGHT, _JPEG_TABLES, *OFFSETS, *COUNTS,
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
