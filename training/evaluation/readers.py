"""Who reads, by name: a new reader is one line here, and every figure has it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from pipeline.grammar.base import Grammar
from pipeline.placing.template import Template
from pipeline.read import read_pages, read_strip
from pipeline.readers.base import BOTH, GLYPH, STRIP
from pipeline.readers.loaded import Readers
from pipeline.types import Page, PageReading

# Whole pages with a template, or images that are one field each with what it may hold.
Reads = Callable[[Sequence[bytes | Page], Template | Grammar], list[PageReading]]


def readers_by_name(loaded: Readers) -> dict[str, Reads]:
    """Return each known reader: both together, as the product reads, and each one alone."""
    return {name: _door(replace(loaded, of_fields=name)) for name in (BOTH, STRIP, GLYPH)}


def _door(readers: Readers) -> Reads:
    def read(images: Sequence[bytes | Page], target: Template | Grammar) -> list[PageReading]:
        if isinstance(target, Template):
            return read_pages(images, target, readers)
        return [read_strip(image, target, readers) for image in images]

    return read
