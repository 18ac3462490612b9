"""Uploaded files and stored pages that are looked at once, in a guarded child, and not kept."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flask import request

from api.context import services
from db import queries
from web.signing_in import person
from worker.preview.looking import look as look_in_child
from worker.preview.protocol import Request, Task

MOST_FILES = 6  # that are read in one go


@dataclass(frozen=True, slots=True)
class Looked:
    """A file to look at, and its name."""

    path: Path
    filename: str


@contextmanager
def uploaded(part: str) -> Iterator[list[Looked]]:
    """Yield the files of a form's part, at most MOST_FILES, on the disk until the end."""
    request.max_content_length = min(
        services().settings.max_request_bytes, MOST_FILES * services().settings.max_file_bytes
    )
    with tempfile.TemporaryDirectory(prefix="counterfoil-") as folder:
        found = []
        given = [file for file in request.files.getlist(part) if file.filename]
        for number, file in enumerate(given[:MOST_FILES]):
            path = Path(folder) / f"{number}"
            file.save(path)
            found.append(Looked(path, file.filename or ""))
        yield found


@contextmanager
def of_batch(batch_id: str, count: int) -> Iterator[list[Looked]]:
    """Yield the first pages of a batch that have an image, on the disk until the end."""
    with services().db.reading() as session:
        pages = queries.list_pages(session, person().tenant_id, batch_id, limit=4 * count)
    with tempfile.TemporaryDirectory(prefix="counterfoil-") as folder:
        found = []
        for page in [page for page in pages if page.object_key is not None][:count]:
            path = Path(folder) / page.id
            with services().store.open(str(page.object_key)) as source, path.open("wb") as target:
                shutil.copyfileobj(source, target, 1 << 20)
            place = f", page {page.ordinal}" if page.ordinal > 1 else ""
            found.append(Looked(path, f"{page.label or page.file}{place}"))
        yield found


def look(task: Task, files: Sequence[Looked], **more: Any) -> dict[str, Any]:
    """Return what a child sees in the files. Raises InputError, TransientError."""
    paths = tuple(str(file.path) for file in files)
    return look_in_child(Request(task, paths, **more), services().settings)
