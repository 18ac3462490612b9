"""The object store as a directory: `<root>/<namespace>/<first two digits>/<sha256>`."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BytesIO, FileIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from core.ids import object_key
from storage.base import (
    ObjectMissingError,
    ObjectStore,
    StorageDeniedError,
    StorageFullError,
    StorageUnavailableError,
    StoredObject,
)
from storage.fsync import fsync
from storage.keys import FULL, checked_namespace, copy_hashed, split_key

if TYPE_CHECKING:
    from typing_extensions import Buffer

# No upload takes this long: an older temporary file was left by a process that died.
_ABANDONED_SECONDS = 24 * 3600.0
_DENIED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


class DirectoryStore(ObjectStore):
    """Objects as files. A file gets its final name only after its bytes are on the disk."""

    def __init__(self, root: Path) -> None:
        self.root = root
        # In the same file system as the objects, because only there a rename is atomic.
        self._incoming = root / ".incoming"

    def put(self, namespace: str, stream: BinaryIO, *, limit: int | None = None) -> StoredObject:
        folder = self.root / checked_namespace(namespace)
        with _translated():
            _make_folders(self._incoming)
        temporary = self._incoming / secrets.token_hex(16)
        try:
            sha256, size = self._spool(temporary, stream, limit)
            try:
                with _translated():
                    created = _publish(temporary, folder / sha256[:2] / sha256)
            except ObjectMissingError as exc:
                raise StorageUnavailableError(
                    "The objects of this batch were deleted while this one was being stored."
                ) from exc
        finally:
            with suppress(FileNotFoundError):
                temporary.unlink()
        return StoredObject(object_key(namespace, sha256), sha256, size, created)

    def _open(self, key: str) -> tuple[FileIO, int]:
        with _translated():
            file = _File(self._path(key))
            return file, os.fstat(file.fileno()).st_size

    def size(self, key: str) -> int:
        with _translated():
            return self._path(key).stat().st_size

    def delete_namespace(self, namespace: str) -> int:
        folder = self.root / checked_namespace(namespace)
        with _translated():
            count = sum(1 for _ in folder.glob("*/*"))
            with suppress(FileNotFoundError):
                shutil.rmtree(folder)
            return count

    def check(self) -> None:
        namespace = f"check-{secrets.token_hex(8)}"
        try:
            stored = self.put(namespace, BytesIO(namespace.encode()))
            self.read(stored.key)
        finally:
            self.delete_namespace(namespace)
        self._sweep()

    def _path(self, key: str) -> Path:
        namespace, sha256 = split_key(key)
        return self.root / namespace / sha256[:2] / sha256

    def _spool(self, path: Path, stream: BinaryIO, limit: int | None) -> tuple[str, int]:
        with _translated():
            target = path.open("xb", buffering=0)

        def write(chunk: bytes) -> None:
            with _translated():
                _write_all(target.fileno(), chunk)

        with target:
            digest, size = copy_hashed(stream, write, limit)
            with _translated():
                os.fsync(target.fileno())
        return digest.hex(), size

    def _sweep(self) -> None:
        with suppress(FileNotFoundError):
            for path in self._incoming.iterdir():
                with suppress(FileNotFoundError):
                    if time.time() - path.stat().st_mtime > _ABANDONED_SECONDS:
                        path.unlink()


class _File(FileIO):
    """A file whose errors are ours."""

    def readinto(self, buffer: Buffer, /) -> int:
        with _translated():
            return super().readinto(buffer)

    def readall(self) -> bytes:
        with _translated():
            return super().readall()


def _publish(temporary: Path, target: Path) -> bool:
    """Give the finished file its final name, durably; return whether the name was free."""
    _make_folders(target.parent)
    created = not target.exists()
    # Also if there is such a file, because it may be damaged.
    temporary.rename(target)
    fsync(target.parent)
    return created


def _make_folders(folder: Path) -> None:
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for path in reversed(missing):
        path.mkdir(exist_ok=True)
        fsync(path.parent)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as exc:
        raise ObjectMissingError("There is no such object.") from exc
    except OSError as exc:
        if exc.errno in FULL:
            raise StorageFullError(
                "The disk is full.", hint="Free some space, then repeat the upload."
            ) from exc
        if exc.errno in _DENIED:
            raise StorageDeniedError(
                f"The object directory cannot be used: {exc.strerror}.",
                hint="Check its owner and its permissions.",
            ) from exc
        raise StorageUnavailableError(
            f"The object directory cannot be used: {exc.strerror}."
        ) from exc
