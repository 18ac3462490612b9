"""From one uploaded file to the images of its pages: images of many kinds, PDF, or a ZIP.

Nothing is skipped silently: a page that cannot be opened becomes a page with an error, in its
place among the others, or InputError is raised for the whole document. The decoders run on files
that anybody may have made, so a server runs this only in a guarded child (`worker/guard/`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

import PIL.Image

from core.errors import InputError
from core.limits import MAX_PAGE_PIXELS, MAX_PAGES, MAX_UNPACKED_BYTES
from pipeline.files.archive import Archive
from pipeline.files.media import (
    ACCEPTED,
    HEAD_BYTES,
    JPEG,
    PDF,
    PICTURES,
    PNG,
    TIFF,
    ZIP,
    sniff,
    wrong_kind,
)
from pipeline.files.png import encode_png


@dataclass(frozen=True, slots=True)
class DocumentLimits:
    """What one document may hold at most. If it holds more, the whole document is refused."""

    max_pages: int = MAX_PAGES
    max_page_pixels: int = MAX_PAGE_PIXELS
    max_unpacked_bytes: int = MAX_UNPACKED_BYTES


@dataclass(frozen=True, slots=True)
class DocumentPage:
    """One page image as it goes into the store, or the error why there is none.

    `label` is the place in a ZIP ("front/scan.tif#2"), otherwise empty; it is for showing only,
    never a path. TIFF and PDF pages are encoded as PNG: bilevel ones in 1 bit, others in 8-bit
    grey. If both `data` and `error` are None, the document itself is the page image.
    """

    label: str
    media_type: str
    data: bytes | None = None
    error: InputError | None = None


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place in a document: the member of a ZIP (otherwise 0), and the frame or page in it.

    Frame -1 is the member as a whole, before its first frame.
    """

    member: int = 0
    frame: int = -1


START = Position()


def open_document(
    path: Path,
    limits: DocumentLimits,
    *,
    start: Position = START,
    watch: Callable[[Position, str, str], None] = lambda position, label, media_type: None,
) -> Iterator[DocumentPage]:
    """Yield the pages of the file at `path` in their order, one at a time.

    Raises InputError if the document is bad as a whole: empty, of a wrong kind, encrypted, cut
    off before its first page, or above a limit. This may happen after some pages.

    `watch(position, label, media_type)` is called before each step that may crash a decoder.
    After a crash, open the document again with the position behind it as `start`.
    """
    with ExitStack() as stack, path.open("rb") as stream:
        kind = sniff(stream.read(HEAD_BYTES))
        opener = _Opener(limits, start, watch, stack)
        if kind == ZIP:
            yield from opener.members(stream)
        elif kind in (JPEG, PNG):
            yield DocumentPage("", kind)  # decoded, and checked, when the page is read
        elif kind in PICTURES:
            yield opener.picture(path.read_bytes(), kind, "", 0)
        elif kind in (TIFF, PDF):
            yield from opener.frames(stream, kind, "", 0)
        else:
            raise wrong_kind(kind)


