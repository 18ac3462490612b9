"""ZIP files, which anybody may have made: unpacked member by member, within limits.

No member's name is ever used as a path.
"""

from __future__ import annotations

import os
import struct
import tempfile
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import BinaryIO

from core.errors import InputError
from pipeline.files.following import following
from pipeline.files.passed_over import PassedOver

_CHUNK = 1 << 18
_IN_MEMORY = 8 << 20
_LOCAL_HEADER = 30  # bytes before a member's name (APPNOTE.TXT 4.3.7)
# Deflate packs zeros 1,032 to 1, and uncompressed blank scans nearly as well. So a ZIP of a high
# ratio is refused only if it is also large.
_BOMB_RATIO, _BOMB_BYTES = 200, 256 << 20
_LOCAL_SIGNATURE = b"PK\x03\x04"
_LENGTHS = 26  # where in a local header the lengths of name and extra field stand
_END_SIGNATURE, _END_BYTES = b"PK\x05\x06", 22  # of the record at the end (4.3.16)
_MAX_TAIL = 1 << 17  # zipfile looks for that record in the last 64 KiB
_MAX_BETWEEN = 64 << 20  # bytes between two members that are searched
_SYSTEM_NAMES = {"thumbs.db", "desktop.ini"}
# Office Open XML has the first, OpenDocument and EPUB the second.
_OFFICE_NAMES = frozenset(
    {"[Content_Types].xml", "META-INF/container.xml", "META-INF/manifest.xml"}
)
_IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".gif", ".bmp", ".webp", ".pdf")
# What zipfile raises for damaged members. For a method that it does not know, it raises
# NotImplementedError.
_ERRORS = (
    zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, RuntimeError, KeyError,
    IndexError, OverflowError, AttributeError, TypeError,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Member:
    """A file in the ZIP. `label` is for showing only: as a path it could point anywhere."""

    label: str
    info: zipfile.ZipInfo
    passed_over: PassedOver | None = None  # why it is not opened


class Archive:
    """A ZIP, open for reading. `members` are its files in the order of its directory.

    Files that its directory does not list follow at the end. They, hidden files and those of the
    operating system are marked as passed over. `behind` is what stands behind the ZIP in its file.
    The constructor raises InputError if the ZIP is cut
    off, damaged or a bomb.
    """

    def __init__(self, stream: BinaryIO, max_unpacked_bytes: int) -> None:
        try:
            self._zip = zipfile.ZipFile(stream)
        except (*_ERRORS, MemoryError) as exc:
            raise InputError(
                "The ZIP is cut off or damaged.",
                hint="Copy the ZIP again, or create it again.",
                code="damaged",
            ) from exc
        self._remaining = max_unpacked_bytes
        self._limit = max_unpacked_bytes
        infos = self._zip.infolist()
        try:
            self._refuse_bombs(infos)
        except InputError:
            self._zip.close()
            raise
        self.members = (
            *(
                Member(label := _label(info), info, _hidden(label) if _is_hidden(info) else None)
                for info in infos
                if not (info.is_dir() and info.file_size == 0)
            ),
            *_unlisted(stream, infos, self._zip.start_dir),
        )
        self.behind = _behind(stream, self._zip)

        self.office_images = _office_images(self._zip)  # of an office program's file, else None

    def __enter__(self) -> Archive:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._zip.close()

    @contextmanager
    def unpack(self, member: Member) -> Iterator[BinaryIO]:
        """Unpack a member into a file without a name, and yield it from its beginning.

        Raises InputError: with code `too-large-unpacked` if all members together exceed the
        limit, with another code if only this member is bad.
        """
        info = member.info
        if info.flag_bits & 0x1:
            raise InputError(
                "This file in the ZIP is encrypted.",
                hint="Create the ZIP again without a password.",
                code="encrypted",
            )
        with tempfile.SpooledTemporaryFile(_IN_MEMORY) as target:
            try:
                with self._zip.open(info) as source:
                    while piece := source.read(_CHUNK):
                        self._remaining -= len(piece)
                        if self._remaining < 0:
                            raise self._too_large()
                        target.write(piece)
            except NotImplementedError as exc:
                raise InputError(
                    "This file in the ZIP is compressed in a way that cannot be unpacked here.",
                    hint="Create an ordinary ZIP.",
                    code="unsupported-variety",
                ) from exc
            except InputError:
                raise
            except _ERRORS as exc:
                raise InputError(
                    "This file in the ZIP is damaged and cannot be unpacked.",
                    hint="Create the ZIP again.",
                    code="damaged",
                ) from exc
            target.seek(0)
            yield target  # type: ignore[misc]  # a BinaryIO in all but name

    def _refuse_bombs(self, infos: list[zipfile.ZipInfo]) -> None:
        """Raise InputError if, by its directory, the ZIP unpacks to too much.

        The directory may lie, so `unpack` counts as well.
        """
        unpacked = sum(info.file_size for info in infos)
        packed = sum(info.compress_size for info in infos)
        if unpacked > self._limit:
            raise self._too_large()
        if unpacked > _BOMB_BYTES and unpacked > _BOMB_RATIO * max(packed, 1):
            raise _bomb()
        # Members that share their bytes (see https://www.bamsoftware.com/hacks/zipbomb/).
        end = 0
        for info in sorted(infos, key=lambda info: info.header_offset):
            if info.header_offset < end:
                raise _bomb()
            end = info.header_offset + _LOCAL_HEADER + info.compress_size

    def _too_large(self) -> InputError:
        return InputError(
            f"The ZIP unpacks to more than {self._limit / (1 << 20):,.0f} MB.",
            hint="Split it into smaller files.",
            code="too-large-unpacked",
        )


def _bomb() -> InputError:
    return InputError(
        "The ZIP would unpack to far more than a ZIP of scans does. It is not opened.",
        hint="Create the ZIP again.",
        code="zip-bomb",
    )


def images_of_office_file(stream: BinaryIO) -> int | None:
    """Return how many images a ZIP holds if it is a file of an office program, else None."""
    try:
        with zipfile.ZipFile(stream) as archive:
            return _office_images(archive)
    except (*_ERRORS, MemoryError):
        return None


def files_in(stream: BinaryIO) -> int | None:
    """Return how many files a ZIP holds, or None if it cannot be opened."""
    try:
        with zipfile.ZipFile(stream) as archive:
            return sum(not info.is_dir() for info in archive.infolist())
    except (*_ERRORS, MemoryError):
        return None


def _office_images(archive: zipfile.ZipFile) -> int | None:
    names = archive.namelist()
    if _OFFICE_NAMES.isdisjoint(names):
        return None
    return sum(name.lower().endswith(_IMAGE_ENDINGS) for name in names)


def _is_hidden(info: zipfile.ZipInfo) -> bool:
    """Say whether a member is hidden, or one that an operating system adds by itself."""
    parts = info.filename.replace("\\", "/").rstrip("/").split("/")
    hidden = parts[-1].startswith(".") or "__MACOSX" in parts
    return hidden or parts[-1].lower() in _SYSTEM_NAMES


def _hidden(label: str) -> PassedOver:
    return PassedOver(
        label,
        "hidden-file",
        "This is a hidden file in the ZIP, or one that the operating system put there. If it is a "
        "scan, give it a name that does not begin with a point.",
    )


def _unlisted(stream: BinaryIO, infos: list[zipfile.ZipInfo], directory: int) -> Iterator[Member]:
    """Yield the files that stand in the ZIP and that its directory, at an offset, does not name.

    They are left when files are deleted carelessly, and when two ZIPs are joined: only the
    directory of the last is used.
    """
    place = 0  # behind the last member
    for info in sorted(infos, key=lambda info: info.header_offset):
        yield from _headers(stream, place, info.header_offset)
        stream.seek(info.header_offset + _LENGTHS)
        name, extra = struct.unpack("<HH", stream.read(4).ljust(4, b"\0"))
        place = info.header_offset + _LOCAL_HEADER + name + extra + info.compress_size
    yield from _headers(stream, place, directory)


def _behind(stream: BinaryIO, archive: zipfile.ZipFile) -> list[PassedOver]:
    """Return the files that stand behind a ZIP; its readers look for its end and ignore them."""
    size = stream.seek(0, os.SEEK_END)
    start = max(0, size - _MAX_TAIL)
    stream.seek(start)
    tail = stream.read()
    end = tail.rfind(_END_SIGNATURE) + _END_BYTES + len(archive.comment)
    return following(tail, end, "the ZIP")


def _headers(stream: BinaryIO, start: int, end: int) -> Iterator[Member]:
    """Yield the members whose local headers stand between two offsets."""
    if end - start < _LOCAL_HEADER:
        return
    stream.seek(start)
    between = stream.read(min(end - start, _MAX_BETWEEN))
    at = between.find(_LOCAL_SIGNATURE)
    while at >= 0:
        length = int.from_bytes(between[at + _LENGTHS : at + _LENGTHS + 2], "little")
        name = between[at + _LOCAL_HEADER : at + _LOCAL_HEADER + length]
        info = zipfile.ZipInfo(name.decode("utf-8", "replace") or "?")
        label = _label(info)
        reason = (
            "This file stands in the ZIP, but the ZIP's directory does not list it, as after a "
            "deletion or where two ZIPs were joined. If it is a scan, send it by itself."
        )
        if not label.endswith("/"):
            yield Member(label, info, PassedOver(label, "unlisted-file", reason))
        at = between.find(_LOCAL_SIGNATURE, at + _LOCAL_HEADER)


def _label(info: zipfile.ZipInfo) -> str:
    """Return a member's name as text that is safe to show.

    A name without the flag for UTF-8 should be in code page 437, but is often in UTF-8.
    """
    name = info.orig_filename.split("\0")[0]
    if not info.flag_bits & 0x800:
        with suppress(UnicodeError):
            name = name.encode("cp437").decode("utf-8")
    shown = "".join(
        "\ufffd" if unicodedata.category(sign) in ("Cc", "Cf", "Cs", "Zl", "Zp") else sign
        for sign in name
    )
    return (shown if len(shown) <= 500 else "…" + shown[-499:]) or "?"
