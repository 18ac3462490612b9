"""Find printed rectangles on a page: its ruled lines, and where a template's frames sit on them.

Everything happens on a small copy of the page (`SIDE` pixels on its longer side), which costs a
few milliseconds whatever the resolution of the scan. Handwriting does not matter, because only
long straight runs of ink are looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.geometry import Matrix, invert, rotation, scaling, transform_points, translation
from pipeline.types import Box, Image

SIDE: Final = 1280  # a line 0.6 mm wide on A4 is still 2 to 3 pixels wide
MAX_SKEW: Final = 6.0  # degrees either way

_LEVEL: Final = 0.3  # degrees: what the refinement makes up for by itself
_RUN: Final = 15  # the shortest run of ink that may be a ruled line: half a frame 8 mm high on A4
_SAMPLES: Final = 12  # points looked at on each edge of a frame
_COARSE: Final = 7  # how far a line may lie from a first guess of where it is
_FINE: Final = 3  # how far it may lie in the end
_PAIRED: Final = 48  # the longest lines of page and template that first guesses are made from
_SORTED: Final = 150  # the first guesses that are looked at closely
_REFINED: Final = 6  # the best first guesses that are followed up
_LARGEST: Final = 3.0  # how much larger or smaller than the scan the template's page may be
_ODD: Final = 0.05  # what a page e times larger or smaller than the scan loses, between rivals


@dataclass(frozen=True, slots=True)
class Rules:
    """The ruled lines of a page, made level.

    `level` and `upright` mark the pixels of level and of upright lines, (h, w) of 0 or 1;
    `to_page` maps their pixels to those of the page; `skew` is the
    turn of the page in degrees, clockwise; below 0.3 it is not undone.
    """

    level: Image
    upright: Image
    to_page: Matrix
    skew: float


@dataclass(frozen=True, slots=True)
class Edges:
    """Edges of frames that run one way, as points on them: (edges, samples, 2), x before y."""

    points: NDArray[np.float64]
    across: int  # the coordinate in which such an edge is thin: 1 for level ones, 0 for upright


def find_rules(grey: Image) -> Rules:
    """Return the ruled lines of a page, (h, w) grey, dark on light or light on dark."""
    height, width = grey.shape
    shrink = min(1.0, SIDE / max(height, width))
    size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
    small = grey
    if shrink < 1:
        small = np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.uint8)
    to_page = scaling(width / size[0], height / size[1]) @ translation(0.5, 0.5)
    level, upright = _open(_threshold(small))
    skew = _skew(level, upright)
    if abs(skew) >= _LEVEL:
        turn = rotation(-skew, ((size[0] - 1) / 2, (size[1] - 1) / 2))
        box = transform_points(turn, [[0, 0], [size[0], 0], [0, size[1]], size])
        turn = translation(*-box.min(axis=0)) @ turn
        canvas = np.ceil(np.ptp(box, axis=0)).astype(int)
        paper = float(np.median(small[::4, ::4]))
        small = np.asarray(
            cv2.warpAffine(small, turn[:2], canvas.tolist(), borderValue=paper), np.uint8
        )
        to_page = to_page @ invert(turn)
        level, upright = _open(_threshold(small))
    return Rules(level, upright, to_page, skew)


def match_frames(
    rules: Rules, frames: Sequence[Box], page: tuple[float, float]
) -> tuple[Matrix, float]:
    """Return the transform from fractions of the template's page to the scan, and its score.

    `frames` are in fractions of the template's page, whose size is `page` in any unit. The score
    is the share of the frames' edges that are found where they belong, 0 to 1.
    """
    height, width = rules.level.shape
    unit = SIDE / max(page)
    to_units = scaling(page[0] * unit, page[1] * unit)
    edges = _edges(frames, to_units)
    count = sum(len(e.points) for e in edges)
    whole = min(width / page[0], height / page[1]) / unit  # the scale if the scan is the page
    best, best_score, best_rank = np.eye(3), 0.0, -np.inf
    for guess in _guesses(rules, edges, whole):
        matrix = guess
        for reach in (_COARSE, _COARSE, 5, _FINE, _FINE):
            # An affine fit needs edges enough not to bend a template that hangs on one frame.
            matrix = _refine(rules, edges, matrix, reach, affine=reach < _COARSE and count >= 16)
        found = _score(rules, edges, matrix)
        rank = found - _ODD * abs(np.log(max(float(matrix[0, 0]), 1e-6) / whole))
        if rank > best_rank:
            best, best_score, best_rank = matrix, found, rank
        if found > 0.9 and count >= 16:
            break
    return rules.to_page @ best @ to_units, best_score


def _threshold(small: Image) -> Image:
    sample = small[::4, ::4]
    low, middle, high = np.percentile(sample, (1, 50, 99))
    if high - middle > middle - low:  # paper is most of a page: this one is dark
        small = 255 - small
    local = cv2.boxFilter(small, cv2.CV_16S, (25, 25))
    margin = max(10.0, 0.12 * float(high - low))
    return (local - small.astype(np.int16) > margin).astype(np.uint8)


def _open(ink: Image) -> tuple[Image, Image]:
    # Bridging two pixels mends what noise and the threshold nibbled out of thin lines.
    rules = []
    for along in ((1, 0), (0, 1)):
        bridge = np.ones((1 + 2 * along[1], 1 + 2 * along[0]), np.uint8)
        run = np.ones((1 + (_RUN - 1) * along[1], 1 + (_RUN - 1) * along[0]), np.uint8)
        closed = cv2.morphologyEx(ink, cv2.MORPH_CLOSE, bridge)
        rules.append(np.asarray(cv2.morphologyEx(closed, cv2.MORPH_OPEN, run), np.uint8))
    return rules[0], rules[1]


def _skew(level: Image, upright: Image) -> float:
    """Return the angle at which lines fall together best when projected, in degrees."""
    clouds = []
    for lines, swap in ((level, False), (upright, True)):
        y, x = np.nonzero(lines)
        step = max(1, len(x) // 4000)
        along, across = (y, -x) if swap else (x, y)
        clouds.append((along[::step].astype(np.float32), across[::step].astype(np.float32)))
    if sum(len(along) for along, _ in clouds) < 100:
        return 0.0

    def best(angles: NDArray[np.float64], width: float) -> float:
        slopes = np.tan(np.radians(angles)).astype(np.float32)
        energy = np.zeros(len(angles))
        for along, across in clouds:
            if len(along) == 0:
                continue
            bins = (across[None, :] - slopes[:, None] * along[None, :]) / np.float32(width)
            bins = (bins - bins.min()).astype(np.int32)
            size = int(bins.max()) + 1
            bins += (np.arange(len(angles), dtype=np.int32) * size)[:, None]
            counts = np.bincount(bins.ravel(), minlength=size * len(angles))
            energy += (counts.reshape(len(angles), size).astype(np.float64) ** 2).sum(axis=1)
        return float(angles[int(energy.argmax())])

    coarse = best(np.arange(-MAX_SKEW, MAX_SKEW + 0.1, 0.5), 2)
    middle = best(np.arange(coarse - 0.5, coarse + 0.51, 0.125), 1)
    return best(np.arange(middle - 0.1, middle + 0.11, 0.05), 1)


def _edges(frames: Sequence[Box], to_units: Matrix) -> tuple[Edges, Edges]:
    # The corners are left out: there lines of the other direction begin.
    steps = (np.arange(_SAMPLES) + 0.5) / _SAMPLES
    level, upright = set(), set()
    for box in frames:
        right, bottom = box.x + box.w, box.y + box.h
        level |= {(box.x, right, box.y), (box.x, right, bottom)}
        upright |= {(box.y, bottom, box.x), (box.y, bottom, right)}
    flat = [[(a + (b - a) * t, c) for t in steps] for a, b, c in sorted(level)]
    tall = [[(c, a + (b - a) * t) for t in steps] for a, b, c in sorted(upright)]
    return (
        Edges(transform_points(to_units, flat).reshape(-1, _SAMPLES, 2), 1),
        Edges(transform_points(to_units, tall).reshape(-1, _SAMPLES, 2), 0),
    )


def _lines(rules: Rules, edges: Edges) -> Image:
    return rules.level if edges.across == 1 else rules.upright


def _offsets(
    lines: Image, at: NDArray[np.float64], across: int, reach: int
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Look for a line near each point: how far off it lies, (edges, samples), and whether."""
    near = np.rint(at).astype(np.intp)
    steps = np.arange(-reach, reach + 1)
    y = near[..., 1, None] + (steps if across == 1 else 0)
    x = near[..., 0, None] + (steps if across == 0 else 0)
    inside = (y >= 0) & (y < lines.shape[0]) & (x >= 0) & (x < lines.shape[1])
    seen = lines[np.where(inside, y, 0), np.where(inside, x, 0)] * inside
    total = seen.sum(axis=-1)
    middle = (seen * steps).sum(axis=-1) / np.maximum(total, 1)
    return near[..., across] + middle - at[..., across], total > 0


