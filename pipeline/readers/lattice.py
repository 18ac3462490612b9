"""The search through all ways to read a segmentation, for the best string and its rivals."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.segment import Segmentation

BEAM = 8  # rivals kept at each place
LONG = 40  # pieces: no number has more; only the best way is followed
RIVALS = 3  # digits of each glyph that are followed: a fourth is never the answer
HOPELESS = 1e-4  # a rival digit less likely than this is not followed either


@dataclass(frozen=True, slots=True)
class Path:
    """One way to read: `candidates` are the indices of those taken, left to right."""

    text: str
    score: float  # log
    candidates: tuple[int, ...]


def best_paths(
    segmentation: Segmentation,
    probabilities: NDArray[np.float32],
    *,
    classes: str,
    lengths: tuple[int, int] | None = None,
    accepts: Callable[[str], bool] | None = None,
) -> list[Path]:
    """Return the likeliest strings, best first, each by its likeliest path.

    `probabilities` is (candidates, classes). With `lengths`, only strings of so many characters
    are searched for; with `accepts`, only those that it accepts are returned.
    """
    places = len(segmentation.skips)
    arcs: list[list[int]] = [[] for _ in range(places)]
    for index, candidate in enumerate(segmentation.candidates):
        arcs[candidate.first].append(index)
    logs = np.log(np.maximum(probabilities, 1e-12))
    rivals = [
        [(classes[digit], float(logs[index, digit])) for digit in order if row[digit] > HOPELESS]
        for index, (row, order) in enumerate(
            zip(probabilities, np.argsort(-probabilities, axis=1)[:, :RIVALS], strict=True)
        )
    ]
    most = lengths[1] if lengths else places
    beams: list[dict[int, dict[str, Path]]] = [{} for _ in range(places + 1)]
    width = BEAM if places <= LONG else 1
    beams[0] = {0: {"": Path("", 0.0, ())}}
    for place in range(places):
        for count, beam in beams[place].items():
            # Without bounds on the length one beam serves strings of every length.
            for path in heapq.nlargest(width, beam.values(), key=lambda path: path.score):
                skipped = path.score + segmentation.skips[place]
                _offer(beams[place + 1], count, Path(path.text, skipped, path.candidates))
                if count >= most:
                    continue
                for index in arcs[place]:
                    candidate = segmentation.candidates[index]
                    for digit, log in rivals[index]:
                        taken = Path(
                            path.text + digit,
                            path.score + candidate.prior + log,
                            (*path.candidates, index),
                        )
                        _offer(beams[candidate.last], count + 1 if lengths else 0, taken)
    ends = [
        path
        for count, beam in beams[places].items()
        if lengths is None or lengths[0] <= count <= lengths[1]
        for path in beam.values()
        if accepts is None or accepts(path.text)
    ]
    return heapq.nlargest(BEAM, ends, key=lambda path: path.score)


def shares(paths: list[Path], rival: float = 0.0) -> list[float]:
    """Return the probability of each path among its rivals; together at most 1.

    `rival` is the weight of what is no path here.
    """
    weights = [math.exp(path.score) for path in paths]
    total = max(1.0, math.fsum(weights) + rival)
    return [weight / total for weight in weights]


def _offer(beams: dict[int, dict[str, Path]], count: int, path: Path) -> None:
    beam = beams.setdefault(count, {})
    known = beam.get(path.text)
    if known is None or known.score < path.score:
        beam[path.text] = path
