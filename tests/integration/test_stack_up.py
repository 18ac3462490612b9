"""`counterfoil up` as a person runs it: a process of its own, its refusals, and its end."""

from __future__ import annotations

import os
import re
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from core.settings import PREFIX
from tests.http_client import HttpClient
from tests.processes import alive, children_of, processes_of
from tests.waiting import eventually

ROOT = Path(__file__).parent.parent.parent


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    return kept | {"PYTHONPATH": str(ROOT)}


def _command(home: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "cli.main", "up", "--data", str(home), *more]


class Up:
    """A `counterfoil up` that runs, and what it has printed."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.output = home.parent / f"{home.name}-output.txt"
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                _command(home, "--port", "0"),
                stdout=output,
                stderr=output,
                env=_environment(),
                cwd=home.parent,
            )

    def text(self) -> str:
        return self.output.read_text()

    def ready(self) -> str:
        """Wait until it says that it is up, and return its URL."""

        def up() -> re.Match[str] | None:
            assert self.process.poll() is None, self.text()
            return re.search(r"API +(\S+)", self.text())

        found: re.Match[str] = eventually("it is up", up)
        return found[1]


@contextmanager
def up(home: Path) -> Iterator[Up]:
    home.parent.mkdir(exist_ok=True)
    started = Up(home)
    try:
        yield started
    finally:
        if started.process.poll() is None:
            started.process.kill()
        started.process.wait()


def status_of(url: str, path: str, key: str = "") -> int:
    with closing(HttpClient(url, key)) as client:
        return client.get(path, key=key).status_code


def _refused(home: Path, *more: str) -> tuple[int, str]:
    ended = subprocess.run(
        _command(home, *more),
        capture_output=True,
        text=True,
        env=_environment(),
        check=False,
    )
    return ended.returncode, ended.stderr


def test_up_starts_refuses_a_second_and_stops(tmp_path: Path) -> None:
    home = tmp_path / "a folder with spaces and ümläuts" / "home"
    with up(home) as running:
        url = running.ready()
        assert status_of(url, "/readyz") == 200
        key = home / "api-key"
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
        assert status_of(url, "/v1/batches", key.read_text().strip()) == 200

        status, message = _refused(home, "--port", "0")
        assert status == 5
        assert f"process {running.process.pid}" in message

        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(120) == 0
        assert "has stopped" in running.text()
        assert processes_of(home) == []


@pytest.mark.slow
def test_killed_up_leaves_no_orphan_and_starts_again(tmp_path: Path) -> None:
    # Too long for the path of a Unix socket: the broker puts its socket elsewhere.
    home = tmp_path / ("long-" * 20) / "home"
    with up(home) as running:
        running.ready()
        key = (home / "api-key").read_text()

        def whole_family() -> list[int]:
            roles = children_of(running.process.pid)
            family = roles + [child for role in roles for child in children_of(role)]
            # Five roles, and the children of API, worker and intake.
            return family if len(family) >= 5 + 1 + 2 + 1 else []

        family = eventually("all processes are there", whole_family)
        running.process.kill()
        eventually("all its children are gone", lambda: not any(map(alive, family)))
        running.process.wait()
    with up(home) as running:
        url = running.ready()
        assert (home / "api-key").read_text() == key
        assert status_of(url, "/v1/batches", key.strip()) == 200
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(120) == 0


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        status, message = _refused(tmp_path / "home", "--port", str(port))
    assert status == 2
    assert f"port {port}" in message
    assert "--port" in message, "what to do"


@pytest.mark.parametrize("below", ["file", "file/deeper"])
def test_a_data_directory_that_cannot_be(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_text("no directory")
    status, message = _refused(tmp_path / below, "--port", "0")
    assert status == 2
    assert str(tmp_path / below) in message
    assert "--data" in message


def test_a_full_disk_is_said_before_the_start(tmp_path: Path) -> None:
    # With a limit on file sizes, the first write fails as on a full disk.
    limited = ["bash", "-c", 'ulimit -f 8; exec "$0" "$@"', *_command(tmp_path, "--port", "0")]
    ended = subprocess.run(limited, capture_output=True, text=True, env=_environment(), check=False)
    assert ended.returncode == 2, ended.stderr
    assert str(tmp_path) in ended.stderr


def test_an_unreachable_server_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    environment = _environment() | {
        "COUNTERFOIL_DATABASE_URL": f"postgresql+psycopg://nobody@127.0.0.1:{port}/none"
    }
    ended = subprocess.run(
        _command(tmp_path / "home", "--port", "0"),
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert ended.returncode == 2
    assert "COUNTERFOIL_DATABASE_URL" in ended.stderr
    assert processes_of(tmp_path / "home") == []
