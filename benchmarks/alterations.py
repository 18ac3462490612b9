"""Struck-out and overwritten numbers: what is released, and what the detector costs intact ones.

    python -m benchmarks.alterations [--numbers 1000] [--write]

Clinic forms and cheques are filled with MNIST's test digits, and every number on them is struck out
in one of eight ways with one of five pens (`benchmarks.struck_pages`, seed 1503). Others have one
digit of each number overwritten (seed 1504), or are intact, with crossed 7s and 0s, tails and flags
(seed 1505). Whole pages go through `read_pages`. The same readings give the figures without the
detector: what it blocks is then released by the confidence alone. Last come the real sets.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.by_reader import parser, run
from benchmarks.courtesy import HALVES
from benchmarks.pages import SAME, SETS
from benchmarks.report import Json, Section, share
from benchmarks.samples import cheques, forms, nist
from benchmarks.struck_pages import (
    DrawnPage,
    intact_pages,
    overwritten_pages,
    struck_pages,
)
from core.policy import ReviewReason, review_reason
from pipeline.grammar.base import ANY_DIGITS
from pipeline.placing.template import bundled_template
from pipeline.readers.base import BOTH
from training.evaluation.labelled import Part, load_labelled
from training.evaluation.measure import Comparison, Outcome, read_fields
from training.evaluation.metrics import wilson
from training.evaluation.readers import Reads
from training.synthesis.hand import DigitSet, load_mnist

Draw = Callable[[int, DigitSet, np.random.Generator], Iterator[DrawnPage]]

THRESHOLDS: Final = (0.9, 0.99)
SEEDS: Final = {"struck": 1503, "overwritten": 1504, "intact": 1505}
ALTERED: Final = (ReviewReason.STRUCK_OUT, ReviewReason.OVERWRITTEN)
_GROUP: Final = 8  # pages that are read together


@dataclass(frozen=True, slots=True)
class Seen:
    """One number as it was read."""

    way: str
    pen: str
    right: bool  # the value is what was written
    value: str | None
    confidence: float
    blocked: ReviewReason | None

    def released(self, threshold: float, *, detector: bool = True) -> bool:
        """Say whether policy releases it; without the `detector`, as if that had not been asked."""
        blocked = self.blocked
        if blocked in ALTERED and not detector:
            blocked = None
        reason = review_reason(
            self.value, self.confidence, threshold, required=True, blocked=blocked
        )
        return reason is None


def read_drawn(reads: Reads, pages: Iterable[DrawnPage]) -> list[Seen]:
    """Read drawn pages; each altered number is one entry. A page that is refused counts as seen."""
    waiting: dict[str, list[DrawnPage]] = defaultdict(list)
    seen: list[Seen] = []
    for page in pages:
        waiting[page.template].append(page)
        if len(waiting[page.template]) == _GROUP:
            seen += _read_group(reads, waiting.pop(page.template))
    for group in waiting.values():
        seen += _read_group(reads, group)
    return seen


def _read_group(reads: Reads, pages: Sequence[DrawnPage]) -> Iterator[Seen]:
    template = bundled_template(pages[0].template)
    for page, reading in zip(pages, reads([page.image for page in pages], template), strict=True):
        fields = {field.name: field for field in reading.fields}
        for name, (way, pen) in page.altered.items():
            if field := fields.get(name):
                right = field.value == page.fields[name]
                yield Seen(way, pen, right, field.value, field.confidence, field.blocked)
            else:
                yield Seen(way, pen, False, None, 0.0, None)


def altered(title: str, seen: Sequence[Seen]) -> Section:
    """Return what is released of altered numbers: by the way, by the pen, and of all."""
    parts: dict[str, list[Seen]] = {}
    for names in ([one.way for one in seen], [one.pen for one in seen]):
        for name, one in zip(names, seen, strict=True):
            if len(set(names)) > 1:
                parts.setdefault(name, []).append(one)
    rows, figures = [], {}
    for name, part in {**parts, "all": list(seen)}.items():
        figures[name] = _released(part)
        row = [name, str(len(part)), str(sum(one.blocked in ALTERED for one in part))]
        for detector in (False, True):
            for threshold in THRESHOLDS:
                out = sum(one.released(threshold, detector=detector) for one in part)
                whole = detector and name == "all"
                row.append(share(out, len(part), wilson(out, len(part))) if whole else str(out))
        rows.append(tuple(row))
    return Section(
        title=title,
        columns=(
            "numbers",
            "count",
            "blocked",
            *(f"released at {threshold:g} without the detector" for threshold in THRESHOLDS),
            *(f"released at {threshold:g}" for threshold in THRESHOLDS),
        ),
        rows=tuple(rows),
        figures=figures,
    )


def real(reads: Reads, data: Path) -> Section:
    """Measure what is released of the real sets, without the detector and with it."""
    parts: list[tuple[str, list[Seen]]] = []
    for half, start in HALVES.items():
        examples = load_labelled(data / "courtesy_amounts", part=Part(start, 2)).examples
        outcomes = read_fields(reads, examples, ANY_DIGITS, Comparison())
        parts.append((f"courtesy amounts, {half} half", _seen(outcomes)))
    for title, folder, name in SETS:
        template = bundled_template(name)
        examples = load_labelled(data / folder, template=template).examples
        parts.append((title, _seen(read_fields(reads, examples, template, SAME))))
    seen: list[Seen] = []
    for name, samples in (("demo-cheque", cheques()), ("demo-form", forms()), ("nist-hsf", nist())):
        pages = [
            DrawnPage(sample.image, name, sample.fields, dict.fromkeys(sample.fields, ("", "")))
            for sample in samples
        ]
        seen += read_drawn(reads, pages)
    parts.append(("bundled pages: cheques, clinic forms, NIST form", seen))
    return _reviewed(parts, "Real numbers")


def _seen(outcomes: Iterable[Outcome]) -> list[Seen]:
    return [Seen("", "", o.right, o.read, o.confidence or 0.0, o.blocked) for o in outcomes]


def _reviewed(parts: Sequence[tuple[str, Sequence[Seen]]], title: str) -> Section:
    """Return what a person must see of intact numbers, and what is released wrongly."""
    rows, figures = [], {}
    for name, part in parts:
        figures[name] = _released(part)
        for threshold in THRESHOLDS:
            counts = []
            for detector in (False, True):
                out = [one for one in part if one.released(threshold, detector=detector)]
                counts += [len(part) - len(out), sum(not one.right for one in out)]
            before, wrong_before, now, wrong = counts
            rows.append(
                (
                    f"{name}, at {threshold:g}",
                    str(len(part)),
                    share(before, len(part), wilson(before, len(part))),
                    share(now, len(part), wilson(now, len(part))),
                    str(wrong_before),
                    str(wrong),
                )
            )
    return Section(
        title=title,
        columns=(
            "numbers",
            "count",
            "reviewed without the detector",
            "reviewed",
            "released wrong without",
            "released wrong",
        ),
        rows=tuple(rows),
        figures=figures,
    )


def _released(part: Sequence[Seen]) -> Json:
    figures: Json = {
        "count": len(part),
        "blocked": {reason: sum(one.blocked is reason for one in part) for reason in ALTERED},
    }
    for threshold in THRESHOLDS:
        for detector, name in ((False, "released without the detector"), (True, "released")):
            out = [one for one in part if one.released(threshold, detector=detector)]
            wrong = sum(not one.right for one in out)
            figures[f"{name} at {threshold:g}"] = {"count": len(out), "wrong": wrong}
    return figures


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser("alterations", __doc__, "alterations.md")
    options.add_argument("--numbers", type=int, default=1000, help="of each kind (default 1000)")
    options.add_argument(
        "--digits", choices=("test", "train"), default="test", help="part of MNIST (default test)"
    )
    options.add_argument("--seed", type=int, default=0, help="added to the seeds (default 0)")
    chosen = options.parse_args(arguments)
    chosen.reader = [BOTH]  # as the product reads

    def work(readers: dict[str, Reads]) -> list[Section]:
        reads = readers[BOTH]
        digits = load_mnist(chosen.data, part=chosen.digits)

        def drawn(kind: str, draw: Draw) -> list[Seen]:
            rng = np.random.default_rng(SEEDS[kind] + chosen.seed)
            return read_drawn(reads, draw(chosen.numbers, digits, rng))

        return [
            altered("Numbers struck out", drawn("struck", struck_pages)),
            altered("Numbers with an overwritten digit", drawn("overwritten", overwritten_pages)),
            _reviewed(
                [("crossed 7s and 0s, tails and flags", drawn("intact", intact_pages))],
                "Intact numbers",
            ),
            real(reads, chosen.data),
        ]

    return run("alterations", chosen, arguments, work)


if __name__ == "__main__":
    sys.exit(main())
