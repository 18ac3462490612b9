"""Find the regular grid of a comb's separators in a profile of how dark the columns are.

A separator may be faint or dotted, and too light for the threshold of the ink. But it is there in
nearly every row of the box, as no stroke of a digit is, and its neighbours stand at the same
distance. So of all grids, the one with most of its lines on dark columns is the comb's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Profile = NDArray[np.float32]

MIN_CELLS: Final = 4  # fewer cells make no grid
MAX_CELLS: Final = 20
FAINT: Final = 10.0  # of 255: the darkness of a separator is at least a 25th of the ink's
_CELL_ASPECT: Final = (0.55, 2.4)  # a cell's width over its height
_MIN_PITCH: Final = 6  # pixels
_MAX_PEAKS: Final = 20  # the strongest: a comb's lines and some spare


@dataclass(frozen=True, slots=True)
class ColumnProfile:
    """How dark each column of a box is in nearly all its rows, (width,), 0 to 255.

    `separator` is the darkness from which a column may be a separator. `peaks` are the columns
    darker than those beside them, in order.
    """

    darkness: Profile
    separator: float
    peaks: NDArray[np.intp]

    def hits(self) -> Profile:
        """Return how surely there is a separator at each column or beside it, 0 to 1."""
        # A line that is a pixel off is still on the grid.
        near = np.asarray(cv2.dilate(self.darkness[None], np.ones((1, 3), np.uint8))).ravel()
        hits: Profile = np.clip(near / self.separator - 0.5, 0, 1)
        return hits

    def at(self, columns: Floats) -> NDArray[np.intp]:
        """Return the index of the column nearest to each of `columns`."""
        return np.clip(np.rint(columns), 0, len(self.darkness) - 1).astype(np.intp)


def column_profile(darkness: Profile) -> ColumnProfile:
    """Return the profile of `darkness`, (width,), with its peaks."""
    # Where paper has a texture, its columns are dark too.
    separator = max(FAINT, 4 * float(np.median(darkness)))
    return ColumnProfile(darkness, separator, _find_peaks(darkness, 0.75 * separator))


def _find_peaks(darkness: Profile, least: float) -> NDArray[np.intp]:
    """Return the strongest columns as dark as `least` and as those beside them, in order."""
    highest = np.asarray(cv2.dilate(darkness[None], np.ones((1, 5), np.uint8))).ravel()
    peaks = np.flatnonzero((darkness >= highest) & (darkness >= least))
    if len(peaks) > 1:  # a plateau is one peak
        peaks = peaks[np.concatenate([[True], np.diff(peaks) > 2])]
    strongest = peaks[np.argsort(-darkness[peaks], kind="stable")[:_MAX_PEAKS]]
    return np.sort(strongest)


def best_grid(
    profile: ColumnProfile, border_cover: Floats, height: float, cells: int | None
) -> tuple[float, Floats | None]:
    """Return the score of the best grid and the columns of its lines, (cells + 1,).

    `border_cover` is the share of the borders above and below that is printed at each column, 0
    to 1; `height` is how far apart they are. `cells` is the number of cells where it is known. A
    missing line costs as much as a present one gains, and so does a cell without borders. Without
    a grid that gains anything the score is 0, and the columns are None.
    """
    peaks, hits = profile.peaks, profile.hits()
    width = len(hits)
    # Every pair of peaks, some cells apart, makes a grid; its lines go on over the whole width.
    first, second = np.triu_indices(len(peaks), 1)
    apart = (peaks[second] - peaks[first]).astype(np.float64)
    pitch = apart[:, None] / np.arange(1, (cells or MAX_CELLS) + 1)
    fits = (pitch >= _CELL_ASPECT[0] * height) & (pitch <= _CELL_ASPECT[1] * height)
    fits &= pitch >= _MIN_PITCH
    if cells is not None:
        fits &= pitch * (cells - 0.5) <= width
    pair, _ = np.nonzero(fits)
    if len(pair) == 0:
        return 0.0, None
    pitches = pitch[fits]
    numbers = np.arange(-2, int(width / pitches.min()) + 3)
    lines = (peaks[first[pair]] % pitches)[:, None] + pitches[:, None] * numbers
    index = np.rint(lines).astype(np.intp)
    inside = np.clip(index, 0, width - 1)
    gains = np.where(index == inside, hits[inside], 0) - 0.5
    sums = np.concatenate([np.zeros((len(gains), 1)), np.cumsum(gains, axis=1)], axis=1)
    covered = np.concatenate([[0.0], np.cumsum(border_cover)])[np.clip(index, 0, width)]
    next_cell = np.diff(covered, axis=1) / pitches[:, None]  # the cover behind each line
    best: tuple[float, Floats | None] = (0.0, None)
    for count in [cells] if cells is not None else range(MIN_CELLS, MAX_CELLS + 1):
        last = gains.shape[1] - count - 1  # the first line is one of 1 to last - 1
        if last < 2:
            break
        scores = sums[:, count + 2 : count + 1 + last] - sums[:, 1:last]
        bordered = covered[:, count + 1 : count + last] - covered[:, 1:last]
        scores += bordered / pitches[:, None] - 0.5 * count
        # The borders end where the comb ends.
        scores -= next_cell[:, : last - 1] + next_cell[:, count + 1 : count + last]
        row, column = np.unravel_index(int(scores.argmax()), scores.shape)
        score = float(scores[row, column])
        if score > best[0]:
            best = score, lines[row, column + 1 : column + count + 2]
    return best


def refine_grid(lines: Floats, profile: ColumnProfile) -> Floats:
    """Return the lines at the darkest columns near them.

    A line that is not seen, or is more than two pixels off the straight fit through the others,
    goes where the fit says.
    """
    darkness = profile.darkness
    reach = np.arange(-3, 4)
    index = np.rint(lines)[:, None].astype(np.intp) + reach
    inside = (index >= 0) & (index < len(darkness))
    around = np.where(inside, darkness[np.clip(index, 0, len(darkness) - 1)], 0)
    seen = around.max(axis=1) >= 0.75 * profile.separator
    weight = around.sum(axis=1)
    centres = np.rint(lines) + (around @ reach) / np.maximum(weight, 1e-6)
    if seen.sum() < 3:
        return lines
    numbers = np.arange(len(lines))
    slope, offset = np.polyfit(numbers[seen], centres[seen], 1)
    fitted = offset + slope * numbers
    return np.asarray(np.where(seen & (np.abs(centres - fitted) <= 2), centres, fitted))
