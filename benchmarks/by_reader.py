"""What the benchmarks by reader share: options, the readers by name, and the report."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
from rich.console import Console

from benchmarks.data import add_data_option
from benchmarks.report import Json, Section, markdown
from cli.read import load_quietly
from core.errors import CounterfoilError
from pipeline.readers.base import BOTH
from training.evaluation.machine import machine
from training.evaluation.readers import Reads, readers_by_name

HERE = Path(__file__).parent


def parser(module: str, description: str | None, out: str) -> argparse.ArgumentParser:
    """Return a parser with the common options; the report goes to results/`out`."""
    options = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{module}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_data_option(options)
    options.add_argument("--reader", action="append", help="may be repeated (default: all)")
    options.add_argument("--json", action="store_true", help="print JSON instead of tables")
    options.add_argument("--write", action="store_true", help="write the report to --out as well")
    options.add_argument("--out", type=Path, default=HERE / "results" / out)
    return options


def run(
    module: str,
    options: argparse.Namespace,
    arguments: Sequence[str] | None,
    measure: Callable[[dict[str, Reads]], list[Section]],
) -> int:
    """Measure with the requested readers and show the results; return the exit status."""
    cv2.setNumThreads(1)
    about = machine()
    progress = Console(stderr=True, highlight=False)
    try:
        loaded = load_quietly()
        about["weights"] = loaded.sha256(BOTH)
        known = readers_by_name(loaded)
        names = options.reader or list(known)
        if unknown := [name for name in names if name not in known]:
            progress.print(f"There is no reader {unknown[0]!r}. Choose from {', '.join(known)}.")
            return 2
        with progress.status("reading"):
            sections = measure({name: known[name] for name in names})
    except CounterfoilError as exc:
        progress.print(f"The benchmark failed: {exc}", markup=False)
        return exc.exit_code
    figures = {section.title: section.figures for section in sections}
    show(module, options, arguments, about, sections, figures)
    return 0


def show(
    module: str,
    options: argparse.Namespace,
    arguments: Sequence[str] | None,
    about: Json,
    sections: Sequence[Section],
    figures: Json,
) -> None:
    """Print the sections, or `figures` with --json; with --write, write the report to --out."""
    given = sys.argv[1:] if arguments is None else arguments
    command = shlex.join(["python", "-m", f"benchmarks.{module}", *given])
    if options.json:
        print(json.dumps({"command": command, "machine": about} | figures, indent=1))
    else:
        console = Console(highlight=False, width=None if sys.stdout.isatty() else 140)
        for section in sections:
            console.print(section.as_table())
            for note in section.notes:
                console.print(note, style="dim", markup=False)
    if options.write:
        options.out.write_text(markdown(command, about, sections), encoding="utf-8")
        progress = Console(stderr=True, highlight=False)
        progress.print(f"Written to {options.out}.", markup=False)
