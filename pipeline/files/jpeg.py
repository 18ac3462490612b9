"""JPEG, strictly: every pixel comes from the file, or there is an error.

libjpeg, and so every reader built on it, fills whatever is missing with grey and goes on, with a
warning that neither Pillow nor OpenCV passes on. A cheque whose amount was filled with grey is a
lost number, so two ways prove that no bit was invented:

- For what scanners write (one baseline scan, no restart markers) the image is declared one row of
  blocks taller, and a run of one-bits is added behind its data: just enough for four more groups
  of blocks (MCUs). No Huffman code is all ones, so libjpeg spends exactly 17 bits on each code that
  it looks for there (jdhuff.c, `jpeg_huff_decode`). The fifth MCU of the added row is then tried
  only if the image itself took no bit of the run; where it took one, libjpeg has run dry a group
  earlier and leaves the fifth flat grey. That costs nothing: the image is decoded once.
- For everything else it is decoded twice, with different bits behind each piece of its data. A
  complete image does not depend on what follows it.

Structure: ITU-T T.81, annexes B and G.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass, field

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from pipeline.files.exif import parse_orientation
from pipeline.files.media import broken, check_size, cut_off, unsupported
from pipeline.types import Image

_SOI, _EOI, _SOS, _DHT, _DRI, _APP0, _APP1, _APP14 = (
    0xD8, 0xD9, 0xDA, 0xC4, 0xDD, 0xE0, 0xE1, 0xEE,
)  # fmt: skip
_FRAMES = {*range(0xC0, 0xD0)} - {_DHT, 0xC8, 0xCC}
_END = b"\xff\xd9"
# What libjpeg misses it reads as zeros; these are other bits, with each beginning of three. The
# first was told from zeros most often: in 7,793 of 7,796 images cut within their last bytes.
_OTHER_BITS = tuple(
    bytes([first]) + bytes(range(3, 251, 7))
    for first in (0xA5, 0x5A, 0x3C, 0xC3, 0x69, 0x96, 0xE1, 0x1E)
)
_SMALL = 100_000  # pixels: all of the above are tried
_MCUS_OF_ONES = 4
_BITS_OF_BAD_CODE = 17


@dataclass(frozen=True, slots=True)
class _Component:
    number: int
    across: int  # sampling factors
    down: int


@dataclass(slots=True)
class _Structure:
    """What the markers say. `kept` is the file without what is about the image, not of it."""

    kept: bytearray
    width: int = 0
    height: int = 0
    height_at: int = 0  # in `kept`
    frame: int = 0
    components: tuple[_Component, ...] = ()
    restart_interval: int = 0
    scans: int = 0
    all_ones_code: bool = False
    # Of entropy-coded data, in `kept`: first byte, and behind the last.
    pieces: list[tuple[int, int]] = field(default_factory=list)
    orientation: int | None = None


def decode_jpeg(data: bytes, max_pixels: int) -> tuple[Image, int]:
    """Decode a JPEG to grey (height, width) uint8, as stored, with the orientation of its EXIF.

    Raises InputError if anything is missing or damaged, or above `max_pixels`.
    """
    found = _parse(data, max_pixels)
    if _is_plain(found):
        grey = _decode_once(found)
        if grey is None:  # cut off; or the fifth group happens to be that grey
            grey = _decode_twice(found, _OTHER_BITS)
    else:
        small = found.width * found.height <= _SMALL
        grey = _decode_twice(found, _OTHER_BITS if small else _OTHER_BITS[:1])
    return grey, found.orientation or 1


def _parse(data: bytes, max_pixels: int) -> _Structure:
    found = _Structure(bytearray(b"\xff\xd8"))
    precision: dict[tuple[int, int], int] = {}  # (component, coefficient) -> bits still missing
    ends = _scan_ends(data)
    at = 2
    while True:
        while data[at : at + 2] == b"\xff\xff":  # fill bytes
            at += 1
        if at + 2 > len(data):
            raise cut_off("JPEG", "the end is missing")
        if data[at] != 0xFF:
            raise broken("JPEG", "there is something else where a marker belongs")
        marker = data[at + 1]
        if marker == _EOI:
            break
        if marker in (_SOI, 0x01) or 0xD0 <= marker <= 0xD7:
            at += 2
            continue
        length = int.from_bytes(data[at + 2 : at + 4])
        body = data[at + 4 : at + 2 + length]
        if at + 4 > len(data) or at + 2 + length > len(data):
            raise cut_off("JPEG", "the end is missing")
        if length < 2:
            raise broken("JPEG", "a part of it has no length")
        if marker in _FRAMES:
            if found.frame:
                raise broken("JPEG", "it has two headers")
            _read_frame(found, marker, body, max_pixels)
            found.height_at = len(found.kept) + 5
        elif marker == _DRI and len(body) >= 2:
            found.restart_interval = int.from_bytes(body[:2])
        elif marker == _DHT:
            found.all_ones_code |= _has_all_ones_code(body)
        elif marker == _APP1 and body[:6] == b"Exif\0\0" and found.orientation is None:
            found.orientation = parse_orientation(body[6:])
        if marker < _APP0 or marker == _APP14 or (marker == _APP0 and body[:5] == b"JFIF\0"):
            found.kept += data[at : at + 2 + length]
        at += 2 + length
        if marker != _SOS:
            continue
        scanned = _read_scan(found, body, precision)
        after = int(np.searchsorted(ends, at))
        if after == len(ends):
            raise cut_off("JPEG", "the end is missing")
        end = int(ends[after])
        _check_restarts(found, scanned, data[at:end])
        piece = len(found.kept)
        found.kept += data[at:end]
        found.pieces.append((piece, len(found.kept)))
        at = end
    if not found.scans:
        raise cut_off("JPEG", "there is no image in it")
    if any(precision.get((c.number, 0), 1) for c in found.components):
        raise cut_off("JPEG", "a part of the image is missing")
    if any(precision.values()):
        raise cut_off("JPEG", "the last refinements of the image are missing")
    found.kept += _END
    return found


def _scan_ends(data: bytes) -> NDArray[np.intp]:
    """Return where the markers are that end entropy-coded data: all but stuffing and restarts."""
    values = np.frombuffer(data, np.uint8)
    at = np.flatnonzero(values[:-1] == 0xFF)
    then = values[at + 1]
    ends: NDArray[np.intp] = at[(then != 0) & (then != 0xFF) & ((then & 0xF8) != 0xD0)]
    return ends


def _restarts(piece: bytes) -> list[int]:
    """Return where the restart markers are in entropy-coded data."""
    values = np.frombuffer(piece, np.uint8)
    at = np.flatnonzero(values[:-1] == 0xFF)
    positions: list[int] = at[(values[at + 1] & 0xF8) == 0xD0].tolist()
    return positions


def _read_frame(found: _Structure, marker: int, body: bytes, max_pixels: int) -> None:
    if len(body) < 6 or len(body) < 6 + 3 * body[5]:
        raise broken("JPEG", "its header is too short")
    bits, height, width, count = struct.unpack_from(">BHHB", body)
    if marker not in (0xC0, 0xC1, 0xC2) or bits != 8:
        raise unsupported("JPEG", "lossless, arithmetic or of 12 bits")
    check_size("JPEG", width, height, max_pixels)
    if count not in (1, 3, 4):
        raise unsupported("JPEG", f"{count} colour channels")
    found.components = tuple(
        _Component(body[at], body[at + 1] >> 4, body[at + 1] & 15)
        for at in range(6, 6 + 3 * count, 3)
    )
    if not all(1 <= c.across <= 4 and 1 <= c.down <= 4 for c in found.components):
        raise broken("JPEG", "its header makes no sense")
    found.frame, found.width, found.height = marker, width, height


def _read_scan(
    found: _Structure, body: bytes, precision: dict[tuple[int, int], int]
) -> list[_Component]:
    """Note which coefficients the scan brings, and how many of their low bits are still to come.

    Returns the colour components that the scan is of.
    """
    if not found.frame:
        raise broken("JPEG", "its header is missing")
    count = body[0] if body else 0
    if not 1 <= count <= 4 or len(body) < 4 + 2 * count:
        raise broken("JPEG", "a part of it has a bad header")
    found.scans += 1
    first, last, bits = body[1 + 2 * count : 4 + 2 * count]
    known = {c.number: c for c in found.components}
    numbers = body[1 : 1 + 2 * count : 2]
    for number in numbers:
        if number not in known:
            raise broken("JPEG", "a part of it belongs to no colour")
        if found.frame != 0xC2:
            precision[number, 0] = 0
            continue
        for coefficient in range(64):
            precision.setdefault((number, coefficient), 16)
        for coefficient in range(first, min(last, 63) + 1):
            precision[number, coefficient] = bits & 15
    return [known[number] for number in numbers]


def _check_restarts(found: _Structure, scanned: list[_Component], piece: bytes) -> None:
    """Raise InputError unless every restart marker that the scan must have is there, in order."""
    if not found.restart_interval:
        return
    across = max(c.across for c in found.components)
    down = max(c.down for c in found.components)
    if len(scanned) == 1:  # not interleaved: an MCU is one block of that component
        width = -(-found.width * scanned[0].across // across)
        height = -(-found.height * scanned[0].down // down)
        mcus = -(-width // 8) * -(-height // 8)
    else:
        mcus = -(-found.width // (8 * across)) * -(-found.height // (8 * down))
    needed = -(-mcus // found.restart_interval) - 1
    at = _restarts(piece)[:needed]
    numbers = bytes(piece[i + 1] for i in at)
    if numbers != bytes(0xD0 + i % 8 for i in range(needed)):
        raise cut_off("JPEG", "a part of the image is missing")


def _has_all_ones_code(body: bytes) -> bool:
    """Whether a Huffman table uses the code of ones only, which T.81 forbids (C.2)."""
    at = 0
    while at + 17 <= len(body):
        counts = body[at + 1 : at + 17]
        if sum(n << (15 - i) for i, n in enumerate(counts)) >= 1 << 16:
            return True
        at += 17 + sum(counts)
    return False


def _mcu(found: _Structure) -> tuple[int, int, int]:
    """Return width and height of an MCU in pixels, and its number of blocks."""
    across = max(c.across for c in found.components)
    down = max(c.down for c in found.components)
    return 8 * across, 8 * down, sum(c.across * c.down for c in found.components)


def _is_plain(found: _Structure) -> bool:
    """Whether the proof by an added row holds for such a file."""
    width, height, blocks = _mcu(found)
    first = found.components[0]
    return (
        found.frame in (0xC0, 0xC1)
        and found.scans == 1
        and not found.restart_interval
        and not found.all_ones_code
        and (len(found.components) == 3 or (len(found.components) == 1 and blocks == 1))
        # Only the first component is looked at, so it must have every pixel.
        and (8 * first.across, 8 * first.down) == (width, height)
        and found.width > width * _MCUS_OF_ONES
        and found.height + 2 * height <= 65500
    )


def _decode_once(found: _Structure) -> Image | None:
    """Decode, with the proof by an added row; None where that fails."""
    width, height, blocks = _mcu(found)
    rows = -(-found.height // height) * height
    _, end = found.pieces[0]
    ones = 2 * _BITS_OF_BAD_CODE * blocks * _MCUS_OF_ONES // 8
    taller = found.kept[:end] + b"\xff\x00" * ones + _END
    taller[found.height_at : found.height_at + 2] = (rows + height).to_bytes(2)
    grey = _pixels(taller)
    fifth = grey[rows:, width * _MCUS_OF_ONES : width * (_MCUS_OF_ONES + 1)]
    if (fifth == 128).all():
        return None
    return grey[: found.height]


def _decode_twice(found: _Structure, others: tuple[bytes, ...]) -> Image:
    """Decode as it is and with other bits behind each piece of data; they must not differ."""
    grey = _pixels(found.kept)
    for bits in others:
        other = bytearray()
        done = 0
        for start, end in found.pieces:
            other += found.kept[done:start]
            piece = bytes(found.kept[start:end])
            last = 0
            for at in _restarts(piece):
                other += piece[last:at] + bits
                last = at
            other += piece[last:]
            other += bits
            done = end
        other += found.kept[done:]
        if not np.array_equal(grey, _pixels(other)):
            raise cut_off("JPEG", "a part of the image is missing")
    return grey


def _pixels(data: bytearray) -> Image:
    """Decode by libjpeg. Of colour in YCbCr only the luma is, which is the grey that we want."""
    try:
        with PIL.Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
            if image.mode == "RGB":
                image.draft("L", None)
            image.load()
            return np.asarray(image if image.mode == "L" else image.convert("L"))
    except (OSError, SyntaxError, ValueError, EOFError, PIL.Image.DecompressionBombError) as exc:
        raise broken("JPEG", "it cannot be decoded") from exc
