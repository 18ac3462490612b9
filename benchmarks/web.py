"""The pages in the browser over a large batch, and many of them left open.

    python -m benchmarks.web [--pages 10000] [--open 50] [--seconds 30] [--database URL] [--plans]

Rows are written directly, then the pages are asked for over HTTP from a server of its own: the
list of batches, the pages of the batch with each filter, and all of it from top to bottom. Then
`--open` browsers keep the list open, while nothing happens and while a page is read each second;
the server's CPU time is shown as a share of two cores. `--database` names an empty PostgreSQL
database; without it, SQLite in a temporary folder. `--plans` prints how the database looks rows up.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import event, insert

from benchmarks.processes import cpu_seconds
from core.clock import utcnow
from core.ids import new_id
from core.roles import Role
from core.settings import Settings, load_settings
from db.migrate import upgrade
from db.models import Batch, BatchState, Document, Event, Field, FieldState, Page, Reading
from db.session import Database
from db.transitions.people import ensure_person
from db.transitions.sessions import create_sign_in_link
from db.transitions.tenants import ensure_tenant

FIELDS = ("date", "amount", "account", "number", "branch", "code")
REPEATS = 7
CORES = 2
POLL, LEAST = 10, 3  # seconds, as in web/static/live.js
FILTERS = {
    "all": "",
    "wait for a person": "show=review",
    "could not be read (1 in 1,000)": "show=failed",
    "field and state": "field=amount&field_state=review",
    "reason (1 in 10,000)": "reason=struck-out",
    "less than 50 % sure (1 in 1,000)": "unsure=0.5&field=code",
    "person (nobody)": "person=Nobody",
    "template": "template=second",
    "the filters opened": "filters=1",
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.web", description=__doc__)
    parser.add_argument("--pages", type=int, default=10_000)
    parser.add_argument("--open", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--database")
    parser.add_argument("--plans", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        url = options.database or f"sqlite:///{home / 'counterfoil.sqlite3'}"
        settings = load_settings({}, home=home, database_url=url, log_level="WARNING")
        upgrade(url)
        db = Database(url)
        tenant_id, batch_id = write_rows(db, options.pages)
        with db.transaction() as s:
            person = ensure_person(s, tenant_id, "Ada", Role.SUPERVISOR)
            links = [create_sign_in_link(s, person.id) for _ in range(options.open + 1)]
        with serving(settings) as (address, pid):
            with httpx.Client(base_url=address, timeout=60, trust_env=False) as client:
                client.get(f"/sign-in/{links.pop()}")
                ask(client, batch_id)
                scroll(client, batch_id)
            for busy in (False, True):
                share = asyncio.run(keep_open(address, links, options.seconds, pid, db, busy))
                what = "a page is read each second" if busy else "nothing happens"
                print(f"| {options.open} open lists, {what} | {share:.1%} of {CORES} cores |")
                links = renew(db, person.id, options.open)
        if options.plans:
            show_plans(settings, db, tenant_id, batch_id)
        db.dispose()


def write_rows(db: Database, count: int) -> tuple[str, str]:
    """Write 60 batches of one page and one of `count` pages with six fields each."""
    now = utcnow()
    with db.transaction() as s:
        tenant_id = ensure_tenant(s, "default").id
    batches = [new_id() for _ in range(61)]
    with db.transaction() as s:
        s.execute(
            insert(Batch),
            [
                {
                    "id": one,
                    "tenant_id": tenant_id,
                    "name": f"Batch {n}",
                    "state": BatchState.REVIEWING,
                    "closed": True,
                    "release_threshold": 0.99,
                    "created_at": now,
                }
                for n, one in enumerate(batches)
            ],
        )
    places = [(one, 0) for one in batches[:-1]] + [(batches[-1], n) for n in range(count)]
    for start in range(0, len(places), 1000):
        write_pages(db, tenant_id, places[start : start + 1000])
    return tenant_id, batches[-1]


def write_pages(db: Database, tenant_id: str, places: list[tuple[str, int]]) -> None:
    now = utcnow()
    rows: dict[type[Any], list[dict[str, Any]]] = {
        table: [] for table in (Document, Page, Field, Reading)
    }
    for batch_id, n in places:
        document, page = new_id(), new_id()
        base = {"tenant_id": tenant_id, "batch_id": batch_id}
        sha256 = f"{n:064x}"
        rows[Document].append(
            base
            | {"id": document, "filename": f"{n:05}.png", "sha256": sha256, "size": 9}
            | {"state": "opened"}
        )
        rows[Page].append(
            base
            | {"id": page, "document_id": document, "ordinal": 1, "sha256": sha256}
            | {"state": "failed" if n % 1000 == 7 else "read", "attempt": 1, "width": 9}
            | {"height": 9, "template": "second" if n % 4 == 1 else "first", "finished_at": now}
        )
        for ordinal, name in enumerate(FIELDS, 1):
            field, waits = new_id(), (n + ordinal) % 10 == 0
            state = FieldState.REVIEW if waits else FieldState.ACCEPTED
            reason = "struck-out" if n % 10_000 == 9 else "below-threshold"
            rows[Field].append(
                base
                | {"id": field, "page_id": page, "ordinal": ordinal, "name": name}
                | {"state": state, "value": "4711", "reason": reason if waits else None}
                | {"released_by": None if waits else "policy"}
            )
            sure = 0.4 if n % 1000 == 3 else 0.9995
            rows[Reading].append(
                {"id": new_id(), "tenant_id": tenant_id, "field_id": field, "attempt": 1}
                | {"reader": "both", "model_sha256": sha256, "raw": "4711", "value": "4711"}
                | {"confidence": sure, "alternatives": [], "x": 1, "y": 1, "w": 1, "h": 1}
            )
    with db.transaction() as s:
        for table, values in rows.items():
            s.execute(insert(table), values)


@contextmanager
def serving(settings: Settings) -> Iterator[tuple[str, int]]:
    """Run the server, as `counterfoil up` does; yield its address and process id."""
    command = [sys.executable, "-m", "gunicorn", "--worker-class=gthread"]
    command += [f"--threads={settings.api_threads}", "--bind=127.0.0.1:0", "--no-control-socket"]
    process = subprocess.Popen(
        [*command, "web.app:make_app()"],
        env=os.environ | settings.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        for line in process.stderr or ():
            found = re.search(r"Listening at: (\S+)", line)
            if found:
                yield found[1], process.pid
                return
        raise RuntimeError("the server did not start")
    finally:
        process.terminate()
        process.wait()


def ask(client: httpx.Client, batch_id: str) -> None:
    """Print how long each page takes."""
    print("| Page | median, ms | slowest of 7, ms | kB |\n|---|---:|---:|---:|")
    timed("the list of batches", client, "/")
    timed("the list of batches, its rows alone", client, "/", {"HX-Request": "true"})
    for name, asked in FILTERS.items():
        timed(f"the batch: {name}", client, f"/batches/{batch_id}?{asked}")
    timed("its progress alone", client, f"/batches/{batch_id}", {"HX-Request": "true"})
    timed("its files", client, f"/batches/{batch_id}/files")


def timed(
    name: str, client: httpx.Client, path: str, headers: dict[str, str] | None = None
) -> None:
    taken, size = [], 0
    for _ in range(REPEATS):
        began = time.perf_counter()
        answer = client.get(path, headers=headers)
        taken.append(1e3 * (time.perf_counter() - began))
        answer.raise_for_status()
        size = len(answer.content)
    print(f"| {name} | {statistics.median(taken):.0f} | {max(taken):.0f} | {size / 1e3:.0f} |")


def scroll(client: httpx.Client, batch_id: str) -> None:
    """Go through all pages of the batch as a person who scrolls, and print the slowest step."""
    path, taken = f"/batches/{batch_id}", []
    while path:
        began = time.perf_counter()
        answer = client.get(path)
        taken.append(1e3 * (time.perf_counter() - began))
        more = re.search(r'<a href="([^"]*after=[^"]*)">More pages', answer.text)
        path = more[1].replace("&amp;", "&") if more else ""
    last = statistics.median(taken[-10:])
    print(f"| to its end, {len(taken)} steps | {last:.0f} (the last ten) | {max(taken):.0f} | |")


async def keep_open(
    address: str, links: list[str], seconds: float, pid: int, db: Database, busy: bool
) -> float:
    """Return the share of the cores that the server needs for as many open lists as `links`."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(browse(address, link)) for link in links]
        await asyncio.sleep(5)
        before, began = cpu_seconds(pid), time.monotonic()
        while time.monotonic() - began < seconds:
            if busy:
                happen(db)
            await asyncio.sleep(1)
        spent = cpu_seconds(pid) - before
        wall = time.monotonic() - began
        for task in tasks:
            task.cancel()
    return spent / wall / CORES


