"""Containers of several images, composed at random, with a record of what was put into each.

Every image carries a number, so a page that is lost, doubled or out of order shows.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import PIL.Image
import PIL.TiffImagePlugin

from benchmarks.composed_boxes import avif_of
from benchmarks.composed_pdf import pdf_of_pages
from benchmarks.composed_tiff import TiffPage, tiff_of
from benchmarks.numbered import HEIGHT, WIDTH, draw_number, numbers


@dataclass(slots=True)
class Composed:
    """A file, and the record of what is in it.

    `pages` are the numbers of its images that are pages, in order, None for one that was damaged.
    `beside` counts what is in it and is no page. `refused` is the code of the error if the whole
    file is to be refused. `parts` counts images that belong to another one, as a thumbnail in the
    header of a JPEG: they are not named.
    """

    kind: str
    ending: str
    data: bytes
    pages: list[int | None] = field(default_factory=list)
    beside: int = 0
    refused: str = ""
    parts: int = 0

    def refuse(self, code: str) -> None:
        """Have the record say that the whole file is refused, with this code."""
        self.pages, self.beside, self.refused = [], 0, code


class Composer:
    """Makes files of one seed."""

    def __init__(self, seed: tuple[int, ...]) -> None:
        self.rng = np.random.default_rng(seed)
        self._numbers = numbers(self.rng)

    def number(self) -> int:
        return next(self._numbers)

    def some(self, low: int, high: int) -> int:
        """Return a whole number from `low` to `high`."""
        return int(self.rng.integers(low, high + 1))

    def maybe(self, share: float = 0.5) -> bool:
        return bool(self.rng.random() < share)

    def one_of(self, *choices: Any) -> Any:
        return choices[self.some(0, len(choices) - 1)]

    def picture(self, kind: str = "") -> tuple[int, bytes]:
        """Return a number, and a file of one image that carries it."""
        number = self.number()
        kind = kind or self.one_of(*SINGLE)
        return number, saved(draw_number(number), kind)


SINGLE = ("JPEG", "PNG", "TIFF", "GIF", "BMP", "PPM", "WEBP", "AVIF", "PDF")
_ENDINGS = {"JPEG": "jpg", "TIFF": "tif", "PPM": "pgm"}


def saved(image: PIL.Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    if kind == "PDF":
        options["resolution"] = 200
    if kind in ("WEBP", "AVIF"):
        image = image.convert("RGB")
    image.save(stream, kind, **options)
    return stream.getvalue()


def ending_of(kind: str) -> str:
    return _ENDINGS.get(kind, kind.lower())


# --- several images in one file, one behind the other ---


def jpeg_and_more(make: Composer) -> Composed:
    """A JPEG, often with a thumbnail in its header, and other files behind it."""
    number = make.number()
    options: dict[str, Any] = {"progressive": make.maybe(0.3)}
    parts = 0
    if make.maybe():
        thumbnail = saved(draw_number(make.number(), (48, 24)), "JPEG")
        options["exif"], parts = _exif_with(thumbnail), 1
    first = saved(draw_number(number), "JPEG", **options)
    return _followed(make, "JPEG, and files behind it", "jpg", first, number, parts)


def picture_and_more(make: Composer) -> Composed:
    """An image of any other kind, and other files behind it."""
    kind = make.one_of("PNG", "GIF", "BMP", "PPM", "WEBP", "AVIF", "TIFF")
    number, first = make.picture(kind)
    return _followed(make, "other image, and files behind it", ending_of(kind), first, number)


def _followed(
    make: Composer, kind: str, ending: str, first: bytes, number: int, parts: int = 0
) -> Composed:
    data, beside = first, make.some(0, 4)
    for left in range(beside, 0, -1):
        data += make.one_of(b"", b"", bytes(make.some(1, 600)), b"\r\n", make.rng.bytes(40))
        # What follows a TIFF, a PDF or a ZIP in it is named as a part of it.
        last = SINGLE if left == 1 else ("JPEG", "PNG", "GIF", "BMP", "WEBP", "AVIF", "PPM")
        data += make.picture(make.one_of(*last))[1]
    if not beside or make.maybe(0.3):
        data += make.one_of(b"", bytes(100), b"made by a scanner\r\n")
    return Composed(kind, ending, data, [number], beside, parts=parts)


def _exif_with(thumbnail: bytes) -> bytes:
    """Return an EXIF segment with a thumbnail, as cameras write it."""
    exif = PIL.Image.Exif()
    exif[0x0110] = "camera"
    head = exif.tobytes()  # "Exif", then a TIFF of one directory
    tiff = bytearray(head[6:])
    little = tiff[:2] == b"II"
    order: Any = "little" if little else "big"
    at = int.from_bytes(tiff[4:8], order)
    behind = at + 2 + 12 * int.from_bytes(tiff[at : at + 2], order)
    tiff[behind : behind + 4] = len(tiff).to_bytes(4, order)
    start = len(tiff) + 2 + 3 * 12 + 4
    entries = ((0x0103, 3, 6), (0x0201, 4, start), (0x0202, 4, len(thumbnail)))
    tiff += (3).to_bytes(2, order)
    for tag, form, value in entries:
        tiff += tag.to_bytes(2, order) + form.to_bytes(2, order) + (1).to_bytes(4, order)
        tiff += value.to_bytes(4 if form == 4 else 2, order).ljust(4, b"\0")
    return head[:6] + bytes(tiff) + bytes(4) + thumbnail


def camera_pair(make: Composer) -> Composed:
    """An MPO file: two or more JPEGs, with a directory of them."""
    count = make.some(2, 4)
    found = [make.number() for _ in range(count)]
    images = [draw_number(number) for number in found]
    data = saved(images[0], "MPO", save_all=True, append_images=images[1:])
    return Composed("MPO", "jpg", data, [found[0]], count - 1)


def frames(make: Composer) -> Composed:
    """An animated GIF, WebP, PNG or AVIF."""
    kind = make.one_of("GIF", "WEBP", "PNG", "AVIF")
    count = make.one_of(1, 2, 5, 12, 130) if kind == "GIF" else make.some(2, 6)
    found = [make.number() for _ in range(count)]
    images = [draw_number(n) for n in found]
    if kind in ("WEBP", "AVIF"):
        images = [image.convert("RGB") for image in images]
    options: dict[str, Any] = {"save_all": True, "append_images": images[1:], "duration": 90}
    if kind == "PNG":
        options["default_image"] = make.maybe()
    data = saved(images[0], kind, **options)
    return Composed("animation", ending_of(kind), data, [found[0]], count - 1)


def phone_images(make: Composer) -> Composed:
    """An AVIF of several images, often with thumbnails and images that are hidden."""
    count, thumbnails = make.some(1, 4), make.some(0, 2)
    stills = [make.picture("AVIF") for _ in range(count)]
    small = [saved(draw_number(make.number(), (48, 24)), "AVIF") for _ in range(thumbnails)]
    main = make.some(0, count - 1)
    data = avif_of([data for _, data in stills], small, main)
    return Composed(
        "several images in AVIF", "avif", data, [stills[main][0]], count - 1, parts=thumbnails
    )


# --- TIFF and PDF ---


def tiff_pages(make: Composer) -> Composed:
    """A TIFF of pages, with thumbnails, masks, images below them, and files behind it."""
    pages: list[TiffPage] = []
    found: list[int | None] = []
    beside = 0
    for _ in range(make.some(1, 8)):
        number = make.number()
        below = [
            TiffPage(draw_number(make.number(), (WIDTH // 2, HEIGHT // 2)), kind=1)
            for _ in range(make.some(0, 3) if make.maybe(0.3) else 0)
        ]
        lost = make.maybe(0.08)
        pages.append(TiffPage(draw_number(number), below=below, lost=lost, chain=make.maybe()))
        found.append(None if lost else number)
        beside += len(below)
        if make.maybe(0.3):
            mark = make.one_of(1, 4)
            size = (WIDTH // 4, HEIGHT // 4) if mark == 1 else (WIDTH, HEIGHT)
            pages.append(TiffPage(draw_number(make.number(), size), kind=mark))
            beside += 1
    order, big = make.one_of("<", ">"), make.maybe(0.3)
    data = tiff_of(pages, order=order, big=big)
    if make.maybe(0.2):
        data += make.picture()[1]
        beside += 1
    made = Composed("TIFF of pages, thumbnails, sub-images", "tif", data, found, beside)
    if big and order == ">":
        made.refuse("unsupported-variety")
    return made


def fax(make: Composer) -> Composed:
    """A TIFF of pages as Pillow writes it, in a compression of its own."""
    kind = make.one_of("group3", "group4", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg")
    found: list[int | None] = [make.number() for _ in range(make.some(1, 12))]
    images = [draw_number(n or 0).convert("1" if kind[0] == "g" else "L") for n in found]
    data = saved(
        images[0], "TIFF", save_all=True, append_images=images[1:], compression=kind, dpi=(200, 200)
    )
    return Composed("TIFF of pages, compressed", "tif", data, found)


def pdf_tree(make: Composer) -> Composed:
    """A PDF with a page tree of any depth and any /Count."""
    return _pdf(make, "PDF, page tree", lie=make.one_of(None, "root", "nodes", "all"))


def pdf_attachments(make: Composer) -> Composed:
    """A PDF with attached files: in its name tree, at its pages, as a portfolio."""
    return _pdf(make, "PDF, attachments, portfolio", attached=make.some(1, 5))


def pdf_annotations(make: Composer) -> Composed:
    """A PDF of which some pages are drawn by an annotation alone."""
    return _pdf(make, "PDF, annotations", stamped=True)


def _pdf(
    make: Composer,
    kind: str,
    *,
    lie: str | None = None,
    attached: int = 0,
    stamped: bool = False,
) -> Composed:
    found: list[int | None] = []
    pages = []
    for _ in range(make.some(1, 9)):
        number = make.number()
        image = saved(draw_number(number), "JPEG", quality=90)
        lost = make.maybe(0.06)
        pages.append(image[: len(image) // 2] if lost else image)
        found.append(None if lost else number)
    files = [make.picture()[1] for _ in range(attached)]
    data = pdf_of_pages(pages, files, make.rng, lie=lie, stamped=stamped)
    return Composed(kind, "pdf", data, found, attached)


# --- ZIP ---


def zip_of_all(make: Composer) -> Composed:
    """A ZIP of images and containers, with folders, hidden files, other files and doubles."""
    made = Composed("ZIP of files of every kind", "zip", b"")
    members: list[tuple[str, bytes]] = []
    for turn in range(make.some(2, 9)):
        what = make.some(0, 9)
        name = f"{make.one_of('', 'front/', 'back/')}{turn}"
        if what == 0:
            members.append((f"{name}/", b""))
        elif what == 1:
            hidden = make.one_of("__MACOSX/._a.jpg", ".scan.jpg", "Thumbs.db", "x/.DS_Store")
            members.append((f"{name}-{hidden}" if hidden[0] == "x" else hidden, make.picture()[1]))
            made.beside += 1
        elif what == 2:
            members.append((f"{name}.txt", b"no image"))
            made.pages.append(None)
        elif what == 3:
            members.append((f"{name}.jpg", make.picture("JPEG")[1][:-80]))
            made.pages.append(None)
        elif what == 4:
            inner = make.one_of(jpeg_and_more, tiff_pages, pdf_tree, frames, pdf_attachments)(make)
            members.append((f"{name}.{inner.ending}", inner.data))
            made.pages += [None] if inner.refused else inner.pages
            made.beside += inner.beside
            made.parts += inner.parts
        elif what == 5:
            members.append((f"{name}.zip", _zip([("a.png", make.picture("PNG")[1])])))
            made.pages.append(None)
        else:
            number, data = make.picture()
            for _ in range(make.one_of(1, 1, 1, 2)):  # the same bytes, and often the same name
                members.append((f"{name if make.maybe() else turn}.img", data))
                made.pages.append(number)
    made.data = _zip(members, make.one_of(zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    if not made.pages:
        made.refuse("empty-archive")
    return made


def zip_unlisted(make: Composer) -> Composed:
    """A ZIP of which some members were deleted, that was joined to another one, or has a tail."""
    names = [f"{n}.png" for n in range(make.some(1, 5))]
    found = [make.picture("PNG") for _ in names]
    members = [(name, data) for name, (_, data) in zip(names, found, strict=True)]
    made = Composed("ZIP, files that it does not list", "zip", b"")
    how = make.one_of("deleted", "joined", "behind")
    if how == "deleted":
        gone = {n for n in range(len(names)) if make.maybe(0.4)}
        made.data = _without(_zip(members), {names[n] for n in gone})
        made.pages = [number for n, (number, _) in enumerate(found) if n not in gone]
        made.beside = len(gone)
    elif how == "joined":
        last = make.some(1, len(names))
        made.data = _zip(members[:-last]) + _zip(members[-last:])
        made.pages = [number for number, _ in found[-last:]]
        made.beside = len(names) - last
    else:
        made.data = _zip(members) + make.picture(make.one_of("JPEG", "PNG"))[1]
        made.pages, made.beside = [number for number, _ in found], 1
    if not made.pages:
        made.refuse("empty-archive")
    return made


def _zip(members: Sequence[tuple[str, bytes]], method: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, data in members:
            entry = zipfile.ZipInfo(name)
            entry.compress_type = method
            archive.writestr(entry, data)
    return stream.getvalue()


def _without(data: bytes, names: set[str]) -> bytes:
    """Return a ZIP whose directory does not list some of its members any more."""
    stream = io.BytesIO(data)
    with zipfile.ZipFile(stream, "a") as archive:
        archive.filelist[:] = [entry for entry in archive.filelist if entry.filename not in names]
        archive.comment = b"some were deleted"  # so that the directory is written anew
    return stream.getvalue()


KINDS: Mapping[str, Callable[[Composer], Composed]] = {
    maker.__name__: maker
    for maker in (
        jpeg_and_more, picture_and_more, camera_pair, frames, phone_images, tiff_pages, fax,
        pdf_tree, pdf_attachments, pdf_annotations, zip_of_all, zip_unlisted,
    )
}  # fmt: skip


def compose(count: int, seed: int) -> list[Composed]:
    """Return `count` containers, of each kind equally many."""
    makers = list(KINDS.values())
    return [makers[n % len(makers)](Composer((seed, n))) for n in range(count)]
