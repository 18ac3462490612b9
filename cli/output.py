"""Output of the commands: the JSON object of a page, on which other programs depend, and tables.

One object per page:
`{"file", "page", "template", "fields": [{"name", "value", "raw", "confidence",
"alternatives": [{"value", "probability"}], "box": [x, y, w, h], "decision", "reason"}],
"checks": [{"name", "fields", "state", "message"}], "error"}`

`checks` are those across fields that the template states; `state` is "holds", "fails" or "unknown".

A page that its template says to ignore has no error and no fields, but
`"passed_over": {"name", "code", "reason"}`. `page` counts from 1 within the file. `box` is in
pixels of the page, origin top left. `error` is null or a sentence; with an error there are no
fields. A file that could not be opened is one object. `reason` is a `core.policy.ReviewReason`, or
null where policy released the value.

Two more kinds of objects have `page` null and no fields. What was found in a file and is no page
has `"passed_over": {"name", "code", "reason"}`, and an error that says so. A file with the same
bytes as an earlier one has `"copy_of"`, the name of that file, and no error: its numbers are there.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from core.checks import Finding, failing_fields, judge_page
from core.policy import Decision, ReviewReason, review_reason
from core.text import formula_safe, printable
from pipeline.types import FieldReading, PageReading

Json = dict[str, Any]

INTERRUPTED = 130  # the exit status that shells report after Ctrl-C

remarks = Console(stderr=True, highlight=False, soft_wrap=True)


def progress_bar(*, off: bool = False) -> Progress:
    """Return a progress bar on stderr, shown only on a terminal; its tasks have a `note`."""
    return Progress(
        TextColumn("{task.description:<10}"),
        BarColumn(bar_width=40),
        TaskProgressColumn(),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
        console=remarks,
        disable=off or not remarks.is_terminal,
    )


def counting_bars() -> Progress:
    """Return progress bars on stderr, one per task, that count strips, fields or steps."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
        console=remarks,
        transient=True,
    )


def page_of_reading(
    file: str, number: int, reading: PageReading, release_threshold: float | None
) -> Json:
    """Return the object of a page that was read on this machine; the threshold decides fields."""
    findings = judge_page(reading.checks, {field.name: field.value for field in reading.fields})
    failing = failing_fields(findings)
    page: Json = {
        "file": file,
        "page": number,
        "template": reading.template,
        "fields": [
            _field_of_reading(field, release_threshold, check_fails=field.name in failing)
            for field in reading.fields
        ],
        "checks": [_check(finding) for finding in findings],
        "error": None if reading.error is None else str(reading.error),
    }
    return page | _ignored(reading.template, reading.passed_over)


def page_not_read(file: str, number: int | None, template: str | None, error: str) -> Json:
    """Return the object of a page, or of a whole file, that could not be read."""
    return _no_fields(file, number, template) | {"error": error}


def _no_fields(file: str, number: int | None, template: str | None) -> Json:
    return {"file": file, "page": number, "template": template, "fields": [], "checks": []}


def _check(finding: Finding) -> Json:
    return {
        "name": finding.name,
        "fields": list(finding.fields),
        "state": str(finding.state),
        "message": finding.message,
    }


def passed_over(file: str, template: str | None, name: str, code: str, reason: str) -> Json:
    """Return the object of what was found in a file and is no page."""
    item = {"name": name, "code": code, "reason": reason}
    said = page_not_read(file, None, template, f"Passed over: {name}. {reason}")
    return said | {"passed_over": item}


def copy_of(file: str, template: str | None, first: str) -> Json:
    """Return the object of a file with the same bytes as the file `first`."""
    return _no_fields(file, None, template) | {"error": None, "copy_of": first}


def page_of_api(page: Json) -> Json:
    """Return the object of a page that the API returned, without ids and states."""
    error = page["error"]
    return {
        "file": page["file"],
        "page": page["page"],
        "template": page["template"],
        "fields": [
            {
                name: field[name]
                for name in (
                    "name",
                    "value",
                    "raw",
                    "confidence",
                    "alternatives",
                    "box",
                    "decision",
                    "reason",
                )
            }
            for field in page["fields"]
        ],
        "checks": [
            {name: check[name] for name in ("name", "fields", "state", "message")}
            for check in page["checks"]
        ],
        "error": error["message"] if isinstance(error, dict) else error,
    } | _ignored(page["template"], page.get("passed_over"))


def _ignored(template: str | None, reason: str | None) -> Json:
    """Return what the object of a page that is not to be read has besides."""
    if reason is None:
        return {}
    return {"passed_over": {"name": template, "code": "ignored", "reason": reason}}


