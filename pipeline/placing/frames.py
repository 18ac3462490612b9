"""Find where a template's frames lie on a page, by the page's ruled lines.

A long horizontal line of the page, taken for a horizontal edge of a frame, gives a scale and a
position: a first guess. The guess under which most edges lie on lines is refined by least squares.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.geometry import Matrix, invert, scaling, transform_points, translation
from pipeline.placing.edges import (
    COARSE,
    FINE,
    SAMPLES,
    Edges,
    FrameEdges,
    PaddedMask,
    find_edges,
    offsets,
    pad,
)
from pipeline.placing.evidence import (
    Candidate,
    RuledLines,
    cut_sides,
    is_possible,
    look_up,
    lost_frames,
    vague_frames,
)
from pipeline.placing.page_rules import RULES_LONG_SIDE, PageRules
from pipeline.placing.rivals import outdo_rivals
from pipeline.types import Box

_PAIRED: Final = 48  # the longest lines of page and template that first guesses are made from
_SHORTLIST: Final = 150  # first guesses that are scored by many edges, not by a few
_REFINED: Final = 6  # the best first guesses, which are refined
_GLANCED: Final = 20  # the longest lines of page and template for a first impression of a template
_GLANCE_SHORTLIST: Final = 40
_DRAWN: Final = 3  # pixels, the width of a line on a page that is only imagined
_MAX_SCALE: Final = 3.0  # how much larger or smaller than the scan the template's page may be
_UNRIVALLED: Final = 0.99  # the score, less the loss below, at which no rival need be looked at
_SCALE_LOSS: Final = 0.05  # what a guess loses against its rivals if its scale is off by e
_MIN_AFFINE: Final = 16  # edges for an affine fit: a template of one frame must not be bent


@dataclass(frozen=True, slots=True)
class FrameMatch:
    """Where a template's frames lie on a page.

    `matrix` leads from fractions of the template's page to pixels of the scan. `score` is the share
    of the frames' edges that are found where they belong, 0 to 1. `doubt` says in words why they
    may lie elsewhere, and `cut` at which sides the page seems to be cut off. `lost` and `vague` are
    (frames,): frames that are missing from what is seen of the page, and frames whose place is not
    confirmed by edges of their own, either way.
    """

    matrix: Matrix
    score: float
    doubt: str | None
    cut: tuple[str, ...]
    lost: NDArray[np.bool_]
    vague: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class LongLines:
    """The horizontal lines of a page, longest first, and where any line is near.

    `x`, `y` and `width` are (lines,) in pixels of the page's small copy, which is `size` (width,
    height): the left end, the height and the length of each. `near` are the masks of horizontal
    and vertical lines, each line as wide as a first guess may miss it.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    width: NDArray[np.float64]
    near: tuple[PaddedMask, PaddedMask]
    size: tuple[int, int]


