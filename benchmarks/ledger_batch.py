"""A batch through a real server, as `counterfoil submit --wait` sends it, and what it says."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.counters import things
from cli.batches import batch_pages, submit
from cli.client import Client
from cli.local.stack import Stack
from core.settings import load_settings

_WORKERS = 2


@dataclass(slots=True)
class Submitted:
    """What the results say of one file."""

    read: int = 0  # pages
    failed: int = 0  # pages, or the file as a whole
    passed_over: int = 0
    copies: int = 0  # 1 if it is named as the copy of another one


@dataclass(frozen=True, slots=True)
class BatchSaid:
    """What the server says of a batch, and the exit status of `submit --wait`."""

    files: dict[str, Submitted]
    documents: int
    copies: int
    status: int


def submit_batch(folder: Path, files: Mapping[str, bytes]) -> BatchSaid:
    """Start a server, submit files as one batch, and return what it says when all are read."""
    scans = folder / "scans"
    scans.mkdir()
    for name, data in files.items():
        (scans / name).write_bytes(data)
    # Ignore COUNTERFOIL_* of the shell: always the embedded services and an empty home.
    settings = load_settings({}, home=folder / "home", port=0, workers=_WORKERS, log_level="ERROR")
    with Stack(settings) as stack, Client(stack.url, stack.api_key) as client:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            status = submit(
                [str(scans)], templates=[], name="ledger", release_at=None, url=stack.url,
                home=folder / "home", wait=True, as_json=False,
            )  # fmt: skip
        batch = client.batch(printed.getvalue().strip())
        said: dict[str, Submitted] = {}
        for page in batch_pages(client, batch["id"]):
            file = said.setdefault(page["file"], Submitted())
            if "copy_of" in page:
                file.copies += 1
            elif "passed_over" in page:
                file.passed_over += things(page["passed_over"]["name"])
            elif page["error"] is None:
                file.read += 1
            else:
                file.failed += 1
        documents = batch["documents"]
        return BatchSaid(said, documents["total"], documents["copies"], status)
