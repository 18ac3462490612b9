"""Where else might a template lie? Rows, columns and frames that look alike are told apart.

A form whose rows look alike fits nearly as well one row further. So the best placement is compared
with its rivals: the template moved so that frames lie on other frames of the same size, and turned
upside down. What a page contradicts decides, and not what lies beyond its edges.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry import Matrix, rotation, scaling, transform_points, translation
from pipeline.placing.edges import COARSE, FrameEdges, look_alike
from pipeline.placing.evidence import (
    Candidate,
    RuledLines,
    common_share,
    is_possible,
    look_up,
    look_up_all,
)
from pipeline.types import Box

# By so many edges, found less missing, the best placement must beat its rivals: a frame has four,
# and a further row of a table three.
MIN_MARGIN: Final = 3

_SHIFTS: Final = 12  # the likeliest shifts of a template onto itself
_MAX_FRAMES: Final = 150  # of which shifts are looked for: a grid of more repeats itself anyway
_SAME_SHIFT: Final = 8.0  # units by which shifts differ that are one
_SAME_SCALE: Final = 1.25  # a rival of quite another scale is told by the scale
_AS_MUCH_COMMON: Final = 0.04  # upside down, a page shows as much of itself


def find_shifts(frames: Sequence[Box], to_units: Matrix) -> NDArray[np.float64]:
    """Return by how much a template may be moved so that frames lie on others, (shifts, 2).

    They are in the units that `to_units` leads to; those by which most frames do come first.
    """
    some = np.array([(b.x, b.y, b.w, b.h) for b in frames[:_MAX_FRAMES]])
    middles = transform_points(to_units, some[:, :2] + some[:, 2:] / 2)
    sides = some[:, 2:]
    alike = look_alike(sides[:, None], sides[None])
    np.fill_diagonal(alike, val=False)
    shifts = (middles[None] - middles[:, None])[alike]
    if len(shifts) == 0:
        return np.zeros((0, 2))
    bins, first, votes = np.unique(
        np.rint(shifts / _SAME_SHIFT), axis=0, return_index=True, return_counts=True
    )
    # Of shifts with as many votes, the nearest: a template may be a row off, seldom four.
    order = np.lexsort((np.hypot(*bins.T), -votes))[:_SHIFTS]
    return np.asarray(shifts[first[order]], np.float64)


def outdo_rivals(
    best: Candidate,
    others: Sequence[Candidate],
    frames: Sequence[Box],
    lines: RuledLines,
    edges: FrameEdges,
    page: tuple[float, float],
    settle: Callable[[Matrix], Matrix],
) -> tuple[Candidate, str | None]:
    """Return the best placement of all, and in words why it may be wrong, if it may.

    `others` are further placements that were tried; `page` is the (width, height) of the template's
    page in the units of `edges`; `settle` refines a placement.
    """
    to_units = scaling(*page)
    shifts = find_shifts(frames, to_units)
    rivals = [rival for rival in others if _is_elsewhere(rival, best, edges)]
    for _ in range(3):
        places = [best.matrix @ translation(*shift) for shift in shifts]
        places = [place for place in places if is_possible(place, page, lines)]
        moved = [
            _refined(Candidate(*each), best, lines, edges, page, settle)
            for each in zip(places, look_up_all(lines, edges, places), strict=True)
        ]
        better = max(moved, key=lambda rival: rival.evidence.net, default=None)
        if better is None or better.evidence.net <= best.evidence.net:
            break
        rivals, best = [*rivals, best], better
    needed = best.evidence.net - MIN_MARGIN
    close = [
        rival
        for rival in (*rivals, *moved)
        if rival.evidence.net > needed
        and _is_elsewhere(rival, best, edges)
        and is_possible(rival.matrix, page, lines)
    ]
    if close:
        return best, _in_words(best, max(close, key=lambda r: r.evidence.net), edges)
    middle = np.concatenate([way.points.reshape(-1, 2) for way in edges.ways]).mean(axis=0)
    over = best.matrix @ rotation(180, (float(middle[0]), float(middle[1])))
    if common_share(over, page, lines) >= common_share(best.matrix, page, lines) - _AS_MUCH_COMMON:
        turned = look_up(lines, edges, over)
        if turned.net > needed:
            return best, "its frames look the same upside down"
    return best, None


def _refined(
    rival: Candidate,
    best: Candidate,
    lines: RuledLines,
    edges: FrameEdges,
    page: tuple[float, float],
    settle: Callable[[Matrix], Matrix],
) -> Candidate:
    """Return a rival, refined if it is a likely one."""
    if rival.evidence.net < 0.3 * best.evidence.net:
        return rival
    refined = settle(rival.matrix)
    if not is_possible(refined, page, lines):
        return rival
    again = Candidate(refined, look_up(lines, edges, refined))
    kept = again if again.evidence.net > rival.evidence.net else rival
    return kept if _is_elsewhere(kept, best, edges) else rival


def _is_elsewhere(rival: Candidate, best: Candidate, edges: FrameEdges) -> bool:
    """Say whether a rival lies elsewhere, at about the same scale."""
    scale = np.sqrt(np.linalg.det(rival.matrix[:2, :2]) / np.linalg.det(best.matrix[:2, :2]))
    if not 1 / _SAME_SCALE <= scale <= _SAME_SCALE:
        return False
    return bool(np.abs(_way_to(rival, best, edges)).max() > 2 * COARSE)


def _way_to(rival: Candidate, best: Candidate, edges: FrameEdges) -> NDArray[np.float64]:
    """Return how far from the best placement a rival lays the middle of the frames, (2,)."""
    middle = edges.ways[0].points.reshape(-1, 2).mean(axis=0, keepdims=True)
    off = transform_points(rival.matrix, middle) - transform_points(best.matrix, middle)
    return np.asarray(off[0], np.float64)


def _in_words(best: Candidate, rival: Candidate, edges: FrameEdges) -> str:
    """Return which frames look alike, by the way that leads from one placement to the other."""
    x, y = _way_to(rival, best, edges)
    if abs(y) > 4 * abs(x):
        return "its rows look alike"
    return "its columns look alike" if abs(x) > 4 * abs(y) else "some of its frames look alike"
