"""The figures as one HTML file that needs nothing beside it and asks nobody for anything."""

from __future__ import annotations

import base64
import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from statistics import median
from typing import Any

import cv2
import numpy as np

from core.intervals import upper_bound
from pipeline.imageops import resize
from pipeline.types import Image
from training.evaluation.charts import reliability_diagram, risk_coverage
from training.evaluation.labelled import LabelledSet
from training.evaluation.markup import (
    bar_cell,
    cell,
    escape,
    note_lines,
    part_of,
    percent,
    percent_down,
    row_head,
    section,
    short_percent,
    table,
)
from training.evaluation.measure import BUDGETS, Comparison, Figures, Outcome, picture_of
from training.evaluation.metrics import (
    Release,
    calibration_error,
    released_surely,
    released_within,
    wilson,
)

Rows = Callable[[Figures], list[tuple[str, int, int]]]  # name, right, count

MISTAKES, SLOWEST = 48, 6
_TALLEST, _WIDEST = 160, 640  # pixels of a picture as stored


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All that was measured in one run."""

    labelled: LabelledSet
    part: str  # which images of the set
    target: str  # the grammar or the template
    pages: bool  # whole pages with a template
    comparison: Comparison
    ours: tuple[Figures, ...]  # one a reader
    rivals: tuple[Figures, ...]
    absent: tuple[str, ...]  # why a rival is not here
    about: dict[str, Any]  # command, machine, weights, date

    @property
    def systems(self) -> tuple[Figures, ...]:
        return self.ours + self.rivals

    def as_json(self) -> dict[str, Any]:
        return {
            "set": self.labelled.name,
            "form": self.labelled.form,
            "part": self.part,
            "target": self.target,
            "comparison": str(self.comparison),
            "about": self.about,
            "remarks": [*self.labelled.remarks, *self.absent],
            "systems": {figures.system: figures.as_json() for figures in self.systems},
        }


def report(evaluation: Evaluation) -> str:
    """Return the whole page."""
    title = f"How well is “{evaluation.labelled.name}” read?"
    body = "".join(
        (
            _head(evaluation, title),
            _side_by_side(evaluation),
            _released(evaluation),
            _calibration(evaluation),
            _by(evaluation, "By number of characters", "characters", Figures.by_length),
            _by(evaluation, "By field", "field", Figures.by_field),
            *(_mistakes(figures) for figures in evaluation.ours),
            _times(evaluation),
            _method(evaluation),
        )
    )
    style = (resources.files("training.evaluation") / "report.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{style}</style>\n</head>\n"
        f"<body>\n<main>\n{body}</main>\n</body>\n</html>\n"
    )


# ---- the sections ----


def _head(evaluation: Evaluation, title: str) -> str:
    first = evaluation.ours[0]
    low, high = wilson(first.right, first.count)
    exact = f"{part_of(first.right, first.count)}; 95 %: {percent(low)} to {percent(high)}"
    tiles = [
        (percent(first.right / first.count), "read exactly", exact),
        (
            percent(first.character_errors),
            "of the characters wrong",
            "to insert, take out or replace",
        ),
    ]
    if first.rates_itself:
        release = released_within(first.curve(), BUDGETS[0])
        tiles.insert(
            1,
            (
                percent(release.coverage if release else 0.0),
                f"released by itself, at most {short_percent(BUDGETS[0])} of it wrong",
                part_of(release.released if release else 0, first.count),
            ),
        )
    if times := first.milliseconds():
        what = "a page" if evaluation.pages else "a field"
        tiles.append((f"{median(times):.1f} ms", f"{what}, one core", "median"))
    shown = "".join(
        f"<div><dd>{escape(figure)}</dd><dt>{escape(words)}<small>{escape(note)}</small></dt></div>"
        for figure, words, note in tiles
    )
    fields = f"{first.count:,} fields"
    about = f"{fields} · {evaluation.part} · {evaluation.target} · {evaluation.about['date']}"
    reader = f"<p class='reader'>{escape(first.system)}</p>" if len(evaluation.ours) > 1 else ""
    return (
        f"<header><p class='about'>{escape(about)}</p><h1>{escape(title)}</h1></header>\n"
        f"{reader}<dl class='tiles'>{shown}</dl>\n"
    )


def _side_by_side(evaluation: Evaluation) -> str:
    rows = []
    for figures in evaluation.systems:
        low, high = wilson(figures.right, figures.count)
        curve = figures.curve() if figures.rates_itself else []
        released = [
            _coverage(released_within(curve, budget)) if figures.rates_itself else "–"
            for budget in BUDGETS
        ]
        times = figures.milliseconds()
        rows.append(
            [
                row_head(figures.system),
                bar_cell(figures.right / figures.count),
                cell(part_of(figures.right, figures.count)),
                cell(f"{percent(low)} to {percent(high)}"),
                cell(percent(figures.character_errors)),
                *map(cell, released),
                cell(f"{median(times):.1f}" if times else "–"),
            ]
        )
    columns = ["", "read exactly", "fields", "95 % interval", "characters wrong"]
    columns += [f"released at ≤ {short_percent(budget)} wrong" for budget in BUDGETS]
    columns += ["ms a page" if evaluation.pages else "ms a field"]
    notes = [*evaluation.absent]
    if any(not figures.rates_itself for figures in evaluation.rivals):
        notes.append("–: this system does not say how sure it is.")
    if evaluation.pages:
        notes.append("Other systems read strips, not pages with a template: not measured.")
    return section("Side by side", table(columns, rows) + note_lines(notes))


def _released(evaluation: Evaluation) -> str:
    rated = [figures for figures in evaluation.systems if figures.rates_itself]
    curves = [(figures.system, figures.curve()) for figures in rated]
    rows = []
    for name, curve in curves:
        allowances = (0.0, *BUDGETS)
        for number, budget in enumerate(allowances):
            observed = released_within(curve, budget)
            proven = released_surely(curve, budget) if budget else None
            cells = [
                cell("none" if not budget else f"at most {short_percent(budget)}"),
                cell(_coverage(observed)),
                cell(f"{observed.wrong} of {observed.released:,}" if observed else "–"),
                cell(percent_down(observed.threshold) if observed else "–"),
                cell(percent(observed.bound, 2) if observed else "–"),
                cell(_coverage(proven) if budget else "–"),
            ]
            rows.append(cells if number else [row_head(name, rows=len(allowances)), *cells])
    columns = ["", "wrong allowed", "released", "wrong among them", "from a confidence of"]
    columns += ["bound of the share wrong", "released, proven"]
    least = upper_bound(0, len(evaluation.ours[0].outcomes))
    words = (
        "<p>A reading is released without a person looking at it where the machine is sure enough. "
        "The further right the line runs before it rises, the more can be released. An empty "
        "reading, or none that is legal, always goes to a person and is never released here.</p>"
    )
    notes = [
        "Observed: the threshold is the one that fits these very fields best, so that other fields "
        "will do a little worse. The bound is the one-sided 95 % Clopper-Pearson bound; proven is "
        "the most that can be released so that this bound keeps the allowance too.",
        f"A set of {len(evaluation.ours[0].outcomes):,} fields can prove no share wrong below "
        f"{percent(least, 2)}, even without a mistake.",
        "The scale of the curve widens the small shares.",
    ]
    chart = f"<figure>{risk_coverage(curves, BUDGETS)}</figure>"
    return section(
        "What the machine can release by itself",
        words + chart + table(columns, rows) + note_lines(notes),
    )


def _calibration(evaluation: Evaluation) -> str:
    drawn = []
    for number, figures in enumerate(evaluation.ours):
        bins, name = figures.bins(), escape(figures.system)
        error = calibration_error(bins)
        drawn.append(
            f"<figure>{reliability_diagram(bins, number)}<figcaption><strong>{name}"
            f"</strong>: expected calibration error {error:.3f} over {len(bins)} "
            f"bin{'s' * (len(bins) > 1)} of {_about([part.count for part in bins])} fields."
            "</figcaption></figure>"
        )
    words = (
        "<p>Of the fields that the machine calls 90 % sure, 90 % should be right: then the dots "
        "lie on the diagonal. Below it the machine claims too much, above it too little.</p>"
    )
    charts = f"<div class='side'>{''.join(drawn)}</div>"
    notes = ["Each dot is a bin of equally many fields, with the 95 % interval of its share right."]
    return section("Whether its confidence can be trusted", words + charts + note_lines(notes))


def _by(evaluation: Evaluation, title: str, column: str, rows_of: Rows) -> str:
    first = rows_of(evaluation.ours[0])
    if len(first) < 2:
        return ""
    systems = [{row[0]: row for row in rows_of(figures)} for figures in evaluation.systems]
    rows = []
    for name, _, count in first:
        cells = [row_head(name or "–"), cell(f"{count:,}")]
        for by_name in systems:
            _, right, of = by_name[name]
            low, high = wilson(right, of)
            cells.append(bar_cell(right / of, f"{percent(low)} to {percent(high)}"))
        rows.append(cells)
    columns = [column, "fields", *(figures.system for figures in evaluation.systems)]
    notes = ["Share read exactly, with its 95 % interval."]
    return section(title, table(columns, rows) + note_lines(notes))


def _mistakes(figures: Figures) -> str:
    mistakes = figures.mistakes()
    if not mistakes:
        return section(f"Mistakes: {figures.system}", "<p>There is none.</p>")
    nothing = sum(not outcome.read for outcome in mistakes)
    failed = sum(bool(outcome.error) for outcome in mistakes)
    unread = f"; {failed} lie on pages that could not be read" if failed else ""
    words = (
        f"<p>{len(mistakes):,} of {figures.count:,} fields were read wrong, {nothing} of these as "
        f"nothing at all{unread}. The most confident come first: these are the dangerous ones."
        f"{f' {MISTAKES} are shown.' if len(mistakes) > MISTAKES else ''}</p>"
    )
    cards = "".join(_card(outcome) for outcome in mistakes[:MISTAKES])
    title = f"The worst mistakes: {figures.system}"
    return section(title, f"{words}<div class='cards'>{cards}</div>")


def _times(evaluation: Evaluation) -> str:
    rows: list[list[str]] = []
    slow: list[Outcome] = []
    for figures in evaluation.systems:
        times = figures.milliseconds()
        if times:
            marks = (median(times), float(np.quantile(times, 0.95)), max(times))
            rows.append([row_head(figures.system), *(cell(f"{mark:.1f}") for mark in marks)])
    timed = [outcome for outcome in evaluation.ours[0].outcomes if outcome.milliseconds]
    for outcome in sorted(timed, key=lambda o: -(o.milliseconds or 0)):
        if outcome.example.file not in [seen.example.file for seen in slow]:
            slow.append(outcome)
        if len(slow) == SLOWEST:
            break
    what = "page" if evaluation.pages else "field"
    cards = "".join(_card(outcome, timed=True) for outcome in slow)
    body = table(["", "median ms", "95th percentile", "slowest"], rows)
    return section(
        f"Time for one {what}", f"{body}<h3>The slowest</h3><div class='cards'>{cards}</div>"
    )


def _method(evaluation: Evaluation) -> str:
    about = evaluation.about
    timed = (
        "from the bytes of the page to all its fields"
        if evaluation.pages
        else "without decoding the image (Tesseract: mean of 20 images that one process reads, "
        "its start and decoding included)"
    )
    facts = [
        ("command", f"<code>{escape(about['command'])}</code>"),
        ("set", f"{escape(evaluation.labelled.name)}: {escape(evaluation.labelled.form)}"),
        ("part", escape(evaluation.part)),
        ("what a field may hold", escape(evaluation.target)),
        ("right", f"the whole string is the truth; {escape(str(evaluation.comparison))}"),
        ("interval", "Wilson, 95 %"),
        ("time", escape(f"wall clock, one thread, one at a time, {timed}")),
        ("weights", f"<code>{escape(about['weights'])}</code>"),
        (
            "machine",
            escape(
                f"{about['processor']}, {about['cores']} cores, Python {about['python']}; load "
                f"average {about['load_before']} when it began"
            ),
        ),
    ]
    if evaluation.rivals:
        facts.append(
            (
                "other systems",
                "they know no grammar: of what they say only characters count that occur in the "
                "truths of this set; Tesseract is asked for digits only",
            )
        )
    facts += [("left out", escape(remark)) for remark in evaluation.labelled.remarks]
    rows = "".join(f"<tr><th scope='row'>{name}</th><td>{text}</td></tr>" for name, text in facts)
    return section("How this was measured", f"<table class='facts'>{rows}</table>")


# ---- pieces ----


def _card(outcome: Outcome, *, timed: bool = False) -> str:
    truth, read = outcome.example.truth, outcome.read
    picture = picture_of(outcome)
    told = "nothing" if read == "" else "not read" if outcome.error else "nothing legal"
    shown = (
        f"<img src='{_data_uri(picture)}' alt='{escape(f'The field: {truth} is written there')}'>"
        if picture is not None
        else "<p>There is no picture.</p>"
    )
    lines = [
        ("written", escape(truth) or "nothing"),
        ("read", _marked(read, truth) if read else told),
    ]
    if timed:
        lines.append(("time", f"{outcome.milliseconds or 0:.1f} ms"))
    elif outcome.confidence is not None:
        lines.append(("sure", percent_down(outcome.confidence)))
    if outcome.example.field:
        lines.append(("field", escape(outcome.example.field)))
    facts = "".join(f"<div><dt>{name}</dt><dd>{text}</dd></div>" for name, text in lines)
    below = f"<p>{escape(outcome.example.file.name)}</p>"
    if outcome.error:
        below += f"<p>{escape(outcome.error)}</p>"
    return f"<figure>{shown}<figcaption><dl>{facts}</dl>{below}</figcaption></figure>"


def _marked(read: str, truth: str) -> str:
    """`read` with what differs from the truth marked; a gap where something is missing."""
    parts = []
    for kind, a, b, _, _ in difflib.SequenceMatcher(None, read, truth, False).get_opcodes():
        text = escape(read[a:b])
        parts.append(text if kind == "equal" else f"<mark>{text or '‸'}</mark>")
    return "".join(parts)


def _data_uri(image: Image) -> str:
    scale = min(1.0, _TALLEST / image.shape[0], _WIDEST / image.shape[1])
    data = cv2.imencode(".jpg", resize(image, scale), [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()
    return f"data:image/jpeg;base64,{base64.b64encode(data).decode('ascii')}"


def _about(counts: Sequence[int]) -> str:
    least, most = min(counts), max(counts)
    return f"{least}" if least == most else f"{least} or {most}"


def _coverage(release: Release | None) -> str:
    return f"{percent(release.coverage)} ({release.released:,})" if release else "0 % (0)"