async def browse(address: str, link: str) -> None:
    """Do what `web/static/live.js` does in a browser that has the list of batches open."""
    # The server closes connections that are idle; a browser opens another one then.
    transport = httpx.AsyncHTTPTransport(retries=3)
    limits = httpx.Limits(max_keepalive_connections=0)
    async with httpx.AsyncClient(
        base_url=address, timeout=None, trust_env=False, transport=transport, limits=limits
    ) as client:
        await client.get(f"/sign-in/{link}")
        last, drawn = "", 0.0

        async def changed(mark: str) -> None:
            nonlocal last, drawn
            if mark == last:
                return
            await asyncio.sleep(max(0.0, drawn + LEAST - time.monotonic()))
            last, drawn = mark, time.monotonic()
            await client.get("/", headers={"HX-Request": "true"})

        async with client.stream("GET", "/live") as stream:
            if stream.headers["Content-Type"].startswith("text/event-stream"):
                async for line in stream.aiter_lines():
                    if line.startswith("data: "):
                        await changed(line)
        while True:
            await changed((await client.get("/live/mark")).text)
            await asyncio.sleep(POLL)


def happen(db: Database) -> None:
    with db.transaction() as s:
        batch = s.query(Batch).order_by(Batch.id.desc()).first()
        assert batch is not None
        values = {"kind": "page.read", "payload": {}, "created_at": utcnow()}
        s.execute(insert(Event), [values | {"tenant_id": batch.tenant_id, "batch_id": batch.id}])


