"""The object store's contract, over every implementation."""

from __future__ import annotations

import hashlib
import io
import random
import resource
import shutil
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pytest

from core.errors import NotFoundError, TransientError
from core.settings import Settings
from storage.base import (
    ObjectCorruptedError,
    ObjectMissingError,
    ObjectStore,
    ObjectTooLargeError,
    StorageDeniedError,
    StorageFullError,
    StorageUnavailableError,
)
from storage.directory import DirectoryStore
from storage.open import open_store
from storage.s3 import S3Store
from tests import servers

MISSING = f"batch/{'0' * 64}"


@dataclass(frozen=True)
class Case:
    """One implementation: its store, and how to look and meddle behind the store's back."""

    store: ObjectStore
    names: Callable[[], list[str]]  # everything that is stored, whatever its name
    overwrite: Callable[[str, bytes], None]


@pytest.fixture(params=["directory", "s3"])
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Case:
    if request.param == "directory":
        return _directory(tmp_path / "objects")
    return _s3(request.getfixturevalue("s3_server"))


def _directory(root: Path) -> Case:
    def names() -> list[str]:
        return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())

    def overwrite(key: str, data: bytes) -> None:
        (root / _on_disk(key)).write_bytes(data)

    return Case(DirectoryStore(root), names, overwrite)


def _on_disk(key: str) -> str:
    namespace, sha256 = key.split("/")
    return f"{namespace}/{sha256[:2]}/{sha256}"


def _s3(server: servers.S3Server) -> Case:
    bucket = server.make_bucket()
    client = server.client()

    def names() -> list[str]:
        found = client.list_objects_v2(Bucket=bucket).get("Contents", [])
        parts = client.list_multipart_uploads(Bucket=bucket).get("Uploads", [])
        return sorted(item["Key"] for item in [*found, *parts])

    def overwrite(key: str, data: bytes) -> None:
        client.put_object(Bucket=bucket, Key=key, Body=data)

    return Case(s3_store(server, bucket), names, overwrite)


def s3_store(server: servers.S3Server, bucket: str, **options: object) -> S3Store:
    given = {
        "endpoint": server.endpoint,
        "access_key": server.access_key,
        "secret_key": server.secret_key,
        "timeout": 20.0,
        "attempts": 2,
    }
    return S3Store(bucket, **(given | options))  # type: ignore[arg-type]


class Endless(io.RawIOBase):
    """`size` bytes, the same each time, without holding them; may break at the end."""

    def __init__(self, size: int, *, broken: bool = False) -> None:
        super().__init__()
        self.left, self.broken = size, broken

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if self.left == 0 and self.broken:
            raise ConnectionResetError("the client went away")
        size = self.left if size < 0 else min(size, self.left)
        self.left -= size
        return b"\x5a" * size


def stream(size: int, *, broken: bool = False) -> BinaryIO:
    return Endless(size, broken=broken)  # type: ignore[return-value]


# Around the sizes at which an implementation changes its way: chunks, spool, parts.
SIZES = [0, 1, (1 << 20) - 1, (4 << 20) + 1, 16 << 20, (16 << 20) + 1]


@pytest.mark.parametrize("size", SIZES)
def test_what_is_put_is_read(case: Case, size: int) -> None:
    data = b"\x5a" * size
    stored = case.store.put("batch", io.BytesIO(data))
    assert stored.sha256 == hashlib.sha256(data).hexdigest()
    assert (stored.key, stored.size, stored.created) == (f"batch/{stored.sha256}", size, True)
    assert case.store.read(stored.key) == data
    assert case.store.size(stored.key) == size
    with case.store.open(stored.key) as opened:
        copy = io.BytesIO()
        shutil.copyfileobj(opened, copy)
    assert copy.getvalue() == data
    again = case.store.put("batch", io.BytesIO(data))
    assert (again.key, again.created) == (stored.key, False)
    assert len(case.names()) == 1


def test_only_the_rest_of_a_stream_is_stored(case: Case) -> None:
    source = io.BytesIO(b"header:body")
    source.seek(7)
    assert case.store.read(case.store.put("batch", source).key) == b"body"


