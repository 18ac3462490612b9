"""The figures as one HTML file that needs nothing beside it and asks nobody for anything."""

from __future__ import annotations

import base64
import difflib
import html
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from statistics import median
from typing import Any

import cv2
import numpy as np

from pipeline.types import Image
from training.evaluation.charts import reliability_diagram, risk_coverage
from training.evaluation.labelled import LabelledSet
from training.evaluation.measure import BUDGETS, Comparison, Figures, Outcome, picture_of
from training.metrics import (
    Release,
    calibration_error,
    released_surely,
    released_within,
    upper_bound,
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
        f"<title>{_e(title)}</title>\n<style>\n{style}</style>\n</head>\n"
        f"<body>\n<main>\n{body}</main>\n</body>\n</html>\n"
    )


# ---- the sections ----


def _head(evaluation: Evaluation, title: str) -> str:
    first = evaluation.ours[0]
    low, high = wilson(first.right, first.count)
    exact = f"{_of(first.right, first.count)}; 95 %: {_percent(low)} to {_percent(high)}"
    tiles = [
        (_percent(first.right / first.count), "read exactly", exact),
        (
            _percent(first.character_errors),
            "of the characters wrong",
            "to insert, take out or replace",
        ),
    ]
    if first.rates_itself:
        release = released_within(first.curve(), BUDGETS[0])
        tiles.insert(
            1,
            (
                _percent(release.coverage if release else 0.0),
                f"released by itself, at most {_budget(BUDGETS[0])} of it wrong",
                _of(release.released if release else 0, first.count),
            ),
        )
    if times := first.milliseconds():
        what = "a page" if evaluation.pages else "a field"
        tiles.append((f"{median(times):.1f} ms", f"{what}, one core", "median"))
    shown = "".join(
        f"<div><dd>{_e(figure)}</dd><dt>{_e(words)}<small>{_e(note)}</small></dt></div>"
        for figure, words, note in tiles
    )
    fields = f"{first.count:,} fields"
    about = f"{fields} · {evaluation.part} · {evaluation.target} · {evaluation.about['date']}"
    reader = f"<p class='reader'>{_e(first.system)}</p>" if len(evaluation.ours) > 1 else ""
    return (
        f"<header><p class='about'>{_e(about)}</p><h1>{_e(title)}</h1></header>\n"
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
                _th(figures.system),
                _bar(figures.right / figures.count),
                _td(_of(figures.right, figures.count)),
                _td(f"{_percent(low)} to {_percent(high)}"),
                _td(_percent(figures.character_errors)),
                *map(_td, released),
                _td(f"{median(times):.1f}" if times else "–"),
            ]
        )
    columns = ["", "read exactly", "fields", "95 % interval", "characters wrong"]
    columns += [f"released at ≤ {_budget(budget)} wrong" for budget in BUDGETS]
    columns += ["ms a page" if evaluation.pages else "ms a field"]
    notes = [*evaluation.absent]
    if any(not figures.rates_itself for figures in evaluation.rivals):
        notes.append("–: this system does not say how sure it is.")
    if evaluation.pages:
        notes.append("Other systems read strips, not pages with a template: not measured.")
    return _section("Side by side", _table(columns, rows) + _notes(notes))


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
                _td("none" if not budget else f"at most {_budget(budget)}"),
                _td(_coverage(observed)),
                _td(f"{observed.wrong} of {observed.released:,}" if observed else "–"),
                _td(_sure(observed.threshold) if observed else "–"),
                _td(_percent(observed.bound, 2) if observed else "–"),
                _td(_coverage(proven) if budget else "–"),
            ]
            rows.append(cells if number else [_th(name, rows=len(allowances)), *cells])
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
        f"{_percent(least, 2)}, even without a mistake.",
        "The scale of the curve widens the small shares.",
    ]
    chart = f"<figure>{risk_coverage(curves, BUDGETS)}</figure>"
    return _section(
        "What the machine can release by itself",
        words + chart + _table(columns, rows) + _notes(notes),
    )


