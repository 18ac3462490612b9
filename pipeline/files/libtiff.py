"""Compressed rows of pixels, unpacked by libtiff with every warning of it heard.

libtiff goes on where a fax or a JPEG is damaged, at most with a warning, and Pillow switches the
warnings off. At an end mark in the middle of a fax it stops without one, and the rows behind it
are whatever was in memory. So the strip is put into a TIFF of its own that claims more rows than
it has: a sound strip ends exactly where it should, and libtiff says so.

This is the libtiff that Pillow brings, called through ctypes. Its handlers of messages are those
of one open file, so nothing is changed for others in the process.
API: https://libtiff.gitlab.io/libtiff/functions/TIFFOpenOptions.html
"""

from __future__ import annotations

import ctypes
import os
import re
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import numpy as np
import PIL._imaging
from numpy.typing import NDArray

from pipeline.files.media import damaged, truncated

RLE, GROUP3, GROUP4, LZW, PACKBITS = 2, 3, 4, 5, 32773
CCITT = (RLE, GROUP3, GROUP4)

_POINTER = ctypes.c_void_p
_ON_MESSAGE = ctypes.CFUNCTYPE(
    ctypes.c_int, _POINTER, _POINTER, ctypes.c_char_p, ctypes.c_char_p, _POINTER
)
_MESSAGE_BYTES = 300
# Rows of Group 3 without an end of line (EOL) before each are as strictly counted.
_NO_LINE_END = re.compile(rb"Try to decode \(read\) fax Group 3 data without EOL")
_FILL_ORDER, _T4_OPTIONS = 266, 292
_OLD_LZW = b"Old-style LZW codes"  # bits in another order, as before TIFF 6.0: read all the same
_NO_LZW_END = b"not terminated with EOI code"
_HEADER_BYTES = 8

Rows = NDArray[np.uint8]


