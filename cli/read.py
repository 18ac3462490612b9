"""`counterfoil read`: run the pipeline on files of this machine, with no server."""

from __future__ import annotations

import hashlib
import itertools
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cli.arguments import find_uploads, load_templates
from cli.output import (
    INTERRUPTED,
    copy_of,
    json_line,
    page_not_read,
    page_of_reading,
    passed_over,
    print_table,
    progress_bar,
    remarks,
)
from cli.picture import draw_readings, save_picture
from core.errors import ConfigError, InputError
from core.settings import Settings, load_settings
from pipeline.files.passed_over import PassedOver
from pipeline.grammar.base import Grammar
from pipeline.grammar.parse import parse_grammar
from pipeline.placing.template_set import TemplateSet
from pipeline.read import read_pages, read_strip
from pipeline.readers.loaded import Readers, load_readers
from pipeline.types import EncodedPage
from storage.site_models import current_strip
from worker.guard.opener import DocumentOpener

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Scan:
    """One page image, or the error in its place."""

    file: str
    number: int
    image: EncodedPage | None
    error: InputError | None


@dataclass(frozen=True, slots=True)
class _NoPage:
    """What was passed over in a file; or, with `first`, a file with the same bytes as that one."""

    file: str
    found: PassedOver | None = None
    first: str = ""


@dataclass(frozen=True, slots=True)
class _Opening:
    """How files are opened, and the first file of each SHA-256 that was."""

    opener: DocumentOpener
    first: dict[bytes, str]


def read_files(
    arguments: list[str],
    *,
    templates: list[str],
    field: str | None,
    release_at: float | None,
    as_json: bool,
    draw: Path | None = None,
) -> int:
    """Read files and print each page.

    Returns 3 if a page could not be read or something in a file was passed over, else 0. A file
    with the same bytes as an earlier one is named as its copy, and not read again.

    If `draw` is given, a picture of each page that was read is written into that folder. After
    Ctrl-C, what has been read so far is printed, and 130 is returned.
    """
    if templates and field is not None:
        raise ConfigError("--template and --field cannot be used together.")
    chosen = load_templates(templates)
    grammar = None if field is None else parse_grammar(field)
    settings = load_settings()
    readers = load_quietly(settings.home)
    complete, stopped, pages, files = True, False, 0, set[str]()
    shown: list[Json] = []
    found = [item for argument in arguments for item in _files_of(argument)]
    # Files are opened in a guarded child, as on a server: a file that crashes its decoder is one
    # error and stops nothing else.
    with DocumentOpener.from_settings(settings) as opener, progress_bar(off=as_json) as bar:
        task = bar.add_task("Reading", total=len(found), note="")
        opening = _Opening(opener, {})
        scans = itertools.chain.from_iterable(_scans(item, opening) for item in found)
        try:
            for scan, page, turn in _read(scans, chosen, grammar, readers, settings, release_at):
                if (
                    draw is not None
                    and isinstance(scan, _Scan)
                    and scan.image is not None
                    and page["error"] is None
                ):
                    save_picture(
                        draw_readings(scan.image, page, turn), draw, scan.file, scan.number
                    )
                complete = complete and page["error"] is None
                if as_json:
                    sys.stdout.write(json_line(page) + "\n")  # whole, so that Ctrl-C cuts no line
                    sys.stdout.flush()
                else:
                    shown.append(page)
                pages += isinstance(scan, _Scan)
                files.add(scan.file)
                bar.update(task, completed=len(files), note=_count_of(pages))
        except KeyboardInterrupt:
            stopped = True
    if not as_json:
        print_table(shown)
    if stopped:
        remarks.print(f"Stopped after {_count_of(pages)}; the rest was not read.")
        return INTERRUPTED
    return 0 if complete else InputError.exit_code


def load_quietly(home: Path | None = None) -> Readers:
    """Load the readers and run one, with stderr closed to the messages of LiteRT's first run.

    With `home`, the strip reader is the one that this site adapted, if there is one.
    """
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("w") as nothing:
            os.dup2(nothing.fileno(), 2)
        readers = load_readers(None if home is None else current_strip(home))
        readers.glyph.probabilities(np.zeros((1, 28, 28), np.uint8))
    finally:
        os.dup2(kept, 2)
        os.close(kept)
    return readers


def _files_of(argument: str) -> list[Path | _Scan]:
    """Return the files that an argument names; if it names none, a page with the error."""
    try:
        return [upload.path for upload in find_uploads([argument])]
    except InputError as exc:
        return [_Scan(argument, 1, None, exc)]


def _scans(found: Path | _Scan, opening: _Opening) -> Iterator[_Scan | _NoPage]:
    """Yield what is in a file; if it cannot be opened, one page with the error."""
    return iter([found]) if isinstance(found, _Scan) else _pages(found, opening)


def _pages(path: Path, opening: _Opening) -> Iterator[_Scan | _NoPage]:
    file, number = str(path), 0
    try:
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").digest()
        first = opening.first.setdefault(digest, file)
        if first != file:
            yield _NoPage(file, first=first)
            return
        for found in opening.opener.open(path):
            if isinstance(found, PassedOver):
                yield _NoPage(file, found)
                continue
            number += 1
            if found.error is not None:
                yield _Scan(file, number, None, found.error)
            else:  # without data, the file itself is the page
                data = path.read_bytes() if found.data is None else found.data
                yield _Scan(file, number, EncodedPage(data, found.media_type, number), None)
    except OSError as exc:
        error = InputError(f"The file cannot be read ({exc.strerror}).")
        yield _Scan(file, number + 1, None, error)
    except InputError as exc:
        yield _Scan(file, number + 1, None, exc)


def _read(
    scans: Iterator[_Scan | _NoPage],
    templates: TemplateSet | None,
    grammar: Grammar | None,
    readers: Readers,
    settings: Settings,
    release_at: float | None,
) -> Iterator[tuple[_Scan | _NoPage, Json, int]]:
    """Yield each scan, its object, and the quarter turns that bring it upright."""
    name = None if templates is None else templates.name
    while group := list(itertools.islice(scans, settings.group_size)):
        images = [
            scan.image for scan in group if isinstance(scan, _Scan) and scan.image is not None
        ]
        pixels = settings.max_page_pixels
        if grammar is None:
            read = read_pages(images, templates, readers, max_pixels=pixels)
        else:
            read = [read_strip(image, grammar, readers, max_pixels=pixels) for image in images]
        readings = iter(read)
        for scan in group:
            if isinstance(scan, _NoPage):
                yield scan, _no_page(scan, name), 0
            elif scan.image is None:
                yield scan, page_not_read(scan.file, scan.number, name, str(scan.error)), 0
            else:
                reading = next(readings)
                page = page_of_reading(scan.file, scan.number, reading, release_at)
                yield scan, page, reading.turn


def _no_page(found: _NoPage, template: str | None) -> Json:
    if found.found is None:
        return copy_of(found.file, template, found.first)
    item = found.found
    return passed_over(found.file, template, item.name, item.code, item.reason)


def _count_of(pages: int) -> str:
    return "1 page" if pages == 1 else f"{pages} pages"
