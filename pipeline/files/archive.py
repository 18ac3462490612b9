"""ZIP files of strangers: read member by member, bounded, and never written to disk by name."""

from __future__ import annotations

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
from pipeline.files.media import broken

_PIECE = 1 << 18
_IN_MEMORY = 8 << 20
_LOCAL_HEADER = 30  # bytes before a member's name (APPNOTE.TXT 4.3.7)
# Deflate reaches 1,032 to 1 on nothing but zeros; blank scans stored without compression come
# near it, so only what is also large is refused.
_BOMB_RATIO, _BOMB_BYTES = 200, 256 << 20
_LITTER = {"thumbs.db", "desktop.ini"}
# zipfile raises these on damaged members; NotImplementedError for a method it does not know.
_FAULTS = (
    zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, RuntimeError, KeyError,
    IndexError, OverflowError, AttributeError, TypeError,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Member:
    """A file in the ZIP. `label` is for showing; as a path it would be anybody's."""

    label: str
    info: zipfile.ZipInfo


class Archive:
    """A ZIP, open for reading. Directories, hidden files and macOS's shadows are left out.

    Raises InputError when made if the ZIP is cut off, damaged or a bomb.
    """

    def __init__(self, stream: BinaryIO, max_unpacked_bytes: int) -> None:
        try:
            self._zip = zipfile.ZipFile(stream)
        except (*_FAULTS, MemoryError) as exc:
            raise InputError(
                "The ZIP is cut off or damaged.",
                hint="Pack it again, and see that the upload goes through to its end.",
                code="damaged",
            ) from exc
        self._left = max_unpacked_bytes
        self._limit = max_unpacked_bytes
        infos = self._zip.infolist()
        try:
            self._refuse_bombs(infos)
        except InputError:
            self._zip.close()
            raise
        self.members = tuple(
            Member(_label(info), info)
            for info in infos
            if not info.is_dir() and not _is_litter(info.filename)
        )

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
        """Give a member's bytes as a file without a name, rewound.

        Raises InputError with code `too-large-unpacked` once all members together pass the
        limit, which ends the document; with another code if only this member is bad.
        """
        info = member.info
        if info.flag_bits & 0x1:
            raise InputError(
                "This file in the ZIP is encrypted.",
                hint="Pack it again without a password.",
                code="encrypted",
            )
        with tempfile.SpooledTemporaryFile(_IN_MEMORY) as target:
            try:
                with self._zip.open(info) as source:
                    while piece := source.read(_PIECE):
                        self._left -= len(piece)
                        if self._left < 0:
                            raise self._too_large()
                        target.write(piece)
            except NotImplementedError as exc:
                raise InputError(
                    "This file is packed in a way that cannot be unpacked here.",
                    hint="Pack it as an ordinary ZIP.",
                    code="unsupported-variety",
                ) from exc
            except InputError:
                raise
            except _FAULTS as exc:
                raise broken("file in the ZIP", "it cannot be unpacked") from exc
            target.seek(0)
            yield target  # type: ignore[misc]  # has all that BinaryIO asks, but not its name

    def _refuse_bombs(self, infos: list[zipfile.ZipInfo]) -> None:
        """Refuse what unpacks to too much, by what the directory says; `unpack` then counts."""
        unpacked = sum(info.file_size for info in infos)
        packed = sum(info.compress_size for info in infos)
        if unpacked > self._limit:
            raise self._too_large()
        if unpacked > _BOMB_BYTES and unpacked > _BOMB_RATIO * max(packed, 1):
            raise _bomb()
        # Members that share their bytes (https://www.bamsoftware.com/hacks/zipbomb/).
        end = 0
        for info in sorted(infos, key=lambda info: info.header_offset):
            if info.header_offset < end:
                raise _bomb()
            end = info.header_offset + _LOCAL_HEADER + info.compress_size

    def _too_large(self) -> InputError:
        return InputError(
            f"The ZIP unpacks to more than {self._limit / (1 << 20):,.0f} MB.",
            hint="Split it and send the parts.",
            code="too-large-unpacked",
        )


def _bomb() -> InputError:
    return InputError(
        "The ZIP is built to unpack to far more than it holds, and is not opened.",
        hint="Pack the scans again.",
        code="zip-bomb",
    )


def _is_litter(name: str) -> bool:
    parts = name.replace("\\", "/").split("/")
    return parts[-1].startswith(".") or "__MACOSX" in parts or parts[-1].lower() in _LITTER


def _label(info: zipfile.ZipInfo) -> str:
    """Return a member's name as text fit to show.

    Without its flag a name is in code page 437 by the book, and in practice often in UTF-8.
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
