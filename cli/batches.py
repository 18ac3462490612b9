"""The commands that talk to a server: submit, status, retry, results, verify, export.

What a program can use goes to stdout; progress and remarks go to stderr.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.filesize import decimal

from cli.arguments import Upload, find_templates, find_uploads
from cli.client import Client, api_key, nothing_missing
from cli.output import (
    INTERRUPTED,
    copy_of,
    json_line,
    page_not_read,
    page_of_api,
    passed_over,
    print_table,
    progress_bar,
    remarks,
    write_csv,
)
from core.balance import control_total
from core.errors import ConfigError, CounterfoilError, InputError, TransientError
from core.settings import load_settings
from core.text import printable

Json = dict[str, Any]

SHOWN_FAILURES = 10


@contextmanager
def connect(url: str | None, home: Path | None) -> Iterator[Client]:
    """Open a client of the server that the settings and options name.

    Raises ConfigError if there is no API key.
    """
    settings = load_settings(url=url, home=home)
    with Client(settings.url, api_key(settings)) as client:
        yield client


def submit(
    paths: list[str],
    *,
    templates: list[str],
    name: str,
    release_at: float | Literal["policy"] | None,
    url: str | None,
    home: Path | None,
    wait: bool,
    as_json: bool,
    total: str | None = None,
    total_field: str | None = None,
    expect: int | None = None,
    expect_files: int | None = None,
) -> int:
    """Upload files as one batch, print its id or the batch as JSON, and return the exit status."""
    counted = {
        "control_total": None if total is None else control_total(total),
        "control_field": total_field,
        "expected_pages": expect,
        "expected_documents": expect_files,
    }
    if (total is None) != (total_field is None):
        raise ConfigError("--total and --total-field must be used together.")
    uploads = find_uploads(paths)
    choice = find_templates(templates)
    with connect(url, home) as client:
        batch = client.create_batch(
            name=name,
            templates=choice,
            release_threshold=release_at,
            counted={key: value for key, value in counted.items() if value is not None},
        )
        try:
            rejected = upload_with_progress(client, batch["id"], uploads)
            if len(rejected) < len(uploads):
                batch = client.close_batch(batch["id"])
        except BaseException:
            # A batch that holds half of the files would look complete.
            with suppress(CounterfoilError):
                client.cancel_batch(batch["id"])
            remarks.print(f"The upload was not completed, so batch {batch['id']} is cancelled.")
            raise
        for item in rejected:
            remarks.print(f"[red]Rejected:[/] {_rejection(item)}")
        if len(rejected) == len(uploads):
            client.cancel_batch(batch["id"])
            raise InputError("The server rejected every file.", code="no-usable-file")
        status = InputError.exit_code if rejected else 0
        try:
            if not as_json:
                print(batch["id"], flush=True)
            if wait:
                batch = follow_with_progress(client, batch["id"])
        except KeyboardInterrupt:
            remarks.print(
                f"\nThe server continues to read. To follow it: counterfoil status {batch['id']}"
            )
            return INTERRUPTED
        if wait and not report_end(client, batch):
            status = InputError.exit_code
        if as_json:
            print(json.dumps(client.batch(batch["id"])))
        return status


def upload_with_progress(client: Client, batch_id: str, uploads: list[Upload]) -> list[Json]:
    """Upload files into a batch, with a progress bar on stderr; return the rejected ones."""
    size = sum(upload.size for upload in uploads)
    with progress_bar() as bar:
        task = bar.add_task("Uploading", total=max(size, 1), note=f"0 of {len(uploads)} files")
        files = 0

        def sent(count: int, octets: int) -> None:
            nonlocal files
            files += count
            bar.update(task, advance=octets, note=f"{files} of {len(uploads)} files")

        rejected = client.add_files(batch_id, uploads, sent=sent)
        bar.update(task, completed=max(size, 1))
    if not remarks.is_terminal:
        remarks.print(f"Uploaded {len(uploads)} files, {decimal(size)}.")
    return rejected


def follow_with_progress(client: Client, batch_id: str, *, patience: float | None = None) -> Json:
    """Follow a batch, with a progress bar on stderr, until no page waits to be read; return it.

    With `patience`, raise TransientError after so many seconds without any progress.
    """
    batch: Json = {}
    moved, counts = time.monotonic(), None
    with progress_bar() as bar:
        task = bar.add_task("Reading", total=100, note="")
        for batch in client.follow(batch_id):
            bar.update(task, completed=batch["percent"], note=_progress_note(batch))
            if counts != (batch["documents"], batch["pages"]):
                moved, counts = time.monotonic(), (batch["documents"], batch["pages"])
            elif patience is not None and time.monotonic() - moved > patience:
                raise TransientError(f"The batch made no progress for {patience:.0f} seconds.")
        bar.update(task, completed=100)
    return batch


def report_end(client: Client, batch: Json) -> bool:
    """Print on stderr how a batch ended, and the first failures and parts that were passed over.

    Return whether all was read and nothing passed over.
    """
    fields, pages = batch["fields"], batch["pages"]
    said = f"{pages['read']} of {pages['total']} pages read, "
    if pages.get("passed_over"):
        said += f"{pages['passed_over']} passed over as their template says, "
    said += f"{fields['total']} fields: "
    said += f"{fields['accepted']} accepted, {fields['review']} for review."
    remarks.print(said)
    if copies := batch["documents"]["copies"]:
        have, were = ("1 file has", "was") if copies == 1 else (f"{copies} files have", "were")
        remarks.print(
            f"{have} the same bytes as another one, and {were} not read again; see "
            "`counterfoil results`."
        )
    if nothing_missing(batch):
        return True
    failures = list(_failures(client, batch["id"]))
    for page in failures[:SHOWN_FAILURES]:
        if "passed_over" in page:
            item = page["passed_over"]
            remarks.print(f"[yellow]Passed over:[/] {_escaped(page['file'])}", end="")
            remarks.print(_escaped(f", {item['name']}: {item['reason']}"))
            continue
        remarks.print(f"[red]Not read:[/] {_escaped(page['file'])}", end="")
        remarks.print(f", page {page['page']}: {_escaped(page['error'])}")
    if len(failures) > SHOWN_FAILURES:
        remarks.print(f"… and {len(failures) - SHOWN_FAILURES} more; see `counterfoil results`.")
    return False


def status(batch_id: str, *, url: str | None, home: Path | None, as_json: bool) -> int:
    """Print how much of a batch has been read."""
    with connect(url, home) as client:
        batch = client.batch(batch_id)
    if as_json:
        print(json.dumps(batch))
        return 0
    console = Console(highlight=False)
    console.print(f"[bold]{batch['id']}[/]  {_escaped(batch['name'])}".rstrip())
    console.print(f"{'state':<12} {batch['state']}, {batch['percent']:.0f} %", end="")
    eta = batch.get("eta_seconds")
    console.print(f", about {_duration(eta)} left" if eta else "")
    for part in ("documents", "pages", "fields"):
        counts = batch[part]
        named = ", ".join(
            f"{n} {state.replace('_', ' ')}"
            for state, n in counts.items()
            if n and state != "total"
        )
        console.print(f"{part:<12} {counts['total']}" + (f"  ({named})" if named else ""))
    if batch["passed_over"]:
        console.print(
            f"{'passed over':<12} {batch['passed_over']}; `counterfoil results` names each"
        )
    return 0


def retry(batch_id: str, *, url: str | None, home: Path | None, as_json: bool) -> int:
    """Have the failed pages and files of a batch tried again."""
    with connect(url, home) as client:
        batch = client.retry_batch(batch_id)
    if as_json:
        print(json.dumps(batch))
        return 0
    retried = batch["retried"]
    if retried["pages"] or retried["documents"]:
        print(f"Retrying: {retried['pages']} pages, {retried['documents']} files.")
    else:
        print("There is nothing to retry in this batch.")
    return 0


def results(
    batch_id: str, *, url: str | None, home: Path | None, as_json: bool, as_csv: bool
) -> int:
    """Print what was read: JSON or CSV with one object or row per page, or a table."""
    if as_json and as_csv:
        raise ConfigError("--json and --csv cannot be used together.")
    with connect(url, home) as client:
        batch = client.batch(batch_id)
        pages = batch_pages(client, batch_id)
        if as_json:
            for page in pages:
                print(json_line(page))
        elif as_csv:
            write_csv(list(pages), sys.stdout)
        else:
            print_table(pages)
    left = batch["pages"]["queued"] + batch["pages"]["leased"] + batch["documents"]["stored"]
    if left:
        remarks.print(f"The batch is not finished: {batch['percent']:.0f} % is read.")
    return 0


def verify(
    field_id: str,
    value: str | None,
    *,
    unreadable: bool,
    note: str | None,
    force: bool,
    version: int | None,
    url: str | None,
    home: Path | None,
    as_json: bool,
) -> int:
    """Record what a person reads in a field; raise the server's refusal."""
    if unreadable == (value is not None):
        raise ConfigError("Name either a value or --unreadable.")
    if unreadable and force:
        raise ConfigError("--force belongs to a value.")
    decision: Json = {"unreadable": True} if unreadable else {"value": value, "force": force}
    if note is not None:
        decision["note"] = note
    with connect(url, home) as client:
        field = client.verify(field_id, decision, version=version)
    if as_json:
        print(json.dumps(field))
        return 0
    shown = "unreadable" if field["value"] is None else f"'{printable(field['value'])}'"
    forced = ", which its grammar does not allow" if field["forced"] else ""
    print(f"{field['name']}: {shown}{forced}. This is version {field['version']}.")
    return 0


