"""The results of a benchmark as a table, as JSON and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Section:
    """One table with its notes; `figures` are the same numbers, for programs."""

    title: str
    columns: tuple[str, ...]  # the first is text, the others are numbers
    rows: tuple[tuple[str, ...], ...]
    figures: Json
    notes: tuple[str, ...] = ()

    def as_table(self) -> Table:
        table = Table(title=self.title, title_justify="left", box=SIMPLE_HEAD)
        for number, column in enumerate(self.columns):
            table.add_column(column, justify="right" if number else "left")
        for row in self.rows:
            table.add_row(*row)
        return table

    def as_markdown(self) -> str:
        lines = [
            f"## {self.title}",
            "",
            "| " + " | ".join(self.columns) + " |",
            "|"
            + "|".join("---:" if number else "---" for number in range(len(self.columns)))
            + "|",
            *("| " + " | ".join(row) + " |" for row in self.rows),
        ]
        for note in self.notes:
            lines += ["", note]
        return "\n".join(lines) + "\n"


def markdown(command: str, about: Json, sections: Sequence[Section]) -> str:
    """Return the whole report as a Markdown page."""
    head = (
        f"# Benchmark of {about['date']}\n\n"
        f"`{command}`\n\n"
        f"{about['processor']}, {about['cores']} cores, Python {about['python']}, weights "
        f"{about['weights'][:12]}; load average {about['load_before']} when it began.\n"
    )
    return "\n".join([head, *(section.as_markdown() for section in sections)])


def share(right: int, count: int, bounds: tuple[float, float]) -> str:
    """Return "9/10 = 90.0 % (59.6 to 98.2 %)"."""
    low, high = (100 * bound for bound in bounds)
    return f"{right}/{count} = {100 * right / count:.1f} % ({low:.1f} to {high:.1f} %)"
