"""Pieces of the report's HTML: all text that comes in is escaped here."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence


def section(title: str, body: str) -> str:
    return f"<section>\n<h2>{escape(title)}</h2>\n{body}\n</section>\n"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th scope='col'>{escape(column)}</th>" for column in columns)
    body = "".join(f"<tr>{''.join(row)}</tr>\n" for row in rows)
    whole = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f"<div class='wide'>{whole}</div>"


def note_lines(notes: Sequence[str]) -> str:
    return "".join(f"<p class='note'>{escape(note)}</p>" for note in notes)


def row_head(text: str, rows: int = 1) -> str:
    scope = "row" if rows == 1 else f"rowgroup' rowspan='{rows}"
    return f"<th scope='{scope}'>{escape(text)}</th>"


def cell(text: str) -> str:
    return f"<td>{escape(text)}</td>"


def bar_cell(share: float, note: str = "") -> str:
    small = f"<small>{escape(note)}</small>" if note else ""
    track = f"<span class='track'><span style='width:{100 * share:.1f}%'></span></span>"
    return f"<td class='bar'>{track}{percent(share)}{small}</td>"


def part_of(part: int, count: int) -> str:
    return f"{part:,} of {count:,}"


def percent(share: float, places: int = 1) -> str:
    return f"{100 * share:.{places}f} %"


def short_percent(share: float) -> str:
    return f"{100 * share:g} %"


def percent_down(confidence: float) -> str:
    """Rounded down: 99.96 % never shows as 100 %."""
    return f"{int(confidence * 1000) / 10:.1f} %"


def escape(text: str) -> str:
    return html.escape(text, quote=True)
