"""The curve of a release policy: how many are wrong and how many are released, by the threshold.

Two panels share the axis of thresholds, which grows by what is missing to certainty: 90 %, 99 %,
99.9 % are equally far apart. Coordinates are those of the SVG, in pixels from its top left.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from core.release import THRESHOLDS, Point
from db.evidence import RecentField

WIDTH: Final = 560
HEIGHT: Final = 378
_LEFT, _RIGHT = 82, 548
_ERRORS = (16, 196)  # top and bottom of the upper panel
_SHARES = (236, 336)  # of the lower one
_DECADES = 5  # of the axis: from a threshold of 0 to one of 0.99999
_LEAST, _MOST = 1e-5, 1.0  # of the errors that are drawn, on a logarithmic axis
_SHOWN = 4  # the table has every fourth threshold


@dataclass(frozen=True, slots=True)
class Tick:
    at: float
    name: str


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of the table beside the curve."""

    point: Point
    released: float  # share of the fields


@dataclass(frozen=True, slots=True)
class Chart:
    errors: str  # points of the curve, as SVG writes them
    shares: str
    limit: float  # y of the budget
    chosen: tuple[float, ...]  # x of each threshold that would be used
    across: tuple[Tick, ...]
    up_errors: tuple[Tick, ...]
    up_shares: tuple[Tick, ...]
    table: tuple[Entry, ...]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = _LEFT
    right: int = _RIGHT
    top: int = _ERRORS[0]
    bottom: int = _SHARES[1]


def draw(
    points: Sequence[Point], recent: Sequence[RecentField], one_in: int, chosen: Collection[float]
) -> Chart:
    """Return the curve over all evidence, and over the fields that were read lately."""
    shares = [
        sum(field.releasable and field.confidence >= threshold for field in recent)
        / max(len(recent), 1)
        for threshold in THRESHOLDS
    ]
    entries = [Entry(*one) for one in zip(points, shares, strict=True)]
    return Chart(
        errors=_line([(_x(one.threshold), _error(one.bound)) for one in points if one.keyed]),
        shares=_line([(_x(one.point.threshold), _share(one.released)) for one in entries]),
        limit=_error(1 / one_in),
        chosen=tuple(sorted({_x(threshold) for threshold in chosen})),
        across=tuple(
            Tick(_x(1 - 10**-decade), f"{100 - 10 ** (2 - decade):g} %")
            for decade in range(_DECADES + 1)
        ),
        up_errors=tuple(
            Tick(_error(10**-decade), "all" if decade == 0 else f"1 in {10**decade:,}")
            for decade in range(_DECADES + 1)
        ),
        up_shares=tuple(Tick(_share(tenth / 10), f"{tenth * 10} %") for tenth in (0, 5, 10)),
        table=tuple(entries[::-_SHOWN][::-1]),
    )


def _x(threshold: float) -> float:
    decades = min(-math.log10(max(1 - threshold, 10**-_DECADES)), _DECADES)
    return round(_LEFT + (_RIGHT - _LEFT) * decades / _DECADES, 1)


def _error(share: float) -> float:
    top, bottom = _ERRORS
    decades = math.log10(_MOST / min(max(share, _LEAST), _MOST))
    return round(top + (bottom - top) * decades / math.log10(_MOST / _LEAST), 1)


def _share(share: float) -> float:
    top, bottom = _SHARES
    return round(bottom - (bottom - top) * share, 1)


def _line(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:g},{y:g}" for x, y in points)