def _calibration(evaluation: Evaluation) -> str:
    figures_ = []
    for number, figures in enumerate(evaluation.ours):
        bins = figures.bins()
        error = calibration_error(bins)
        figures_.append(
            f"<figure>{reliability_diagram(bins, number)}<figcaption><strong>{_e(figures.system)}"
            f"</strong>: expected calibration error {error:.3f} over {len(bins)} bins of "
            f"{_about([part.count for part in bins])} fields each.</figcaption></figure>"
        )
    words = (
        "<p>Of the fields that the machine calls 90 % sure, 90 % should be right: then the dots "
        "lie on the diagonal. Below it the machine claims too much, above it too little.</p>"
    )
    charts = f"<div class='side'>{''.join(figures_)}</div>"
    notes = ["Each dot is a bin of equally many fields, with the 95 % interval of its share right."]
    return _section("Whether its confidence can be trusted", words + charts + _notes(notes))


def _by(evaluation: Evaluation, title: str, column: str, rows_of: Rows) -> str:
    first = rows_of(evaluation.ours[0])
    if len(first) < 2:
        return ""
    systems = [{row[0]: row for row in rows_of(figures)} for figures in evaluation.systems]
    rows = []
    for name, _, count in first:
        cells = [_th(name or "–"), _td(f"{count:,}")]
        for by_name in systems:
            _, right, of = by_name[name]
            low, high = wilson(right, of)
            cells.append(_bar(right / of, f"{_percent(low)} to {_percent(high)}"))
        rows.append(cells)
    columns = [column, "fields", *(figures.system for figures in evaluation.systems)]
    notes = ["Share read exactly, with its 95 % interval."]
    return _section(title, _table(columns, rows) + _notes(notes))


def _mistakes(figures: Figures) -> str:
    mistakes = figures.mistakes()
    if not mistakes:
        return _section(f"Mistakes: {figures.system}", "<p>There is none.</p>")
    nothing = sum(not outcome.read for outcome in mistakes)
    words = (
        f"<p>{len(mistakes):,} of {figures.count:,} fields were read wrong, {nothing} of these as "
        f"nothing at all. The most confident come first: these are the dangerous ones."
        f"{f' {MISTAKES} are shown.' if len(mistakes) > MISTAKES else ''}</p>"
    )
    cards = "".join(_card(outcome) for outcome in mistakes[:MISTAKES])
    title = f"The worst mistakes: {figures.system}"
    return _section(title, f"{words}<div class='cards'>{cards}</div>")