def test_namespaces_are_apart(case: Case) -> None:
    one = case.store.put("one", io.BytesIO(b"same"))
    two = case.store.put("two", io.BytesIO(b"same"))
    assert one.created
    assert two.created
    assert case.store.delete_namespace("one") == 1
    assert case.store.delete_namespace("one") == 0
    assert case.store.read(two.key) == b"same"
    with pytest.raises(ObjectMissingError):
        case.store.read(one.key)


def test_a_namespace_is_no_prefix_of_another(case: Case) -> None:
    kept = case.store.put("batch10", io.BytesIO(b"kept"))
    case.store.put("batch1", io.BytesIO(b"gone"))
    assert case.store.delete_namespace("batch1") == 1
    assert case.store.read(kept.key) == b"kept"


@pytest.mark.parametrize("key", [MISSING, "batch", "../batch/x", "batch/../x", "", "a/b\0"])
def test_what_is_not_there_is_missing(case: Case, key: str) -> None:
    case.store.put("batch", io.BytesIO(b"x"))
    with pytest.raises(ObjectMissingError):
        case.store.read(key)
    with pytest.raises(ObjectMissingError):
        case.store.size(key)
    with pytest.raises(NotFoundError), case.store.open(key):
        pass


@pytest.mark.parametrize("namespace", ["", "..", "a/b", "/", ".incoming", "a\0", "a" * 101])
def test_a_namespace_cannot_leave_the_store(case: Case, namespace: str) -> None:
    with pytest.raises(ValueError, match="not a namespace"):
        case.store.put(namespace, io.BytesIO(b"x"))
    with pytest.raises(ValueError, match="not a namespace"):
        case.store.delete_namespace(namespace)
    assert case.names() == []


@pytest.mark.parametrize("size", [10, 5 << 20, 20 << 20])
def test_a_stream_that_breaks_leaves_nothing(case: Case, size: int) -> None:
    with pytest.raises(ConnectionResetError):
        case.store.put("batch", stream(size, broken=True))
    assert case.names() == []


@pytest.mark.parametrize("limit", [100, 5 << 20])
def test_the_limit_is_exact_and_leaves_nothing(case: Case, limit: int) -> None:
    with pytest.raises(ObjectTooLargeError):
        case.store.put("batch", stream(limit + 1), limit=limit)
    assert case.names() == []
    assert case.store.put("batch", stream(limit), limit=limit).size == limit


def test_past_the_limit_the_stream_is_not_read_on(case: Case) -> None:
    source = Endless(1 << 40)
    with pytest.raises(ObjectTooLargeError):
        case.store.put("batch", source, limit=10)  # type: ignore[arg-type]
    assert (1 << 40) - source.left <= 2 << 20


@pytest.mark.parametrize("size", [1000, 17 << 20])
def test_the_same_bytes_at_once(case: Case, size: int) -> None:
    together = threading.Barrier(4)

    def put(_: int) -> str:
        together.wait()
        return case.store.put("batch", stream(size)).key

    with ThreadPoolExecutor(4) as pool:
        keys = set(pool.map(put, range(4)))
    assert len(keys) == 1
    assert len(case.names()) == 1
    assert len(case.store.read(keys.pop())) == size


def test_memory_does_not_grow_with_the_object(case: Case) -> None:
    size = 96 << 20
    case.store.check()  # imports and connections are not the object's
    tracemalloc.start()
    try:
        key = case.store.put("batch", stream(size)).key
        read = 0
        with case.store.open(key) as opened:
            while chunk := opened.read(1 << 20):
                read += len(chunk)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert read == size
    assert peak < 56 << 20


@pytest.mark.parametrize("bad", [b"", b"other", b"wrong", b"right!", b"righ"])
def test_other_bytes_than_were_stored_are_noticed(case: Case, bad: bytes) -> None:
    key = case.store.put("batch", io.BytesIO(b"right")).key
    case.overwrite(key, bad)
    with pytest.raises(ObjectCorruptedError, match=key):
        case.store.read(key)
    with case.store.open(key) as opened, pytest.raises(ObjectCorruptedError, match=key):
        shutil.copyfileobj(opened, io.BytesIO())