def find_long_lines(rules: PageRules) -> LongLines:
    """Return what first guesses need of a page's lines: it is the same for every template."""
    # Outlines take a tenth of the time of labels, and tell as much of long thin lines.
    outlines, _ = cv2.findContours(rules.horizontal, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    boxes = np.array([cv2.boundingRect(outline) for outline in outlines], np.float64).reshape(-1, 4)
    order = np.argsort(-boxes[:, 2], kind="stable")[:_PAIRED]
    y = np.array([cv2.mean(outlines[i])[1] for i in order])
    height, width = rules.horizontal.shape
    return LongLines(boxes[order, 0], y, boxes[order, 2], _widened(rules), (width, height))


def glance(lines: LongLines, frames: Sequence[Box], page: tuple[float, float]) -> float:
    """Return a first impression of how well a template's frames fit a page, 0 to 1.

    This is the share of edges that lie near some line under the best of a few first guesses, at a
    tenth of the time of `match_frames`. `frames` and `page` are those of `match_frames`.
    """
    unit = RULES_LONG_SIDE / max(page)
    edges = find_edges(frames, scaling(page[0] * unit, page[1] * unit)).ways
    whole = min(lines.size[0] / page[0], lines.size[1] / page[1]) / unit
    _, hits = _score_guesses(lines, edges, whole, paired=_GLANCED, shortlist=_GLANCE_SHORTLIST)
    return float(hits.max()) / 2 if len(hits) else 0.0


def draw_rules(frames: Sequence[Box], page: tuple[float, float]) -> PageRules:
    """Return the ruled lines of an empty page that has these frames; see `match_frames`."""
    unit = RULES_LONG_SIDE / max(page)
    masks = []
    for part in find_edges(frames, scaling(page[0] * unit, page[1] * unit)).ways:
        mask = np.zeros((round(page[1] * unit), round(page[0] * unit)), np.uint8)
        half = (part.points[:, 1] - part.points[:, 0]) / 2  # from an outer sample to the corner
        ends = np.stack([part.points[:, 0] - half, part.points[:, -1] + half], axis=1)
        for start, end in np.rint(ends).astype(int).tolist():
            cv2.line(mask, start, end, 1, _DRAWN)
        masks.append(mask)
    height, width = masks[0].shape
    return PageRules(masks[0], masks[1], np.eye(3), 0.0, (height, width))


def count_edges(frames: Sequence[Box]) -> int:
    """Return the number of edges that `match_frames` looks for."""
    return find_edges(frames, np.eye(3)).count


def match_frames(
    rules: PageRules, frames: Sequence[Box], page: tuple[float, float]
) -> FrameMatch | None:
    """Find where a template's frames lie on a page, and whether they may lie elsewhere.

    `frames` are in fractions of the template's page, whose (width, height) is `page` in any unit.
    None where nothing on the page looks like them.
    """
    height, width = rules.horizontal.shape
    unit = RULES_LONG_SIDE / max(page)
    size = (page[0] * unit, page[1] * unit)
    edges = find_edges(frames, scaling(*size))
    whole = min(width / size[0], height / size[1])  # the scale if the scan is the page
    lines = RuledLines.of(rules)

    def settle(guess: Matrix) -> Matrix:
        return _settle(lines.masks, edges, guess)

    tried: list[Candidate] = []
    for guess in _guesses(rules, edges.ways, whole):
        matrix = settle(guess)
        if not is_possible(matrix, size, lines):
            continue
        tried.append(Candidate(matrix, look_up(lines, edges, matrix)))
        # Few edges must all be found, at about the expected scale: no rival can do better.
        score = tried[-1].evidence.score
        if score > 0.9 and (
            edges.count >= _MIN_AFFINE or score - _scale_loss(matrix, whole) > _UNRIVALLED
        ):
            break
    if not tried:
        return None
    first = max(
        tried,
        key=lambda found: found.evidence.net / edges.count - 2 * _scale_loss(found.matrix, whole),
    )
    best, doubt = outdo_rivals(first, tried, frames, lines, edges, size, settle)
    return FrameMatch(
        rules.to_page @ best.matrix @ scaling(*size),
        best.evidence.score,
        doubt,
        cut_sides(best.matrix, size, lines),
        lost_frames(best.evidence, edges),
        vague_frames(best.evidence, edges),
    )


def _scale_loss(matrix: Matrix, whole: float) -> float:
    return _SCALE_LOSS * abs(float(np.log(max(float(matrix[0, 0]), 1e-6) / whole)))


def find_frames(
    rules: PageRules, frames: Sequence[Box], page: tuple[float, float], matrix: Matrix
) -> NDArray[np.bool_]:
    """Say of each frame whether at least two of its four edges are found where they belong.

    `matrix` is an affine map from fractions of the template's page, whose size is `page`, to
    pixels of the page that has the `rules`. Returns (frames,).
    """
    unit = RULES_LONG_SIDE / max(page)
    to_units = scaling(page[0] * unit, page[1] * unit)
    edges = find_edges(frames, to_units)
    evidence = look_up(
        RuledLines.of(rules), edges, invert(rules.to_page) @ matrix @ invert(to_units)
    )
    return np.asarray(evidence.found[edges.of_frame].sum(axis=1) >= 2)


def _settle(masks: tuple[PaddedMask, PaddedMask], edges: FrameEdges, guess: Matrix) -> Matrix:
    """Return the transform near a guess that best lays the edges on the lines."""
    matrix = guess
    for reach in (COARSE, COARSE, 5, FINE, FINE):
        affine = reach < COARSE and edges.count >= _MIN_AFFINE
        matrix = _refine(masks, edges.ways, matrix, reach, affine=affine)
    return matrix


def _guesses(rules: PageRules, edges: tuple[Edges, Edges], whole: float) -> list[Matrix]:
    """Return likely placements, best first: each lays one printed edge on one line of the page.

    `whole` is the scale at which the scan is the template's whole page.
    """
    lines = find_long_lines(rules)
    (scale, x, y), hits = _score_guesses(lines, edges, whole, paired=_PAIRED, shortlist=_SHORTLIST)
    hits -= _SCALE_LOSS * np.abs(np.log(scale / whole))
    chosen: list[int] = []
    middle_x, middle_y = edges[0].points.reshape(-1, 2).mean(axis=0)
    place = np.stack(
        [x + scale * middle_x, y + scale * middle_y, RULES_LONG_SIDE * np.log(scale)], axis=1
    )
    left = np.argsort(-hits, kind="stable")
    while len(left) and len(chosen) < _REFINED:
        chosen.append(int(left[0]))
        left = left[np.abs(place[left] - place[left[0]]).max(axis=1) > COARSE]
    return [translation(x[i], y[i]) @ scaling(scale[i]) for i in chosen]


def _score_guesses(
    lines: LongLines, edges: tuple[Edges, Edges], whole: float, *, paired: int, shortlist: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return guesses, (3, guesses) of scale, x and y, and how much of the edges each explains.

    The latter is 0 to 2, half of it for either direction. The skew is undone, so the lengths and
    positions of two horizontal lines determine a placement; `paired` lines are tried with as many
    edges.
    """
    points = edges[0].points
    widths = (points[:, -1, 0] - points[:, 0, 0]) * SAMPLES / (SAMPLES - 1)
    longest = np.argsort(-widths, kind="stable")[:paired]
    edge_w = widths[longest]
    edge_x, edge_y = points[longest].mean(axis=1).T
    line_x, line_y, line_w = lines.x[:paired], lines.y[:paired], lines.width[:paired]
    scale = line_w[:, None] / edge_w
    x = (line_x + line_w / 2)[:, None] - scale * edge_x
    y = line_y[:, None] - scale * edge_y
    likely = np.abs(np.log(scale / whole)) < np.log(_MAX_SCALE)
    guesses = np.stack([scale[likely], x[likely], y[likely]])
    # A few edges sort out most of the guesses, all of them the rest.
    hits = _hits(lines.near, edges, *guesses, most=12)
    hits -= _SCALE_LOSS * np.abs(np.log(guesses[0] / whole))
    some = np.argsort(-hits, kind="stable")[:shortlist]
    guesses = guesses[:, some]
    return guesses, _hits(lines.near, edges, *guesses, most=200)


def _widened(rules: PageRules) -> tuple[PaddedMask, PaddedMask]:
    """Return the lines, each as wide as a first guess may miss it."""
    wide = np.ones(2 * COARSE + 1, np.uint8)
    return (
        pad(np.asarray(cv2.dilate(rules.horizontal, wide[:, None]), np.uint8)),
        pad(np.asarray(cv2.dilate(rules.vertical, wide[None, :]), np.uint8)),
    )


def _hits(
    near: tuple[PaddedMask, PaddedMask],
    edges: tuple[Edges, Edges],
    scale: NDArray[np.float64],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    *,
    most: int,
) -> NDArray[np.float64]:
    """Return for each guess how much of up to `most` edges each way lies on lines, 0 to 2."""
    hits = np.zeros(len(scale))
    for mask, part in zip(near, edges, strict=True):
        step = -(-len(part.points) // most)
        some = part.points[::step, 1::5].reshape(-1, 2)
        at_x = (scale[:, None] * some[:, 0] + x[:, None]).astype(np.intp)
        at_y = (scale[:, None] * some[:, 1] + y[:, None]).astype(np.intp)
        hits += mask.pixels[mask.at(at_x, at_y)].mean(axis=1)
    return hits


def _refine(
    masks: tuple[PaddedMask, PaddedMask],
    edges: tuple[Edges, Edges],
    matrix: Matrix,
    reach: int,
    *,
    affine: bool,
) -> Matrix:
    """Return the transform that best lays the edges on the lines within `reach` of them.

    An edge only says where it lies across itself: a horizontal one gives y, a vertical one x.
    Without `affine`, the transform may only turn, scale and move.
    """
    rows, offs = [], []
    for mask, part in zip(masks, edges, strict=True):
        at = transform_points(matrix, part.points).reshape(part.points.shape)
        off, hit = offsets(mask, at, part.across, reach)
        # In units of about 1, so that the moments below are well conditioned.
        x, y = part.points[hit].T / RULES_LONG_SIDE
        one = np.ones_like(x)
        if affine:  # of the changes a b c in x' = a x + b y + c, and likewise of those in y'
            row = [x, y, one]
        else:  # of the changes a b c f: x' = a x - b y + c, y' = b x + a y + f
            zero = np.zeros_like(x)
            row = [y, x, zero, one] if part.across == 1 else [x, -y, one, zero]
        rows.append(np.stack(row, axis=1))
        offs.append(off[hit])
    if sum(len(off) for off in offs) < 3 * SAMPLES:
        return matrix
    if affine:
        change = np.array([_fit(rows[1], offs[1]), _fit(rows[0], offs[0]), [0, 0, 0]])
    else:
        a, b, c, f = _fit(np.concatenate(rows), np.concatenate(offs))
        change = np.array([[a, -b, c], [b, a, f], [0, 0, 0]])
    refined: Matrix = matrix + change / (RULES_LONG_SIDE, RULES_LONG_SIDE, 1)
    return refined


def _fit(system: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the robust least squares solution; what the rows do not determine stays 0."""
    count = system.shape[1]
    least = 1e-9 * (1 + len(system)) * np.eye(count)
    weighted = system
    solution = np.zeros(count, np.float64)
    for _ in range(3):  # reweighted, since some of the lines belong to something else
        moments = weighted.T @ system + least
        solution = np.asarray(np.linalg.solve(moments, weighted.T @ target), np.float64)
        weighted = system / (1 + (system @ solution - target) ** 2)[:, None]
    return solution
