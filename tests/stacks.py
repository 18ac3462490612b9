"""Running stacks for tests, and a client that sees them through HTTP.

A stack takes ten seconds of a core to start. So the tests that any embedded stack serves share one,
the fixture `embedded_stack`, and `tests/scheduling.py` runs their files in one test process.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from cli.local.stack import Stack
from core.settings import Settings
from db.session import Database
from tests.http_client import HttpClient

# In tests a lost lease costs seconds, not a minute.
QUICK = {"lease_seconds": 4.0, "heartbeat_seconds": 1.0, "reconcile_seconds": 1.0}


@contextmanager
def running(settings: Settings) -> Iterator[tuple[Stack, HttpClient]]:
    """Run a stack, with a client of it; if the test fails, print the end of each process's log."""
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
