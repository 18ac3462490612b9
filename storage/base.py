"""The object store's contract. `tests/contract/test_storage.py` runs over every implementation.

Objects are immutable and named by their content: `<namespace>/<sha256>`. A namespace is a batch,
so that deleting a batch deletes its objects and no other batch can be harmed by it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import BinaryIO

from core.errors import ConfigError, InputError, NotFoundError, TransientError


class ObjectMissingError(NotFoundError):
    """There is no object of that key."""

    default_code = "object-missing"


class StorageUnavailableError(TransientError):
    """The store is away, slow or refuses work for now."""

    default_code = "storage-unavailable"


class StorageFullError(TransientError):
    """There is no room left. Nothing was stored."""

    default_code = "storage-full"


class StorageDeniedError(ConfigError):
    """The store refuses our credentials, or the bucket is not ours."""

    default_code = "storage-denied"


class ObjectTooLargeError(InputError):
    """The stream held more than `limit` bytes. Nothing was stored."""

    default_code = "file-too-large"


@dataclass(frozen=True, slots=True)
class StoredObject:
    key: str  # "<namespace>/<sha256>"
    sha256: str  # 64 hex digits
    size: int  # bytes
    created: bool  # False: the same bytes were there already


class ObjectStore(ABC):
    """Streams in, streams out; memory use does not grow with an object's size."""

    @abstractmethod
    def put(self, namespace: str, stream: BinaryIO, *, limit: int | None = None) -> StoredObject:
        """Store what is left of `stream`, hashing while writing.

        When this returns, the bytes are durable (fsync and rename; or the server's 200). A
        writer that dies half-way leaves nothing under any key. Raises ObjectTooLargeError past
        `limit` bytes, StorageFullError, StorageUnavailableError, StorageDeniedError.
        """

    @abstractmethod
    def open(self, key: str) -> AbstractContextManager[BinaryIO]:
        """Open an object for reading. Raises ObjectMissingError."""

    @abstractmethod
    def read(self, key: str) -> bytes:
        """Return a whole object, checked against its name. Raises ObjectMissingError.

        Bytes that do not hash to their name raise StorageUnavailableError: a fault of the store,
        never of the user's scan.
        """

    @abstractmethod
    def size(self, key: str) -> int:
        """Return an object's size in bytes. Raises ObjectMissingError."""

    @abstractmethod
    def delete_namespace(self, namespace: str) -> int:
        """Delete every object of a namespace and return how many there were. Safe to repeat."""

    @abstractmethod
    def check(self) -> None:
        """Write, read back and delete a small object; raise what is wrong."""
