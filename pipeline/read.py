"""The only door of the pipeline: page images in, readings out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from time import perf_counter
from typing import Final

from core.errors import InputError
from pipeline.fields import read_fields
from pipeline.files.page import decode_page
from pipeline.geometry import turned_box
from pipeline.grammar.parse import ANY_DIGITS, Grammar
from pipeline.lines import read_lines
from pipeline.micr import read_micr_fields
from pipeline.placing.layout import find_lines
from pipeline.placing.register import cut_strips, register, righted
from pipeline.placing.template import Template
from pipeline.readers.base import StripToRead
from pipeline.readers.loaded import Readers
from pipeline.types import Box, FieldReading, Page, PageReading, Strip

MAX_PIXELS: Final = 50_000_000


def read_pages(
    pages: Sequence[bytes | Page],
    template: Template | None,
    readers: Readers,
    *,
    max_pixels: int = MAX_PIXELS,
    timed: bool = False,
) -> list[PageReading]:
    """Read every page: the fields of `template`, or the lines of handwritten digits without one.

    `pages` are encoded images or decoded pages. Returns one reading a page, in order. A page that
    cannot be decoded, or that the template does not fit, carries its InputError in `error` and
    has no fields; none is raised. Fields without a template are `line-1`, `line-2`, ... from the
    top. With `timed`, readings tell the milliseconds of each stage; reading the strips is one
    batch for all pages, of which each page tells an equal part.
    """
    clock = _Clock(timed)
    readings: list[PageReading] = []
    strips: list[list[StripToRead]] = []
    lines: list[list[FieldReading]] = []
    for image in pages:
        clock.start()
        width = height = 0
        score: float | None = None
        found: list[StripToRead] = []
        micr: list[FieldReading] = []
        turn = 0
        error: InputError | None = None
        try:
            page = decode_page(image, max_pixels=max_pixels) if isinstance(image, bytes) else image
            height, width = page.grey.shape
            clock.stop("decode")
            if template is None:
                written = find_lines(page, readers.glyph.probabilities)
                found = [StripToRead(strip, ANY_DIGITS, ruled=False) for strip in written]
                clock.stop("layout")
            else:
                placement = register(page, template)
                score, turn = placement.score, placement.turn
                page = righted(page, turn)
                clock.stop("register")
                if template.micr is not None:
                    micr = read_micr_fields(page, template, placement, readers.micr)
                    clock.stop("micr")
                cut = cut_strips(page, template, placement)
                grammars = {field.name: field.grammar for field in template.fields}
                found = [StripToRead(strip, grammars[strip.name], ruled=True) for strip in cut]
                clock.stop("cut")
        except InputError as exc:
            error = exc
        strips.append(found)
        lines.append(micr)
        readings.append(
            PageReading(
                width=width,
                height=height,
                template=template.name if template else None,
                error=error,
                template_score=score,
                milliseconds=clock.stages(),
                turn=turn,
            )
        )
    clock.start()
    if template is None:
        fields = [read_lines(found, readers) for found in strips]
    else:
        flat = iter(read_fields([strip for found in strips for strip in found], readers))
        fields = [[next(flat) for _ in found] for found in strips]
    clock.stop("read", parts=len(readings))
    return [
        replace(
            reading,
            fields=_of_page(reading, own + micr, template),
            milliseconds=reading.milliseconds | clock.stages(),
        )
        for reading, own, micr in zip(readings, fields, lines, strict=True)
    ]


def read_strip(image: bytes | Page, grammar: Grammar, readers: Readers) -> PageReading:
    """Read a whole image as one field named `strip`. An InputError goes into `error`."""
    try:
        page = decode_page(image) if isinstance(image, bytes) else image
    except InputError as exc:
        return PageReading(width=0, height=0, template=None, error=exc)
    height, width = page.grey.shape
    strip = Strip("strip", Box(0, 0, width, height), page.grey)
    fields = read_fields([StripToRead(strip, grammar, ruled=False)], readers)
    return PageReading(width=width, height=height, template=None, fields=tuple(fields))


def _of_page(
    reading: PageReading, fields: list[FieldReading], template: Template | None
) -> tuple[FieldReading, ...]:
    """Return the fields of a page in the template's order, with boxes of the page as decoded."""
    if template is None:
        return tuple(fields)
    order = {spec.name: number for number, spec in enumerate(template.fields)}
    fields = sorted(fields, key=lambda field: order[field.name])
    if reading.turn == 0:
        return tuple(fields)
    size = (reading.width, reading.height)
    upright = size[::-1] if reading.turn % 2 else size
    back = partial(turned_box, turns=-reading.turn, page=upright)
    return tuple(
        replace(
            field,
            box=back(field.box),
            glyphs=tuple(replace(glyph, box=back(glyph.box)) for glyph in field.glyphs),
        )
        for field in fields
    )


class _Clock:
    """Milliseconds by stage, where they are asked for."""

    def __init__(self, running: bool) -> None:
        self._running = running
        self._stages: dict[str, float] = {}
        self._last = 0.0

    def start(self) -> None:
        self._stages = {}
        self._last = perf_counter()

    def stop(self, stage: str, *, parts: int = 1) -> None:
        if self._running:
            now = perf_counter()
            self._stages[stage] = 1e3 * (now - self._last) / max(parts, 1)
            self._last = now

    def stages(self) -> dict[str, float]:
        return dict(self._stages)
