"""What the figures of a reader mean: intervals, errors by character, calibration, risk.

Pure arithmetic over counts, confidences and strings. A reading has a confidence in [0, 1]; where
no value came out of a field there is nothing to release, whatever the threshold.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from core.intervals import at_most, upper_bound

HIGH_CONFIDENCE = 0.99  # from here on the reports count a reading as confident
_LEAST_IN_A_BIN = 20  # fewer say nothing of a share
_MOST_BINS = 15


def wilson(part: int, count: int) -> tuple[float, float]:
    """The 95 % interval of the share `part` of `count` (Wilson 1927); 0 to 1 of nothing."""
    if count == 0:
        return 0.0, 1.0
    z = 1.959964
    share = part / count
    wide = 1 + z * z / count
    middle = (share + z * z / (2 * count)) / wide
    half = z * math.sqrt(share * (1 - share) / count + (z / (2 * count)) ** 2) / wide
    return max(0.0, middle - half), min(1.0, middle + half)


def edit_distance(read: str, truth: str) -> int:
    """The fewest characters to insert, delete or replace (Levenshtein 1966)."""
    row = list(range(len(truth) + 1))
    for i, left in enumerate(read, start=1):
        corner, row[0] = row[0], i
        for j, right in enumerate(truth, start=1):
            corner, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, corner + (left != right))
    return row[-1]


def character_error_rate(pairs: Sequence[tuple[str, str]]) -> float:
    """Edits by characters of the truth, over all pairs of (read, truth); may pass 1."""
    characters = sum(len(truth) for _, truth in pairs)
    edits = sum(edit_distance(read, truth) for read, truth in pairs)
    return edits / characters if characters else float(edits > 0)


@dataclass(frozen=True, slots=True)
class Bin:
    """Readings of like confidence."""

    count: int
    confidence: float  # mean
    accuracy: float  # share that is right

    @property
    def interval(self) -> tuple[float, float]:
        return wilson(round(self.accuracy * self.count), self.count)


def reliability(confidence: ArrayLike, right: ArrayLike, *, bins: int | None = None) -> list[Bin]:
    """Sort readings by confidence into bins of equal counts, least sure first.

    Without `bins` there are as many as leave each with 20 readings, at most 15 and at least one.
    Readings of one confidence count alike, wherever the border between two bins cuts them.
    """
    sure, hit = np.asarray(confidence, float), np.asarray(right, float)
    if not len(sure):
        return []
    order = np.argsort(sure, kind="stable")
    sure, hit = sure[order], _levelled(sure[order], hit[order])
    wanted = bins or min(_MOST_BINS, max(1, len(sure) // _LEAST_IN_A_BIN))
    return [
        Bin(len(part), float(sure[part].mean()), float(hit[part].mean()))
        for part in np.array_split(np.arange(len(sure)), min(wanted, len(sure)))
    ]


def equal_width_bins(
    confidence: ArrayLike, right: ArrayLike, *, bins: int = _MOST_BINS
) -> list[Bin]:
    """Sort readings by confidence into `bins` equal parts of 0 to 1; empty ones are left out."""
    sure, hit = np.asarray(confidence, float), np.asarray(right, float)
    which = np.minimum((sure * bins).astype(int), bins - 1)
    return [
        Bin(int(part.sum()), float(sure[part].mean()), float(hit[part].mean()))
        for part in (which == number for number in range(bins))
        if part.any()
    ]


def _levelled(keys: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """`values` with each replaced by the mean over equal `keys`."""
    _, where, counts = np.unique(keys, return_inverse=True, return_counts=True)
    means: NDArray[np.float64] = (np.bincount(where, values) / counts)[where]
    return means


def calibration_error(bins: Sequence[Bin]) -> float:
    """Expected calibration error: the mean gap of confidence and accuracy (Naeini et al. 2015)."""
    count = sum(part.count for part in bins)
    return sum(part.count * abs(part.confidence - part.accuracy) for part in bins) / max(count, 1)


@dataclass(frozen=True, slots=True)
class Release:
    """What is released at one threshold, and how much of it is wrong."""

    threshold: float  # readings of at least this confidence
    released: int
    wrong: int
    count: int  # of all readings

    @property
    def coverage(self) -> float:
        return self.released / self.count if self.count else 0.0

    @property
    def risk(self) -> float:
        return self.wrong / self.released if self.released else 0.0

    @property
    def bound(self) -> float:
        """The one-sided 95 % Clopper-Pearson bound of the risk."""
        return upper_bound(self.wrong, self.released) if self.released else 1.0


def releases(confidence: ArrayLike, right: ArrayLike, valued: ArrayLike) -> list[Release]:
    """Return what each threshold releases, the highest first: the risk-coverage curve.

    `valued` says where there is a value to release. Readings of one confidence go together.
    """
    sure, hit = np.asarray(confidence, float), np.asarray(right, bool)
    kept = np.asarray(valued, bool)
    count, sure, hit = len(sure), sure[kept], hit[kept]
    order = np.argsort(-sure, kind="stable")
    sure, wrong = sure[order], np.cumsum(~hit[order])
    last = np.flatnonzero(np.diff(sure, append=-np.inf))  # of readings of one confidence
    return [Release(float(sure[i]), int(i) + 1, int(wrong[i]), count) for i in last]


def released_within(curve: Sequence[Release], budget: float) -> Release | None:
    """The most that can be released with a share of at most `budget` wrong, as observed."""
    return max(
        (point for point in curve if point.risk <= budget),
        key=lambda point: point.released,
        default=None,
    )


def released_surely(curve: Sequence[Release], budget: float) -> Release | None:
    """The most that can be released so that the upper bound of its risk keeps the budget."""
    for point in reversed(curve):
        # The bound is at most the budget where so few would be rare under it: one sum, no search.
        rare = budget >= 1 or at_most(point.wrong, point.released, budget) <= 0.05
        if point.risk <= budget and rare:
            return point
    return None
