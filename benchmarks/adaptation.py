"""Cross-validation of site adaptation on the amounts of real cheques.

    python -m benchmarks.adaptation --folds 5 [--write]

For each fold, the bundled weights are adapted on the other folds as `counterfoil train adapt` does.
The adapted and the bundled weights then read the strings of the fold, which neither has seen. The
adapted weights are discarded. The results of a fold are kept in --work, so that an interrupted run
continues where it stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import cv2
import numpy as np
from rich.console import Console

from benchmarks.by_reader import show
from benchmarks.data import add_data_option
from benchmarks.report import Section, share
from core.errors import CounterfoilError
from pipeline.grammar.base import ANY_DIGITS
from pipeline.readers.runtime import Model
from training.adaptation.corrections import Correction, load_corrections
from training.adaptation.fine_tune import (
    Readings,
    Tuning,
    compare,
    draw_synthetic,
    fine_tune,
    read,
)
from training.cards import SHIPPED
from training.evaluation.labelled import load_labelled
from training.evaluation.machine import machine
from training.evaluation.metrics import Release, released_within, releases, wilson
from training.strip.pool import Pool, load_pool, save_pool

HERE = Path(__file__).parent
_FOLDS_BY = 7  # the seed that assigns files to folds


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    cv2.setNumThreads(1)
    about = machine()
    progress = Console(stderr=True, highlight=False)
    try:
        model = Model.in_folder(options.weights)
        about["weights"] = model.card.sha256
        fields = load_corrections(
            load_labelled(options.data / "courtesy_amounts").examples,
            lambda _name: ANY_DIGITS,
        )
        folds = _deal(fields.kept, options.folds)
        options.work.mkdir(parents=True, exist_ok=True)
        results = []
        for number in range(options.folds) if options.only is None else [options.only]:
            results.append(_fold(number, folds, options, model.card.sha256, progress))
    except CounterfoilError as exc:
        progress.print(f"The benchmark failed: {exc}", markup=False)
        return exc.exit_code
    except KeyboardInterrupt:
        progress.print("Stopped. The same command continues after the folds that are done.")
        return 130
    section = _section(results, fields.remarks)
    show("adaptation", options, arguments, about, [section], section.figures)
    return 0


def _deal(fields: Sequence[Correction], folds: int) -> list[list[Correction]]:
    """Assign files to folds; the seed and the names of the files alone determine the folds."""
    files = sorted({field.file for field in fields})
    order = np.random.default_rng(_FOLDS_BY).permutation(len(files))
    fold_of = {files[place]: number % folds for number, place in enumerate(order)}
    return [[field for field in fields if fold_of[field.file] == n] for n in range(folds)]


def _fold(
    number: int,
    folds: list[list[Correction]],
    options: argparse.Namespace,
    sha256: str,
    progress: Console,
) -> dict[str, Any]:
    """Return the results of one fold, from the work folder if they are there."""
    tuning = Tuning(passes=options.passes)
    asked = {"folds": len(folds), "fold": number, "weights": sha256, "tuning": asdict(tuning)}
    path = options.work / f"fold-{number}.json"
    if path.is_file():
        known: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if known["asked"] == asked:
            return known
    synthetic = _synthetic(options.work, tuning.strips, 0, tuning.seed, progress)
    validation = _synthetic(options.work, tuning.validation, 1, tuning.seed, progress)
    own = folds[number]
    learnt = [field for n, fold in enumerate(folds) if n != number for field in fold]
    begin = time.monotonic()
    with progress.status(f"fold {number + 1} of {len(folds)}") as status:

        def say(what: str, done: int, total: int) -> None:
            status.update(f"fold {number + 1} of {len(folds)}: {what}, {done} of {total}")
            if not progress.is_terminal and (done % 100 == 0 or done == total):
                progress.print(f"fold {number + 1}: {what}, {done} of {total}")

        challenger = fine_tune(options.weights, learnt, synthetic, validation, tuning, say)
        seconds = time.monotonic() - begin
        before = read(Model.in_folder(options.weights), own, validation)
        after = read(challenger.converted.model, own, validation)
    found = {
        "asked": asked,
        "seconds": round(seconds, 1),
        "learnt": len(learnt),
        "temperature": challenger.converted.model.card.temperature,
        "files": [field.file.name for field in own],
        "zero_shot": asdict(before),
        "adapted": asdict(after),
        "verdict": compare(before, after).as_json(),
    }
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(found), encoding="utf-8")
    partial.replace(path)
    return found


def _synthetic(work: Path, count: int, part: int, seed: int, progress: Console) -> Pool:
    path = work / f"synthetic-{part}-{count}-{seed}.npz"
    if not path.is_file():
        with progress.status("drawing synthetic strips"):
            save_pool(path, draw_synthetic(count, part, seed, lambda *_: None))
    return load_pool(path)


def _section(results: Sequence[dict[str, Any]], remarks: Sequence[str]) -> Section:
    rows, figures = [], dict[str, Any]()
    pooled = {kind: _pooled([r[kind] for r in results]) for kind in ("zero_shot", "adapted")}
    for kind, name in (("zero_shot", "zero-shot"), ("adapted", "adapted")):
        own = pooled[kind]
        right, count = sum(own.exact), len(own.exact)
        curve = releases(own.confidences, own.exact, [True] * count)
        first, one = released_within(curve, 0.0), released_within(curve, 0.01)
        rows += [
            (f"{name}: exact", share(right, count, wilson(right, count))),
            (f"{name}: wrong at a confidence of 0.99 or more", str(own.surely_wrong)),
            (f"{name}: released before the first mistake", _released(first)),
            (f"{name}: released at ≤ 1 % wrong", _released(one)),
            (f"{name}: synthetic strips exact", f"{100 * np.mean(own.synthetic):.1f} %"),
        ]
        figures[kind] = {
            "right": right,
            "count": count,
            "interval": wilson(right, count),
            "surely_wrong": own.surely_wrong,
            "released_at_1_percent": None if one is None else one.coverage,
        }
    verdict = compare(pooled["zero_shot"], pooled["adapted"])
    rows.append(("read only by the adapted / only zero-shot", f"{verdict.better}/{verdict.worse}"))
    rows.append(("exact McNemar, one-sided p", f"{verdict.p:.2g}"))
    for fold in results:
        count = fold["verdict"]["fields"]
        right = fold["verdict"]["challenger_right"]
        rows.append(
            (
                f"fold {fold['asked']['fold'] + 1}: exact, adapted on {fold['learnt']} strings",
                f"{share(right, count, wilson(right, count))}; zero-shot "
                f"{fold['verdict']['champion_right']}; {fold['seconds']:.0f} s",
            )
        )
    figures["folds"] = [fold["verdict"] | {"seconds": fold["seconds"]} for fold in results]
    return Section(
        title=f"Site adaptation on courtesy amounts, {len(results)} folds",
        columns=("figure", "value"),
        rows=tuple(rows),
        figures=figures,
        notes=(
            "Exact: the whole string of digits under the grammar `digits`; interval: Wilson, 95 %. "
            "No string is read by weights that saw it. The same banks, and perhaps the same hands, "
            "are in several folds, as at a real site. Seconds: for fine-tuning and conversion.",
            *remarks,
        ),
    )


def _pooled(readings: Sequence[dict[str, Any]]) -> Readings:
    return Readings(
        *(
            tuple(value for own in readings for value in own[name])
            for name in ("exact", "confidences", "synthetic")
        )
    )


def _released(release: Release | None) -> str:
    if release is None:
        return "none"
    return f"{release.released}/{release.count} = {100 * release.coverage:.1f} %"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.adaptation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_data_option(parser)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--only", type=int, help="run one fold only, counted from 0")
    parser.add_argument("--passes", type=int, default=Tuning().passes, help="over the strings")
    parser.add_argument("--weights", type=Path, default=SHIPPED, help="folder to adapt from")
    parser.add_argument(
        "--work",
        type=Path,
        default=Path("runs/adaptation"),
        help="folder for the results of each fold",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--write", action="store_true", help="write the report to --out as well")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "adaptation.md")
    return parser


if __name__ == "__main__":
    sys.exit(main())
