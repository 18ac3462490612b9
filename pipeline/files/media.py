"""The kinds of file, how they are told apart, and the errors that every kind can have."""

from __future__ import annotations

import filetype

from core.errors import InputError

JPEG = "image/jpeg"
PNG = "image/png"
TIFF = "image/tiff"
PDF = "application/pdf"
ZIP = "application/zip"
UNKNOWN = "application/octet-stream"
EMPTY = "application/x-empty"

HEAD_BYTES = 1024  # of the beginning of a file: enough to tell its kind

ACCEPTED = "JPEG, PNG, TIFF, PDF, or a ZIP of these"

_SIGNATURES = (
    (b"\xff\xd8\xff", JPEG),
    (b"\x89PNG\r\n\x1a\n", PNG),
    (b"II*\x00", TIFF),
    (b"MM\x00*", TIFF),
    (b"II+\x00", TIFF),  # BigTIFF
    (b"MM\x00+", TIFF),
    (b"%PDF-", PDF),
    (b"PK\x03\x04", ZIP),
    (b"PK\x05\x06", ZIP),  # a ZIP with nothing in it
)

# With an article, as in "This is ...".
_NAMES = {
    JPEG: "a JPEG image",
    PNG: "a PNG image",
    TIFF: "a TIFF image",
    PDF: "a PDF file",
    ZIP: "a ZIP file",
    "image/webp": "a WebP image",
    "image/gif": "a GIF image",
    "image/bmp": "a BMP image",
    "image/heic": "a HEIC image (the kind that phones make)",
    "image/avif": "an AVIF image",
    "image/jpx": "a JPEG 2000 image",
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
    if b"%PDF-" in head:  # PDF readers accept some junk before it, and some scanners write it
        return PDF
    guessed: str | None = filetype.guess_mime(head)
    return guessed or UNKNOWN


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
