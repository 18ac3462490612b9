"""The application as it runs: gunicorn with threads, on a real socket, for tests of all kinds."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from core.settings import Settings
from db.transitions.tenants import create_api_key, ensure_tenant
from tests.api_under_test import Api, api_under_test
from tests.http_client import HttpClient
from tests.waiting import eventually


@dataclass(slots=True)
class Running:
    api: Api  # the same database and store, from this process, with a key of the test's own tenant
    process: subprocess.Popen[bytes]
    url: str
    worker: int  # pid
    log: Path

    def client(self) -> HttpClient:
        return HttpClient(self.url, self.api.key)

    def with_new_tenant(self) -> Running:
        """Give `api` the key of a new tenant, who has no batches, and an empty store."""
        self.api.tenant = secrets.token_hex(6)
        with self.api.db.transaction() as s:
            tenant = ensure_tenant(s, self.api.tenant)
            self.api.key = create_api_key(s, tenant.id, "key")[1]
        self.api.http.headers["Authorization"] = f"Bearer {self.api.key}"
        shutil.rmtree(self.api.settings.home / "objects", ignore_errors=True)
        return self

    def forget_peak(self) -> None:
        """Let the peak begin anew at the present size, whatever other tests have done."""
        Path(f"/proc/{self.worker}/clear_refs").write_text("5")

    def peak(self) -> int:
        """Return the largest resident set of the worker since `forget_peak`, in bytes."""
        status = Path(f"/proc/{self.worker}/status").read_text()
        (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024


def start_server(settings: Settings, output: IO[bytes], port: int = 0) -> subprocess.Popen[bytes]:
    """Start gunicorn with the application on a port, 0 for any free one."""
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "gunicorn",
            "--worker-class=gthread",
            "--threads=8",
            "--graceful-timeout=3",  # as `counterfoil up`: streams of open pages have no end
            f"--bind=127.0.0.1:{port}",
            "--no-control-socket",
            "web.app:make_app()",
        ],
        env=os.environ | settings.environment(),
        stdout=output,
        stderr=output,
    )


@contextmanager
def running_api(settings: Settings) -> Iterator[Running]:
    """Start the application, which takes seconds: let many tests share it."""
    log = settings.home / "gunicorn.log"
    with api_under_test(settings) as api, log.open("wb") as output:
        process = start_server(settings, output)
        try:
            address = _wait(lambda: _between(log, "Listening at: ", " "), process, log)
            worker = _wait(lambda: _between(log, "Booting worker with pid: ", "\n"), process, log)
            running = Running(api, process, address, int(worker), log)
            with closing(running.client()) as client:
                client.get("/readyz").raise_for_status()
            yield running
        finally:
            process.terminate()
            process.wait(20)


def _wait(ask: Callable[[], str | bool], process: subprocess.Popen[bytes], log: Path) -> str:
    def answer() -> str | bool:
        assert process.poll() is None, log.read_text()
        return ask()

    return str(eventually("the server is ready", answer))


def _between(log: Path, before: str, after: str) -> str:
    return log.read_text().partition(before)[2].partition(after)[0]