def renew(db: Database, person_id: str, count: int) -> list[str]:
    with db.transaction() as s:
        return [create_sign_in_link(s, person_id) for _ in range(count)]


def show_plans(settings: Settings, db: Database, tenant_id: str, batch_id: str) -> None:
    """Print how the database looks up the rows of the pages above."""
    from db import queries
    from db.page_filters import PageFilter, filter_choices

    queries_of: dict[str, Callable[[Any], object]] = {
        "the list of batches": lambda s: queries.list_batches(s, tenant_id, limit=50),
        "pages, all": lambda s: queries.list_pages(s, tenant_id, batch_id, limit=60),
        "pages, a reason": lambda s: queries.list_pages(
            s, tenant_id, batch_id, limit=60, asked=PageFilter(reason="struck-out")
        ),
        "the choices of the filters": lambda s: filter_choices(s, tenant_id, batch_id),
        "the mark": lambda s: queries.change_mark(s, tenant_id),
    }
    is_sqlite = settings.resolved_database_url().startswith("sqlite")
    explain = "EXPLAIN QUERY PLAN " if is_sqlite else "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) "
    for name, run in queries_of.items():
        seen: list[tuple[str, Any]] = []

        def keep(_c: Any, _cursor: Any, text: str, given: Any, *_rest: Any) -> None:
            seen.append((text, given))  # noqa: B023 (used within this step alone)

        with db.reading() as s:
            connection = s.connection()
            event.listen(connection, "before_cursor_execute", keep)
            run(s)
            event.remove(connection, "before_cursor_execute", keep)
            print(f"\n{name}:")
            for text, given in seen:
                if text.startswith("SELECT"):
                    rows = connection.exec_driver_sql(explain + text, given).all()
                    print("\n".join(f"  {row[-1]}" for row in rows), "\n")


if __name__ == "__main__":
    main()
