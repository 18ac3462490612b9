"""The strips and tiles of a TIFF frame, each proven to hold exactly the pixels that it should.

Pillow decodes frames for their colours, and libtiff under it forgives much. So before that, every
strip is unpacked for itself by a decoder that does not: the strip is whole, nothing in it is
garbled, and it has neither fewer rows than the frame states nor more.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from core.errors import InputError
from pipeline.files.jpeg import decode_jpeg
from pipeline.files.libtiff import (
    CCITT,
    LZW,
    PACKBITS,
    Rows,
    check_lzw,
    check_other,
    check_packbits,
    unpack_fax,
)
from pipeline.files.media import damaged, truncated
from pipeline.files.unpack import inflated_length

_NONE, _JPEG, _DEFLATE = 1, 7, (8, 32946)
_JPEG_START, _JPEG_END = b"\xff\xd8", b"\xff\xd9"


@dataclass(frozen=True, slots=True)
class Strips:
    """Where the pixels of a frame are in the file, and how they are packed.

    A tile is a strip that is not as wide as the frame. `counts` is empty if the file does not
    state them. `row_bits` is the length of an unpacked row in one plane.
    """

    compression: int
    offsets: tuple[int, ...]
    counts: tuple[int, ...]
    columns: int
    rows: tuple[int, ...]  # of each strip; the last may state fewer than it is packed with
    full_rows: int  # of all strips but the last
    row_bits: int
    fill_order: int = 1
    t4_options: int = 0
    jpeg_tables: bytes = b""
    subsampled: bool = False  # colour without JPEG: rows have no fixed length

    def check(self, stream: BinaryIO) -> Rows | None:
        """Check every strip. Raises InputError, as of a page, if one is damaged.

        Returns the rows of a fax, 1 as coded black, because they need not be decoded again.
        """
        try:
            unpacked = [
                self._check(data, rows)
                for data, rows in zip(self._read(stream), self.rows, strict=True)
            ]
        except InputError as exc:
            raise _of_page(exc) from exc
        rows = [part for part in unpacked if part is not None]
        return np.concatenate(rows) if rows else None

    def _read(self, stream: BinaryIO) -> Iterator[bytes]:
        if len(self.offsets) != len(self.rows):
            raise damaged("image", "it does not have the number of parts that its size needs")
        for number, offset in enumerate(self.offsets):
            stream.seek(offset)
            length = self.counts[number] if number < len(self.counts) else None
            if length is None and self.compression == _NONE:
                length = self._bytes_of(self.rows[number])
            yield stream.read(-1 if length is None else length)

    def _check(self, data: bytes, rows: int) -> Rows | None:
        if self.compression in CCITT:
            return unpack_fax(
                data,
                self.compression,
                self.columns,
                rows,
                fill_order=self.fill_order,
                t4_options=self.t4_options,
            )
        if self.compression == _JPEG:
            self._check_jpeg(data, rows)
        elif self.compression in _DEFLATE:
            self._check_length(inflated_length(data), rows)
        elif self.subsampled:
            return None
        elif self.compression == _NONE:
            if len(data) < self._bytes_of(rows):
                raise truncated("image", "a part of it is missing")
        else:
            self._check_packed(data, rows)
        return None

    def _check_packed(self, data: bytes, rows: int) -> None:
        """Try the rows that a strip should have, then those of a full one, which some write."""
        lengths = (rows,) if rows == self.full_rows else (rows, self.full_rows)
        for number, length in enumerate(lengths, 1):
            try:
                if self.compression == PACKBITS:
                    check_packbits(data, (self.row_bits + 7) // 8, length)
                elif self.compression == LZW:
                    check_lzw(data, self._bytes_of(length))
                else:
                    check_other(data, self.compression, self._bytes_of(length))
                return
            except InputError:
                if number == len(lengths):
                    raise

    def _check_length(self, length: int, rows: int) -> None:
        if not self.subsampled and length not in (
            self._bytes_of(rows),
            self._bytes_of(self.full_rows),
        ):
            if length < self._bytes_of(rows):
                raise truncated("image", "a part of it is missing")
            raise damaged("image", "it holds more pixels than it states")

    def _check_jpeg(self, data: bytes, rows: int) -> None:
        tables = self.jpeg_tables
        if tables.startswith(_JPEG_START) and tables.endswith(_JPEG_END):
            data = tables[:-2] + data[2:]
        height, width = decode_jpeg(data, max(self.columns * self.full_rows, 1) * 2)[0].shape
        if height < rows or width < self.columns:
            raise truncated("image", "a part of it is missing")

    def _bytes_of(self, rows: int) -> int:
        return rows * ((self.row_bits + 7) // 8)


def _of_page(error: InputError) -> InputError:
    message = error.message.replace("The image", "The TIFF page").replace(
        "The JPEG", "The TIFF page"
    )
    return InputError(message, hint=error.hint, code=error.code)
