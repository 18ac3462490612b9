"""What a page says for and against a placement: frames found, missing, and beyond its edges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry import Matrix, corners, transform_box, transform_points
from pipeline.placing.edges import FINE, SAMPLES, FrameEdges, PaddedMask, near_points, pad
from pipeline.placing.page_rules import PageRules
from pipeline.types import Box

SIDES: Final = ("left", "top", "right", "bottom")

_ON_LINE: Final = 0.65  # of an edge's points: so many lie on a line where there is one
_LEAST_SEEN: Final = (
    0.4  # of an edge's points: with fewer on the page, nothing is known of the edge
)
_RIM: Final = 4.0  # pixels of the small copy along the page's edge, where a line may be cut off
_BESIDE: Final = 3 * FINE + 1  # pixels: an edge, and as wide a stretch on either side of it
# What printers, scanners and cameras do to a page; more than that is a fit gone wrong.
_MAX_STRETCH: Final = 1.15  # of one direction against the other
_MAX_SHEAR: Final = 0.1
# Of the page's or the scan's area, the smaller one, that both have in common: a scan shows most of
# its page, or little else.
_MIN_COMMON: Final = 0.5


@dataclass(frozen=True, slots=True)
class RuledLines:
    """The lines of a page, ready to be looked up.

    `size` is the (width, height) of their small copy, `to_page` the transform from it to the page,
    and `page` the (height, width) of the page.
    """

    masks: tuple[PaddedMask, PaddedMask]
    size: tuple[int, int]
    to_page: Matrix
    page: tuple[int, int]

    @classmethod
    def of(cls, rules: PageRules) -> RuledLines:
        height, width = rules.horizontal.shape
        masks = (pad(rules.horizontal), pad(rules.vertical))
        return cls(masks, (width, height), rules.to_page, rules.page)


@dataclass(frozen=True, slots=True)
class Evidence:
    """For each edge of the frames: was it `found`, and was its place `seen`? Both are (edges,).

    An edge whose place is beyond the page's edge is neither found nor missing.
    """

    found: NDArray[np.bool_]
    seen: NDArray[np.bool_]

    @property
    def score(self) -> float:
        """The share of all edges that were found, 0 to 1."""
        return float(self.found.mean())

    @property
    def net(self) -> int:
        """The number of edges that were found, less those that are missing from what is seen."""
        return int(self.found.sum()) - int((self.seen & ~self.found).sum())


@dataclass(frozen=True, slots=True)
class Candidate:
    """A placement, from the units of the edges to the small copy, and the evidence for it."""

    matrix: Matrix
    evidence: Evidence


def look_up(lines: RuledLines, edges: FrameEdges, matrix: Matrix) -> Evidence:
    """Return which edges lie on a line, and not amid lines on both sides (noise)."""
    (found,) = look_up_all(lines, edges, [matrix])
    return found


def look_up_all(lines: RuledLines, edges: FrameEdges, matrices: Sequence[Matrix]) -> list[Evidence]:
    """Return the evidence for each placement: of few edges, it takes little longer than for one."""
    if not matrices:
        return []
    found, seen = [], []
    height, width = lines.page
    rim = _RIM * float(np.sqrt(abs(np.linalg.det(lines.to_page[:2, :2]))))
    for mask, part in zip(lines.masks, edges.ways, strict=True):
        at = np.stack([transform_points(matrix, part.points) for matrix in matrices])
        at = at.reshape(len(matrices), *part.points.shape)
        pixels = near_points(mask, np.rint(at).astype(np.intp), part.across, _BESIDE)
        passing = pixels.reshape(3, 2 * FINE + 1, *at.shape[:-1]).max(axis=1)
        on_page = transform_points(lines.to_page, at).reshape(at.shape)
        inside = ((on_page >= rim) & (on_page <= (width - rim, height - rim))).all(axis=-1)
        known = inside.sum(axis=-1)
        before, on, after = (passing & inside).sum(axis=-1, dtype=np.intp)
        there = (on - np.minimum(before, after)) / np.maximum(known, 1) >= _ON_LINE
        enough = known >= _LEAST_SEEN * SAMPLES
        found.append(there & enough)
        seen.append(enough)
    both = zip(np.concatenate(found, axis=1), np.concatenate(seen, axis=1), strict=True)
    return [Evidence(*each) for each in both]


def is_possible(matrix: Matrix, page: tuple[float, float], lines: RuledLines) -> bool:
    """Say whether a scan may lie so: neither bent nor bare, and mostly of its page.

    `page` is the (width, height) of the template's page in the units that `matrix` takes.
    """
    linear = matrix[:2, :2]
    across, down = np.hypot(*linear)  # the lengths of its columns
    if not np.isfinite(matrix).all() or np.linalg.det(linear) <= 0 or min(across, down) < 1e-3:
        return False
    shear = abs(float(linear[:, 0] @ linear[:, 1])) / (across * down)
    if abs(np.log(across / down)) > np.log(_MAX_STRETCH) or shear > _MAX_SHEAR:
        return False
    return common_share(matrix, page, lines) >= _MIN_COMMON


def common_share(matrix: Matrix, page: tuple[float, float], lines: RuledLines) -> float:
    """Return what the template's page and the scan have in common, as a share of the smaller."""
    box = transform_box(matrix, Box(0, 0, *page))
    wide = min(box.x + box.w, lines.size[0]) - max(box.x, 0)
    high = min(box.y + box.h, lines.size[1]) - max(box.y, 0)
    smaller = min(box.w * box.h, lines.size[0] * lines.size[1])
    return max(wide, 0.0) * max(high, 0.0) / smaller


def lost_frames(evidence: Evidence, edges: FrameEdges) -> NDArray[np.bool_]:
    """Return which frames are missing from the page, (frames,): all was seen, next to none found.

    Frames of a table share edges, so one may be there of a frame that is not.
    """
    found, seen = evidence.found[edges.of_frame], evidence.seen[edges.of_frame]
    return np.asarray(seen.all(axis=1) & (found.sum(axis=1) <= 1))


def vague_frames(evidence: Evidence, edges: FrameEdges) -> NDArray[np.bool_]:
    """Return which frames' places are not confirmed, (frames,), one way or both ways.

    A horizontal edge confirms the height at which a frame lies, a vertical one how far right.
    """
    found, seen = evidence.found[edges.of_frame], evidence.seen[edges.of_frame]
    vague = [seen[:, way].any(axis=1) & ~found[:, way].any(axis=1) for way in ([0, 1], [2, 3])]
    return np.asarray(vague[0] | vague[1])


def cut_sides(matrix: Matrix, page: tuple[float, float], lines: RuledLines) -> tuple[str, ...]:
    """Return at which sides the scan leaves out more than a twentieth of the template's page."""
    quad = transform_points(lines.to_page @ matrix, corners(Box(0, 0, *page)))
    height, width = lines.page
    (left, top), (right, bottom) = quad.min(axis=0), quad.max(axis=0)
    beyond = (-left, -top, right - width, bottom - height)
    lengths = (right - left, bottom - top) * 2
    return tuple(
        side
        for side, off, length in zip(SIDES, beyond, lengths, strict=True)
        if off > 0.05 * length
    )
