"""Damaged files: is a page whose bytes were lost ever read otherwise without a word?

    python -m benchmarks.mutations [--count 2000] [--flips 560] [--write]

The demo's scans are packed into 14 containers. Of each, copies are made that are cut off, that have
a block of zeros, or that lack a block; and, counted separately, copies with one flipped bit. Each
copy is opened in the guarded child and read as a user would have it read. Every value is compared
with that of the whole file.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console

from benchmarks.by_reader import HERE, show
from benchmarks.containers import CONTAINERS
from benchmarks.report import Json, Section
from cli.read import load_quietly
from core.errors import InputError
from pipeline.files.documents import DocumentLimits, only_pages
from pipeline.files.page import decode_page
from pipeline.placing.template import Template, bundled_template
from pipeline.read import read_pages
from pipeline.readers.base import BOTH
from pipeline.readers.loaded import Readers
from pipeline.types import EncodedPage, Image
from training.evaluation.machine import machine
from training.evaluation.metrics import wilson
from worker.guard.opener import DocumentOpener

SEED = 15
BLOCKS = (64, 512, 4096)  # bytes
KINDS = ("cut off", "block of zeros", "block dropped")
FLIP = "flipped bit"
SURE, RELEASED = 0.99, 0.9
_SAMPLES = HERE.parent / "demo" / "samples"

Values = dict[str, tuple[str, float]]  # of a page, by field: value and confidence


@dataclass(frozen=True, slots=True)
class Scan:
    grey: Image
    template: Template


@dataclass(slots=True)
class Tally:
    """What became of the damaged copies of one container."""

    files: int = 0
    refused: int = 0  # with a reason in words
    same: int = 0  # every value is that of the whole file, or goes to review
    codes: Counter[str] = field(default_factory=Counter)
    released: int = 0  # values that differ, at 0.9 or more
    sure: int = 0  # at 0.99 or more


def scans() -> list[Scan]:
    """Return the demo's cheques and a page of its form, in grey."""
    cheque, form = bundled_template("demo-cheque"), bundled_template("demo-form")
    found = [
        Scan(decode_page((_SAMPLES / f"cheque-{number}.jpg").read_bytes()).grey, cheque)
        for number in (1, 2, 3, 4)
    ]
    with DocumentOpener(DocumentLimits(), 30.0, 2 << 30) as opener:
        for page in only_pages(opener.open(_SAMPLES / "clinic-forms.pdf")):
            if page.data is not None:
                found.append(Scan(decode_page(page.data).grey, form))
    return found


