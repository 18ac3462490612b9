"""Speed, memory and accuracy in one run: `make bench`, or `python -m benchmarks [SECTION ...]`.

Sections: `pipeline` (milliseconds per page by stage), `system` (pages per second of the whole
system, its memory, and its ratio to the pipeline alone), `readers` (the same strips read by
Counterfoil, Tesseract and RapidOCR). Run them on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import json
import shlex
import signal
import sys
from pathlib import Path
from types import FrameType

import cv2
from rich.console import Console

from benchmarks import readers, stages, system
from benchmarks.data import add_data_option
from benchmarks.report import Section, markdown
from core.errors import CounterfoilError
from pipeline.readers.base import BOTH
from pipeline.readers.loaded import load_readers
from training.evaluation.machine import machine

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "summary.md"
SECTIONS = ("pipeline", "system", "readers")


def main(arguments: list[str] | None = None) -> int:
    """Measure the sections and show them; return the exit status."""
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, _interrupt)
    cv2.setNumThreads(1)
    # The report goes to stdout, progress to stderr.
    progress = Console(stderr=True, highlight=False)
    about = machine()
    try:
        with progress.status("loading") as status:

            def say(what: str) -> None:
                status.update(what)
                if not progress.is_terminal and "of" not in what:
                    progress.print(what, style="dim")

            sections = _measure(options, about, say)
    except KeyboardInterrupt:
        progress.print("Stopped; nothing is left running.")
        return 130
    except CounterfoilError as exc:
        progress.print(f"The benchmark failed: {exc}", markup=False)
        return exc.exit_code
    command = shlex.join(["python", "-m", "benchmarks", *(arguments or sys.argv[1:])])
    if options.json:
        figures = {name: section.figures for name, section in sections.items()}
        print(json.dumps({"command": command, "machine": about} | figures, indent=1))
    else:
        # Without a terminal, tables get their full width.
        console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
        for section in sections.values():
            console.print(section.as_table())
            for note in section.notes:
                console.print(note, style="dim", markup=False)
                console.print()
    if options.write:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        text = markdown(command, about, list(sections.values()))
        options.out.write_text(text, encoding="utf-8")
        progress.print(f"Written to {options.out}.", markup=False)
    return 0


def _measure(
    options: argparse.Namespace, about: dict[str, object], say: readers.Say
) -> dict[str, Section]:
    loaded = load_readers()
    about["weights"] = loaded.sha256(BOTH)
    sections: dict[str, Section] = {}
    if "pipeline" in options.sections:
        sections["pipeline"] = stages.measure(loaded, options.groups, options.data, say)
    if "system" in options.sections:
        sections["system"] = system.measure(loaded, options.pages, options.groups, say)
    if "readers" in options.sections:
        sections["readers"] = readers.measure(
            loaded,
            options.data,
            limit=options.limit,
            strings=options.strings,
            rapidocr=options.rapidocr,
            say=say,
        )
    return sections


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "sections",
        nargs="*",
        type=_section,
        default=list(SECTIONS),
        metavar="SECTION",
        help=f"{', '.join(SECTIONS)} (default: all)",
    )
    parser.add_argument(
        "--groups", type=_positive, default=20, help="groups of eight pages, for each kind of page"
    )
    parser.add_argument("--pages", type=_positive, default=400, help="cheques for the whole system")
    parser.add_argument("--limit", type=_positive, help="courtesy amounts (default: all)")
    parser.add_argument("--strings", type=_positive, default=500, help="strings of MNIST digits")
    add_data_option(parser, required=False)
    parser.add_argument(
        "--rapidocr",
        type=Path,
        default=HERE.parent / ".venv-bench" / "bin" / "python",
        help="the interpreter that has rapidocr-onnxruntime",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--write", action="store_true", help="write the report to --out as well")
    parser.add_argument("--out", type=Path, default=RESULTS, help=f"default: {RESULTS.name}")
    return parser


def _section(name: str) -> str:
    if name not in SECTIONS:
        raise argparse.ArgumentTypeError(
            f"there is no section {name!r}; choose from {', '.join(SECTIONS)}"
        )
    return name


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
