"""`counterfoil read`: the pipeline on files of this machine, with no server."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cli.output import json_line, page_not_read, page_of_reading, print_table
from cli.paths import find_template, find_uploads
from core.errors import ConfigError, InputError
from core.settings import Settings, load_settings
from pipeline.documents import DocumentLimits, open_document
from pipeline.grammar import Grammar, parse_grammar
from pipeline.read import Readers, load_readers, read_pages, read_strip
from pipeline.template import Template, bundled_template, parse_template
from pipeline.types import PageReading

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Scan:
    """A page image to be read, or why there is none."""

    file: str
    number: int
    data: bytes | None
    error: InputError | None


def read_files(
    arguments: list[str],
    *,
    template: str | None,
    field: str | None,
    release_at: float | None,
    as_json: bool,
) -> int:
    """Read files and print each page; return 3 if a page could not be read, else 0."""
    if template is not None and field is not None:
        raise ConfigError("--template and --field exclude each other.")
    chosen = load_template(template)
    grammar = None if field is None else parse_grammar(field)
    settings = load_settings()
    readers = load_readers()
    scans = itertools.chain.from_iterable(_scans(name, settings) for name in arguments)
    pages = _read(scans, chosen, grammar, readers, settings, release_at)
    complete = True
    shown: list[Json] = []
    for page in pages:
        complete = complete and page["error"] is None
        if as_json:
            print(json_line(page), flush=True)
        else:
            shown.append(page)
    if not as_json:
        print_table(shown)
    return 0 if complete else InputError.exit_code


def load_template(argument: str | None) -> Template | None:
    """Return the template that `--template` means. Raises TemplateError, NotFoundError."""
    choice = find_template(argument)
    if choice is None:
        return None
    if choice.text is not None:
        return parse_template(choice.text)
    return bundled_template(choice.name or "")


def document_limits(settings: Settings) -> DocumentLimits:
    """Return what the settings allow a document to be."""
    return DocumentLimits(
        max_pages=settings.max_pages_per_document,
        max_page_pixels=settings.max_page_pixels,
        max_unpacked_bytes=settings.max_unpacked_bytes,
    )


def _scans(argument: str, settings: Settings) -> Iterator[_Scan]:
    """Yield the pages of what an argument names; what cannot be opened is one with an error."""
    try:
        found = [(upload.path, upload.name) for upload in find_uploads([argument])]
    except InputError as exc:
        yield _Scan(argument, 1, None, exc)
        return
    for path, _ in found:
        yield from _pages(path, settings)


def _pages(path: Path, settings: Settings) -> Iterator[_Scan]:
    number = 0
    try:
        for number, page in enumerate(open_document(path, path.name, document_limits(settings)), 1):
            data = path.read_bytes() if page.data is None and page.error is None else page.data
            yield _Scan(str(path), number, data, page.error)
    except OSError as exc:
        error = InputError(f"The file cannot be read ({exc.strerror}).")
        yield _Scan(str(path), number + 1, None, error)
    except InputError as exc:
        yield _Scan(str(path), number + 1, None, exc)


def _read(
    scans: Iterator[_Scan],
    template: Template | None,
    grammar: Grammar | None,
    readers: Readers,
    settings: Settings,
    release_at: float | None,
) -> Iterator[Json]:
    name = None if template is None else template.name
    while group := list(itertools.islice(scans, settings.group_size)):
        images = [scan.data for scan in group if scan.data is not None]
        if grammar is None:
            read = read_pages(images, template, readers, max_pixels=settings.max_page_pixels)
        else:
            read = _read_strips(images, grammar, readers)
        readings = iter(read)
        for scan in group:
            if scan.data is None:
                yield page_not_read(scan.file, scan.number, name, str(scan.error))
            else:
                yield page_of_reading(scan.file, scan.number, next(readings), release_at)


def _read_strips(images: Sequence[bytes], grammar: Grammar, readers: Readers) -> list[PageReading]:
    return [read_strip(image, grammar, readers) for image in images]
