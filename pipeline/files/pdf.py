"""PDF pages as grey images, by PDFium."""

from __future__ import annotations

import math
import os
import re
from typing import BinaryIO

import PIL.Image
import pypdfium2

from core.errors import InputError
from pipeline.files.media import broken, cut_off

DPI = 200
_LEAST_DPI = 72  # below it no handwriting is legible
_POINTS_PER_INCH = 72
_TAIL = 1024  # readers look for the end marker in the last 1,024 bytes (ISO 32000-1, H.3.4.4)
_LINEARIZED = re.compile(rb"/Linearized.{0,200}?/L\s+(\d+)", re.DOTALL)


def open_pdf(stream: BinaryIO) -> pypdfium2.PdfDocument:
    """Open a PDF. Raises InputError for one that is cut off, encrypted or broken.

    PDFium mends a PDF of which the end is missing by itself, without the pages that went with it;
    so the end is looked for first.
    """
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    first = stream.read(_TAIL)
    stream.seek(max(0, size - (1 << 16)))
    tail = stream.read().rstrip(b"\0 \t\r\n")[-_TAIL:]
    linearized = _LINEARIZED.search(first)
    if b"%%EOF" not in tail or (linearized and int(linearized[1]) > size):
        raise cut_off("PDF", "its end is missing")
    stream.seek(0)
    try:
        return pypdfium2.PdfDocument(stream)
    except pypdfium2.PdfiumError as exc:
        if exc.err_code == pypdfium2.raw.FPDF_ERR_PASSWORD:
            raise InputError(
                "The PDF is encrypted and opens only with a password.",
                hint="Save a copy without a password and send that.",
                code="encrypted",
            ) from exc
        if exc.err_code == pypdfium2.raw.FPDF_ERR_SECURITY:
            raise InputError(
                "The PDF is encrypted in a way that cannot be opened here.",
                hint="Save a copy without protection and send that.",
                code="encrypted",
            ) from exc
        raise broken("PDF", "it cannot be opened, or it has no pages") from exc


def render_page(document: pypdfium2.PdfDocument, index: int, max_pixels: int) -> PIL.Image.Image:
    """Render a page at 200 dpi, or at what keeps it within `max_pixels`; mode "L".

    Raises InputError.
    """
    try:
        page = document[index]
    except pypdfium2.PdfiumError as exc:
        raise broken("PDF page", "it cannot be opened") from exc
    try:
        width, height = page.get_size()
        inches = width * height / _POINTS_PER_INCH**2
        if not (math.isfinite(inches) and inches > 0):
            raise broken("PDF page", "it has no size")
        # One pixel a side of room, because PDFium rounds up.
        dpi = min(float(DPI), math.sqrt(max_pixels / inches) * 0.999)
        if dpi < _LEAST_DPI:
            raise InputError(
                f"The PDF page is {width / 72:.0f} × {height / 72:.0f} inches large, too large to "
                "be read.",
                hint="Save it at its real size.",
                code="too-many-pixels",
            )
        scale = dpi / _POINTS_PER_INCH
        if math.ceil(width * scale) * math.ceil(height * scale) > max_pixels:
            raise broken("PDF page", "it has no sensible size")
        bitmap = page.render(scale=scale, grayscale=True)
        try:
            image: PIL.Image.Image = bitmap.to_pil().convert("L").copy()
        finally:
            bitmap.close()
        return image
    except (pypdfium2.PdfiumError, OSError, ValueError) as exc:
        raise broken("PDF page", "it cannot be drawn") from exc
    finally:
        page.close()