def _score(rules: Rules, edges: tuple[Edges, Edges], matrix: Matrix) -> float:
    """Return the share of edges that lie on a line, and not amid lines on both sides (noise)."""
    found = count = 0
    for part in edges:
        at = transform_points(matrix, part.points).reshape(part.points.shape)
        aside = np.zeros(2)
        aside[part.across] = 2 * _FINE + 1
        on, before, after = (
            _offsets(_lines(rules, part), moved, part.across, _FINE)[1].mean(axis=1)
            for moved in (at, at - aside, at + aside)
        )
        found += int((on - np.minimum(before, after) >= 0.65).sum())
        count += len(part.points)
    return found / count


def _guesses(rules: Rules, edges: tuple[Edges, Edges], whole: float) -> list[Matrix]:
    """Return likely placements, best first: each lays one printed edge on one line of the page.

    The skew is undone, so that the lengths and positions of two level lines leave nothing open.
    """
    _, _, stats, centres = cv2.connectedComponentsWithStats(rules.level)
    order = np.argsort(-stats[1:, cv2.CC_STAT_WIDTH])[:_PAIRED] + 1
    if len(order) == 0:
        return []
    line_x = stats[order, cv2.CC_STAT_LEFT].astype(np.float64)
    line_w = stats[order, cv2.CC_STAT_WIDTH].astype(np.float64)
    line_y = centres[order, 1]
    points = edges[0].points
    widths = (points[:, -1, 0] - points[:, 0, 0]) * _SAMPLES / (_SAMPLES - 1)
    longest = np.argsort(-widths, kind="stable")[:_PAIRED]
    edge_w = widths[longest]
    edge_x, edge_y = points[longest].mean(axis=1).T
    scale = (line_w[:, None] / edge_w[None, :]).ravel()
    x = ((line_x + line_w / 2)[:, None] - scale.reshape(len(order), -1) * edge_x).ravel()
    y = (line_y[:, None] - scale.reshape(len(order), -1) * edge_y).ravel()
    likely = np.abs(np.log(scale / whole)) < np.log(_LARGEST)
    scale, x, y = scale[likely], x[likely], y[likely]
    if len(scale) == 0:
        return []

    # A few edges sort out most of the guesses, all of them the rest.
    hits = _hits(rules, edges, scale, x, y, most=12) - _ODD * np.abs(np.log(scale / whole))
    some = np.argsort(-hits, kind="stable")[:_SORTED]
    scale, x, y = scale[some], x[some], y[some]
    hits = _hits(rules, edges, scale, x, y, most=200) - _ODD * np.abs(np.log(scale / whole))

    chosen: list[int] = []
    middle_x, middle_y = edges[0].points.reshape(-1, 2).mean(axis=0)
    place = np.stack([x + scale * middle_x, y + scale * middle_y, SIDE * np.log(scale)], axis=1)
    for index in np.argsort(-hits, kind="stable"):
        if all(np.abs(place[index] - place[other]).max() > _COARSE for other in chosen):
            chosen.append(int(index))
            if len(chosen) == _REFINED:
                break
    return [translation(x[i], y[i]) @ scaling(scale[i]) for i in chosen]