@dataclass(slots=True)
class _Opener:
    limits: DocumentLimits
    start: Position
    watch: Callable[[Position, str, str], None]
    stack: ExitStack
    pages: int = 0

    def count(self, pages: int) -> None:
        """Add to the number of pages. Raises InputError above the limit."""
        self.pages += pages
        if self.pages > self.limits.max_pages:
            raise too_many_pages(self.limits.max_pages)

    def picture(self, data: bytes, kind: str, label: str, member: int) -> DocumentPage:
        """Return the page of an image that is neither JPEG, PNG nor TIFF, as PNG."""
        from pipeline.files.pictures import decode_picture

        self.count(1)
        self.watch(Position(member), label, PNG)
        try:
            picture = decode_picture(data, kind, self.limits.max_page_pixels)
            return DocumentPage(label, PNG, encode_png(PIL.Image.fromarray(picture.grey)))
        except InputError as exc:
            return DocumentPage(label, PNG, error=exc)
        except MemoryError:
            return DocumentPage(label, PNG, error=too_much_memory())

    def frames(
        self, stream: BinaryIO, kind: str, label: str, member: int
    ) -> Iterator[DocumentPage]:
        """Yield the pages of a TIFF or a PDF. Raises InputError if it cannot be opened."""
        first = self.start.frame if self.start.member == member else 0
        self.watch(Position(member), label, kind)
        if kind == TIFF:
            yield from self._tiff_frames(stream, label, member, max(first, 0))
        else:
            yield from self._pdf_pages(stream, label, member, max(first, 0))

    def _tiff_frames(
        self, stream: BinaryIO, label: str, member: int, first: int
    ) -> Iterator[DocumentPage]:
        from pipeline.files.tiff import decode_frame, open_tiff, read_structure

        limits = self.limits
        structure = read_structure(stream, limits.max_page_pixels, limits.max_pages)
        pages = len(structure.frames) + (structure.broken_off is not None)
        self.count(pages)
        image = open_tiff(stream)
        with image:
            for index, frame in enumerate(structure.frames):
                if index < first:
                    continue
                name = _label(label, index, pages > 1)
                self.watch(Position(member, index), name, PNG)
                if isinstance(frame, InputError):
                    yield DocumentPage(name, PNG, error=frame)
                    continue
                yield _as_png(name, partial(decode_frame, image, stream, index, frame))
        if structure.broken_off is not None:
            index = len(structure.frames)
            name = _label(label, index, pages > 1)
            self.watch(Position(member, index), name, PNG)
            yield DocumentPage(name, PNG, error=structure.broken_off)

    def _pdf_pages(
        self, stream: BinaryIO, label: str, member: int, first: int
    ) -> Iterator[DocumentPage]:
        from pipeline.files.pdf import open_pdf, render_page
        from pipeline.files.pdf_streams import PdfStreams

        max_pixels = self.limits.max_page_pixels
        document = open_pdf(stream)
        try:
            streams = self.stack.enter_context(closing(PdfStreams.open(stream, max_pixels)))
            pages = len(document)
            self.count(pages)
            for index in range(first, pages):
                name = _label(label, index, pages > 1)
                self.watch(Position(member, index), name, PNG)
                yield _as_png(name, partial(render_page, document, streams, index, max_pixels))
        finally:
            document.close()

    def members(self, stream: BinaryIO) -> Iterator[DocumentPage]:
        """Yield the pages of a ZIP's members, in the order of its directory."""
        archive = self.stack.enter_context(Archive(stream, self.limits.max_unpacked_bytes))
        if not archive.members:
            raise InputError(
                "The ZIP is empty.", hint="Create it again with the scans.", code="empty-archive"
            )
        if len(archive.members) > self.limits.max_pages:
            self.count(len(archive.members))
        for number, member in enumerate(archive.members):
            if number < self.start.member:
                continue
            self.watch(Position(number), member.label, "")
            kind = ""
            try:
                with archive.unpack(member) as unpacked:
                    kind = sniff(unpacked.read(HEAD_BYTES))
                    if kind in (JPEG, PNG):
                        self.count(1)
                        unpacked.seek(0)
                        yield DocumentPage(member.label, kind, unpacked.read())
                    elif kind in PICTURES:
                        unpacked.seek(0)
                        yield self.picture(unpacked.read(), kind, member.label, number)
                    elif kind in (TIFF, PDF):
                        yield from self.frames(unpacked, kind, member.label, number)
                    else:
                        raise _refused(kind)
            except InputError as exc:
                if exc.code in ("too-many-pages", "too-large-unpacked"):
                    raise
                self.count(1)
                yield DocumentPage(member.label, kind, error=exc)
            except MemoryError:
                self.count(1)
                yield DocumentPage(member.label, kind, error=too_much_memory())


def _refused(kind: str) -> InputError:
    if kind == ZIP:
        return InputError(
            "This is a ZIP inside a ZIP, which is not opened.",
            hint="Take the files out of the inner ZIP.",
            code="archive-in-archive",
        )
    return wrong_kind(kind, ACCEPTED.split(", or")[0])


def _label(label: str, index: int, several: bool) -> str:
    return f"{label}#{index + 1}" if label and several else label


def _as_png(label: str, decode: Callable[[], PIL.Image.Image]) -> DocumentPage:
    """Return a page with the image that `decode` returns as PNG, or with the error."""
    try:
        data = encode_png(decode())
    except InputError as exc:
        return DocumentPage(label, PNG, error=exc)
    except MemoryError:
        return DocumentPage(label, PNG, error=too_much_memory())
    return DocumentPage(label, PNG, data)


def too_many_pages(limit: int) -> InputError:
    """Return the error for a document of more than `limit` pages."""
    return InputError(
        f"The file has more than {limit} pages.",
        hint="Split it into smaller files.",
        code="too-many-pages",
    )


def too_much_memory() -> InputError:
    """Return the error for a page that needs more memory than a decoder may take."""
    return InputError(
        "Opening this page takes more memory than is allowed.",
        hint="Scan it at a lower resolution, or save it as JPEG or PNG.",
        code="decoder-too-much-memory",
    )