def batch_pages(client: Client, batch_id: str) -> Iterator[Json]:
    """Yield the object of every finished page; then files without pages and what was passed over.

    The files are those that could not be opened, and copies of others.
    """
    for page in client.pages(batch_id):
        if page["state"] == "cancelled":
            yield page_of_api(page) | {"error": "Cancelled before it was read."}
        elif page["state"] not in ("queued", "leased"):
            yield page_of_api(page)
    for document in client.documents(batch_id):
        file, template = document["filename"], document.get("template")
        if document["state"] == "failed":
            yield page_not_read(file, 1, template, _document_error(document))
        elif document["state"] == "copy":
            yield copy_of(file, template, document["copy_of_file"])
        for item in document["passed_over"]:
            yield passed_over(file, template, item["name"], item["code"], item["reason"])


def export(
    batch_id: str,
    *,
    export_format: str | None,
    out: Path | None,
    to: str | None,
    table: str | None,
    url: str | None,
    home: Path | None,
) -> int:
    """Write a batch into a file, to stdout, or into a table of a database known to the server."""
    if (to is None) != (table is None):
        raise ConfigError("--to and --table must be used together.")
    with connect(url, home) as client:
        if to is not None and table is not None:
            if out is not None or export_format is not None:
                raise ConfigError("--format and --out cannot be used with --to.")
            answer = client.export_to(batch_id, to, table)
            remarks.print(_escaped(f"{answer['rows']} rows written to {to}, table {table}."))
            return 0
        export_format = export_format or (out.suffix.lstrip(".").lower() if out else "csv")
        if export_format not in ("csv", "jsonl", "xlsx"):
            raise ConfigError(
                f"There is no export format {export_format}.", hint="Choose csv, jsonl, xlsx."
            )
        if out is None:
            if export_format == "xlsx" and sys.stdout.isatty():
                raise ConfigError(
                    "An XLSX file cannot be shown here.", hint="Name a file with --out."
                )
            with client.export(batch_id, export_format) as chunks:
                for chunk in chunks:
                    sys.stdout.buffer.write(chunk)
            sys.stdout.buffer.flush()
            return 0
        export_to_file(client, batch_id, export_format, out)
        remarks.print(f"Written to {_escaped(str(out))}.")
    return 0


