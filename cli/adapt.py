"""`counterfoil train adapt`, `back` and `models`: the strip readers of this site."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
from rich.console import Console
from rich.progress import TaskID
from rich.table import Table

from cli.arguments import load_template
from cli.output import counting_bars
from core.errors import ConfigError
from core.settings import load_settings
from pipeline.grammar.base import Grammar
from pipeline.grammar.parse import parse_grammar
from pipeline.readers.runtime import Model
from storage.site_models import (
    current_name,
    current_strip,
    list_models,
    new_model,
    promote,
    step_back,
)
from training.adaptation.corrections import Corrections, load_corrections
from training.adaptation.fine_tune import (
    Tuning,
    champion_folder,
    compare,
    draw_synthetic,
    fine_tune,
    read,
    split,
    write_challenger,
)
from training.evaluation.labelled import Example, load_labelled
from training.litert import require_tensorflow

_RESTART = "Workers use it after their next start."


def adapt(
    sets: Sequence[Path],
    *,
    field: str,
    template: str | None,
    tuning: Tuning,
    home: Path | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Adapt the current strip reader to the verified fields of `sets`, and print the comparison.

    Raises InputError if a set cannot be loaded or is too small, ConfigError if TensorFlow or the
    float weights are missing.
    """
    warnings.filterwarnings("ignore", module="keras|tensorflow")
    cv2.setNumThreads(1)
    site = load_settings(home=home).home
    champion, folder = current_name(site), champion_folder(current_strip(site))
    model = Model.in_folder(folder)
    require_tensorflow()  # say so now, not after the strips are drawn
    tasks: dict[str, TaskID] = {}
    with counting_bars() as progress:

        def say(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = progress.add_task(what)
            progress.update(tasks[what], completed=done, total=total)

        found = _load(sets, field, template, lambda n, total: say("cutting out fields", n, total))
        learnt, held_out = split(found.kept, tuning)
        synthetic = draw_synthetic(tuning.strips, 0, tuning.seed, say)
        validation = draw_synthetic(tuning.validation, 1, tuning.seed, say)
        before = read(model, held_out, validation)
        challenger = fine_tune(folder, learnt, synthetic, validation, tuning, say)
        verdict = compare(before, read(challenger.converted.model, held_out, validation))
    name = challenger.converted.model.card.sha256[:12]
    report = {
        "name": name,
        "champion": champion,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "learnt": len(learnt),
        "remarks": list(found.remarks),
        "verdict": verdict.as_json(),
    }
    won = verdict.won and not dry_run
    if won:
        with new_model(site) as written:
            write_challenger(written, challenger, report)
            promote(site, written, name, champion)
    if as_json:
        print(json.dumps(report | {"promoted": won}, indent=1))
        return
    _show(report)
    if won:
        print(f"Promoted: this site now reads with {name}, no longer with {champion}. {_RESTART}")
        print("To undo this: counterfoil train back")
    elif verdict.won:
        print(f"It wins, but nothing was changed (--dry-run); {champion} stays in use.")
    else:
        print(f"Not promoted; {champion} stays in use: {'; '.join(verdict.reasons)}.")


def back(home: Path | None, *, as_json: bool) -> None:
    """Go back to the model before the current one.

    Raises ConflictError if the bundled model is in use.
    """
    site = load_settings(home=home).home
    left = current_name(site)
    name = step_back(site)
    if as_json:
        print(json.dumps({"current": name, "left": left}))
    else:
        print(f"This site reads with {name} again. {left} is kept. {_RESTART}")


def models(home: Path | None, *, as_json: bool) -> None:
    """Print the strip readers that this site has."""
    site = load_settings(home=home).home
    current, known = current_name(site), list_models(site)
    if as_json:
        entries = [model.report | {"name": model.name} for model in known]
        print(json.dumps({"current": current, "models": entries}, indent=1))
        return
    table = Table()
    for column in ("", "model", "promoted", "from", "held-out fields", "before", "now", "p"):
        table.add_column(column)
    table.add_row("in use" if current == "bundled" else "", "bundled", "", "", "", "", "", "")
    for model in known:
        report, verdict = model.report, model.report.get("verdict", {})
        row = (
            model.name,
            str(report.get("at", ""))[:16].replace("T", " "),
            str(report.get("champion", "")),
            str(verdict.get("fields", "")),
            str(verdict.get("champion_right", "")),
            str(verdict.get("challenger_right", "")),
            f"{verdict['p']:.2g}" if "p" in verdict else "",
        )
        table.add_row("in use" if model.current else "", *row)
    Console(highlight=False).print(table)


def _load(
    sets: Sequence[Path],
    field: str,
    template: str | None,
    say: Callable[[int, int], None],
) -> Corrections:
    grammar_of = _grammars(field, template)
    examples: list[Example] = []
    remarks: list[str] = []
    for path in sets:
        labelled = load_labelled(path)
        examples += labelled.examples
        remarks += labelled.remarks
    found = load_corrections(examples, grammar_of, lambda done: say(done, len(examples)))
    return Corrections(found.kept, (*remarks, *found.remarks))


def _grammars(field: str, template: str | None) -> Callable[[str], Grammar | None]:
    if template is None:
        grammar = parse_grammar(field)
        return lambda _name: grammar
    if field != "digits":
        raise ConfigError("--field and --template cannot be used together.")
    known = {spec.name: spec.grammar for spec in load_template(template).fields}
    return known.get


def _show(report: dict[str, Any]) -> None:
    verdict = report["verdict"]
    table = Table(title=f"{report['learnt']} verified fields to learn from", title_justify="left")
    for column in ("", f"{report['champion']}, in use", f"{report['name']}, adapted"):
        table.add_column(column, justify="right" if column else "left")
    for what, kind in (("held-out fields read exactly", ""), ("synthetic strips", "_synthetic")):
        count = verdict["synthetic" if kind else "fields"]
        right = [verdict[f"{who}{kind or '_right'}"] for who in ("champion", "challenger")]
        table.add_row(what, *(f"{n}/{count} = {100 * n / count:.1f} %" for n in right))
    table.add_row(
        "wrong among the sure ones (≥ 0.99)",
        *(
            f"{verdict[f'{who}_surely_wrong']}/{verdict[f'{who}_sure']}"
            for who in ("champion", "challenger")
        ),
    )
    Console(highlight=False).print(table)
    print(
        f"Only the adapted reader reads {verdict['better']} fields exactly, only the other "
        f"{verdict['worse']}: p = {verdict['p']:.2g} (exact one-sided McNemar test)."
    )
    for remark in report["remarks"]:
        print(remark, file=sys.stderr)
