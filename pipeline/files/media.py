"""The kinds of file, how they are told apart, and the errors that every kind can have."""

from __future__ import annotations

import re

import filetype

from core.errors import InputError

JPEG = "image/jpeg"
PNG = "image/png"
TIFF = "image/tiff"
PDF = "application/pdf"
HEIC = "image/heic"
AVIF = "image/avif"
WEBP = "image/webp"
BMP = "image/bmp"
GIF = "image/gif"
PNM = "image/x-portable-anymap"
ZIP = "application/zip"
UNKNOWN = "application/octet-stream"
EMPTY = "application/x-empty"

HEAD_BYTES = 1024  # of the beginning of a file: enough to tell its kind

# Images of one page that are neither JPEG, PNG nor TIFF.
PICTURES = (HEIC, AVIF, WEBP, BMP, GIF, PNM)

IMAGES = "JPEG, PNG, TIFF, HEIC, AVIF, WebP, BMP, GIF or PNM"
ACCEPTED = "JPEG, PNG, TIFF, PDF, HEIC, AVIF, WebP, BMP, GIF, PNM, or a ZIP of these"

_JPEG_XL, _JPEG_2000 = "image/jxl", "image/jp2"
_SIGNATURES = (
    (b"\xff\xd8\xff", JPEG),
    (b"\x89PNG\r\n\x1a\n", PNG),
    (b"II*\x00", TIFF),
    (b"MM\x00*", TIFF),
    (b"II+\x00", TIFF),  # BigTIFF
    (b"MM\x00+", TIFF),
    (b"%PDF-", PDF),
    (b"GIF87a", GIF),
    (b"GIF89a", GIF),
    (b"\xff\x0a", _JPEG_XL),
    (b"\0\0\0\x0cJXL \r\n", _JPEG_XL),
    (b"\0\0\0\x0cjP  \r\n", _JPEG_2000),
    (b"\xff\x4f\xff\x51", _JPEG_2000),
    (b"PK\x03\x04", ZIP),
    (b"PK\x05\x06", ZIP),  # a ZIP with nothing in it
)

_PNM_HEADER = re.compile(rb"P[1-6][\s#]")
_BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)  # bytes of the second header, by version
_AVIF_BRANDS = {b"avif", b"avis"}
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}

# With an article, as in "This is ...".
_NAMES = {
    JPEG: "a JPEG image",
    PNG: "a PNG image",
    TIFF: "a TIFF image",
    PDF: "a PDF file",
    ZIP: "a ZIP file",
    WEBP: "a WebP image",
    GIF: "a GIF image",
    BMP: "a BMP image",
    HEIC: "a HEIC image (the kind that phones make)",
    AVIF: "an AVIF image",
    PNM: "a PNM image",
    _JPEG_XL: "a JPEG XL image",
    _JPEG_2000: "a JPEG 2000 image",
    "image/jpx": "a JPEG 2000 image",
    "image/vnd.djvu": "a DjVu document",
    "image/x-portable-arbitrarymap": "a PAM image",
    "image/vnd.adobe.photoshop": "a Photoshop file",
    "application/x-rar-compressed": "a RAR archive",
    "application/x-7z-compressed": "a 7-Zip archive",
    "application/x-tar": "a TAR archive",
    "application/gzip": "a GZIP file",
}


def sniff(head: bytes) -> str:
    """Return the media type of a file, given its first `HEAD_BYTES` bytes.

    Neither the file's name nor the sender's `Content-Type` is trusted. An unknown kind is
    `application/octet-stream`.
    """
    if not head:
        return EMPTY
    for signature, media_type in _SIGNATURES:
        if head.startswith(signature):
            return media_type
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return WEBP
    if _PNM_HEADER.match(head):
        return PNM
    if head.startswith(b"P7\n"):
        return "image/x-portable-arbitrarymap"
    if head.startswith(b"AT&TFORM"):
        return "image/vnd.djvu"
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADERS:
        return BMP
    if head[4:8] == b"ftyp" and (kind := _brand(head)):
        return kind
    if b"%PDF-" in head:  # PDF readers accept some junk before it, and some scanners write it
        return PDF
    guessed: str | None = filetype.guess_mime(head)
    return guessed or UNKNOWN


def _brand(head: bytes) -> str:
    """Return the kind of image that a file of boxes says it is (ISO/IEC 14496-12, 4.3)."""
    end = min(int.from_bytes(head[:4]), len(head))
    brands = {head[at : at + 4] for at in (8, *range(16, end, 4))}
    if brands & _AVIF_BRANDS:
        return AVIF
    return HEIC if brands & _HEIC_BRANDS else ""


def name_of(media_type: str) -> str:
    """Return what people call a kind of file, with its article: "a TIFF image"."""
    return _NAMES.get(media_type, f"a file of type {media_type}")


def wrong_kind(media_type: str, accepted: str = ACCEPTED) -> InputError:
    """Return the error for a file that is empty or of a kind that is not accepted."""
    if media_type == EMPTY:
        return InputError(
            "The file is empty.",
            hint=f"Scan or export it again. Accepted: {accepted}.",
            code="empty-file",
        )
    name = _NAMES.get(media_type)
    if name is None:
        file = f"a file of type {media_type}, which cannot be read here"
        return InputError(
            f"This is {'not an image that can be read here' if media_type == UNKNOWN else file}.",
            hint=f"Accepted: {accepted}.",
            code="wrong-type",
        )
    save = " Save it as JPEG or PNG." if media_type.startswith("image/") else ""
    return InputError(
        f"This is {name}, which cannot be read here.{save}",
        hint=f"Accepted: {accepted}.",
        code="wrong-type",
    )


def truncated(kind: str, where: str) -> InputError:
    """Return the error for a file of `kind` ("JPEG") of which a part is missing."""
    return InputError(
        f"The {kind} is cut off: {where}.",
        hint="Scan or export it again.",
        code="truncated",
    )


def damaged(kind: str, what: str) -> InputError:
    """Return the error for a file of `kind` ("JPEG") whose bytes make no sense."""
    return InputError(
        f"The {kind} is damaged: {what}.", hint="Scan or export it again.", code="damaged"
    )


def unsupported(kind: str, what: str) -> InputError:
    """Return the error for a file of `kind` that is sound, but of a variety that is not read."""
    return InputError(
        f"The {kind} is of a variety that cannot be read here: {what}.",
        hint="Save it as an ordinary JPEG or PNG.",
        code="unsupported-variety",
    )


def check_size(kind: str, width: int, height: int, max_pixels: int) -> None:
    """Raise InputError unless the image has between 1 and `max_pixels` pixels."""
    if width < 1 or height < 1:
        raise damaged(kind, f"its size is {width} × {height} pixels")
    if width * height > max_pixels:
        raise InputError(
            f"The {kind} has {width} × {height} pixels, {width * height / 1e6:.1f} million; "
            f"the limit is {max_pixels / 1e6:.0f} million.",
            hint="Scan it at a lower resolution.",
            code="too-many-pixels",
        )