def _times(evaluation: Evaluation) -> str:
    rows: list[list[str]] = []
    slow: list[Outcome] = []
    for figures in evaluation.systems:
        times = figures.milliseconds()
        if times:
            marks = (median(times), float(np.quantile(times, 0.95)), max(times))
            rows.append([_th(figures.system), *(_td(f"{mark:.1f}") for mark in marks)])
    for outcome in sorted(evaluation.ours[0].outcomes, key=lambda o: -(o.milliseconds or 0)):
        if outcome.example.file not in [seen.example.file for seen in slow]:
            slow.append(outcome)
        if len(slow) == SLOWEST:
            break
    what = "page" if evaluation.pages else "field"
    cards = "".join(_card(outcome, timed=True) for outcome in slow)
    table = _table(["", "median ms", "95th percentile", "slowest"], rows)
    return _section(
        f"Time for one {what}", f"{table}<h3>The slowest</h3><div class='cards'>{cards}</div>"
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
        ("command", f"<code>{_e(about['command'])}</code>"),
        ("set", f"{_e(evaluation.labelled.name)}: {_e(evaluation.labelled.form)}"),
        ("part", _e(evaluation.part)),
        ("what a field may hold", _e(evaluation.target)),
        ("right", f"the whole string is the truth; {_e(str(evaluation.comparison))}"),
        ("interval", "Wilson, 95 %"),
        ("time", _e(f"wall clock, one thread, one at a time, {timed}")),
        ("weights", f"<code>{_e(about['weights'])}</code>"),
        (
            "machine",
            _e(
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
                "truths of this set",
            )
        )
    facts += [("left out", _e(remark)) for remark in evaluation.labelled.remarks]
    rows = "".join(f"<tr><th scope='row'>{name}</th><td>{text}</td></tr>" for name, text in facts)
    return _section("How this was measured", f"<table class='facts'>{rows}</table>")


# ---- pieces ----


def _card(outcome: Outcome, *, timed: bool = False) -> str:
    truth, read = outcome.example.truth, outcome.read
    picture = picture_of(outcome)
    told = read if read else "nothing" if read == "" else "nothing legal"
    shown = (
        f"<img src='{_data_uri(picture)}' alt='{_e(f'The field: {truth} is written there')}'>"
        if picture is not None
        else "<p>There is no picture.</p>"
    )
    lines = [("written", _e(truth) or "nothing"), ("read", _marked(read, truth) if read else told)]
    if timed:
        lines.append(("time", f"{outcome.milliseconds or 0:.1f} ms"))
    elif outcome.confidence is not None:
        lines.append(("sure", _sure(outcome.confidence)))
    if outcome.example.field:
        lines.append(("field", _e(outcome.example.field)))
    if outcome.error:
        lines.append(("error", _e(outcome.error)))
    facts = "".join(f"<div><dt>{name}</dt><dd>{text}</dd></div>" for name, text in lines)
    file = _e(outcome.example.file.name)
    return f"<figure>{shown}<figcaption><dl>{facts}</dl><p>{file}</p></figcaption></figure>"


def _marked(read: str, truth: str) -> str:
    """`read` with what differs from the truth marked; a gap where something is missing."""
    parts = []
    for kind, a, b, _, _ in difflib.SequenceMatcher(None, read, truth, False).get_opcodes():
        text = _e(read[a:b])
        parts.append(text if kind == "equal" else f"<mark>{text or '‸'}</mark>")
    return "".join(parts)


def _data_uri(image: Image) -> str:
    scale = min(1.0, _TALLEST / image.shape[0], _WIDEST / image.shape[1])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    small = image if scale == 1 else cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()
    return f"data:image/jpeg;base64,{base64.b64encode(data).decode('ascii')}"


def _section(title: str, body: str) -> str:
    return f"<section>\n<h2>{_e(title)}</h2>\n{body}\n</section>\n"


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th scope='col'>{_e(column)}</th>" for column in columns)
    body = "".join(f"<tr>{''.join(row)}</tr>\n" for row in rows)
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f"<div class='wide'>{table}</div>"


def _notes(notes: Sequence[str]) -> str:
    return "".join(f"<p class='note'>{_e(note)}</p>" for note in notes)


def _th(text: str, rows: int = 1) -> str:
    scope = "row" if rows == 1 else f"rowgroup' rowspan='{rows}"
    return f"<th scope='{scope}'>{_e(text)}</th>"


def _td(text: str) -> str:
    return f"<td>{_e(text)}</td>"


def _bar(share: float, note: str = "") -> str:
    small = f"<small>{_e(note)}</small>" if note else ""
    track = f"<span class='track'><span style='width:{100 * share:.1f}%'></span></span>"
    return f"<td class='bar'>{track}{_percent(share)}{small}</td>"


def _about(counts: Sequence[int]) -> str:
    least, most = min(counts), max(counts)
    return f"{least}" if least == most else f"{least} or {most}"


def _coverage(release: Release | None) -> str:
    return f"{_percent(release.coverage)} ({release.released:,})" if release else "0 % (0)"


def _of(part: int, count: int) -> str:
    return f"{part:,} of {count:,}"


def _percent(share: float, places: int = 1) -> str:
    return f"{100 * share:.{places}f} %"


def _budget(share: float) -> str:
    return f"{100 * share:g} %"


def _sure(confidence: float) -> str:
    """Rounded down: 99.96 % never shows as 100 %."""
    return f"{int(confidence * 1000) / 10:.1f} %"


def _e(text: str) -> str:
    return html.escape(text, quote=True)
