"""The ledger: is every image that came in a page, a failure, or named as passed over?

    python -m benchmarks.ledger [--data DIR] [--containers 200] [--batch 48] [--seed 15] [--write]

Containers are composed of small images that carry numbers (`composed.py`), and what is found in
them is compared with the record of what was put in: each page by its number, in its order. Of the
hostile files that the tests draw, and of the published ones if the data are there, the images are
counted by other libraries (`counters.py`). Files are opened in the guarded child, as by
`counterfoil read`. `--batch` of the containers, and some of them once more under other names, also
go through a real server as one batch.
"""

from __future__ import annotations

import argparse
import sys
import tarfile
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from benchmarks.by_reader import HERE, show
from benchmarks.composed import Composed, compose
from benchmarks.counters import count_images, things
from benchmarks.data import add_data_option
from benchmarks.ledger_batch import Submitted, submit_batch
from benchmarks.numbered import read_number
from benchmarks.report import Json, Section
from benchmarks.samples import temporary
from cli.read import load_quietly
from core.errors import InputError
from pipeline.files.documents import DocumentLimits
from pipeline.files.page import decode_page
from pipeline.files.passed_over import PassedOver
from pipeline.readers.base import BOTH
from tests import hostile
from training.evaluation.machine import machine
from training.evaluation.metrics import wilson
from worker.guard.opener import DocumentOpener

SEED = 15
_CORPUS = "hostile_inputs.tar.gz"
_SECONDS, _MEMORY = 30.0, 2 << 30  # of the guarded child


@dataclass(slots=True)
class Found:
    """What the product says of one file.

    `pages` are the numbers of its pages: None for one that failed, -1 for one without a number.
    """

    pages: list[int | None] = field(default_factory=list)
    named: int = 0
    refused: str = ""  # code of the error of the whole file


@dataclass(slots=True)
class Tally:
    files: int = 0
    put_in: int = 0
    pages: int = 0
    failed: int = 0
    named: int = 0
    refused: int = 0
    parts: int = 0
    agree: int = 0

    def add(self, found: Found, *, put_in: int, parts: int = 0, agrees: bool) -> None:
        self.files += 1
        self.put_in += put_in
        self.pages += sum(page is not None for page in found.pages)
        self.failed += sum(page is None for page in found.pages)
        self.named += found.named
        self.refused += bool(found.refused)
        self.parts += parts
        self.agree += agrees


class Ledger:
    """Opens files as `counterfoil read` does, and tallies what is said of them."""

    def __init__(self, opener: DocumentOpener, folder: Path) -> None:
        self._opener = opener
        self._path = folder / "document"

    def open(self, data: bytes, *, decode: bool) -> Found:
        """Return what is said of a file; with `decode`, its pages are decoded, and have numbers."""
        self._path.write_bytes(data)
        found = Found()
        try:
            for item in self._opener.open(self._path):
                if isinstance(item, PassedOver):
                    found.named += things(item.name)
                elif item.error is not None:
                    found.pages.append(None)
                else:
                    image = data if item.data is None else item.data
                    found.pages.append(_number(image) if decode else -1)
        except InputError as exc:
            found.refused = exc.code
        return found


def _number(image: bytes) -> int | None:
    try:
        number = read_number(decode_page(image).grey)
    except InputError:
        return None
    return -1 if number is None else number


def composed_section(ledger: Ledger, files: Sequence[Composed]) -> Section:
    """Compare what is found in composed containers with what was put in."""
    tallies: dict[str, Tally] = {}
    for number, made in enumerate(files):
        found = ledger.open(made.data, decode=True)
        wanted = Found(made.pages, made.beside, made.refused)
        if found != wanted:
            print(f"container {number}, {made.kind}: {wanted}; said: {found}", file=sys.stderr)
        tally = tallies.setdefault(made.kind, Tally())
        put_in = len(made.pages) + made.beside
        tally.add(found, put_in=put_in, parts=made.parts, agrees=found == wanted)
    return _section(
        f"{len(files)} composed containers",
        tallies,
        "put in",
        "put in: images and files. Every page is also told by the number that it carries. Parts: "
        "thumbnails in the header of a JPEG and of an AVIF, which belong to their image and are "
        "not named. A file of an inner ZIP is a failed page, which says how many files are in it.",
    )


def hostile_section(ledger: Ledger, corpora: dict[str, Iterable[tuple[str, bytes]]]) -> Section:
    """Compare what is found in hostile files with what other libraries count in them."""
    tallies: dict[str, Tally] = {}
    kinds: Counter[str] = Counter()
    for corpus, files in corpora.items():
        tally = tallies.setdefault(corpus, Tally())
        for name, data in files:
            found, counted = ledger.open(data, decode=False), count_images(data)
            said = len(found.pages) + found.named
            if found.refused:
                kind = "refused as a whole"
            elif counted is None:
                kind = "opened by no other library"
            else:
                kind = "equal" if said == counted else "more" if said > counted else "fewer"
            agrees = bool(found.refused or said) and kind != "fewer"
            kinds[kind] += 1
            tally.add(found, put_in=counted or 0, agrees=agrees)
            if not agrees:
                print(f"{corpus}, {name}: {counted} counted; said: {found}", file=sys.stderr)
    said_of = ", ".join(f"{kind} {count}" for kind, count in kinds.most_common())
    return _section(
        "Hostile files",
        tallies,
        "counted",
        f"Files by what is said against the other count: {said_of}. More: the place where a chain "
        "of frames breaks off is a failed page, and what stands behind or below the frames is "
        "named, which the other libraries do not see.",
    )


