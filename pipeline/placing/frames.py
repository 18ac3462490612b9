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
_SURE: Final = 0.99  # the score, less that loss, at which no rival need be looked at
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


@dataclass(frozen=True, slots=True)
class Sheet:
    """Lines of one way with blank paper around them, flat, so that points may be looked up.

    Points further off the page than the blank paper are looked up at its rim.
    """

    pixels: Image  # (height * width,) of 0 or 1
    width: int
    blank: int
    last: tuple[int, int]  # the largest x and y that may be looked up

    def at(self, x: NDArray[np.intp], y: NDArray[np.intp], *, reach: int = 0) -> NDArray[np.intp]:
        """Return the indices of points of the page, of which neighbours up to `reach` exist."""
        rim = self.blank - reach
        x = np.clip(x, -rim, self.last[0] - reach)
        y = np.clip(y, -rim, self.last[1] - reach)
        return (y + self.blank) * self.width + (x + self.blank)


def find_rules(grey: Image) -> Rules:
    """Return the ruled lines of a page, (h, w) grey, dark on light or light on dark."""
    small, to_page = _small(grey)
    size = small.shape[::-1]
    level, upright = _open(_threshold(small))
    skew = find_skew(level, upright)
    if abs(skew) >= _LEVEL:
        turn = rotation(-skew, ((size[0] - 1) / 2, (size[1] - 1) / 2))
        box = transform_points(turn, [[0, 0], [size[0], 0], [0, size[1]], list(size)])
        turn = translation(*-box.min(axis=0)) @ turn
        canvas = np.ceil(np.ptp(box, axis=0)).astype(int)
        paper = _levels(small, 50)[0]
        small = np.asarray(
            cv2.warpAffine(small, turn[:2], canvas.tolist(), borderValue=paper), np.uint8
        )
        to_page = to_page @ invert(turn)
        level, upright = _open(_threshold(small))
    return Rules(level, upright, to_page, skew)


def turn_rules(rules: Rules, page: tuple[int, int], turns: int, *, mirrored: bool) -> Rules:
    """Return the rules of a page of (height, width), mirrored left to right, and then turned.

    That is so many quarter turns clockwise; much cheaper than looking at the page anew.
    """
    level, upright, to_page = rules.level, rules.upright, rules.to_page
    height, width = page
    if mirrored:
        back = np.array([[-1.0, 0, level.shape[1] - 1], [0, 1, 0], [0, 0, 1]])
        level, upright = level[:, ::-1], upright[:, ::-1]
        to_page = np.array([[-1.0, 0, width], [0, 1, 0], [0, 0, 1]]) @ to_page @ back
    for _ in range(turns % 4):
        back = np.array([[0.0, 1, 0], [-1, 0, level.shape[0] - 1], [0, 0, 1]])
        level, upright = np.rot90(upright, -1), np.rot90(level, -1)
        to_page = np.array([[0.0, -1, height], [1, 0, 0], [0, 0, 1]]) @ to_page @ back
        height, width = width, height
    skew = -rules.skew if mirrored else rules.skew
    return Rules(np.ascontiguousarray(level), np.ascontiguousarray(upright), to_page, skew)


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
    sheets = (_sheet(rules.level), _sheet(rules.upright))
    for guess in _guesses(rules, edges, whole):
        matrix = guess
        for reach in (_COARSE, _COARSE, 5, _FINE, _FINE):
            # An affine fit needs edges enough not to bend a template that hangs on one frame.
            matrix = _refine(sheets, edges, matrix, reach, affine=reach < _COARSE and count >= 16)
        found = _score(sheets, edges, matrix)
        rank = found - _ODD * abs(np.log(max(float(matrix[0, 0]), 1e-6) / whole))
        if rank > best_rank:
            best, best_score, best_rank = matrix, found, rank
        # Few edges must all be found, at about the expected scale: no rival can do better.
        if found > 0.9 and (count >= 16 or rank > _SURE):
            break
    return rules.to_page @ best @ to_units, best_score


def _small(grey: Image) -> tuple[Image, Matrix]:
    """Return a copy of at most `SIDE` pixels, and the transform from its pixels to the page."""
    return shrink(grey, max(1.0, max(grey.shape) / SIDE))


