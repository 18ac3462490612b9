"""The contract of object stores. `tests/contract/test_storage.py` tests each implementation.

Objects are immutable and named by their content: `<namespace>/<sha256>`. Each batch has a namespace
of its own, so deleting its objects cannot harm another batch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import BinaryIO

from core.errors import ConfigError, InputError, NotFoundError, TransientError


class ObjectMissingError(NotFoundError):
    """There is no object with this key."""

    default_code = "object-missing"


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
    """Stores streams of bytes. For streams, memory use does not grow with the size of an object."""

    @abstractmethod
    def put(self, namespace: str, stream: BinaryIO, *, limit: int | None = None) -> StoredObject:
        """Store the rest of `stream`, and hash it while writing.

        When this returns, the bytes are durable (fsync and rename, or status 200 of the server). A
        writer that dies half-way leaves nothing under any key. Raises ObjectTooLargeError above
        `limit` bytes, StorageFullError, StorageUnavailableError, StorageDeniedError.
        """

    @abstractmethod
    def open(self, key: str) -> AbstractContextManager[BinaryIO]:
        """Open an object for reading. Raises ObjectMissingError."""

    @abstractmethod
    def read(self, key: str) -> bytes:
        """Return a whole object, verified against its hash. Raises ObjectMissingError.

        Bytes that do not match their hash raise StorageUnavailableError: they are a fault of the
        store, never of the user's scan.
        """

    @abstractmethod
    def size(self, key: str) -> int:
        """Return an object's size in bytes. Raises ObjectMissingError."""

    @abstractmethod
    def delete_namespace(self, namespace: str) -> int:
        """Delete all objects of a namespace, and return their number. Safe to repeat."""

    @abstractmethod
    def check(self) -> None:
        """Write, read back and delete a small object. Raises as these do."""
