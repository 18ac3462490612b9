"""From one uploaded file to the images of its pages: images of many kinds, PDF, or a ZIP.

Nothing is skipped silently: a page that cannot be opened becomes a page with an error, in its
place among the others, or InputError is raised for the whole document; what is no page is named as
passed over. The decoders run on files that anybody may have made, so a server runs this only in a
guarded child (`worker/guard/`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

import PIL.Image

from core.errors import InputError
from core.limits import MAX_PAGE_PIXELS, MAX_PAGES, MAX_UNPACKED_BYTES
from pipeline.files.archive import Archive, files_in, images_of_office_file
from pipeline.files.following import behind_image, later_frames
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
from pipeline.files.passed_over import PassedOver
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

    Frame -1 is the member as a whole, before its first frame. All that is passed over behind the
    last frame has one place.
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
) -> Iterator[DocumentPage | PassedOver]:
    """Yield the pages of the file at `path` in their order, one at a time, and what is no page.

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
            yield from opener.image(path.read_bytes(), kind, "", 0, None)
        elif kind in PICTURES:
            yield from opener.picture(path.read_bytes(), kind, "", 0)
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
    passed_over: int = 0

    def count(self, pages: int) -> None:
        """Add to the number of pages. Raises InputError above the limit."""
        self.pages += pages
        if self.pages > self.limits.max_pages:
            raise too_many_pages(self.limits.max_pages)

    def picture(
        self, data: bytes, kind: str, label: str, member: int
    ) -> Iterator[DocumentPage | PassedOver]:
        """Yield an image that is neither JPEG, PNG nor TIFF as PNG, and further images in it."""
        from pipeline.files.pictures import decode_picture

        here = Position(member, 0)
        self.count(1)
        self.watch(max(here, self.start), label, PNG)
        images = 1
        try:
            picture = decode_picture(data, kind, self.limits.max_page_pixels)
            images = picture.images
            page = DocumentPage(label, PNG, encode_png(PIL.Image.fromarray(picture.grey)))
        except InputError as exc:
            page = DocumentPage(label, PNG, error=exc)
        except MemoryError:
            page = DocumentPage(label, PNG, error=too_much_memory())
        if self.start <= here:
            yield page
        found = [*later_frames(images), *behind_image(data, kind)]
        yield from self.pass_over(found, label, Position(member, 1))

    def pass_over(
        self, found: Iterable[PassedOver], label: str, position: Position
    ) -> Iterator[PassedOver]:
        """Yield what is no page, each item at a place of its own, the first at `position`.

        Raises InputError above the limit, which is that of pages.
        """
        for number, item in enumerate(found):
            self.passed_over += 1
            if self.passed_over > self.limits.max_pages:
                raise too_many_pages(self.limits.max_pages)
            place = Position(position.member, position.frame + number)
            if place >= self.start:
                self.watch(place, label, "")
                yield item.within(label)

    def image(
        self, data: bytes, kind: str, label: str, member: int, page: bytes | None
    ) -> Iterator[DocumentPage | PassedOver]:
        """Yield an image as a page, and what follows it in its file. Nothing is decoded.

        It is decoded, and checked, when the page is read.
        """
        here = Position(member, 0)
        self.count(1)
        if self.start <= here:
            self.watch(here, label, kind)
            yield DocumentPage(label, kind, page)
        yield from self.pass_over(behind_image(data, kind), label, Position(member, 1))

    def frames(
        self, stream: BinaryIO, kind: str, label: str, member: int
    ) -> Iterator[DocumentPage | PassedOver]:
        """Yield the pages of a TIFF or a PDF. Raises InputError if it cannot be opened."""
        first = self.start.frame if self.start.member == member else 0
        self.watch(Position(member), label, kind)
        if kind == TIFF:
            yield from self._tiff_frames(stream, label, member, max(first, 0))
        else:
            yield from self._pdf_pages(stream, label, member, max(first, 0))

    def _tiff_frames(
        self, stream: BinaryIO, label: str, member: int, first: int
    ) -> Iterator[DocumentPage | PassedOver]:
        from pipeline.files.tiff import (
            behind_tiff,
            below_frames,
            decode_frame,
            open_tiff,
            read_structure,
        )

        limits = self.limits
        # A thumbnail for each page at most.
        structure = read_structure(stream, limits.max_page_pixels, 2 * limits.max_pages)
        if len(structure.frames) > 2 * limits.max_pages:
            raise too_many_pages(limits.max_pages)
        self.count(structure.pages)
        several = structure.pages > 1
        frames, page = len(structure.frames), 0
        with open_tiff(stream) as image:
            for index, (frame, role) in enumerate(
                zip(structure.frames, structure.roles, strict=True)
            ):
                here = Position(member, index)
                page += role.is_page
                if index < first:
                    continue
                if role.is_page:
                    name = _label(label, page, several)
                    self.watch(here, name, PNG)
                    if isinstance(frame, InputError):
                        yield DocumentPage(name, PNG, error=frame)
                    else:
                        yield _as_png(name, partial(decode_frame, image, stream, index, frame))
                else:
                    yield from self.pass_over([role.passed_over(index + 1)], label, here)
        if structure.broken_off is not None and first <= frames:
            name = _label(label, structure.pages, several)
            self.watch(Position(member, frames), name, PNG)
            yield DocumentPage(name, PNG, error=structure.broken_off)
        found = [*below_frames(structure), *behind_tiff(stream, structure)]
        yield from self.pass_over(found, label, Position(member, frames + 1))

    def _pdf_pages(
        self, stream: BinaryIO, label: str, member: int, first: int
    ) -> Iterator[DocumentPage | PassedOver]:
        from pipeline.files.pdf import open_pdf, render_page
        from pipeline.files.pdf_streams import PdfStreams

        max_pixels = self.limits.max_page_pixels
        pdf = open_pdf(stream, self.limits.max_pages)
        try:
            streams = self.stack.enter_context(closing(PdfStreams.open(stream, max_pixels)))
            self.count(pdf.pages)
            for index in range(first, pdf.pages):
                name = _label(label, index + 1, pdf.pages > 1)
                self.watch(Position(member, index), name, PNG)
                yield _as_png(name, partial(render_page, pdf.document, streams, index, max_pixels))
            yield from self.pass_over(pdf.passed_over, label, Position(member, pdf.pages))
        finally:
            pdf.close()

    def members(self, stream: BinaryIO) -> Iterator[DocumentPage | PassedOver]:
        """Yield the pages of a ZIP's members, in the order of its directory."""
        archive = self.stack.enter_context(Archive(stream, self.limits.max_unpacked_bytes))
        if archive.office_images is not None:
            raise _office_file(archive.office_images)
        members = sum(member.passed_over is None for member in archive.members)
        if not members:
            raise InputError(
                _nothing_to_read(archive),
                hint="Create it again with the scans.",
                code="empty-archive",
            )
        if members > self.limits.max_pages:
            self.count(members)
        for number, member in enumerate(archive.members):
            if number < self.start.member:
                continue
            if member.passed_over is not None:
                yield from self.pass_over([member.passed_over], "", Position(number))
                continue
            self.watch(Position(number), member.label, "")
            kind = ""
            try:
                with archive.unpack(member) as unpacked:
                    kind = sniff(unpacked.read(HEAD_BYTES))
                    if kind in (JPEG, PNG):
                        unpacked.seek(0)
                        data = unpacked.read()
                        yield from self.image(data, kind, member.label, number, data)
                    elif kind in PICTURES:
                        unpacked.seek(0)
                        yield from self.picture(unpacked.read(), kind, member.label, number)
                    elif kind in (TIFF, PDF):
                        yield from self.frames(unpacked, kind, member.label, number)
                    else:
                        raise _refused(kind, unpacked)
            except InputError as exc:
                if exc.code in ("too-many-pages", "too-large-unpacked"):
                    raise
                self.count(1)
                yield DocumentPage(member.label, kind, error=exc)
            except MemoryError:
                self.count(1)
                yield DocumentPage(member.label, kind, error=too_much_memory())
        yield from self.pass_over(archive.behind, "", Position(len(archive.members)))


