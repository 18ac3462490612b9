"""JPEG 2000, as it is in PDFs: decoded by OpenJPEG, and searched for blocks that were lost.

Its arithmetic coding has no check of its own: OpenJPEG decodes zeros as well as anything. But the
encoder never writes many zeros in a row, except one byte for each packet that holds nothing.
Structure: ITU-T T.800, annexes A (codestream) and B (packets).
"""

from __future__ import annotations

import io
import re
import struct

import PIL.Image

from pipeline.files.grey import DECODE_ERRORS
from pipeline.files.media import check_size, damaged

_SIZE, _CODING, _DATA, _END = b"\xff\x51", b"\xff\x52", b"\xff\x93", b"\xff\xd9"
_START = b"\xff\x4f\xff\x51"
_FEWEST_ZEROS = 32  # in a row: in coded data there are hardly ever two
_ZEROS = re.compile(rb"\0{%d,}" % _FEWEST_ZEROS)
_MAX_PRECINCT = 15  # the binary logarithm of its width, unless it is stated


def check_jpeg2000(data: bytes, max_pixels: int) -> tuple[int, int]:
    """Decode a JPEG 2000 image and return its height and width. Raises InputError."""
    try:
        with PIL.Image.open(io.BytesIO(data), formats=["JPEG2000"]) as image:
            check_size("image", image.width, image.height, max_pixels)
            image.load()
            size = image.height, image.width
    except DECODE_ERRORS as exc:
        raise damaged("image", "it cannot be decoded") from exc
    start = data.find(_START)
    if not data.rstrip(b"\0\r\n").endswith(_END) and b"jp2c" not in data[-8:]:
        raise damaged("image", "its end is missing")
    first = data.find(_DATA, start)
    runs = [len(zeros[0]) for zeros in _ZEROS.finditer(data, max(first, 0))]
    if runs and max(runs) > _most_empty_packets(data, start, size):
        raise damaged("image", "a block of it was lost")
    return size


def _most_empty_packets(data: bytes, start: int, size: tuple[int, int]) -> int:
    """Return how many packets of a tile may hold nothing, one behind the other."""
    try:
        wide, high = struct.unpack_from(">II", data, start + 24)  # of a tile
        (components,) = struct.unpack_from(">H", data, start + 40)
        at = data.index(_CODING, start)
        style, _, layers, _, levels = struct.unpack_from(">BBHBB", data, at + 4)
        precincts = list(data[at + 14 : at + 15 + levels]) if style & 1 else []
    except (struct.error, ValueError) as exc:
        raise damaged("image", "its header is garbled") from exc
    packets: int = 0
    for level in range(levels + 1):
        sizes = precincts[level] if level < len(precincts) else 0xFF
        shrunk = levels - level
        across = -(-min(wide, size[1]) >> (shrunk + (sizes & _MAX_PRECINCT))) + 1
        down = -(-min(high, size[0]) >> (shrunk + (sizes >> 4))) + 1
        packets += across * down
    return int(max(_FEWEST_ZEROS, packets * layers * components))
