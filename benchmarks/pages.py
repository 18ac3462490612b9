"""Whole pages in, fields out: real cheques of two countries, by each reader.

    python -m benchmarks.pages [--reader both] [--write]

Indian cheques of four banks (`cheque-in`; 61 of 640 pixels in width, three at full resolution) and
photographs of US-style ones (`check-us`). None trains. Each page goes through all of the pipeline:
decode, find the template's place, cut, clean, read. `counterfoil evaluate DATA/cheques_in
--template cheque-in --ignore-zero-minor --out report.html` shows the same with pictures.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.by_reader import parser, run
from benchmarks.report import Section, share
from pipeline.placing.template import bundled_template
from training.evaluation.labelled import load_labelled
from training.evaluation.measure import Comparison, Figures, read_fields
from training.evaluation.metrics import released_within, wilson
from training.evaluation.readers import Reads

# What is read, where it lies in the data, by which template.
SETS = (
    ("Indian cheques, 640 px", "cheques_in", "cheque-in"),
    ("Indian cheques, full resolution", "cheques_in/fullres", "cheque-in"),
    ("US cheques, photographs", "checks_us", "check-us"),
)
SAME = Comparison(no_minor=True)  # the labels of Indian amounts are whole rupees


def measure(readers: dict[str, Reads], data: Path) -> Section:
    """Read all pages with each reader."""
    rows, figures = [], {}
    for name, reads in readers.items():
        for title, folder, template_name in SETS:
            template = bundled_template(template_name)
            examples = load_labelled(data / folder, template=template).examples
            outcomes = read_fields(reads, examples, template, SAME)
            found = Figures(name, tuple(outcomes), SAME)
            figures[f"{name}, {title}"] = found.as_json()
            rows += [(name, title, *row) for row in _rows(found)]
    return Section(
        title="Whole pages",
        columns=("reader", "pages", "field", "exact", "released at ≤ 1 % wrong"),
        rows=tuple(rows),
        figures=figures,
        notes=(
            f"Exact: the whole value; {SAME}. A page that could not be read counts as wrong. "
            "Interval: Wilson, 95 %. Released: at the threshold that fits these very fields.",
        ),
    )


def _rows(found: Figures) -> Iterator[tuple[str, str, str]]:
    for field, right, count in found.by_field():
        own = tuple(o for o in found.outcomes if o.example.field == field)
        release = released_within(replace(found, outcomes=own).curve(), 0.01)
        yield (
            field,
            share(right, count, wilson(right, count)),
            "none" if release is None else f"{release.released}/{release.count}",
        )


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser("pages", __doc__, "pages.md").parse_args(arguments)
    return run("pages", options, arguments, lambda readers: [measure(readers, options.data)])


if __name__ == "__main__":
    sys.exit(main())