def mutated(data: bytes, kind: str, rng: np.random.Generator) -> bytes:
    """Return a damaged copy of a file."""
    size = min(int(rng.choice(BLOCKS)), len(data) // 2)
    at = int(rng.integers(0, len(data) - size))
    if kind == "cut off":
        return data[:at]
    if kind == "block of zeros":
        return data[:at] + bytes(size) + data[at + size :]
    if kind == "block dropped":
        return data[:at] + data[at + size :]
    changed = bytearray(data)
    changed[at] ^= 1 << int(rng.integers(0, 8))
    return bytes(changed)


class Bench:
    """Reads files as the command line does."""

    def __init__(self, readers: Readers, opener: DocumentOpener, folder: Path) -> None:
        self._readers = readers
        self._opener = opener
        self._path = folder / "document"

    def read(self, data: bytes, template: Template) -> Values:
        """Return the values of a file's one page. Raises InputError if it has none."""
        self._path.write_bytes(data)
        images = list(self._images(data))
        (reading,) = read_pages(images[:1], template, self._readers)
        if reading.error is not None:
            raise reading.error
        return {
            item.name: (item.value, item.confidence)
            for item in reading.fields
            if item.value is not None
        }

    def _images(self, data: bytes) -> Iterator[EncodedPage]:
        # To the end: a document that is left half way costs the child.
        for page in list(only_pages(self._opener.open(self._path))):
            if page.error is not None:
                raise page.error
            yield EncodedPage(data if page.data is None else page.data, page.media_type)

    def count(self, data: bytes, whole: Values, template: Template, tally: Tally) -> None:
        tally.files += 1
        try:
            values = self.read(data, template)
        except InputError as exc:
            tally.refused += 1
            tally.codes[exc.code] += 1
            return
        other = [
            confidence for name, (value, confidence) in values.items()
            if value != whole.get(name, (None, 0.0))[0]
        ]  # fmt: skip
        tally.released += sum(confidence >= RELEASED for confidence in other)
        tally.sure += sum(confidence >= SURE for confidence in other)
        tally.same += not any(confidence >= RELEASED for confidence in other)


def measure(readers: Readers, count: int, flips: int) -> list[Section]:
    """Damage `count` files, and flip a bit in `flips` others, equally many in each container."""
    some = scans()
    damaged = {name: Tally() for name in CONTAINERS}
    flipped = {name: Tally() for name in CONTAINERS}
    with (
        tempfile.TemporaryDirectory() as folder,
        DocumentOpener(DocumentLimits(), 30.0, 2 << 30) as opener,
    ):
        bench = Bench(readers, opener, Path(folder))
        for number, (name, pack) in enumerate(CONTAINERS.items()):
            rng = np.random.default_rng((SEED, number))
            packed = [(pack(scan.grey), scan.template) for scan in some]
            whole = [bench.read(data, template) for data, template in packed]
            for turn in range(-(-count // len(CONTAINERS))):
                data, template = packed[turn % len(packed)]
                kind = KINDS[turn // len(packed) % len(KINDS)]
                bench.count(
                    mutated(data, kind, rng), whole[turn % len(packed)], template, damaged[name]
                )
            for turn in range(-(-flips // len(CONTAINERS))):
                data, template = packed[turn % len(packed)]
                bench.count(
                    mutated(data, FLIP, rng), whole[turn % len(packed)], template, flipped[name]
                )
    return [
        _section("Cut off, a block of zeros, a block dropped", damaged),
        _section("One flipped bit", flipped),
    ]


def _section(title: str, tallies: dict[str, Tally]) -> Section:
    rows, figures = [], {}
    for name, tally in [*tallies.items(), ("all", _sum(tallies))]:
        rows.append(
            (
                name,
                *(str(n) for n in (tally.files, tally.refused, tally.same)),
                str(tally.released),
                str(tally.sure),
            )
        )
        figures[name] = {
            "files": tally.files,
            "refused": tally.refused,
            "same": tally.same,
            "released": tally.released,
            "sure": tally.sure,
            "codes": dict(tally.codes),
        }
    total = _sum(tallies)
    _, high = wilson(total.sure, total.files)
    codes = ", ".join(f"{code} {number}" for code, number in total.codes.most_common())
    return Section(
        title=title,
        columns=("container", "files", "refused", "same", "other at ≥ 0.9", "other at ≥ 0.99"),
        rows=tuple(rows),
        figures=figures,
        notes=(
            "refused: with a reason in words; same: no value at 0.9 or more that is not the whole "
            "file's; other: values, not files.",
            f"Reasons: {codes}. Values at 0.99 a file: at most {100 * high:.2f} % (95 %).",
        ),
    )


def _sum(tallies: dict[str, Tally]) -> Tally:
    total = Tally()
    for tally in tallies.values():
        total.files += tally.files
        total.refused += tally.refused
        total.same += tally.same
        total.released += tally.released
        total.sure += tally.sure
        total.codes += tally.codes
    return total


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.mutations",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--count", type=int, default=2000, help="damaged files (default: 2000)")
    parser.add_argument("--flips", type=int, default=560, help="flipped bits (default: 560)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--write", action="store_true", help="write the report to --out as well")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "mutations.md")
    options = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    about: Json = machine()
    readers = load_quietly()
    about["weights"] = readers.sha256(BOTH)
    with Console(stderr=True).status("reading damaged files"):
        sections = measure(readers, options.count, options.flips)
    figures = {section.title: section.figures for section in sections}
    show("mutations", options, arguments, about, sections, figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
