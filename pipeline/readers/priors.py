"""How plausible it is, by the geometry alone, that pieces of ink are dirt or one character.

Priors are logs, at most 0. `line` is the height of the digits and `stroke` the width of a stroke,
both in pixels of the ink's mask; `labels` (h, w) are those of the pieces.
"""

from __future__ import annotations

import numpy as np

from pipeline.readers.pieces import Labels, Piece


def line_height(pieces: list[Piece], stroke: float) -> float:
    """Return the height of the digits in pixels: the median of the heights near the tallest.

    Specks, dashes and fragments are lower than half of it and do not count. Pieces close above each
    other count as one, or a line of broken digits would be half as high.
    """
    stacks: list[tuple[int, int, int, int]] = []  # left, right, top, bottom
    for piece in sorted(pieces, key=lambda piece: piece.y):
        left, right, top, bottom = piece.x, piece.right, piece.y, piece.bottom
        for index, (x, end, y, low) in enumerate(stacks):
            across = min(right, end) - max(left, x)
            if across >= 0.5 * min(right - left, end - x) and -stroke <= top - low <= stroke:
                stacks[index] = (min(x, left), max(end, right), y, max(low, bottom))
                break
        else:
            stacks.append((left, right, top, bottom))
    heights = np.array([bottom - top for _, _, top, bottom in stacks])
    return float(np.median(heights[heights >= 0.5 * heights.max()]))


def skip_prior(piece: Piece, line: float, stroke: float) -> float:
    """Return the log of how plausible it is that `piece` is dirt: low, or a thin line."""
    height = max(piece.h, 0.5 * piece.w) / line
    low = _along(height, (0.15, -0.01), (0.3, -0.5), (0.5, -5.0), (0.8, -14.0))
    thin = _along(_thickness([piece]) / stroke, (0.3, -1.0), (0.6, -14.0))
    return max(low, thin)


def group_prior(group: list[Piece], line: float, stroke: float, labels: Labels) -> float | None:
    """Return the log of how plausible `group` is as one character, None if it cannot be one."""
    left, right = min(p.x for p in group), max(p.right for p in group)
    top, bottom = min(p.y for p in group), max(p.bottom for p in group)
    if len(group) == 1 and group[0].label != group[0].parent:
        return -1.5  # a cut has its price, or every wide 0 would be cut
    if len(group) > 1 and (right - left > 1.6 * line or bottom - top > 1.7 * line):
        return None
    if len(group) > 1 and len({piece.parent for piece in group}) == 1:
        return 0.0  # the parts of a cut piece, joined again
    size = max(right - left, bottom - top) / line
    # A fragment beside a digit looks like a 1, so small groups cost: digits differ little in size.
    total = _along(size, (0.5, -1.5), (0.75, 0.0))
    total += _along(_thickness(group) / stroke, (0.3, -3.0), (0.6, 0.0))
    if len(group) == 1:
        total += _along((bottom - top) / line, (0.15, -9.0), (0.35, -1.0), (0.5, 0.0))
    for index, piece in enumerate(group[1:], start=1):
        links = [link_prior(other, piece, line, stroke, labels) for other in group[:index]]
        best = max((link for link in links if link is not None), default=None)
        if best is None:
            return None
        total += best
    return total


def _along(x: float, *points: tuple[float, float]) -> float:
    """Return `np.interp` of one number, in a tenth of the time."""
    before = points[0]
    for point in points:
        if x < point[0]:
            share = (x - before[0]) / (point[0] - before[0]) if point is not before else 0.0
            return before[1] + share * (point[1] - before[1])
        before = point
    return before[1]


def _thickness(group: list[Piece]) -> float:
    """Return the thickness in pixels of a straight stroke with the area and length of `group`."""
    width = max(p.right for p in group) - min(p.x for p in group)
    height = max(p.bottom for p in group) - min(p.y for p in group)
    return sum(p.area for p in group) / max(width, height)


def link_prior(a: Piece, b: Piece, line: float, stroke: float, labels: Labels) -> float | None:
    """Return the log of how plausible two pieces are as parts of one digit, None for not at all."""
    if a.parent == b.parent:
        return 0.0
    across = min(a.right, b.right) - max(a.x, b.x)
    down = min(a.bottom, b.bottom) - max(a.y, b.y)
    low, high = sorted((a.h, b.h))
    if across >= 0.3 * min(a.w, b.w) and -down <= 0.3 * line and down < 0.6 * low:
        return -0.1  # one above the other: the bar of a 5, the halves of a 3 or an 8
    if across < -max(1.5 * stroke, 0.25 * line) or down < -0.3 * line:
        return None
    if down >= 0.6 * low and low >= 0.6 * high and low >= 0.5 * line:
        # Two tall pieces side by side are two digits, unless they are the halves of a ring.
        first, second = (a, b) if a.x <= b.x else (b, a)
        return -0.1 if _closes_to_ring(first, second, labels) else None
    gap = max(-across, 0, -down)
    return -0.5 - 1.0 * gap / stroke if low < 0.6 * line else None


def _closes_to_ring(a: Piece, b: Piece, labels: Labels) -> bool:
    """Say whether `a` and `b` are close at the top and the bottom and far apart in between."""
    top, bottom = max(a.y, b.y), min(a.bottom, b.bottom)
    rows = bottom - top
    if rows < 8:
        return False
    left = labels[top:bottom, a.x : a.right] == a.label
    right = labels[top:bottom, b.x : b.right] == b.label
    edge = a.right - np.argmax(left[:, ::-1], axis=1)
    begin = b.x + np.argmax(right, axis=1)
    gap = np.where(left.any(axis=1) & right.any(axis=1), begin - edge, rows)
    part = max(1, rows // 4)
    near = max(gap[:part].min(), gap[-part:].min())
    return bool(near <= 0.2 * rows and gap[part:-part].mean() >= 0.3 * rows + near)
