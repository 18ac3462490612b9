"""The best strings in a segmentation: a search over all ways to read its pieces of ink."""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass
from itertools import count
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.grammar.automaton import FREE, Automaton
from pipeline.readers.segment import Segmentation

MAX_PATHS: Final = 8  # strings found
TOP_DIGITS: Final = 3  # of each glyph that are followed: a fourth is never the answer
MIN_PROBABILITY: Final = 1e-4  # a less likely digit of a glyph is not followed either
MAX_SCORE_GAP: Final = 25.0  # in log: a path this far below the best legal one is not followed


@dataclass(frozen=True, slots=True)
class Path:
    """One way to read a segmentation.

    `candidates` are the indices of the candidates taken as characters, left to right.
    """

    text: str
    score: float  # log
    candidates: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Arc:
    """A candidate read as one character. Places are between the pieces, 0 to their number."""

    character: int  # the column in the automaton
    score: float  # log
    end: int  # the place after the candidate
    candidate: int


# For each place that a string can reach, its best path to there: the score, and the candidates
# taken, a linked list with the last one first.
_Taken = tuple["_Taken", int] | None
_Reached = dict[int, tuple[float, _Taken]]


def best_paths(
    segmentation: Segmentation,
    probabilities: NDArray[np.float32],
    *,
    classes: str,
    automaton: Automaton = FREE,
) -> list[Path]:
    """Return the MAX_PATHS likeliest strings of `automaton`, best first, each by its best path.

    `probabilities` is (candidates, classes). The search is exact, except for what TOP_DIGITS,
    MIN_PROBABILITY and MAX_SCORE_GAP leave out. It expands prefixes best first (A*): the bound of a
    prefix is the score of its best legal completion, which is exact, so that no prefix is expanded
    in vain.
    """
    places = len(segmentation.skips)
    arcs = _arcs(segmentation, probabilities, classes, automaton)
    completions = _best_completions(segmentation, arcs, automaton)
    floor = completions[0][0] - MAX_SCORE_GAP
    if floor == -math.inf:
        return []
    table, accepting = automaton.table.tolist(), automaton.accepting.tolist()
    order = count()
    # Prefixes with their state by their bound, and complete strings (state -1) by their score.
    start: _Reached = {0: (0.0, None)}
    heap = [(-completions[0][0], next(order), "", 0, start)]
    found: list[Path] = []
    while heap and len(found) < MAX_PATHS:
        _, _, text, state, reached = heapq.heappop(heap)
        if state < 0:
            score, taken = reached[places]
            found.append(Path(text, score, _unlink(taken)))
            continue
        children: dict[int, _Reached] = {}
        bounds: dict[int, float] = {}
        for place in range(min(reached), places + 1):
            if place not in reached:
                continue
            score, taken = reached[place]
            if place == places or score + completions[place][state] < floor:
                continue
            _offer(reached, place + 1, score + segmentation.skips[place], taken)
            for arc in arcs[place]:
                following = table[state][arc.character]
                if following < 0:
                    continue
                through = score + arc.score
                bound = through + completions[arc.end][following]
                if bound >= floor:
                    child = children.setdefault(arc.character, {})
                    _offer(child, arc.end, through, (taken, arc.candidate))
                    bounds[arc.character] = max(bound, bounds.get(arc.character, bound))
        if accepting[state] and places in reached:
            end = {places: reached[places]}
            if reached[places][0] >= floor:
                heapq.heappush(heap, (-reached[places][0], next(order), text, -1, end))
        for character, child in children.items():
            following = table[state][character]
            longer = text + automaton.characters[character]
            heapq.heappush(heap, (-bounds[character], next(order), longer, following, child))
    # Bounds and scores are sums in different orders: equal paths may come out the wrong way round.
    return sorted(found, key=lambda path: -path.score)


def _arcs(
    segmentation: Segmentation,
    probabilities: NDArray[np.float32],
    classes: str,
    automaton: Automaton,
) -> list[list[_Arc]]:
    """Return the arcs that begin at each place."""
    arcs: list[list[_Arc]] = [[] for _ in segmentation.skips]
    columns = [automaton.characters.find(c) for c in classes]
    likeliest = np.argsort(-probabilities, axis=1)[:, :TOP_DIGITS].tolist()
    for index, (candidate, row, order) in enumerate(
        zip(segmentation.candidates, probabilities.tolist(), likeliest, strict=True)
    ):
        arcs[candidate.first] += [
            _Arc(columns[k], candidate.prior + math.log(row[k]), candidate.last, index)
            for k in order
            if row[k] > MIN_PROBABILITY and columns[k] >= 0
        ]
    return arcs


def _best_completions(
    segmentation: Segmentation, arcs: list[list[_Arc]], automaton: Automaton
) -> list[list[float]]:
    """Return the log of the best legal completion by place and state of the automaton."""
    places = len(segmentation.skips)
    # One state more, the last, from which nothing is legal: the -1 of the table points to it.
    best = np.full((places + 1, len(automaton.table) + 1), -np.inf)
    best[places, :-1][automaton.accepting] = 0.0
    for place in reversed(range(places)):
        here = best[place, :-1]
        np.add(best[place + 1, :-1], segmentation.skips[place], out=here)
        if arcs[place]:
            ends, characters = [a.end for a in arcs[place]], [a.character for a in arcs[place]]
            taken = best[ends, automaton.table[:, characters]]  # (states, arcs)
            taken += [a.score for a in arcs[place]]
            np.maximum(here, taken.max(axis=1), out=here)
    result: list[list[float]] = best.tolist()
    return result


def _offer(reached: _Reached, place: int, score: float, taken: _Taken) -> None:
    """Keep a path to a place if it is the best one so far."""
    known = reached.get(place)
    if known is None or known[0] < score:
        reached[place] = (score, taken)


def _unlink(taken: _Taken) -> tuple[int, ...]:
    """Return the candidates of a linked list, the first one first."""
    candidates = []
    while taken is not None:
        taken, candidate = taken
        candidates.append(candidate)
    return tuple(reversed(candidates))


def path_probabilities(paths: list[Path], rival: float = 0.0) -> list[float]:
    """Return the probability of each path, normalised over all; they sum to at most 1.

    `rival` is the weight, not in log, of a string that is not among `paths`.
    """
    weights = [math.exp(path.score) for path in paths]
    total = max(1.0, math.fsum(weights) + rival)
    return [weight / total for weight in weights]
