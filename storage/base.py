"""The contract of object stores. `tests/contract/test_storage.py` tests each implementation.

Objects are immutable and named by their content: `<namespace>/<sha256>`. Each batch has a namespace
of its own, so deleting its objects cannot harm another batch.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from dataclasses import dataclass
from io import BufferedReader, RawIOBase
from typing import TYPE_CHECKING, BinaryIO, cast

from core.errors import ConfigError, CounterfoilError, InputError, NotFoundError, TransientError

if TYPE_CHECKING:
    from typing_extensions import Buffer

_BUFFER = 64 << 10  # bytes


class ObjectMissingError(NotFoundError):
    """There is no object with this key."""

    default_code = "object-missing"


class ObjectCorruptedError(CounterfoilError):
    """The bytes in the store do not hash to their key: they were changed after they were stored."""

    default_code = "object-corrupted"


class StorageUnavailableError(TransientError):
    """The store is away, slow, or refuses work at present."""

    default_code = "storage-unavailable"


class StorageFullError(TransientError):
    """There is no space left. Nothing was stored."""

    default_code = "storage-full"


class StorageDeniedError(ConfigError):
    """The store refuses our credentials or our access to the bucket."""

    default_code = "storage-denied"


class ObjectTooLargeError(InputError):
    """The stream has more than `limit` bytes. Nothing was stored."""

    default_code = "file-too-large"


@dataclass(frozen=True, slots=True)
class StoredObject:
    key: str  # "<namespace>/<sha256>"
    sha256: str  # 64 hex digits
    size: int  # bytes
    created: bool  # False: the same bytes were already stored


class ObjectStore(ABC):
    """Stores streams of bytes. For streams, memory use does not grow with the size of an object.

    Whatever is read is verified against the SHA-256 in its key.
    """

    @abstractmethod
    def put(self, namespace: str, stream: BinaryIO, *, limit: int | None = None) -> StoredObject:
        """Store the rest of `stream`, and hash it while writing.

        When this returns, the bytes are durable (fsync and rename, or status 200 of the server);
        an object that was stored before and is damaged now is replaced. A writer that dies half-way
        leaves nothing under any key. Raises ObjectTooLargeError above `limit` bytes,
        StorageFullError, StorageUnavailableError, StorageDeniedError.
        """

    @abstractmethod
    def _open(self, key: str) -> tuple[RawIOBase, int]:
        """Return an object's bytes, not verified, and their number. Raises ObjectMissingError."""

    def open(self, key: str) -> AbstractContextManager[BinaryIO]:
        """Open an object for reading. Raises ObjectMissingError.

        Instead of its last bytes the stream raises ObjectCorruptedError if the whole does not match
        the key. The bytes before are not verified yet: nothing may be concluded from them alone.
        """
        return cast(BinaryIO, BufferedReader(_Verified(*self._open(key), key), _BUFFER))

    def read(self, key: str) -> bytes:
        """Return a whole object. Raises ObjectMissingError, ObjectCorruptedError."""
        with self.open(key) as stream:
            return stream.read()

    @abstractmethod
    def size(self, key: str) -> int:
        """Return an object's size in bytes. Raises ObjectMissingError."""

    @abstractmethod
    def delete_namespace(self, namespace: str) -> int:
        """Delete all objects of a namespace, and return their number. Safe to repeat."""

    @abstractmethod
    def check(self) -> None:
        """Write, read back and delete a small object. Raises as these do."""


class _Verified(RawIOBase):
    """A stream of `size` bytes that returns its last bytes only if all match the key."""

    def __init__(self, source: RawIOBase, size: int, key: str) -> None:
        super().__init__()
        self._source = source
        self._left = size
        self._key = key
        self._hash = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer) -> int:
        view = memoryview(buffer)[: self._left]
        count = self._source.readinto(view) or 0
        self._verify(view[:count])
        return count

    def readall(self) -> bytes:
        data = self._source.readall() or b""
        self._verify(data)
        return data

    def close(self) -> None:
        self._source.close()
        super().close()

    def _verify(self, data: Buffer) -> None:
        self._hash.update(data)
        size = memoryview(data).nbytes
        self._left -= size
        at_end = self._left <= 0 or size == 0
        if at_end and self._hash.hexdigest() != self._key.partition("/")[2]:
            raise ObjectCorruptedError(
                f"The stored object {self._key} is damaged: its bytes do not match their checksum.",
                hint="Restore it from a backup, then run `counterfoil retry` for its batch.",
            )
