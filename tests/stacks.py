"""Running stacks for tests, and a client that sees them through HTTP."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx

from cli.local.stack import Stack
from core.settings import Settings
from db.session import Database

# A lost lease costs seconds in tests, not a minute.
QUICK = {"lease_seconds": 4.0, "heartbeat_seconds": 1.0, "reconcile_seconds": 1.0}
ENDED = {"reviewing", "complete", "complete_with_errors", "cancelled"}


def eventually(what: str, condition: Callable[[], Any], *, seconds: float = 60) -> Any:
    """Return the first true answer of `condition`; fail after `seconds`."""
    until = time.monotonic() + seconds
    while True:
        if answer := condition():
            return answer
        if time.monotonic() > until:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(0.02)


class Client:
    """What a user's program does, over HTTP."""

    def __init__(self, stack: Stack) -> None:
        self.http = httpx.Client(
            base_url=stack.url,
            headers={"Authorization": f"Bearer {stack.api_key}"},
            timeout=60,
        )

    def submit(self, files: dict[str, bytes], **form: str) -> str:
        """Upload files as one closed batch and return its id."""
        parts = [("files", (name, data)) for name, data in files.items()]
        response = self.http.post("/v1/batches", files=parts, data=form)
        assert response.status_code == 202, response.text
        return str(response.json()["id"])

    def batch(self, batch_id: str) -> dict[str, Any]:
        response = self.http.get(f"/v1/batches/{batch_id}")
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer

    def wait(self, batch_id: str, *, seconds: float = 90) -> dict[str, Any]:
        """Return the batch once all its pages have ended."""

        def ended() -> dict[str, Any] | None:
            batch = self.batch(batch_id)
            return batch if batch["state"] in ENDED else None

        answer: dict[str, Any] = eventually(f"batch {batch_id} ends", ended, seconds=seconds)
        return answer

    def items(self, path: str) -> list[dict[str, Any]]:
        """Return all items of a list, page by page."""
        found: list[dict[str, Any]] = []
        after = ""
        while True:
            answer = self.http.get(path, params={"limit": 50} | ({"after": after} if after else {}))
            assert answer.status_code == 200, answer.text
            found += answer.json()["items"]
            after = answer.json()["next"]
            if not after:
                return found

    def pages(self, batch_id: str) -> list[dict[str, Any]]:
        return self.items(f"/v1/batches/{batch_id}/pages")

    def close(self) -> None:
        self.http.close()


@contextmanager
def running(settings: Settings) -> Iterator[tuple[Stack, Client]]:
    """A stack and a client of it; what its processes logged is shown if the test fails."""
    reports: list[str] = []
    with Stack(settings, report=reports.append) as stack:
        client = Client(stack)
        try:
            yield stack, client
        except BaseException:
            sys.stdout.write("\n".join(reports))
            for log in sorted(stack.logs.glob("*.log")):
                last = log.read_text("utf-8", "replace").splitlines()[-25:]
                sys.stdout.write("\n".join([f"\n--- {log.name}", *last]))
            raise
        finally:
            client.close()


@contextmanager
def database_of(stack: Stack) -> Iterator[Database]:
    database = Database(stack.settings.resolved_database_url())
    try:
        yield database
    finally:
        database.dispose()


def children_of(pid: int | None) -> list[int]:
    """Process ids of the children of a process, of all its threads, now."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*"):
        with suppress(FileNotFoundError, ProcessLookupError):
            found += [int(word) for word in (task / "children").read_text().split()]
    return found


def alive(pid: int) -> bool:
    """Whether a process runs; one that is dead and not yet collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def processes_of(home: Path) -> list[int]:
    """Ids of all processes whose environment or command line names this data directory."""
    found = []
    mark = os.fsencode(home)
    for folder in Path("/proc").glob("[0-9]*"):
        pid = int(folder.name)
        try:
            said = (folder / "environ").read_bytes() + (folder / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        if mark in said and pid != os.getpid() and alive(pid):
            found.append(pid)
    return found
