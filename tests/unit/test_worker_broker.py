"""Where the embedded broker's socket is, and how the broker is named."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from core.errors import ConfigError
from core.settings import Settings
from worker.broker import SOCKET_PATH_LIMIT, broker_url, find_server, server_command, socket_path


def test_the_socket_is_in_the_data_directory(tmp_path: Path) -> None:
    assert socket_path(Path("/srv/scans")) == Path("/srv/scans/broker/valkey.sock")


@pytest.mark.parametrize("name", ["x" * 200, "ü" * 60])
def test_a_path_too_long_for_a_socket_gets_a_short_place(name: str) -> None:
    home = Path("/srv") / name
    path = socket_path(home)
    assert len(os.fsencode(path)) <= SOCKET_PATH_LIMIT
    assert path == socket_path(home), "every process finds the same one"
    assert path != socket_path(home / "other")


def test_a_set_broker_wins() -> None:
    settings = Settings(home=Path("/srv/scans"), redis_url="redis://:secret@host:6379/0")
    assert broker_url(settings) == "redis://:secret@host:6379/0"


def test_the_embedded_url_bears_any_path() -> None:
    url = broker_url(Settings(home=Path("/srv/my scans/100%")))
    assert url == "redis+socket:///srv/my%20scans/100%25/broker/valkey.sock"


def test_a_server_on_the_path_goes_before_the_bundled_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = tmp_path / "redis-server"
    server.write_text("#!/bin/sh\n")
    server.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_server() == server


def test_a_socket_folder_that_others_may_write_to_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "broker"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(ConfigError, match="Other users may write"):
        server_command(tmp_path)
