"""`counterfoil evaluate`: measure how well labelled images are read, beside other systems."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import cv2
from rich.console import Console
from rich.table import Table

from cli.arguments import load_template
from cli.output import counting_bars
from cli.read import load_quietly
from core.errors import ConfigError, InputError
from pipeline.grammar.base import Grammar
from pipeline.grammar.parse import parse_grammar
from pipeline.placing.template import Template
from pipeline.readers.base import BOTH
from training.evaluation.labelled import LabelledSet, Part, load_labelled
from training.evaluation.machine import machine
from training.evaluation.measure import (
    BUDGETS,
    Comparison,
    Figures,
    Say,
    read_fields,
    read_with_rival,
)
from training.evaluation.metrics import released_within, wilson
from training.evaluation.readers import readers_by_name
from training.evaluation.report import Evaluation, report
from training.evaluation.rivals import find_rivals, here


def evaluate(
    labels: Path,
    *,
    out: Path | None,
    template: str | None,
    field: str,
    readers: Sequence[str],
    select: str | None,
    limit: int | None,
    comparison: Comparison,
    alone: bool,
    rapidocr: Path | None,
    as_json: bool,
) -> None:
    """Read a labelled set, print its figures as a table or JSON, and write a report to `out`.

    Raises InputError if the set cannot be loaded, ConfigError if the options contradict each other.
    """
    if out is not None and not out.parent.is_dir():
        raise InputError(f"The report cannot be written: there is no folder {out.parent}.")
    part = parse_part(select, limit)
    chosen = None if template is None else load_template(template)
    target = chosen or parse_grammar(field)
    labelled = load_labelled(labels, template=chosen, part=part)
    about = machine() | {"command": shlex.join(["counterfoil", *sys.argv[1:]])}
    cv2.setNumThreads(1)
    loaded = load_quietly()
    about["weights"] = loaded.sha256(BOTH)
    known = readers_by_name(loaded)
    for name in readers:
        if name not in known:
            raise ConfigError(f"There is no reader '{name}'.", hint=f"Readers: {', '.join(known)}.")
    pythons = here() if rapidocr is None else [rapidocr]
    rivals, absent = ({}, []) if alone or chosen is not None else find_rivals(pythons)

    with counting_bars() as progress:

        def say(system: str) -> Say:
            task = progress.add_task(system, total=len(labelled.examples))
            return lambda done: progress.update(task, completed=done)

        ours, theirs = [], []
        for name in readers or known:
            system = f"Counterfoil, {name} reader"
            outcomes = read_fields(known[name], labelled.examples, target, comparison, say(system))
            ours.append(Figures(system, outcomes, comparison))
        for name, rival in rivals.items():
            outcomes = read_with_rival(rival, labelled.examples, comparison, say(name))
            theirs.append(Figures(name, outcomes, comparison))
    evaluation = Evaluation(
        labelled=_with_remark(labelled, target, comparison),
        part=str(part),
        target=f"template {target.name}" if isinstance(target, Template) else target.name,
        pages=chosen is not None,
        comparison=comparison,
        ours=tuple(ours),
        rivals=tuple(theirs),
        absent=tuple(absent),
        about=about,
    )
    if as_json:
        print(json.dumps(evaluation.as_json(), ensure_ascii=False, indent=1))
    else:
        _show(evaluation)
    if out is not None:
        try:
            out.write_text(report(evaluation), encoding="utf-8")
        except OSError as exc:
            raise InputError(f"{out} cannot be written ({exc.strerror}).") from exc
        print(f"Report: {out}", file=sys.stderr)


def parse_part(select: str | None, limit: int | None) -> Part:
    """Return the part of the set that `START:STEP` selects, as in a Python slice.

    Raises ConfigError if `select` has another form.
    """
    if select is None:
        return Part(limit=limit)
    start, _, step = select.partition(":")
    if not (start.isdecimal() and step.isdecimal() and int(step) > 0):
        raise ConfigError(
            f"--select {select} is not of the form START:STEP.",
            hint="For example, 0:2 selects every second image, beginning with the first.",
        )
    return Part(int(start), int(step), limit)


def _with_remark(
    labelled: LabelledSet, target: Template | Grammar, comparison: Comparison
) -> LabelledSet:
    """Add a remark if labels hold characters outside the grammar: no reader can be right there."""
    if isinstance(target, Template):
        return labelled
    allowed = target.value_characters()
    beyond = sum(not set(comparison.plain(e.truth)) <= allowed for e in labelled.examples)
    if not beyond:
        return labelled
    remark = (
        f"nothing, but {beyond} of the labels hold characters that {target.name} does not allow: "
        "no reader can be right there (choose another grammar with --field, or --ignore characters)"
    )
    return LabelledSet(labelled.name, labelled.form, labelled.examples, (*labelled.remarks, remark))


def _show(evaluation: Evaluation) -> None:
    table = Table(title=f"{evaluation.labelled.name}, {evaluation.part}", title_justify="left")
    table.add_column("")
    columns = ["exact", "95 %", "characters wrong"]
    columns += [f"released at ≤ {100 * budget:g} % wrong" for budget in BUDGETS]
    for column in (*columns, "ms"):
        table.add_column(column, justify="right")
    for figures in evaluation.systems:
        low, high = wilson(figures.right, figures.count)
        curve = figures.curve() if figures.rates_itself else []
        most = [released_within(curve, budget) for budget in BUDGETS]
        times = figures.milliseconds()
        table.add_row(
            figures.system,
            f"{figures.right}/{figures.count} = {100 * figures.right / figures.count:.1f} %",
            f"{100 * low:.1f} to {100 * high:.1f} %",
            f"{100 * figures.character_errors:.1f} %",
            *(
                f"{100 * (release.coverage if release else 0):.1f} %" if curve else "-"
                for release in most
            ),
            f"{median(times):.1f}" if times else "-",
        )
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, 160)
    console.print(table)
    for remark in (*evaluation.labelled.remarks, *evaluation.absent):
        console.print(remark, style="dim", markup=False)
