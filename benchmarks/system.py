"""The whole system on one machine: from the first upload over HTTP to the last page read."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import select

from benchmarks.processes import MemoryWatch, cpu_seconds, tree
from benchmarks.report import Section
from benchmarks.samples import cheques, temporary, write_cheques
from benchmarks.stages import measure_kind
from cli.arguments import TemplateChoice, find_uploads
from cli.client import Client
from cli.local.stack import Stack
from core.settings import load_settings
from db.models import Page
from db.session import Database
from pipeline.placing.template import bundled_template
from pipeline.readers.loaded import Readers

TEMPLATE = "demo-cheque"
WORKERS = 2
ROLES = ("worker", "api", "intake", "dispatcher", "broker")
# Each poll costs the API a few milliseconds. The database knows when the last page was read.
_POLL_SECONDS = 1.0
_STALLED_SECONDS = 120.0


def measure(readers: Readers, pages: int, groups: int, say: Callable[[str], None]) -> Section:
    """Upload and read `pages` cheques with two page-reading processes; compare with `pipeline`."""
    say("system: the pipeline alone on the same pages")
    alone = measure_kind(bundled_template(TEMPLATE), cheques(), readers, groups)
    with temporary("system") as folder:
        home, scans = Path(folder) / "home", Path(folder) / "scans"
        scans.mkdir()
        truth = write_cheques(scans, pages)
        say("system: starting")
        # Ignore COUNTERFOIL_* of the shell: always the embedded services and an empty home.
        settings = load_settings({}, home=home, port=0, workers=WORKERS, log_level="WARNING")
        with Stack(settings) as stack, Client(stack.url, stack.api_key) as client:
            batch = client.create_batch(
                name="benchmark", templates=TemplateChoice(names=(TEMPLATE,))
            )
            uploads = find_uploads([str(scans)])
            roots = {role: pid for role in ROLES if (pid := stack.pid(role))}
            before = {role: cpu_seconds(pid) for role, pid in roots.items()}
            own_before = time.process_time()
            with MemoryWatch(lambda: tree(roots["worker"])[1:]) as memory:
                begin = time.time()  # the clock that SQLite uses
                client.add_files(batch["id"], uploads)
                uploaded = time.time() - begin
                client.close_batch(batch["id"])
                _wait(client, batch["id"], pages, say)
            own = time.process_time() - own_before
            spent = {role: cpu_seconds(pid) - before[role] for role, pid in roots.items()}
            wall = _last_read(stack.settings.resolved_database_url()) - begin
            exact, fields = _compare(client, batch["id"], truth)
    total = sum(spent.values())
    per_page = 1e3 / pages
    figures = {
        "pages": pages,
        "seconds": wall,
        "upload_seconds": uploaded,
        "pages_a_second": pages / wall,
        "worker_rss_mb": memory.most.rss,
        "worker_pss_mb": memory.most.pss,
        "pipeline_ms": alone["wall"],
        "pipeline_cpu_ms": alone["cpu"],
        "system_ms": WORKERS * wall * per_page,
        "system_cpu_ms": total * per_page,
        "client_cpu_ms": own * per_page,
        "cpu_ms_by_role": {role: value * per_page for role, value in spent.items()},
        "ratio": WORKERS * wall * per_page / alone["wall"],
        "cpu_ratio": total * per_page / alone["cpu"],
        "fields_exact": exact,
        "fields": fields,
    }
    rows = (
        ("pages a second", f"{pages / wall:.1f}"),
        ("seconds from the first POST to the last page", f"{wall:.2f}"),
        ("of these, uploading", f"{uploaded:.2f}"),
        ("memory of a page-reading process, most RSS", f"{memory.most.rss:.0f} MB"),
        ("memory of a page-reading process, most PSS", f"{memory.most.pss:.0f} MB"),
        ("pipeline alone, ms a page (wall; CPU)", f"{alone['wall']:.1f}; {alone['cpu']:.1f}"),
        ("whole system, ms of two cores a page", f"{figures['system_ms']:.1f}"),
        ("whole system, CPU ms a page", f"{figures['system_cpu_ms']:.1f}"),
        *((f"  of these, {role}", f"{value * per_page:.1f}") for role, value in spent.items()),
        ("uploading client, CPU ms a page", f"{own * per_page:.1f}"),
        ("whole system : pipeline (two cores' time; CPU)",
         f"{figures['ratio']:.2f}; {figures['cpu_ratio']:.2f}"),
        ("fields exact", f"{exact}/{fields}"),
    )  # fmt: skip
    return Section(
        title=f"The whole system, {pages} cheques, two page-reading processes",
        columns=("what", "figure"),
        rows=rows,
        figures=figures,
        notes=(
            "Embedded: API, broker, SQLite, directory, dispatcher, workers and the uploading "
            "client share the machine. RSS counts shared pages in each process.",
        ),
    )


def _wait(client: Client, batch_id: str, pages: int, say: Callable[[str], None]) -> None:
    """Return when all pages have been read. Raises SystemExit if they are not."""
    seen, moved = -1, time.monotonic()
    while True:
        counts = client.batch(batch_id)["pages"]
        ended = sum(counts[state] for state in ("read", "failed", "quarantined"))
        if ended >= pages:
            if counts["read"] != pages:
                raise SystemExit(f"Only {counts['read']} of {pages} pages were read.")
            return
        if ended != seen:
            seen, moved = ended, time.monotonic()
            say(f"system: {ended} of {pages} pages")
        if time.monotonic() - moved > _STALLED_SECONDS:
            raise SystemExit(f"The system made no progress after {ended} of {pages} pages.")
        time.sleep(_POLL_SECONDS)


def _last_read(database_url: str) -> float:
    """Return when the last page was read, in seconds of the Unix clock."""
    database = Database(database_url)
    try:
        with database.reading() as s:
            last = s.scalars(select(Page.finished_at).order_by(Page.finished_at.desc())).first()
    finally:
        database.dispose()
    if last is None:
        raise SystemExit("No page was read.")
    return last.timestamp()


def _compare(client: Client, batch_id: str, truth: dict[str, dict[str, str]]) -> tuple[int, int]:
    """Return how many fields were read exactly, and how many there are."""
    exact = 0
    for page in client.pages(batch_id):
        expected = truth[page["file"]]
        exact += sum(expected.get(field["name"]) == field["value"] for field in page["fields"])
    return exact, sum(len(fields) for fields in truth.values())
