"""PDF pages as grey images, by PDFium."""

from __future__ import annotations

import math
import os
import re
from typing import BinaryIO

import PIL.Image
import pypdfium2

from core.errors import InputError
from pipeline.files.media import damaged, truncated
from pipeline.files.pdf_streams import PdfStreams

DPI = 200
_MIN_DPI = 72  # below it, handwriting is illegible
_POINTS_PER_INCH = 72
_TAIL_BYTES = 1024  # where readers look for the end marker (ISO 32000-1, H.3.4.4)
_LINEARIZED = re.compile(rb"/Linearized.{0,200}?/L\s+(\d+)", re.DOTALL)


def open_pdf(stream: BinaryIO) -> pypdfium2.PdfDocument:
    """Open a PDF. Raises InputError if it is cut off, encrypted or damaged.

    PDFium silently repairs a PDF without its end, and drops the pages that were there. So the
    end is looked for first.
    """
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    first = stream.read(_TAIL_BYTES)
    stream.seek(max(0, size - (1 << 16)))
    tail = stream.read().rstrip(b"\0 \t\r\n")[-_TAIL_BYTES:]
    linearized = _LINEARIZED.search(first)
    if b"%%EOF" not in tail or (linearized and int(linearized[1]) > size):
        raise truncated("PDF", "its end is missing")
    stream.seek(0)
    try:
        return pypdfium2.PdfDocument(stream)
    except pypdfium2.PdfiumError as exc:
        if exc.err_code == pypdfium2.raw.FPDF_ERR_PASSWORD:
            raise InputError(
                "The PDF is encrypted and opens only with a password.",
                hint="Save a copy without a password, and use that.",
                code="encrypted",
            ) from exc
        if exc.err_code == pypdfium2.raw.FPDF_ERR_SECURITY:
            raise InputError(
                "The PDF is encrypted in a way that cannot be opened here.",
                hint="Save a copy without protection, and use that.",
                code="encrypted",
            ) from exc
        raise damaged("PDF", "it cannot be opened, or it has no pages") from exc


def render_page(
    document: pypdfium2.PdfDocument, streams: PdfStreams, index: int, max_pixels: int
) -> PIL.Image.Image:
    """Render a page in mode "L" at 200 dpi, or coarser to stay within `max_pixels`.

    Raises InputError, also if a stream that the page is drawn from is damaged.
    """
    streams.check_page(index)
    try:
        page = document[index]
    except pypdfium2.PdfiumError as exc:
        raise damaged("PDF page", "it cannot be opened") from exc
    try:
        width, height = page.get_size()
        inches = width * height / _POINTS_PER_INCH**2
        if not (math.isfinite(inches) and inches > 0):
            raise damaged("PDF page", "its size is invalid")
        # A little less, because PDFium rounds up.
        dpi = min(float(DPI), math.sqrt(max_pixels / inches) * 0.999)
        if dpi < _MIN_DPI:
            raise InputError(
                f"The PDF page measures {width / 72:.0f} × {height / 72:.0f} inches, "
                "which is too large to read.",
                hint="Save it at its real size.",
                code="too-many-pixels",
            )
        scale = dpi / _POINTS_PER_INCH
        if math.ceil(width * scale) * math.ceil(height * scale) > max_pixels:
            raise damaged("PDF page", "its size is invalid")
        bitmap = page.render(scale=scale, grayscale=True)
        try:
            image: PIL.Image.Image = bitmap.to_pil().convert("L").copy()
        finally:
            bitmap.close()
        return image
    except (pypdfium2.PdfiumError, OSError, ValueError) as exc:
        raise damaged("PDF page", "it cannot be rendered") from exc
    finally:
        page.close()
