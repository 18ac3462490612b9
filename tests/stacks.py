"""Running stacks for tests, and a client that sees them through HTTP."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cli.local.stack import Stack
from core.settings import Settings
from db.session import Database
from tests.http_client import HttpClient

# A lost lease costs seconds in tests, not a minute.
QUICK = {"lease_seconds": 4.0, "heartbeat_seconds": 1.0, "reconcile_seconds": 1.0}


@contextmanager
def running(settings: Settings) -> Iterator[tuple[Stack, HttpClient]]:
    """A stack and a client of it; what its processes logged is shown if the test fails."""
    reports: list[str] = []
    with Stack(settings, report=reports.append) as stack:
        client = HttpClient(stack.url, stack.api_key)
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