def only_pages(found: Iterable[DocumentPage | PassedOver]) -> Iterator[DocumentPage]:
    """Yield the pages of a document alone, for a caller that names one of them."""
    return (item for item in found if isinstance(item, DocumentPage))


def _nothing_to_read(archive: Archive) -> str:
    if not archive.members:
        return "The ZIP is empty."
    if any(
        member.passed_over and member.passed_over.code == "unlisted-file"
        for member in archive.members
    ):
        return "There are files in the ZIP, but its directory does not list them."
    return "There are only hidden files in the ZIP."


def _refused(kind: str, unpacked: BinaryIO) -> InputError:
    if kind != ZIP:
        return wrong_kind(kind, ACCEPTED.split(", or")[0])
    images = images_of_office_file(unpacked)
    if images is not None:
        return _office_file(images)
    files = files_in(unpacked)
    held = (
        ""
        if files is None
        else " with 1 file in it,"
        if files == 1
        else f" with {files} files in it,"
    )
    return InputError(
        f"This is a ZIP inside a ZIP,{held} which is not opened.",
        hint="Take the files out of the inner ZIP.",
        code="archive-in-archive",
    )


def _office_file(images: int) -> InputError:
    count = "no images" if not images else "1 image" if images == 1 else f"{images} images"
    return InputError(
        f"This is a file of an office program, with {count} in it. Such files are not read.",
        hint="Save it as PDF.",
        code="office-file",
    )


def _label(label: str, page: int, several: bool) -> str:
    return f"{label}#{page}" if label and several else label


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
