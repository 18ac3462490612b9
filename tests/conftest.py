"""Fixtures of all tests: real data, sockets, servers, databases and stores.

All services are real. A service that is missing skips its tests, or fails them where `CI` is set.
Tests that read real data are left out where `COUNTERFOIL_DATA` is not set, and fail where `CI` is
set too. Unit tests cannot open network sockets. A server starts once in each test process, when
the first test asks for it; each test gets a new database and a new bucket.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import hypothesis
import pytest
from pydantic import SecretStr
from pytest_socket import disable_socket, enable_socket

from cli.local.stack import Stack
from core.settings import Settings
from db.migrate import upgrade
from db.session import Database
from tests import servers
from tests.http_client import HttpClient
from tests.samples import DATA
from tests.stacks import QUICK, running

UNIT = Path(__file__).parent / "unit"
REAL_DATA = os.environ.get("COUNTERFOIL_DATA", "")
SLOW_SECONDS = 1800  # enough for training runs on a slow machine
Started = TypeVar("Started")

# `make test` finds the same on every machine; `make test-random` looks for something new.
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None)
hypothesis.settings.register_profile("random", derandomize=False, deadline=None, print_blob=True)
hypothesis.settings.load_profile("repeatable")


@pytest.fixture(autouse=True)
def _sockets(request: pytest.FixtureRequest) -> Iterator[None]:
    if not request.path.is_relative_to(UNIT):
        yield
        return
    disable_socket(allow_unix_socket=True)
    yield
    enable_socket()


@pytest.hookimpl(optionalhook=True)  # known where pytest-xdist is
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Run files that share a stack in one test process."""
    from tests.scheduling import FilesAndStacks

    return FilesAndStacks(config, log) if config.getvalue("dist") == "loadfile" else None


def missing(what: str) -> NoReturn:
    """Skip the test, or fail it where `CI` is set: there, nothing may be skipped."""
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what reads real data, and leave it out where there is none; give slow tests time."""
    chosen, left_out = [], []
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.timeout(SLOW_SECONDS))
        if "data_dir" in getattr(item, "fixturenames", ()):
            item.add_marker("real_data")
        absent = item.get_closest_marker("real_data") and not REAL_DATA and not os.environ.get("CI")
        (left_out if absent else chosen).append(item)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = chosen


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real data sets that `COUNTERFOIL_DATA` names; its tests are `real_data`."""
    folder = Path(REAL_DATA).resolve()
    if not REAL_DATA or not folder.is_dir():
        pytest.fail(f"COUNTERFOIL_DATA names no folder of real data sets: {REAL_DATA!r}")
    return folder


@pytest.fixture(
    scope="session", params=["bundled", pytest.param("real", marks=pytest.mark.real_data)]
)
def digits_dir(request: pytest.FixtureRequest) -> Path:
    """A folder with `mnist.npz`: the bundled one; and the real one, if it is there."""
    if request.param == "bundled":
        return DATA
    folder: Path = request.getfixturevalue("data_dir")
    return folder


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
    """A PostgreSQL server with a migrated database, of which each test gets a copy."""
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
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sqlite") / "migrated.sqlite3"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture
def sqlite_url(migrated_sqlite: Path, tmp_path: Path) -> str:
    """URL of an SQLite database of this test alone, with the newest tables."""
    path = tmp_path / "counterfoil.sqlite3"
    shutil.copyfile(migrated_sqlite, path)
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


@pytest.fixture(scope="session")
def embedded_stack(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Stack, HttpClient]]:
    """A running stack without servers, with two processes that read pages, two in a group.

    It may export into the table `ledger` of an SQLite file beside its folder.
    """
    home = tmp_path_factory.mktemp("stack")
    settings = Settings(
        home=home / "home",
        port=0,
        workers=2,
        group_size=2,
        export_targets={"ledger": SecretStr(f"sqlite:///{home / 'ledger.sqlite3'}")},
        **QUICK,
    )
    with running(settings) as started:
        yield started
