"""PDF pages as grey images, by PDFium; forms are drawn as they were filled in."""

from __future__ import annotations

import logging
import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, cast

import PIL.Image
import pypdfium2

from core.errors import InputError
from pipeline.files.media import damaged, truncated
from pipeline.files.passed_over import PassedOver
from pipeline.files.pdf_contents import PdfContents, read_contents, with_true_count
from pipeline.files.pdf_streams import PdfStreams

DPI = 200
_MIN_DPI = 72  # below it, handwriting is illegible
_POINTS_PER_INCH = 72
_PIECE, _OVERLAP = 1 << 20, 64  # bytes that are searched at once
_MAX_DEPTH = 15  # of forms within forms
_TAIL_BYTES = 1024  # where readers look for the end marker (ISO 32000-1, H.3.4.4)
# Two PDFs in one file: PDFium would show the last one, or a mixture.
_TWO_IN_ONE = re.compile(rb"%%EOF[\0 \t\r\n]*%PDF-\d")
_LINEARIZED = re.compile(rb"/Linearized.{0,200}?/L\s+(\d+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class OpenPdf:
    """A PDF, open for drawing, with its number of pages and what in it is no page."""

    document: pypdfium2.PdfDocument
    pages: int
    passed_over: tuple[PassedOver, ...]
    copy: BinaryIO | None = None  # that is drawn instead of the file itself

    def close(self) -> None:
        self.document.close()
        if self.copy is not None:
            self.copy.close()


def open_pdf(stream: BinaryIO, max_pages: int) -> OpenPdf:
    """Open a PDF, and count its pages, at most `max_pages` + 1.

    Raises InputError if it is cut off, encrypted or damaged.
    """
    document = _open(stream)
    copy: BinaryIO | None = None
    try:
        contents = read_contents(stream, max_pages)
        stated = len(document)
        if contents is None:
            return OpenPdf(_with_forms(document), stated, _of_unknown(document))
        passed_over = [*_attached(contents)]
        pages = contents.pages
        if pages > stated or contents.lost:
            copy = with_true_count(stream, contents)
            if copy is None:
                return OpenPdf(_with_forms(document), stated, _of_unknown(document))
            document.close()
            document = pypdfium2.PdfDocument(copy)
            if contents.lost:
                passed_over.append(_missing(pages + contents.lost, pages))
        elif pages < stated and _can_load(document, pages):
            pages = stated  # qpdf finds fewer than PDFium does in a damaged file
        elif pages < stated:
            passed_over.append(_missing(stated, pages))
        if document.get_formtype() == pypdfium2.raw.FORMTYPE_XFA_FULL:
            passed_over.append(_XFA)
        return OpenPdf(_with_forms(document), pages, tuple(passed_over), copy)
    except pypdfium2.PdfiumError as exc:
        document.close()
        if copy is not None:
            copy.close()
        raise damaged("PDF", "it cannot be opened, or it has no pages") from exc


def _open(stream: BinaryIO) -> pypdfium2.PdfDocument:
    """Open a PDF in PDFium.

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
    _refuse_two_in_one(stream)
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


def _refuse_two_in_one(stream: BinaryIO) -> None:
    stream.seek(0)
    kept = b""
    while piece := stream.read(_PIECE):
        if _TWO_IN_ONE.search(kept + piece):
            raise InputError(
                "There are two PDFs in this file, one behind the other.",
                hint="Save each as a file of its own.",
                code="several-documents",
            )
        kept = piece[-_OVERLAP:]


def _with_forms(document: pypdfium2.PdfDocument) -> pypdfium2.PdfDocument:
    """Have what was typed into a form drawn with its pages; it must be said before one is opened.

    XFA is left to PDFium's plain forms: it draws no XFA, and says so in a log that nobody reads.
    """
    kind = document.get_formtype()
    if kind != pypdfium2.raw.FORMTYPE_NONE:
        logging.getLogger("pypdfium2").setLevel(logging.ERROR)
        document.init_forms()
    return document


def _can_load(document: pypdfium2.PdfDocument, index: int) -> bool:
    try:
        document[index].close()
    except pypdfium2.PdfiumError:
        return False
    return True


_XFA = PassedOver(
    "XFA form",
    "xfa-form",
    "The PDF is a form of the kind that only Adobe Reader shows (XFA). What is typed into it is "
    "not read. Print it into another PDF, and use that.",
)


def _missing(stated: int, pages: int) -> PassedOver:
    return PassedOver(
        "missing pages",
        "pages-missing",
        f"The PDF names {stated} pages, but only {pages} can be found. Compare it with its "
        "original.",
    )


def _attached(contents: PdfContents) -> Iterator[PassedOver]:
    code, reason = (
        (
            "portfolio-file",
            "This file is part of a PDF portfolio, of which only the cover is read. Save the file "
            "from the portfolio, and send it by itself.",
        )
        if contents.is_portfolio
        else (
            "attachment",
            "This file is attached to the PDF, and attachments are not read. If it is a scan, save "
            "it from the PDF, and send it by itself.",
        )
    )
    for name in contents.attachments:
        yield PassedOver(name, code, reason)


def _of_unknown(document: pypdfium2.PdfDocument) -> tuple[PassedOver, ...]:
    """Return what PDFium alone can tell of a PDF that qpdf cannot open."""
    pages = PassedOver(
        "further pages, if any",
        "pages-not-counted",
        f"The PDF is damaged. It says that it has {len(document)} pages, which could not be "
        "checked. Compare it with its original.",
    )
    names = [document.get_attachment(n).get_name() for n in range(document.count_attachments())]
    return (pages, *_attached(PdfContents(len(document), 0, tuple(names), is_portfolio=False)))


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
        low, high = cast(tuple[int, int], image.getextrema())
        if low == high and not _has_image(page):
            raise InputError(
                "Nothing is drawn on this PDF page: no image, no text, no lines.",
                hint="If there should be something, print the PDF into another one, and use that.",
                code="nothing-drawn",
            )
        return image
    except (pypdfium2.PdfiumError, OSError, ValueError) as exc:
        raise damaged("PDF page", "it cannot be rendered") from exc
    finally:
        page.close()


def _has_image(page: pypdfium2.PdfPage) -> bool:
    kinds = [pypdfium2.raw.FPDF_PAGEOBJ_IMAGE]
    return any(True for _ in page.get_objects(filter=kinds, max_depth=_MAX_DEPTH))