def _hits(
    rules: Rules,
    edges: tuple[Edges, Edges],
    scale: NDArray[np.float64],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    *,
    most: int,
) -> NDArray[np.float64]:
    """Return for each guess how much of up to `most` edges each way lies on lines, 0 to 2."""
    hits = np.zeros(len(scale))
    for part in edges:
        wide = np.ones((2 * _COARSE + 1, 1) if part.across == 1 else (1, 2 * _COARSE + 1), np.uint8)
        lines = np.asarray(cv2.dilate(_lines(rules, part), wide))
        step = -(-len(part.points) // most)
        some = part.points[::step, 1::5].reshape(-1, 2).astype(np.float32)
        at_x = (scale[:, None] * some[:, 0] + x[:, None]).astype(np.int32)
        at_y = (scale[:, None] * some[:, 1] + y[:, None]).astype(np.int32)
        inside = (at_y >= 0) & (at_y < lines.shape[0]) & (at_x >= 0) & (at_x < lines.shape[1])
        hits += (lines[at_y * inside, at_x * inside] * inside).mean(axis=1)
    return hits


def _refine(
    rules: Rules, edges: tuple[Edges, Edges], matrix: Matrix, reach: int, *, affine: bool
) -> Matrix:
    """Return the transform that best lays the edges on the lines within `reach` of them.

    An edge only says where it lies across itself: a level one gives y, an upright one x.
    """
    rows, wanted = [], []
    for part in edges:
        at = transform_points(matrix, part.points).reshape(part.points.shape)
        off, hit = _offsets(_lines(rules, part), at, part.across, reach)
        x, y = part.points[hit].T
        zero, one = np.zeros_like(x), np.ones_like(x)
        if affine:  # of the unknowns a b c d e f: x' = a x + b y + c, y' = d x + e y + f
            row = [zero, zero, zero, x, y, one] if part.across == 1 else [x, y, one] + [zero] * 3
        else:  # of a b c f: x' = a x - b y + c, y' = b x + a y + f
            row = [y, x, zero, one] if part.across == 1 else [x, -y, one, zero]
        rows.append(np.stack(row, axis=1))
        wanted.append((at[..., part.across] + off)[hit])
    system, target = np.concatenate(rows), np.concatenate(wanted)
    if len(system) < 3 * _SAMPLES:
        return matrix
    weights = np.ones(len(system))
    for _ in range(3):  # reweighted, since some of the lines belong to something else
        solution = np.linalg.lstsq(system * weights[:, None], target * weights, rcond=None)[0]
        weights = 1 / np.sqrt(1 + (system @ solution - target) ** 2)
    if affine:
        return np.array([solution[:3], solution[3:], [0, 0, 1]], np.float64)
    a, b, c, f = solution
    return np.array([[a, -b, c], [b, a, f], [0, 0, 1]], np.float64)