def json_line(page: Json) -> str:
    """Return the object on one line."""
    return json.dumps(page, ensure_ascii=False)


def write_csv(pages: Sequence[Json], out: TextIO) -> None:
    """Write one row per page, with the value, confidence and decision of each field.

    The columns are the fields of all pages, in the order of their first appearance.
    """
    names = list(dict.fromkeys(field["name"] for page in pages for field in page["fields"]))
    columns = ["file", "page", "template", "error"]
    for name in names:
        columns += [name, f"{name}_confidence", f"{name}_decision"]
    writer = csv.DictWriter(out, columns, restval="")
    writer.writeheader()
    for page in pages:
        row = {name: _cell(page[name]) for name in ("file", "page", "template", "error")}
        if "copy_of" in page:
            row["error"] = _copy_words(page)
        for field in page["fields"]:
            name = field["name"]
            row[name] = _cell(field["value"])
            row[f"{name}_confidence"] = field["confidence"]
            row[f"{name}_decision"] = field["decision"]
        writer.writerow(row)


def print_table(pages: Iterable[Json]) -> None:
    """Print the table for people. Into a pipe it is printed 160 characters wide."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, 160)
    console.print(page_table(pages))


def page_table(pages: Iterable[Json]) -> Table:
    """Return a table with one row per field, for people."""
    table = Table()
    table.add_column("file", overflow="fold")
    table.add_column("page", justify="right")
    table.add_column("field", overflow="fold")
    table.add_column("value", overflow="fold")
    table.add_column("confidence", justify="right")
    table.add_column("decision")
    for page in pages:
        rows = list(_rows(page))
        for i, row in enumerate(rows):
            where = (printable(page["file"]), _cell(page["page"])) if i == 0 else ("", "")
            # Text, not markup: file names may hold square brackets.
            table.add_row(*map(Text, where), *row, end_section=i == len(rows) - 1)
    return table


def _rows(page: Json) -> Iterator[tuple[Text, Text, Text, Text]]:
    nothing = Text("")
    if "passed_over" in page:
        item = page["passed_over"]
        yield (
            Text("passed over", style="yellow"),
            Text(item["name"] or ""),
            nothing,
            Text(item["reason"]),
        )
    elif "copy_of" in page:
        yield Text("copy", style="dim"), Text(_copy_words(page)), nothing, nothing
    elif page["error"] is not None:
        yield Text("not read", style="red"), Text(page["error"]), nothing, nothing
    elif not page["fields"]:
        yield Text("no handwritten number found", style="dim"), nothing, nothing, nothing
    for field in page["fields"]:
        value = field["value"]
        shown = (
            Text(printable(value)) if value else Text("empty" if value == "" else "?", style="dim")
        )
        yield Text(field["name"]), shown, percent(field["confidence"]), _decision(field)


def _decision(field: Json) -> Text:
    """Return the decision, with its reason unless the confidence beside it says it all."""
    if field["decision"] != Decision.REVIEW:
        return Text(field["decision"], style="green")
    of_confidence = (None, ReviewReason.NO_THRESHOLD, ReviewReason.BELOW_THRESHOLD)
    why = "" if field["reason"] in of_confidence else f": {field['reason']}"
    return Text(f"{field['decision']}{why}", style="yellow")


def percent(confidence: float) -> Text:
    """Return a confidence in percent, rounded down so that 99.96 % never shows as 100 %."""
    shown = int(confidence * 1000) / 10
    style = "green" if confidence >= 0.99 else "yellow" if confidence >= 0.9 else "red"
    return Text(f"{shown:.1f} %", style=style)


def _field_of_reading(
    field: FieldReading, release_threshold: float | None, *, check_fails: bool
) -> Json:
    box = field.box
    reason = review_reason(
        field.value,
        field.confidence,
        release_threshold,
        required=field.required,
        blocked=field.blocked,
        check_fails=check_fails,
    )
    return {
        "name": field.name,
        "value": field.value,
        "raw": field.raw,
        "confidence": round(field.confidence, 6),
        "alternatives": [
            {"value": other.value, "probability": round(other.probability, 6)}
            for other in field.alternatives
        ],
        "box": [round(float(side), 2) for side in (box.x, box.y, box.w, box.h)],
        "decision": str(Decision.ACCEPTED if reason is None else Decision.REVIEW),
        "reason": None if reason is None else str(reason),
    }


def _copy_words(page: Json) -> str:
    return f"The same bytes as {page['copy_of']}, where its numbers are."


def _cell(value: object) -> str:
    return "" if value is None else formula_safe(str(value))
