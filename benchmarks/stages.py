"""Milliseconds per page in `pipeline` on one core, by stage, in groups as a worker reads them."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path
from statistics import median

from benchmarks.report import Section
from benchmarks.samples import Sample, cheques, forms, indian_cheques, nist
from pipeline.placing.template import Template, bundled_template
from pipeline.read import read_pages
from pipeline.readers.loaded import Readers

GROUP = 8
STAGES = ("decode", "place", "micr", "cut", "clean", "read")
_ONCE_A_GROUP = ("clean", "read")


def measure(
    readers: Readers, groups: int, data: Path | None, say: Callable[[str], None]
) -> Section:
    """Read `groups` groups of eight pages of each kind, and one more first that does not count.

    Without `data`, the folder of the real sets, the real cheques are left out.
    """
    real = indian_cheques(data) if data else []
    demo, indian = bundled_template("demo-cheque"), bundled_template("cheque-in")
    kinds = {
        "cheque, amount and date, 1600 x 750": (amount_and_date(demo), cheques()),
        "Indian cheque, amount and date, 1600 wide": (
            amount_and_date(indian),
            real,
        ),
        "Indian cheque, with its E-13B line": (indian, real),
        "cheque, 3 fields": (demo, cheques()),
        "clinic form, 10 fields": (bundled_template("demo-form"), forms()),
        "NIST form, 28 fields": (bundled_template("nist-hsf"), nist()),
    }
    rows, figures = [], {}
    for kind, (template, samples) in kinds.items():
        if not samples:
            continue
        say(f"pipeline: {kind}")
        found = measure_kind(template, samples, readers, groups)
        figures[kind] = found
        rows.append(
            (
                kind,
                *(f"{found[stage]:.1f}" for stage in STAGES),
                f"{found['wall']:.1f}",
                f"{found['cpu']:.1f}",
                f"{found['exact']:.0f}/{found['fields']:.0f}",
            )
        )
    return Section(
        title="Milliseconds per page in the pipeline, one core",
        columns=("page", *STAGES, "all, wall", "all, CPU", "fields exact"),
        rows=tuple(rows),
        figures=figures,
        notes=(
            f"Medians of {groups} groups of {GROUP} pages, divided by {GROUP} (`clean` and `read` "
            "are one batch for each group). Exact: fields with known truth, over the distinct "
            "pages.",
        ),
    )


def amount_and_date(template: Template) -> Template:
    """Return the template with only these two fields."""
    fields = tuple(spec for spec in template.fields if spec.name in ("amount", "date"))
    return replace(template, fields=fields, micr=None)


class Stopwatch:
    """Called at the end of each stage: the milliseconds since the end of the one before."""

    def __init__(self) -> None:
        self.spent: defaultdict[str, list[float]] = defaultdict(list)
        self._last = time.perf_counter()

    def __call__(self, stage: str) -> None:
        now = time.perf_counter()
        self.spent[stage].append(1e3 * (now - self._last))
        self._last = now


def measure_kind(
    template: Template, samples: Sequence[Sample], readers: Readers, groups: int
) -> dict[str, float]:
    """Return medians in milliseconds per page by stage, "wall" and "cpu", and fields read right."""
    asked = {spec.name for spec in template.fields}
    pages = cycle(samples)
    stages: dict[str, list[float]] = {stage: [] for stage in STAGES}
    wall, cpu = [], []
    for number in range(groups + 1):
        group = [sample.image for sample in islice(pages, GROUP)]
        wall_before, cpu_before = time.perf_counter(), time.process_time()
        stopwatch = Stopwatch()
        read_pages(group, template, readers, on_stage=stopwatch)
        if number == 0:  # warms up
            continue
        wall.append(1e3 * (time.perf_counter() - wall_before) / GROUP)
        cpu.append(1e3 * (time.process_time() - cpu_before) / GROUP)
        for stage in STAGES:
            pages_of_stage = GROUP if stage in _ONCE_A_GROUP else 1
            stages[stage] += [spent / pages_of_stage for spent in stopwatch.spent[stage]]
    exact = fields = 0
    for sample, reading in zip(
        samples, read_pages([sample.image for sample in samples], template, readers), strict=True
    ):
        values = {field.name: field.value for field in reading.fields}
        truth = {name: value for name, value in sample.fields.items() if name in asked}
        exact += sum(values.get(name) == value for name, value in truth.items())
        fields += len(truth)
    return {stage: median(values) for stage, values in stages.items()} | {
        "wall": median(wall),
        "cpu": median(cpu),
        "exact": exact,
        "fields": fields,
    }
