"""Fixtures of all tests: the data folder, sockets, real servers, databases and stores.

Nothing here pretends: a service that is missing skips its tests, and fails them where `CI` is
set. Unit tests may open no network socket. Servers start once a test process, when the first
test asks; databases and buckets are new for each test.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NoReturn, TypeVar

import pytest
from pytest_socket import disable_socket, enable_socket

from db.migrate import upgrade
from db.session import Database
from tests import servers

ROOT = Path(__file__).parent.parent
UNIT = ROOT / "tests" / "unit"
Started = TypeVar("Started")


@pytest.fixture(autouse=True)
def _sockets(request: pytest.FixtureRequest) -> Iterator[None]:
    if not request.path.is_relative_to(UNIT):
        yield
        return
    disable_socket(allow_unix_socket=True)
    yield
    enable_socket()


def missing(what: str) -> NoReturn:
    """Skip the test, or fail it where `CI` is set: there, everything has to be tested."""
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real data sets: `COUNTERFOIL_DATA`, or `../shared/data` beside the project."""
    folder = Path(os.environ.get("COUNTERFOIL_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        missing(f"no data folder at {folder}: set COUNTERFOIL_DATA")
    return folder.resolve()


def _started(server: AbstractContextManager[Started]) -> Iterator[Started]:
    try:
        running = server.__enter__()
    except servers.ServerMissingError as exc:
        missing(str(exc))
    try:
        yield running
    finally:
        server.__exit__(None, None, None)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[servers.PostgresServer]:
    """A PostgreSQL server with a database `migrated`, which the others are copied from."""
    for server in _started(servers.postgres()):
        server.execute("CREATE DATABASE migrated")
        upgrade(server.url("migrated"))
        yield server


@pytest.fixture
def postgres_url(postgres_server: servers.PostgresServer) -> Iterator[str]:
    """URL of a PostgreSQL database of this test alone, with the newest tables."""
    name = f"test_{secrets.token_hex(6)}"
    postgres_server.execute(f"CREATE DATABASE {name} TEMPLATE migrated")
    yield postgres_server.url(name)
    postgres_server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def _migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sqlite") / "migrated.sqlite3"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture
def sqlite_url(_migrated_sqlite: Path, tmp_path: Path) -> str:
    """URL of an SQLite database of this test alone, with the newest tables."""
    path = tmp_path / "counterfoil.sqlite3"
    shutil.copyfile(_migrated_sqlite, path)
    return f"sqlite:///{path}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """The test runs twice: on SQLite and on PostgreSQL."""
    name = "sqlite_url" if request.param == "sqlite" else "postgres_url"
    return str(request.getfixturevalue(name))


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """An open database, of both kinds in turn."""
    opened = Database(database_url)
    yield opened
    opened.dispose()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[servers.S3Server]:
    """A real S3 server; `s3_server.make_bucket()` makes a bucket for a test."""
    yield from _started(servers.seaweed())


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[servers.ValkeyServer]:
    """A Valkey on TCP with a password."""
    yield from _started(servers.valkey())


@pytest.fixture
def valkey_url(valkey_server: servers.ValkeyServer) -> str:
    """URL of an empty Valkey, with its password."""
    valkey_server.flush()
    return valkey_server.url
