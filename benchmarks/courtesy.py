"""The amounts of real cheques, zero-shot: exact, calibration, and what can be released.

    python -m benchmarks.courtesy --half even [--reader glyph] [--write]

The 1,080 courtesy amounts are split: the even half (labels 0, 2, 4 …) is the development set, and
the odd half is held out. No image of either half trains. Some labels are plainly wrong. A person
corrected those of the even half from the images, in courtesy_errata.json. All figures use the
original labels; some are also given with the corrections. `counterfoil evaluate
DATA/courtesy_amounts --select 0:2 --out report.html` shows the same figures with curves and
pictures.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

from benchmarks.by_reader import parser, run
from benchmarks.report import Section, share
from core.intervals import upper_bound
from pipeline.grammar.base import ANY_DIGITS
from training.evaluation.labelled import Part, load_labelled
from training.evaluation.measure import Comparison, Figures, read_fields
from training.evaluation.metrics import (
    Release,
    calibration_error,
    released_surely,
    released_within,
    wilson,
)
from training.evaluation.readers import Reads

HALVES = {"even": 0, "odd": 1}
ERRATA = Path(__file__).with_name("courtesy_errata.json")


def measure(readers: dict[str, Reads], data: Path, half: str, limit: int | None) -> Section:
    """Read one half with each reader."""
    part = Part(HALVES[half], 2, limit)
    examples = load_labelled(data / "courtesy_amounts", part=part).examples
    rows, figures = [], {}
    for name, reads in readers.items():
        found = Figures(name, read_fields(reads, examples, ANY_DIGITS, Comparison()), Comparison())
        figures[name] = found.as_json()
        rows += _rows(found)
        if half == "even":  # nobody has looked at the labels of the other half
            mended = _mended(found)
            figures[f"{name}, labels mended"] = mended.as_json()
            rows += _mended_rows(mended)
    return Section(
        title=f"Courtesy amounts of real cheques, {part}",
        columns=("reader and figure", "value"),
        rows=tuple(rows),
        figures=figures,
        notes=(
            "Exact: the whole string of digits, without exceptions; interval: Wilson, 95 %. "
            "Released: the most that can be released with at most that share wrong, at the "
            "threshold that fits these very strings; in brackets the number of wrong ones and the "
            "one-sided 95 % Clopper-Pearson bound of their share. Proven: the most for which that "
            "bound keeps the budget. Calibration error: over bins of equally many strings. "
            "Milliseconds: median of wall-clock time on one thread, without decoding the image.",
            f"{len(examples)} strings can prove no share wrong below "
            f"{100 * upper_bound(0, len(examples)):.2f} %.",
        ),
    )


def _rows(found: Figures) -> list[tuple[str, str]]:
    curve, bins = found.curve(), found.bins()
    rows = [
        ("exact", share(found.right, found.count, wilson(found.right, found.count))),
        ("characters wrong", f"{100 * found.character_errors:.1f} %"),
        ("released before the first mistake", _released(released_within(curve, 0.0))),
        ("released at ≤ 1 % wrong", _released(released_within(curve, 0.01))),
        ("released at ≤ 1 % wrong, proven", _released(released_surely(curve, 0.01))),
        ("released at ≤ 0.1 % wrong", _released(released_within(curve, 0.001))),
        (
            "expected calibration error",
            f"{calibration_error(bins):.3f} ({len(bins)} bins of {bins[0].count})",
        ),
        ("milliseconds a strip", f"{median(found.milliseconds()):.1f}"),
    ]
    return [(f"{found.system}: {name}", value) for name, value in rows]


def _mended(found: Figures) -> Figures:
    """Return the same readings, compared with the corrected labels."""
    errata: dict[str, str] = json.loads(ERRATA.read_text(encoding="utf-8"))
    outcomes = []
    for outcome in found.outcomes:
        truth = errata.get(outcome.example.file.name, outcome.example.truth)
        right = found.comparison.same(outcome.read, truth)
        example = replace(outcome.example, truth=truth)
        outcomes.append(replace(outcome, example=example, right=right))
    return replace(found, outcomes=tuple(outcomes))


def _mended_rows(found: Figures) -> list[tuple[str, str]]:
    title = f"{found.system}, labels mended"
    return [
        (f"{title}: exact", share(found.right, found.count, wilson(found.right, found.count))),
        (f"{title}: released at ≤ 1 % wrong", _released(released_within(found.curve(), 0.01))),
    ]


def _released(release: Release | None) -> str:
    if release is None:
        return "none"
    return (
        f"{release.released}/{release.count} = {100 * release.coverage:.1f} % "
        f"({release.wrong} wrong; at most {100 * release.bound:.2f} %)"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser("courtesy", __doc__, "courtesy-HALF.md")
    options.add_argument("--half", choices=HALVES, required=True)
    options.add_argument("--limit", type=int, help="strings at most")
    chosen = options.parse_args(arguments)
    chosen.out = chosen.out.with_name(chosen.out.name.replace("HALF", chosen.half))
    return run(
        "courtesy",
        chosen,
        arguments,
        lambda readers: [measure(readers, chosen.data, chosen.half, chosen.limit)],
    )


if __name__ == "__main__":
    sys.exit(main())
