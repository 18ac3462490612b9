"""One page of a file of any kind that can be read, for commands that need no more."""

from __future__ import annotations

from pathlib import Path

from core.errors import InputError
from core.settings import load_settings
from pipeline.files.documents import only_pages
from pipeline.files.media import HEAD_BYTES, JPEG, PNG, sniff
from pipeline.files.page import decode_page
from pipeline.types import Page
from worker.guard.opener import DocumentOpener


def load_page(path: Path, number: int = 1) -> Page:
    """Return page `number` of a file, counted from 1. Raises InputError.

    What is neither JPEG nor PNG is opened in the guarded child, as `counterfoil read` does.
    """
    try:
        with path.open("rb") as stream:
            kind = sniff(stream.read(HEAD_BYTES))
        if kind in (JPEG, PNG) and number == 1:
            return decode_page(path.read_bytes(), kind)
    except OSError as exc:
        raise InputError(f"{path} cannot be read ({exc.strerror}).") from exc
    pages = 0
    with DocumentOpener.from_settings(load_settings()) as opener:
        for pages, page in enumerate(only_pages(opener.open(path)), 1):
            if pages < number:
                continue
            if page.error is not None:
                raise page.error
            data = path.read_bytes() if page.data is None else page.data
            return decode_page(data, page.media_type)
    count = "1 page" if pages == 1 else f"{pages} pages"
    raise InputError(f"There is no page {number} in {path}: it has {count}.")
