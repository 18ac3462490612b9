"""`make demo`: read the bundled scans with the whole system and compare with what is written.

It starts the embedded stack on `demo/data`, uploads the samples through the HTTP API as any client
would, shows each value that was read beside the true one, and stops everything.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Iterable
from functools import partial
from itertools import groupby
from pathlib import Path
from types import FrameType
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from cli.arguments import TemplateChoice, find_uploads
from cli.batches import batch_pages, export_to_file, follow_with_progress, report_end
from cli.client import Client, api_key
from cli.local.stack import Stack
from cli.output import percent
from core.errors import CounterfoilError
from core.settings import load_settings

HERE = Path(__file__).parent
SAMPLES = HERE / "samples"
RELEASE_AT = 0.99
STALLED_SECONDS = 120.0

Json = dict[str, Any]


def main(arguments: list[str] | None = None) -> int:
    """Run the demo; return 0 only if every page was read."""
    parser = argparse.ArgumentParser(prog="make demo", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=HERE / "data", help="folder for the data")
    parser.add_argument(
        "--results", type=Path, default=HERE / "results.csv", help="CSV file to write"
    )
    options = parser.parse_args(arguments)
    home, results = options.data.absolute(), options.results.absolute()
    signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGTERM, _interrupt)
    console = Console(highlight=False, soft_wrap=not sys.stdout.isatty())
    truth = json.loads((SAMPLES / "truth.json").read_text())
    # Ignore COUNTERFOIL_* of this shell: samples must never reach a real database.
    settings = load_settings({}, home=home, port=0, workers=2)
    again = " (earlier batches stay there)" if home.exists() else ""
    try:
        console.print(f"Starting Counterfoil in {_short(home)}{again} …")
        report = partial(console.print, style="dim", markup=False)
        with (
            Stack(settings, report=report) as stack,
            Client(stack.url, api_key(settings)) as client,
        ):
            console.print(f"Its API answers at {stack.url}.")
            batch = client.create_batch(name="demo", release_threshold=RELEASE_AT)
            _upload(client, batch["id"], truth, console)
            batch = follow_with_progress(client, batch["id"], patience=STALLED_SECONDS)
            pages = list(batch_pages(client, batch["id"]))
            console.print(_table(pages, truth))
            complete = report_end(client, batch)
            export_to_file(client, batch["id"], "csv", results)
            console.print(_summary(pages, truth))
    except KeyboardInterrupt:
        console.print("\nStopped; nothing is left running.")
        return 130
    except CounterfoilError as exc:
        console.print(f"[red]The demo failed:[/] {escape(str(exc))}")
        console.print(f"The logs are in {_short(home / 'logs')}.")
        return exc.exit_code
    _say_where(console, home, results, batch["id"])
    return 0 if complete else 3


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    # Only once: a second Ctrl-C must not interrupt the orderly stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


def _upload(client: Client, batch_id: str, truth: list[Json], console: Console) -> None:
    """Upload each kind of page with its template."""
    for template, group in groupby(truth, key=lambda page: page["template"]):
        files = dict.fromkeys(page["file"] for page in group)
        uploads = find_uploads(str(SAMPLES / file) for file in files)
        client.add_files(batch_id, uploads, templates=TemplateChoice(names=(template,)))
        console.print(f"Uploaded with template {template}: {', '.join(files)}")
    client.close_batch(batch_id)


def _table(pages: Iterable[Json], truth: list[Json]) -> Table:
    title = "What was read, and what is written there"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for column in ("field", "read", "written"):
        table.add_column(column)
    table.add_column("confidence", justify="right")
    table.add_column("state")
    table.add_column("")
    written = _by_page(truth)
    for page in pages:
        expected = written.get((page["file"], page["page"]), {})
        table.add_row(Text(f"{page['file']}, page {page['page']}", style="bold"))
        if page["error"] is not None:
            table.add_row(Text(f"  {page['error']}", style="red"))
        for field in page["fields"]:
            right = field["value"] == expected.get(field["name"])
            accepted = field["decision"] == "accepted"
            table.add_row(
                f"  {field['name']}",
                field["value"] or "",
                expected.get(field["name"], ""),
                percent(field["confidence"]),
                Text(field["decision"], style="green" if accepted else "yellow"),
                Text("✓", style="green") if right else Text("✗", style="bold red"),
            )
    return table


def _summary(pages: Iterable[Json], truth: list[Json]) -> str:
    written = _by_page(truth)
    right = accepted = accepted_right = 0
    for page in pages:
        expected = written.get((page["file"], page["page"]), {})
        for field in page["fields"]:
            exact = field["value"] == expected.get(field["name"])
            right += exact
            if field["decision"] == "accepted":
                accepted += 1
                accepted_right += exact
    total = sum(len(page["fields"]) for page in truth)
    return (
        f"[bold]{right} of {total} fields exact.[/] Accepted at a confidence of "
        f"{RELEASE_AT:.0%} or more: {accepted}, of which {accepted_right} exact; "
        "the others wait for a person."
    )


def _say_where(console: Console, home: Path, results: Path, batch_id: str) -> None:
    database = _short(home / "counterfoil.sqlite3")
    query = "select name, value, state from field where batch_id = ?"
    console.print(f"\nResults:  {_short(results)}")
    console.print(f"Database: {database} (SQLite). Look into it:")
    console.print(
        f"  python3 -c \"import sqlite3; [print(*row) for row in sqlite3.connect('{database}')"
        f".execute('{query}', ['{batch_id}'])]\"",
        markup=False,
        soft_wrap=True,
    )
    console.print(
        f'Open it in a browser:  make up ARGS="--data {_short(home)}"    Your own scans: README.md',
        soft_wrap=True,
    )


def _by_page(truth: list[Json]) -> dict[tuple[str, int], dict[str, str]]:
    return {(page["file"], page["page"]): page["fields"] for page in truth}


def _short(path: Path) -> str:
    """Return the path relative to the current folder if it is below it."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


if __name__ == "__main__":
    sys.exit(main())