def unpack_fax(
    data: bytes,
    compression: int,
    columns: int,
    rows: int,
    *,
    fill_order: int = 1,
    t4_options: int = 0,
) -> Rows:
    """Return `rows` rows of a fax strip, (rows, bytes) uint8, 8 pixels a byte, 1 as coded black.

    Raises InputError unless exactly these rows are in it, each of `columns` pixels.
    """
    tags = {_FILL_ORDER: fill_order}
    if compression == GROUP3:
        tags[_T4_OPTIONS] = t4_options
    with _opened(data, compression, columns, rows + 1, 1, tags) as (tiff, messages):
        unpacked = np.empty((rows + 1, (columns + 7) // 8), np.uint8)
        _library().TIFFReadEncodedStrip(tiff, 0, unpacked.ctypes.data, unpacked.nbytes)
    here = re.compile(rb".* at line %d of (strip|tile) 0 " % rows)
    for message in messages:
        if not here.match(message) and not _NO_LINE_END.match(message):
            if message.startswith(b"Premature EOF"):
                raise truncated("image", "its last rows are missing")
            raise damaged("image", "its rows are garbled")
    if not any(b"(got 0, expected" in message for message in messages):
        raise damaged("image", "it holds more rows than it states")
    return unpacked[:rows]


def check_lzw(data: bytes, length: int) -> None:
    """Raise InputError unless the LZW data unpack, without a fault, to `length` bytes."""
    messages = _lzw_messages(data, length + 1)
    if not messages:
        raise damaged("image", "it holds more pixels than it states")
    if messages[0].endswith(_NO_LZW_END):  # some writers end it so
        messages = _lzw_messages(data, length)
    elif messages[0].endswith(b"(short 1 bytes)"):
        return
    if messages:
        raise damaged("image", "its pixels cannot be unpacked")


def _lzw_messages(data: bytes, length: int) -> list[bytes]:
    with _opened(data, LZW, length, 1, 8) as (tiff, messages):
        _read(tiff, length)
    return [message for message in messages if not message.startswith(_OLD_LZW)]


def check_packbits(data: bytes, row_bytes: int, rows: int) -> None:
    """Raise InputError unless the PackBits data unpack to `rows` rows, each packed for itself.

    TIFF 6.0 (section 9) asks for the latter, and it is what shows that nothing was shifted.
    """
    row = np.empty(row_bytes, np.uint8)
    with _opened(data, PACKBITS, row_bytes, rows + 1, 8) as (tiff, messages):
        for number in range(rows):
            _library().TIFFReadScanline(tiff, row.ctypes.data, number, 0)
            if messages:
                raise damaged("image", "its rows are garbled")
        # Padding to an even length is no row.
        if _library().TIFFReadScanline(tiff, row.ctypes.data, rows, 0) >= 0 and not messages:
            raise damaged("image", "it holds more rows than it states")


def check_other(data: bytes, compression: int, length: int) -> None:
    """Raise InputError if libtiff has anything to say when it unpacks `length` bytes."""
    with _opened(data, compression, length, 1, 8) as (tiff, messages):
        _read(tiff, length)
    if messages:
        raise damaged("image", "its pixels cannot be unpacked")


def _read(tiff: int, length: int) -> None:
    unpacked = np.empty(length, np.uint8)
    _library().TIFFReadEncodedStrip(tiff, 0, unpacked.ctypes.data, length)


@contextmanager
def _opened(
    data: bytes,
    compression: int,
    columns: int,
    rows: int,
    bits: int,
    others: dict[int, int] | None = None,
) -> Iterator[tuple[int, list[bytes]]]:
    """Open `data` as the one strip of a TIFF; yield libtiff's handle, and its messages so far."""
    messages: list[bytes] = []

    @_ON_MESSAGE  # type: ignore[untyped-decorator]
    def on_message(_tiff: int, _data: int, _module: bytes, text: bytes, values: int) -> int:
        buffer = ctypes.create_string_buffer(_MESSAGE_BYTES)
        _libc().vsnprintf(buffer, _MESSAGE_BYTES, text, _POINTER(values))
        messages.append(buffer.value)
        return 1  # handled: not printed

    library = _library()
    options = library.TIFFOpenOptionsAlloc()
    library.TIFFOpenOptionsSetErrorHandlerExtR(options, on_message, None)
    library.TIFFOpenOptionsSetWarningHandlerExtR(options, on_message, None)
    file = _in_memory(_as_tiff(data, compression, columns, rows, bits, others or {}))
    tiff = library.TIFFFdOpenExt(file, b"strip", b"r", options)
    library.TIFFOpenOptionsFree(options)
    if not tiff:
        os.close(file)
        raise damaged("image", "it cannot be decoded, or it is of a rare variety")
    try:
        yield tiff, messages
    finally:
        library.TIFFClose(tiff)  # closes the file as well


def _as_tiff(
    data: bytes, compression: int, columns: int, rows: int, bits: int, others: dict[int, int]
) -> bytes:
    tags = others | {
        256: columns,
        257: rows,
        258: bits,
        259: compression,
        262: 0,  # white is zero
        273: _HEADER_BYTES,  # where the strip begins
        277: 1,  # sample a pixel
        278: rows,  # of the strip
        279: len(data),
    }
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, tags[tag]) for tag in sorted(tags))
    padding = bytes(len(data) % 2)
    directory = struct.pack("<H", len(tags)) + entries + bytes(4)
    at = _HEADER_BYTES + len(data) + len(padding)
    return b"II*\0" + struct.pack("<I", at) + data + padding + directory


def _in_memory(content: bytes) -> int:
    """Return the descriptor of a file without a name, at its beginning."""
    if hasattr(os, "memfd_create"):
        file = os.memfd_create("strip")
    else:
        with tempfile.TemporaryFile() as made:
            file = os.dup(made.fileno())
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(file, view) :]
        os.lseek(file, 0, os.SEEK_SET)
    except BaseException:
        os.close(file)
        raise
    return file


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)


@cache
def _library() -> ctypes.CDLL:
    # The dynamic linker also looks in what a library was linked with. Raises AttributeError below
    # if Pillow's libtiff is older than 4.5.
    library = ctypes.CDLL(PIL._imaging.__file__)
    number, size = ctypes.c_uint32, ctypes.c_ssize_t
    for name, result, arguments in (
        ("TIFFOpenOptionsAlloc", _POINTER, []),
        ("TIFFOpenOptionsFree", None, [_POINTER]),
        ("TIFFOpenOptionsSetErrorHandlerExtR", None, [_POINTER, _ON_MESSAGE, _POINTER]),
        ("TIFFOpenOptionsSetWarningHandlerExtR", None, [_POINTER, _ON_MESSAGE, _POINTER]),
        ("TIFFFdOpenExt", _POINTER, [ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p, _POINTER]),
        ("TIFFReadEncodedStrip", size, [_POINTER, number, _POINTER, size]),
        ("TIFFReadScanline", ctypes.c_int, [_POINTER, _POINTER, number, ctypes.c_uint16]),
        ("TIFFClose", None, [_POINTER]),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library
