"""The curves of the report as inline SVG: colours come from the page's style sheet."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Sequence

from training.evaluation.metrics import Bin, Release

Point = tuple[float, float]
_RISKS = (0.0, 0.001, 0.01, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0)
_DASHES = ("", "7 4", "2 4", "9 3 2 3", "1 3")


def risk_coverage(curves: Sequence[tuple[str, Sequence[Release]]], budgets: Sequence[float]) -> str:
    """The share that is wrong over the share that is released, one line a system.

    The scale of the wrong is one of square roots: what matters lies near 0.
    """
    width, height, left, right, top, bottom = 720, 360, 62, 30, 16, 50
    most = max((point.risk for _, curve in curves for point in curve), default=0.0)
    highest = next((risk for risk in _RISKS[2:] if risk >= most), 1.0)

    def x(coverage: float) -> float:
        return left + coverage * (width - left - right)

    def y(risk: float) -> float:
        return height - bottom - math.sqrt(risk / highest) * (height - top - bottom)

    parts = []
    for risk in (risk for risk in _RISKS if risk <= highest):
        budget = " budget" if risk in budgets else ""
        parts.append(_line("grid" + budget, (x(0), y(risk)), (x(1), y(risk))))
        if risk:  # its own label would lie on that of 0.1 %
            parts.append(_text(_percent(risk), left - 8, y(risk) + 4, "end"))
    for share in (0, 0.2, 0.4, 0.6, 0.8, 1):
        parts.append(_line("grid", (x(share), y(0)), (x(share), y(0) + 5)))
        parts.append(_text(_percent(share), x(share), height - bottom + 20, "middle"))
    parts.append(_text("share of the fields that is released", x(0.5), height - 8, "middle"))
    parts.append(_text("wrong among the released", left + 6, top + 2, "start", "label"))
    for number, (_, curve) in enumerate(curves):
        if curve:
            parts.append(_path(_steps(curve, x, y), f"line c{number % 5}", number))
    body = "".join(parts)
    legend = _legend([name for name, _ in curves]) if len(curves) > 1 else ""
    title = "Share of wrong values among the released, over the share of fields that is released"
    return legend + _svg(width, height, title, body)


def _steps(
    curve: Sequence[Release], x: Callable[[float], float], y: Callable[[float], float]
) -> list[Point]:
    return [(x(point.coverage), y(point.risk)) for point in curve]


def reliability_diagram(bins: Sequence[Bin], colour: int) -> str:
    """Share that is right over stated confidence, a dot a bin with its 95 % interval."""
    size, left, bottom = 340, 54, 46

    def x(share: float) -> float:
        return left + share * (size - left - 26)

    def y(share: float) -> float:
        return size - bottom - share * (size - bottom - 14)

    parts = []
    for share in (0, 0.25, 0.5, 0.75, 1):
        parts.append(_line("grid", (x(0), y(share)), (x(1), y(share))))
        parts.append(_text(_percent(share), left - 8, y(share) + 4, "end"))
        parts.append(_text(_percent(share), x(share), size - bottom + 18, "middle"))
    parts.append(_line("diagonal", (x(0), y(0)), (x(1), y(1))))
    parts.append(_text("stated confidence", x(0.5), size - 6, "middle"))
    parts.append(_text("right", left + 4, 22, "start", "label"))
    parts.append(
        _path([(x(b.confidence), y(b.accuracy)) for b in bins], f"line thin c{colour % 5}", 0)
    )
    for part in bins:
        low, high = part.interval
        at = x(part.confidence)
        parts.append(_line(f"bar c{colour % 5}", (at, y(low)), (at, y(high))))
        parts.append(
            f'<circle class="dot c{colour % 5}" cx="{at:.1f}" cy="{y(part.accuracy):.1f}" r="4">'
            f"<title>{part.count} fields: stated {_percent(part.confidence)}, right "
            f"{_percent(part.accuracy)}</title></circle>"
        )
    return _svg(size, size, "Share of right readings over stated confidence", "".join(parts))


def _svg(width: int, height: int, title: str, body: str) -> str:
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" role="img" '
        f'aria-label="{html.escape(title)}">{body}</svg>'
    )


def _line(style: str, start: Point, end: Point) -> str:
    return (
        f'<line class="{style}" x1="{start[0]:.1f}" y1="{start[1]:.1f}" '
        f'x2="{end[0]:.1f}" y2="{end[1]:.1f}"/>'
    )


def _path(points: Sequence[Point], style: str, dash: int) -> str:
    along = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dashes = _DASHES[dash % len(_DASHES)]
    drawn = f' stroke-dasharray="{dashes}"' if dashes else ""
    return f'<polyline class="{style}"{drawn} points="{along}"/>'


def _text(text: str, x: float, y: float, anchor: str, style: str = "") -> str:
    shown = html.escape(text)
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{shown}</text>'


def _legend(names: Sequence[str]) -> str:
    items = "".join(
        f'<li><svg width="34" height="10" aria-hidden="true">'
        f"{_path([(0, 5), (34, 5)], f'line c{number % 5}', number)}</svg> {html.escape(name)}</li>"
        for number, name in enumerate(names)
    )
    return f'<ul class="legend">{items}</ul>'


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