def shrink(grey: Image, ratio: float) -> tuple[Image, Matrix]:
    """Return a copy `ratio` times smaller, and the transform from its pixels to those of `grey`.

    Whole pixels are averaged as far as that goes and what is left is interpolated, at a fraction
    of what an exact average over fractions of pixels costs.
    """
    if ratio <= 1:
        return grey, translation(0.5, 0.5)
    whole = min(int(ratio), *grey.shape)
    height, width = (side // whole for side in grey.shape)
    if whole > 1:
        even = grey[: height * whole, : width * whole]
        grey = np.asarray(cv2.resize(even, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    to_page = scaling(whole)
    if ratio / whole > 1.5:  # interpolation alone would lose thin lines between two pixels
        grey = np.asarray(cv2.blur(grey, (2, 2), anchor=(0, 0)), np.uint8)
        to_page = to_page @ translation(0.5, 0.5)
    rest = whole / ratio
    size = (max(1, round(width * rest)), max(1, round(height * rest)))
    small = np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_LINEAR), np.uint8)
    return small, to_page @ scaling(width / size[0], height / size[1]) @ translation(0.5, 0.5)


def _levels(small: Image, *percentiles: float) -> list[float]:
    """Return percentiles of the tones, as the nearest grey level."""
    sample = small[::4, ::4].ravel()
    below = np.bincount(sample, minlength=256).cumsum()
    wanted = np.asarray(percentiles) / 100 * (sample.size - 1)
    return [float(level) for level in np.searchsorted(below, wanted, side="right")]


def _threshold(small: Image) -> Image:
    low, middle, high = _levels(small, 1, 50, 99)
    if high - middle > middle - low:  # paper is most of a page: this one is dark
        small = np.asarray(cv2.bitwise_not(small), np.uint8)
    local = cv2.blur(small, (25, 25))
    margin = max(10.0, 0.12 * (high - low))
    _, ink = cv2.threshold(cv2.subtract(local, small), margin, 1, cv2.THRESH_BINARY)
    return np.asarray(ink, np.uint8)


def _open(ink: Image) -> tuple[Image, Image]:
    # Bridging two pixels mends what noise and the threshold nibbled out of thin lines.
    rules = []
    for along in ((1, 0), (0, 1)):
        bridge = np.ones((1 + 2 * along[1], 1 + 2 * along[0]), np.uint8)
        run = np.ones((1 + (_RUN - 1) * along[1], 1 + (_RUN - 1) * along[0]), np.uint8)
        closed = cv2.morphologyEx(ink, cv2.MORPH_CLOSE, bridge)
        rules.append(np.asarray(cv2.morphologyEx(closed, cv2.MORPH_OPEN, run), np.uint8))
    return rules[0], rules[1]


def find_skew(level: Image, upright: Image, *, points: int = 4000, least: float = 0.0) -> float:
    """Return the angle at which lines fall together best when projected, in degrees.

    One that is surely below `least` is exact to an eighth of a degree only.
    """
    clouds = []
    for lines, swap in ((level, False), (upright, True)):
        marked = np.flatnonzero(lines.ravel().view(np.bool_))
        y, x = np.divmod(marked[:: max(1, len(marked) // points)], lines.shape[1])
        along, across = (y, -x) if swap else (x, y)
        clouds.append((along.astype(np.float32), across.astype(np.float32)))
    if sum(len(along) for along, _ in clouds) < 100:
        return 0.0

    def best(angles: NDArray[np.float64], width: float, step: int = 1) -> float:
        slopes = (np.tan(np.radians(angles)) / width).astype(np.float32)
        energy = np.zeros(len(angles))
        for along, across in clouds:
            if len(along) == 0:
                continue
            places = across[None, ::step] / np.float32(width) - slopes[:, None] * along[::step]
            places -= places.min()
            bins = places.astype(np.intp)
            size = int(bins.max()) + 1
            bins += (np.arange(len(angles)) * size)[:, None]
            counts = np.bincount(bins.ravel(), minlength=size * len(angles))
            energy += (counts.reshape(len(angles), size).astype(np.float64) ** 2).sum(axis=1)
        return float(angles[int(energy.argmax())])

    coarse = best(np.arange(-MAX_SKEW, MAX_SKEW + 0.1, 0.5), 2, step=2)
    middle = best(np.arange(coarse - 0.5, coarse + 0.51, 0.125), 1)
    if abs(middle) + 0.1 < least:
        return middle
    return best(np.arange(middle - 0.1, middle + 0.11, 0.05), 1)


def _edges(frames: Sequence[Box], to_units: Matrix) -> tuple[Edges, Edges]:
    # The corners are left out: there lines of the other direction begin.
    steps = (np.arange(_SAMPLES) + 0.5) / _SAMPLES
    level, upright = set(), set()
    for box in frames:
        right, bottom = box.x + box.w, box.y + box.h
        level |= {(box.x, right, box.y), (box.x, right, bottom)}
        upright |= {(box.y, bottom, box.x), (box.y, bottom, right)}
    a, b, c = np.array(sorted(level)).T[..., None]
    flat = np.stack(np.broadcast_arrays(a + (b - a) * steps, c), axis=-1)
    a, b, c = np.array(sorted(upright)).T[..., None]
    tall = np.stack(np.broadcast_arrays(c, a + (b - a) * steps), axis=-1)
    return (
        Edges(transform_points(to_units, flat).reshape(-1, _SAMPLES, 2), 1),
        Edges(transform_points(to_units, tall).reshape(-1, _SAMPLES, 2), 0),
    )


def _sheet(lines: Image) -> Sheet:
    blank = 2 * _COARSE + 2
    height, width = lines.shape
    pixels = cv2.copyMakeBorder(lines, blank, blank, blank, blank, cv2.BORDER_CONSTANT, value=0)
    last = (width + blank - 1, height + blank - 1)
    return Sheet(np.asarray(pixels, np.uint8).ravel(), width + 2 * blank, blank, last)


def _offsets(
    sheet: Sheet, at: NDArray[np.float64], across: int, reach: int
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Look for a line near each point: how far off it lies, (edges, samples), and whether."""
    near = np.rint(at).astype(np.intp)
    steps = np.arange(-reach, reach + 1)
    index = sheet.at(near[..., 0], near[..., 1], reach=reach)
    seen = sheet.pixels[index[..., None] + steps * (sheet.width if across == 1 else 1)]
    total, moment = np.moveaxis(seen @ np.stack([np.ones(len(steps)), steps], axis=1), -1, 0)
    return near[..., across] + moment / np.maximum(total, 1) - at[..., across], total > 0


def _score(sheets: tuple[Sheet, Sheet], edges: tuple[Edges, Edges], matrix: Matrix) -> float:
    """Return the share of edges that lie on a line, and not amid lines on both sides (noise)."""
    found = count = 0
    for sheet, part in zip(sheets, edges, strict=True):
        at = transform_points(matrix, part.points).reshape(part.points.shape)
        aside = np.zeros(2)
        aside[part.across] = 2 * _FINE + 1
        on, before, after = (
            _offsets(sheet, moved, part.across, _FINE)[1].mean(axis=1)
            for moved in (at, at - aside, at + aside)
        )
        found += int((on - np.minimum(before, after) >= 0.65).sum())
        count += len(part.points)
    return found / count


def _guesses(rules: Rules, edges: tuple[Edges, Edges], whole: float) -> list[Matrix]:
    """Return likely placements, best first: each lays one printed edge on one line of the page.

    The skew is undone, so that the lengths and positions of two level lines leave nothing open.
    """
    # Outlines take a tenth of the time of labels, and tell as much of long thin lines.
    outlines, _ = cv2.findContours(rules.level, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if len(outlines) == 0:
        return []
    boxes = np.array([cv2.boundingRect(outline) for outline in outlines], np.float64)
    order = np.argsort(-boxes[:, 2], kind="stable")[:_PAIRED]
    line_x, line_w = boxes[order, 0], boxes[order, 2]
    line_y = np.array([cv2.mean(outlines[i])[1] for i in order])
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

    near = _widened(rules)
    # A few edges sort out most of the guesses, all of them the rest.
    hits = _hits(near, edges, scale, x, y, most=12) - _ODD * np.abs(np.log(scale / whole))
    some = np.argsort(-hits, kind="stable")[:_SORTED]
    scale, x, y = scale[some], x[some], y[some]
    hits = _hits(near, edges, scale, x, y, most=200) - _ODD * np.abs(np.log(scale / whole))

    chosen: list[int] = []
    middle_x, middle_y = edges[0].points.reshape(-1, 2).mean(axis=0)
    place = np.stack([x + scale * middle_x, y + scale * middle_y, SIDE * np.log(scale)], axis=1)
    left = np.argsort(-hits, kind="stable")
    while len(left) and len(chosen) < _REFINED:
        chosen.append(int(left[0]))
        left = left[np.abs(place[left] - place[left[0]]).max(axis=1) > _COARSE]
    return [translation(x[i], y[i]) @ scaling(scale[i]) for i in chosen]


def _widened(rules: Rules) -> tuple[Sheet, Sheet]:
    """Return the lines, each as wide as a first guess may miss it."""
    wide = np.ones(2 * _COARSE + 1, np.uint8)
    return (
        _sheet(np.asarray(cv2.dilate(rules.level, wide[:, None]), np.uint8)),
        _sheet(np.asarray(cv2.dilate(rules.upright, wide[None, :]), np.uint8)),
    )


def _hits(
    near: tuple[Sheet, Sheet],
    edges: tuple[Edges, Edges],
    scale: NDArray[np.float64],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    *,
    most: int,
) -> NDArray[np.float64]:
    """Return for each guess how much of up to `most` edges each way lies on lines, 0 to 2."""
    hits = np.zeros(len(scale))
    for sheet, part in zip(near, edges, strict=True):
        step = -(-len(part.points) // most)
        some = part.points[::step, 1::5].reshape(-1, 2)
        at_x = (scale[:, None] * some[:, 0] + x[:, None]).astype(np.intp)
        at_y = (scale[:, None] * some[:, 1] + y[:, None]).astype(np.intp)
        hits += sheet.pixels[sheet.at(at_x, at_y)].mean(axis=1)
    return hits


def _refine(
    sheets: tuple[Sheet, Sheet],
    edges: tuple[Edges, Edges],
    matrix: Matrix,
    reach: int,
    *,
    affine: bool,
) -> Matrix:
    """Return the transform that best lays the edges on the lines within `reach` of them.

    An edge only says where it lies across itself: a level one gives y, an upright one x.
    """
    rows, offs = [], []
    for sheet, part in zip(sheets, edges, strict=True):
        at = transform_points(matrix, part.points).reshape(part.points.shape)
        off, hit = _offsets(sheet, at, part.across, reach)
        # In units of about 1, so that the moments below are well conditioned.
        x, y = part.points[hit].T / SIDE
        one = np.ones_like(x)
        if affine:  # of the changes a b c in x' = a x + b y + c, and likewise of those in y'
            row = [x, y, one]
        else:  # of the changes a b c f: x' = a x - b y + c, y' = b x + a y + f
            zero = np.zeros_like(x)
            row = [y, x, zero, one] if part.across == 1 else [x, -y, one, zero]
        rows.append(np.stack(row, axis=1))
        offs.append(off[hit])
    if sum(len(off) for off in offs) < 3 * _SAMPLES:
        return matrix
    if affine:
        change = np.array([_fit(rows[1], offs[1]), _fit(rows[0], offs[0]), [0, 0, 0]])
    else:
        a, b, c, f = _fit(np.concatenate(rows), np.concatenate(offs))
        change = np.array([[a, -b, c], [b, a, f], [0, 0, 0]])
    refined: Matrix = matrix + change / (SIDE, SIDE, 1)
    return refined


def _fit(system: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the robust least squares solution; what the rows leave open stays 0."""
    count = system.shape[1]
    least = 1e-9 * (1 + len(system)) * np.eye(count)
    weighted = system
    solution = np.zeros(count, np.float64)
    for _ in range(3):  # reweighted, since some of the lines belong to something else
        moments = weighted.T @ system + least
        solution = np.asarray(np.linalg.solve(moments, weighted.T @ target), np.float64)
        weighted = system / (1 + (system @ solution - target) ** 2)[:, None]
    return solution