def _section(title: str, tallies: dict[str, Tally], counted: str, note: str) -> Section:
    rows, figures = [], {}
    total = Tally()
    for tally in tallies.values():
        for name in Tally.__slots__:
            setattr(total, name, getattr(total, name) + getattr(tally, name))
    for kind, tally in [*tallies.items(), ("all", total)]:
        values = {name: getattr(tally, name) for name in Tally.__slots__}
        rows.append((kind, *map(str, values.values())))
        figures[kind] = values
    differ = total.files - total.agree
    _, high = wilson(differ, total.files)
    columns = ("files", counted, "pages", "failed", "named", "refused whole", "parts", "agree")
    return Section(
        title=title,
        columns=("kind", *columns),
        rows=tuple(rows),
        figures=figures,
        notes=(
            note,
            f"Files that differ: {differ} of {total.files}, at most {100 * high:.1f} % (95 %).",
        ),
    )


def batch_section(files: Sequence[Composed]) -> Section:
    """Submit containers as one batch, some under two names, and compare what the server says."""
    named = {f"{number:03d}.{made.ending}": made for number, made in enumerate(files)}
    copies = {f"again-{name}": made for name, made in list(named.items())[::8]}
    with temporary("ledger") as folder:
        said = submit_batch(Path(folder), {name: m.data for name, m in (named | copies).items()})
    tally, differ = Tally(), 0
    for name, made in named.items():
        got = said.files.get(name, Submitted())
        wanted = _submitted(made)
        differ += got != wanted
        if got != wanted:
            print(f"batch, {name}, {made.kind}: {wanted}; said: {got}", file=sys.stderr)
        tally.files += 1
        tally.pages += got.read
        tally.failed += got.failed
        tally.named += got.passed_over
    found = sum(said.files.get(name, Submitted()) == Submitted(copies=1) for name in copies)
    sums = (
        ("documents", said.documents, len(named) + len(copies)),
        ("of these, copies of another", said.copies, len(copies)),
        ("pages that were read", tally.pages, sum(_submitted(m).read for m in files)),
        ("pages and files that failed", tally.failed, sum(_submitted(m).failed for m in files)),
        ("passed over, named in the results", tally.named, sum(m.beside for m in files)),
    )
    return Section(
        title="One batch through a server",
        columns=("what", "said", "by the record"),
        rows=tuple((what, str(got), str(wanted)) for what, got, wanted in sums),
        figures={what: {"said": got, "record": wanted} for what, got, wanted in sums},
        notes=(
            f"Files that differ: {differ} of {len(named)}; copies that are named as such: {found} "
            f"of {len(copies)}. `submit --wait` of this batch exits with {said.status}.",
        ),
    )


def _submitted(made: Composed) -> Submitted:
    if made.refused:
        return Submitted(failed=1)
    failed = sum(page is None for page in made.pages)
    return Submitted(len(made.pages) - failed, failed, made.beside)


def _published(data: Path) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(data / _CORPUS) as archive:
        for member in archive:
            stream = archive.extractfile(member)
            if stream is not None:
                yield member.name, stream.read()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.ledger",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_data_option(parser, required=False)
    parser.add_argument("--containers", type=int, default=200, help="default: 200")
    parser.add_argument("--batch", type=int, default=48, help="of these, through a server (48)")
    parser.add_argument("--seed", type=int, default=SEED, help=f"default: {SEED}")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--write", action="store_true", help="write the report to --out as well")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "ledger.md")
    options = parser.parse_args(arguments)
    about: Json = machine()
    about["weights"] = load_quietly().sha256(BOTH)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile's, of members with one name
        files = compose(options.containers, options.seed)
    corpora: dict[str, Iterable[tuple[str, bytes]]] = {"drawn": hostile.hostile_files()}
    if options.data is not None and (options.data / _CORPUS).is_file():
        corpora["published"] = _published(options.data)
    with (
        Console(stderr=True).status("opening files"),
        temporary("ledger") as folder,
        DocumentOpener(DocumentLimits(), _SECONDS, _MEMORY) as opener,
    ):
        ledger = Ledger(opener, Path(folder))
        sections = [composed_section(ledger, files), hostile_section(ledger, corpora)]
        if options.batch:
            sections.append(batch_section(files[: options.batch]))
    figures = {section.title: section.figures for section in sections}
    show("ledger", options, arguments, about, sections, figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
