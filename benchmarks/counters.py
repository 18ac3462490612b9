"""How many images a file holds, counted by other libraries than those that open documents here.

ZIP by `zipfile`, PDF by pikepdf's pages and attachments, all else by Pillow's frames. What these
cannot open is not counted.
"""

from __future__ import annotations

import io
import re
import warnings
import zipfile
from collections.abc import Iterator

import pikepdf
import PIL.Image

# What the three raise for files that are not what they should be.
_ERRORS = (
    OSError, ValueError, TypeError, KeyError, IndexError, AttributeError, RuntimeError, EOFError,
    SyntaxError, OverflowError, ZeroDivisionError, NotImplementedError, MemoryError,
    zipfile.BadZipFile, pikepdf.PdfError, pikepdf.PasswordError, PIL.Image.DecompressionBombError,
)  # fmt: skip
_MOST = 10_000  # frames
_RANGE = re.compile(r"s (\d+) to (\d+)\b")


def count_images(data: bytes) -> int | None:
    """Return the number of images, pages and files in a file; None if it cannot be opened.

    A file in a ZIP, or attached to a PDF, that is no image counts as one.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            if data[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
                return sum(_members(data))
            if b"%PDF-" in data[:1024] and data[:3] not in (b"\xff\xd8\xff", b"\x89PN"):
                with pikepdf.open(io.BytesIO(data)) as pdf:
                    return len(pdf.pages) + len(pdf.attachments)
            with PIL.Image.open(io.BytesIO(data)) as image:
                return min(getattr(image, "n_frames", 1), _MOST)
        except _ERRORS:
            return None


def _members(data: bytes) -> Iterator[int]:
    """Yield how many images each file in a ZIP holds; 1 for one that is not opened."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for info in archive.infolist():
            if info.is_dir():
                continue
            hidden = info.filename.split("/")[-1].startswith(".") or "__MACOSX" in info.filename
            try:
                inner = archive.read(info) if info.file_size < 1 << 24 else b""
            except _ERRORS:
                inner = b""
            zipped = inner[:2] == b"PK"
            yield 1 if hidden or zipped else count_images(inner) or 1


def things(name: str) -> int:
    """Return how many things the name of what was passed over stands for: "frames 102 to 130"."""
    match = _RANGE.search(name)
    return 1 if match is None else int(match[2]) - int(match[1]) + 1
