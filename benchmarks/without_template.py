"""Pages without a template: which values get out that no hand wrote, and which of the written ones?

    python -m benchmarks.without_template [--pages 40] [--sheet DIR] [--write]

The pages are drawn: text, tables, forms and notes in the fonts of this machine, with numbers of
MNIST's test writers in the last two. The seed and the fonts determine everything. A value belongs
to a written number where the middle of its box lies in that number's box; any other value is print,
a mark, or a piece of something.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2

from benchmarks.by_reader import HERE, show
from benchmarks.data import add_data_option
from benchmarks.drawn_pages import PAGE_KINDS, DrawnPage, draw_page, font_files
from benchmarks.report import Json, Section, share
from cli.read import load_quietly
from core.errors import CounterfoilError
from core.policy import review_reason
from pipeline.read import read_pages
from pipeline.readers.base import BOTH
from pipeline.readers.loaded import Readers
from pipeline.types import Box, FieldReading, Page
from training.evaluation.machine import machine
from training.evaluation.metrics import wilson
from training.synthesis.hand import load_mnist

_SEED: Final = 70
_LEVELS: Final = (0.9, 0.99)


@dataclass(frozen=True, slots=True)
class Seen:
    """A value that was read, and the number that was written there; None where none was."""

    reading: FieldReading
    written: str | None

    def released_at(self, threshold: float) -> bool:
        field = self.reading
        return not review_reason(
            field.value, field.confidence, threshold, required=True, blocked=field.blocked
        )


def match(page: DrawnPage, fields: Iterable[FieldReading]) -> list[Seen]:
    """Return the values of a page, each with what was written in its place."""
    return [
        Seen(field, next((text for box, text in page.numbers if _lies_in(field.box, box)), None))
        for field in fields
        if field.value
    ]


def _lies_in(inner: Box, outer: Box) -> bool:
    x, y = inner.x + inner.w / 2 - outer.x, inner.y + inner.h / 2 - outer.y
    return 0 <= x <= outer.w and 0 <= y <= outer.h


def counts(pages: Sequence[DrawnPage], seen: Sequence[Sequence[Seen]]) -> Json:
    """Count what one kind of page gave at each level of _LEVELS."""
    values = [value for page in seen for value in page]
    written = sum(len(page.numbers) for page in pages)
    exact = sum(value.reading.value == value.written for value in values)
    figures: Json = {"pages": len(pages), "written": written, "read": exact}
    for level in _LEVELS:
        out = [value for value in values if value.released_at(level)]
        right = sum(value.reading.value == value.written for value in out)
        print_out = sum(value.written is None for value in out)
        figures[f"at {level:g}"] = {
            "right": right,
            "misread": len(out) - right - print_out,
            "print": print_out,
        }
    return figures


def measure(pages: Sequence[DrawnPage], readers: Readers) -> Section:
    """Read all pages without a template and count by kind."""
    figures, rows = {}, []
    for kind in PAGE_KINDS:
        own = [page for page in pages if page.kind == kind]
        seen = [match(page, read_pages([Page(page.grey)], None, readers)[0].fields) for page in own]
        found = figures[kind] = counts(own, seen)
        total = found["written"]
        row = [kind, str(len(own)), "none"]
        if total:
            row[2] = share(found["read"], total, wilson(found["read"], total))
        for level in _LEVELS:
            at = found[f"at {level:g}"]
            row += [f"{at['right']}", f"{at['misread']}", f"{at['print']}"]
        rows.append(tuple(row))
    names = [f"{what} at {level:g}" for level in _LEVELS for what in ("right", "misread", "print")]
    return Section(
        title="Pages without a template",
        columns=("pages", "count", "written numbers read", *names),
        rows=tuple(rows),
        figures=figures,
        notes=(
            "Released at a threshold: right, misread, and print that no hand wrote. "
            f"{len(font_files())} fonts. Interval: Wilson, 95 %.",
        ),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    options = argparse.ArgumentParser(
        prog="python -m benchmarks.without_template",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_data_option(options)
    options.add_argument("--pages", type=int, default=40, help="of each kind")
    options.add_argument("--sheet", type=Path, help="write the first page of each kind there")
    options.add_argument("--json", action="store_true", help="print JSON instead of tables")
    options.add_argument("--write", action="store_true", help="write the report to --out as well")
    options.add_argument("--out", type=Path, default=HERE / "results" / "without-template.md")
    chosen = options.parse_args(arguments)
    cv2.setNumThreads(1)
    try:
        digits = load_mnist(chosen.data)
        pages = [
            draw_page(kind, digits, _SEED + number)
            for kind in PAGE_KINDS
            for number in range(chosen.pages)
        ]
        if chosen.sheet:
            for page in pages[:: chosen.pages]:
                cv2.imwrite(str(chosen.sheet / f"{page.kind}.png"), page.grey)
        readers = load_quietly()
        about = machine() | {"weights": readers.sha256(BOTH)}
        section = measure(pages, readers)
    except CounterfoilError as exc:
        sys.stderr.write(f"The benchmark failed: {exc}\n")
        return exc.exit_code
    show("without_template", chosen, arguments, about, [section], section.figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