@pytest.mark.parametrize("position", [0, 1 << 20, -1])
@pytest.mark.parametrize("at_once", [1000, 1 << 20, -1])
def test_the_last_bytes_of_a_damaged_object_never_come_out(
    case: Case, position: int, at_once: int
) -> None:
    data = bytearray(random.Random(1).randbytes((2 << 20) + 1))
    key = case.store.put("batch", io.BytesIO(data)).key
    data[position] ^= 1
    case.overwrite(key, bytes(data))
    came = bytearray()

    def read_all() -> None:
        with case.store.open(key) as opened:
            while chunk := opened.read(at_once):
                came.extend(chunk)

    with pytest.raises(ObjectCorruptedError):
        read_all()
    assert len(came) < len(data)
    with case.store.open(key) as opened:
        assert opened.read(100) == data[:100], "the first may be looked at"


@pytest.mark.parametrize("size", [5, 17 << 20])
def test_to_store_a_damaged_object_again_mends_it(case: Case, size: int) -> None:
    key = case.store.put("batch", stream(size)).key
    case.overwrite(key, b"wrong")
    assert case.store.put("batch", stream(size)).key == key
    assert case.store.read(key) == b"\x5a" * size
    assert len(case.names()) == 1


def test_check_leaves_nothing(case: Case) -> None:
    case.store.check()
    assert case.names() == []


@contextmanager
def _file_size_limit(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_leaves_nothing(case: Case) -> None:
    # The kernel refuses the write half-way, as it does on a full disk (and Python ignores
    # SIGXFSZ). For S3 it is the disk of the temporary files.
    with _file_size_limit(5 << 20), pytest.raises(StorageFullError):
        case.store.put("batch", stream(8 << 20))
    assert case.names() == []
    assert case.store.put("batch", stream(8 << 20)).created


# --- What only a directory has ---


def test_a_directory_that_is_a_file_is_a_fault_of_the_setup(tmp_path: Path) -> None:
    (tmp_path / "objects").write_text("not a directory")
    with pytest.raises(TransientError):
        DirectoryStore(tmp_path / "objects").put("batch", io.BytesIO(b"x"))


def test_the_settings_choose(tmp_path: Path, s3_server: servers.S3Server) -> None:
    embedded = open_store(Settings(home=tmp_path))
    embedded.put("batch", io.BytesIO(b"x"))
    assert (tmp_path / "objects" / "batch").is_dir()
    bucket = s3_server.make_bucket()
    remote = open_store(
        Settings(
            home=tmp_path,
            s3_endpoint=s3_server.endpoint,
            s3_bucket=bucket,
            s3_access_key=s3_server.access_key,
            s3_secret_key=s3_server.secret_key,
        )
    )
    remote.check()


# --- What only a server has ---


@pytest.mark.parametrize("wrong", ["secret_key", "access_key", "bucket"])
def test_what_the_server_refuses_is_a_fault_of_the_setup(
    s3_server: servers.S3Server, wrong: str
) -> None:
    bucket = s3_server.make_bucket()
    if wrong == "bucket":
        # It makes a missing bucket for whoever may; a name that no bucket can have it refuses.
        store = s3_store(s3_server, "No_Such_Bucket")
    else:
        store = s3_store(s3_server, bucket, **{wrong: "wrong"})
    with pytest.raises(StorageDeniedError):
        store.put("batch", io.BytesIO(b"x"))
    with pytest.raises(StorageDeniedError):
        store.check()
    with pytest.raises((StorageDeniedError, ObjectMissingError)):
        store.read(MISSING)


def test_a_server_that_is_away_comes_back() -> None:
    with servers.seaweed() as s3:
        bucket = s3.make_bucket()
        store = s3_store(s3, bucket)
        key = store.put("batch", io.BytesIO(b"kept")).key
        s3.server.freeze()
        with pytest.raises(StorageUnavailableError):
            s3_store(s3, bucket, timeout=1.0).read(key)
        s3.server.thaw()
        assert store.read(key) == b"kept"
        s3.server.stop()
        for action in (
            lambda: store.read(key),
            lambda: store.size(key),
            lambda: store.put("batch", io.BytesIO(b"lost")),
            lambda: store.put("batch", stream(17 << 20)),
            lambda: store.delete_namespace("batch"),
            store.check,
        ):
            with pytest.raises(StorageUnavailableError):
                action()
        s3.server.start()
        assert store.read(key) == b"kept"
        assert store.put("batch", io.BytesIO(b"lost")).created
