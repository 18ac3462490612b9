"""Fixtures of all tests: the data folder, sockets, and real servers.

Nothing here pretends: a service that is missing skips its tests, and fails them where `CI` is
set. Unit tests may open no network socket.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_socket import disable_socket, enable_socket

ROOT = Path(__file__).parent.parent
UNIT = ROOT / "tests" / "unit"


@pytest.fixture(autouse=True)
def _sockets(request: pytest.FixtureRequest) -> Iterator[None]:
    if not request.path.is_relative_to(UNIT):
        yield
        return
    disable_socket(allow_unix_socket=True)
    yield
    enable_socket()


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real data sets: `COUNTERFOIL_DATA`, or `../shared/data` beside the project."""
    folder = Path(os.environ.get("COUNTERFOIL_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        missing(f"no data folder at {folder}: set COUNTERFOIL_DATA")
    return folder.resolve()


def missing(what: str) -> None:
    """Skip the test, or fail it where `CI` is set: there, everything has to be tested."""
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)
