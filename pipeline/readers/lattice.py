"""The search through all ways to read a segmentation, for the best strings."""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass
from itertools import count

import numpy as np
from numpy.typing import NDArray

from pipeline.grammar.automaton import FREE, Automaton
from pipeline.readers.segment import Segmentation

MOST = 8  # strings found
RIVALS = 3  # digits of each glyph that are followed: a fourth is never the answer
HOPELESS = 1e-4  # a rival digit less likely than this is not followed either
NEVER = 25.0  # nor a way to read that is e to this less likely than the best legal one


@dataclass(frozen=True, slots=True)
class Path:
    """One way to read: `candidates` are the indices of those taken, left to right."""

    text: str
    score: float  # log
    candidates: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Arc:
    """A candidate taken for a character."""

    character: int  # its column in the automaton
    score: float  # log
    last: int
    candidate: int


# The likeliest way to have read a string and to be at a place: its score, and the candidates
# taken, the last one first.
_Taken = tuple["_Taken", int] | None
_Reached = dict[int, tuple[float, _Taken]]


def best_paths(
    segmentation: Segmentation,
    probabilities: NDArray[np.float32],
    *,
    classes: str,
    automaton: Automaton = FREE,
) -> list[Path]:
    """Return the likeliest strings of `automaton`, best first, each by its likeliest path.

    `probabilities` is (candidates, classes). The search is exact but for what RIVALS, HOPELESS
    and NEVER leave out. It goes through the prefixes best first; what bounds a prefix is the
    likeliest legal way to go on, so that none is taken up in vain.
    """
    places = len(segmentation.skips)
    arcs = _arcs(segmentation, probabilities, classes, automaton)
    onward = _onward(segmentation, arcs, automaton)
    floor = onward[0][0] - NEVER
    if floor == -math.inf:
        return []
    table, accepting = automaton.table.tolist(), automaton.accepting.tolist()
    order = count()
    # Prefixes with their state, and complete strings (no state), by their score.
    start: _Reached = {0: (0.0, None)}
    heap = [(-onward[0][0], next(order), "", 0, start)]
    found: list[Path] = []
    while heap and len(found) < MOST:
        _, _, text, state, reached = heapq.heappop(heap)
        if state < 0:
            score, taken = reached[places]
            found.append(Path(text, score, _unwound(taken)))
            continue
        children: dict[int, _Reached] = {}
        bounds: dict[int, float] = {}
        for place in range(min(reached), places + 1):
            if place not in reached:
                continue
            score, taken = reached[place]
            if place == places or score + onward[place][state] < floor:
                continue
            _offer(reached, place + 1, score + segmentation.skips[place], taken)
            for arc in arcs[place]:
                following = table[state][arc.character]
                if following < 0:
                    continue
                through = score + arc.score
                bound = through + onward[arc.last][following]
                if bound >= floor:
                    child = children.setdefault(arc.character, {})
                    _offer(child, arc.last, through, (taken, arc.candidate))
                    bounds[arc.character] = max(bound, bounds.get(arc.character, bound))
        if accepting[state] and places in reached:
            end = {places: reached[places]}
            if reached[places][0] >= floor:
                heapq.heappush(heap, (-reached[places][0], next(order), text, -1, end))
        for character, child in children.items():
            following = table[state][character]
            longer = text + automaton.characters[character]
            heapq.heappush(heap, (-bounds[character], next(order), longer, following, child))
    # Bounds are sums in another order, so that equals may have come out the wrong way round.
    return sorted(found, key=lambda path: -path.score)


def _arcs(
    segmentation: Segmentation,
    probabilities: NDArray[np.float32],
    classes: str,
    automaton: Automaton,
) -> list[list[_Arc]]:
    """Return what may be taken at each place."""
    arcs: list[list[_Arc]] = [[] for _ in segmentation.skips]
    columns = [automaton.characters.find(c) for c in classes]
    likeliest = np.argsort(-probabilities, axis=1)[:, :RIVALS].tolist()
    for index, (candidate, row, order) in enumerate(
        zip(segmentation.candidates, probabilities.tolist(), likeliest, strict=True)
    ):
        arcs[candidate.first] += [
            _Arc(columns[k], candidate.prior + math.log(row[k]), candidate.last, index)
            for k in order
            if row[k] > HOPELESS and columns[k] >= 0
        ]
    return arcs


def _onward(
    segmentation: Segmentation, arcs: list[list[_Arc]], automaton: Automaton
) -> list[list[float]]:
    """Return the log of the likeliest legal way to the end, from each place in each state."""
    places = len(segmentation.skips)
    # One state more, the last, from which nothing is legal: where -1 points to.
    onward = np.full((places + 1, len(automaton.table) + 1), -np.inf)
    onward[places, :-1][automaton.accepting] = 0.0
    for place in reversed(range(places)):
        here = onward[place, :-1]
        np.add(onward[place + 1, :-1], segmentation.skips[place], out=here)
        if arcs[place]:
            lasts, characters = [a.last for a in arcs[place]], [a.character for a in arcs[place]]
            taken = onward[lasts, automaton.table[:, characters]]  # (states, arcs)
            taken += [a.score for a in arcs[place]]
            np.maximum(here, taken.max(axis=1), out=here)
    result: list[list[float]] = onward.tolist()
    return result


def _offer(reached: _Reached, place: int, score: float, taken: _Taken) -> None:
    known = reached.get(place)
    if known is None or known[0] < score:
        reached[place] = (score, taken)


def _unwound(taken: _Taken) -> tuple[int, ...]:
    candidates = []
    while taken is not None:
        taken, candidate = taken
        candidates.append(candidate)
    return tuple(reversed(candidates))


def path_probabilities(paths: list[Path], rival: float = 0.0) -> list[float]:
    """Return the probability of each path among its rivals; together at most 1.

    `rival` is the weight of what is no path here.
    """
    weights = [math.exp(path.score) for path in paths]
    total = max(1.0, math.fsum(weights) + rival)
    return [weight / total for weight in weights]