def export_to_file(client: Client, batch_id: str, export_format: str, out: Path) -> None:
    """Write an export into `out`, completely or not at all.

    Raises ConfigError if the file cannot be written.
    """
    part = out.with_name(f"{out.name}.part")
    try:
        with client.export(batch_id, export_format) as chunks, part.open("wb") as file:
            file.writelines(chunks)
        shutil.move(part, out)
    except OSError as exc:
        raise ConfigError(f"{out} cannot be written ({exc.strerror}).") from exc
    finally:
        part.unlink(missing_ok=True)


def _progress_note(batch: Json) -> str:
    pages = batch["pages"]
    ended = pages["total"] - pages["queued"] - pages["leased"]
    note = f"{ended} of {pages['total']} pages"
    eta = batch.get("eta_seconds")
    return f"{note}, {_duration(eta)} left" if eta else note


def _duration(seconds: float) -> str:
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    minutes, seconds = divmod(seconds, 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def _failures(client: Client, batch_id: str) -> Iterator[Json]:
    return (page for page in batch_pages(client, batch_id) if page["error"] is not None)


def _document_error(document: Json) -> str:
    error = document.get("error")
    said = error.get("message") if isinstance(error, dict) else error
    return str(said or "This file could not be opened.")


def _rejection(rejected: Json) -> str:
    return _escaped(f"{rejected['filename']}: {rejected['message']}")


def _escaped(text: str) -> str:
    return printable(text).replace("[", "\\[")
