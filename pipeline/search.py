"""The likeliest legal strings of a CTC posterior, with their exact probabilities.

A string's probability is the sum over all its alignments with the frames, and a value's the sum
over all legal strings that say it. Prefixes are taken up best first (prefix search decoding:
Graves et al. 2006, section 3.2), in the product of the posterior with the grammar's automaton:
what bounds a prefix is the probability of all that may follow it, so that what is found first is
best. The sums over how long a character or a gap lasts are products with matrices of runs, which
keeps the loops over frames out of Python.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from functools import lru_cache
from itertools import count, groupby
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.grammar import Grammar
from pipeline.types import Alternative

RIVAL: Final = 1e-4  # of the best one's probability: a rival less likely than this is not sought
EXPANSIONS: Final = 300  # prefixes taken up, at about 30 µs each, before the search is cut short
# Where a legal path alone is likelier than this, and while no more prefixes than this are taken
# up, looking ahead for what is legal costs more than it saves.
PEAKED: Final = 0.99
FEW: Final = 40

Floats = NDArray[np.float64]
Posterior = NDArray[np.float32] | NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Legal:
    """The likeliest legal values, best first, with the probability of each.

    `exact`: no other value is likelier than these, but for rivals below RIVAL. Where it is False
    the search was cut short: the values are legal and their probabilities right as far as they
    go, but a likelier one may be missing.
    """

    values: tuple[Alternative, ...]
    exact: bool


@dataclass(frozen=True, slots=True, eq=False)
class _Arcs:
    """What may follow in one state of the automaton, of the characters that the reader knows."""

    classes: NDArray[np.intp]
    states: NDArray[np.intp]
    steps: tuple[tuple[int, int, str], ...]  # class, state, what it adds to the value
    place: dict[int, int]  # of each class among them
    silent: bool  # whether one of them adds nothing


@dataclass(frozen=True, slots=True, eq=False)
class _Product:
    """A grammar, for a reader of certain classes.

    `look` is (states + 1, 2 classes + 1): where in the endings of a frame, laid out flat, those
    after each class are found, then those after staying at each class and at the blank.
    """

    arcs: tuple[_Arcs, ...]
    accepting: tuple[bool, ...]
    look: NDArray[np.intp]


# The ways to say a prefix: by the automaton's state and the last class, for each frame the
# probability of all that comes before this class, if it begins at that frame: (frames + 1,).
_Ways = dict[tuple[int, int], Floats]


def likeliest(posterior: Posterior, grammar: Grammar, *, classes: str, most: int = 5) -> Legal:
    """Return up to `most` of the likeliest legal values.

    `posterior` is (frames, len(classes) + 1): the probabilities of each class and, last, of the
    blank, a frame a row. Raises ValueError where it has another shape or a negative or
    non-finite number; rows are scaled to sum to 1. No value is found where none has a probability
    above 0. That nothing is written is no value: its probability is the product of the blanks.
    """
    search = _Search(posterior, grammar, classes)
    if search.best_legal_path > PEAKED:
        found = search.likeliest(most, FEW)
        if found.exact:
            return found
    search.look_ahead()
    return search.likeliest(most, EXPANSIONS)


def legal_mass(posterior: Posterior, grammar: Grammar, *, classes: str) -> float:
    """Return the probability of all legal strings together. As for `likeliest`."""
    search = _Search(posterior, grammar, classes)
    search.look_ahead()
    return search.mass()


class _Search:
    """The product of a posterior and an automaton.

    Until it looks ahead, whatever follows a prefix is taken for legal: all bounds hold, but are
    further off.
    """

    def __init__(self, posterior: Posterior, grammar: Grammar, classes: str) -> None:
        if posterior.ndim != 2 or posterior.shape[1] != len(classes) + 1 or len(posterior) == 0:
            raise ValueError(f"a posterior is (frames, {len(classes) + 1}), not {posterior.shape}")
        rows = np.asarray(posterior, np.float64)
        total = rows.sum(axis=1, keepdims=True)
        if not (rows.min() >= 0 and total.min() > 0 and total.max() < np.inf):
            raise ValueError("a posterior holds probabilities")
        self._of: Floats = np.ascontiguousarray((rows / total).T)  # (classes + 1, frames)
        self._product = _product(grammar, classes)
        self._endings: Floats | None = None
        # Before the first character: nothing, or a gap from the start.
        self._start = np.ones(len(rows) + 1)
        np.cumprod(self._of[-1], out=self._start[1:])
        self._runs: dict[int, Floats] = {}
        self._onward: dict[int, Floats] = {}
        # Of the best path, where that is legal: no more than that of the best legal value.
        path = "".join(classes[k] for k, _ in groupby(self._of.argmax(axis=0)) if k < len(classes))
        legal = grammar.accepts(path)
        self.best_legal_path = float(self._of.max(axis=0).prod()) if legal else 0.0

    def look_ahead(self) -> None:
        """Bound each prefix from here on by the legal ways to go on."""
        self._endings = _endings(self._of, self._product)
        self._onward.clear()

    def mass(self) -> float:
        """Return the probability of all that is legal, after looking ahead."""
        return float((self._likely_onward(0) @ self._start).sum())

    def likeliest(self, most: int, expansions: int) -> Legal:
        """Search best first, taking up no more than so many prefixes."""
        order = count()
        # Prefixes, by the probability of all that may follow, and complete values (no ways).
        heap: list[tuple[float, int, str, _Ways]] = []
        found: list[Alternative] = []
        best, taken, text = self.best_legal_path, 0, ""
        known = False
        complete, children = self._expand({(0, -1): self._start}, RIVAL * best)
        while True:
            if complete > RIVAL * best:
                heapq.heappush(heap, (-complete, next(order), text, {}))
                best, known = max(best, complete), True
            for spoken, (mass, onward) in children.items():
                heapq.heappush(heap, (-mass, next(order), text + spoken, onward))
            while heap and not heap[0][3] and len(found) < most:
                found.append(Alternative(heap[0][2], min(1.0, -heap[0][0])))
                heapq.heappop(heap)
            if not heap or len(found) == most or -heap[0][0] <= RIVAL * best:
                # Masses are sums in another order: equals may have come out the wrong way round.
                found.sort(key=lambda value: -value.probability)
                return Legal(tuple(found), exact=taken < expansions)
            if taken >= expansions and known:
                rest = sorted(entry for entry in heap if not entry[3])
                found += [Alternative(text, -negative) for negative, _, text, _ in rest]
                return Legal(tuple(found[:most]), exact=False)
            _, _, text, ways = heapq.heappop(heap)
            if taken >= expansions:
                heap.clear()  # cut short, it goes straight on to the first legal value
            taken += 1
            complete, children = self._expand(ways, RIVAL * best)

    def _expand(self, ways: _Ways, floor: float) -> tuple[float, dict[str, tuple[float, _Ways]]]:
        """Return the probability that nothing follows, and what may, by what the value adds.

        Of this only what is likelier, all ways together, than `floor`.
        """
        complete = 0.0
        masses: dict[str, float] = {}
        steps: list[tuple[str, int, int, Floats]] = []
        pending = list(ways.items())
        (first, _), *others = ways
        # Where each character can be said in one way only, what is too unlikely goes at once.
        least = 0.0 if others or self._product.arcs[first].silent else floor
        for (state, last), before in pending:
            arcs = self._product.arcs[state]
            said = gap = before
            if last >= 0:
                lasting = before.dot(self._runs_of(last))
                gap = lasting.dot(self._runs_of(-1))
                said = lasting + gap
            if self._product.accepting[state]:
                complete += float(said[-1])
            onward = self._likely_onward(state)
            likely = onward.dot(said).tolist()
            again = arcs.place.get(last)
            if again is not None:
                # The same character again needs a gap before it.
                likely[again] = float(onward[again].dot(gap))
            for mass, (k, following, spoken) in zip(likely, arcs.steps, strict=True):
                if mass <= least:
                    continue
                entering = gap if k == last else said
                if spoken:
                    masses[spoken] = masses.get(spoken, 0.0) + mass
                    steps.append((spoken, following, k, entering))
                else:
                    pending.append(((following, k), entering))  # the value is the same
        children: dict[str, tuple[float, _Ways]] = {}
        for spoken, following, k, entering in steps:
            if masses[spoken] > floor:
                _, onto = children.setdefault(spoken, (masses[spoken], {}))
                known = onto.get((following, k))
                onto[following, k] = entering if known is None else known + entering
        return complete, children

    def _runs_of(self, k: int) -> Floats:
        """Return (frames + 1, frames + 1): that of `k` alone from one frame until before another.

        A run has at least one frame: 0 on the diagonal and below.
        """
        if k not in self._runs:
            later = _later(self._of.shape[1])
            runs = np.zeros((len(later), len(later)))
            np.cumprod(np.where(later[:, 1:], self._of[k], 1.0), axis=1, out=runs[:, 1:])
            runs *= later
            self._runs[k] = runs
        return self._runs[k]

    def _likely_onward(self, state: int) -> Floats:
        """Return (arcs of the state, frames + 1): that of all that begins with it, at a frame."""
        if state not in self._onward:
            arcs = self._product.arcs[state]
            onward = np.zeros((len(arcs.steps), self._of.shape[1] + 1))
            onward[:, :-1] = self._of[arcs.classes]
            if self._endings is not None:
                onward[:, :-1] *= self._endings[:, arcs.states, arcs.classes].T
            self._onward[state] = onward
        return self._onward[state]


@lru_cache(maxsize=64)
def _later(frames: int) -> NDArray[np.bool_]:
    steps = np.arange(frames + 1)
    return steps[:, None] < steps


@lru_cache(maxsize=256)
def _product(grammar: Grammar, classes: str) -> _Product:
    automaton = grammar.automaton
    known = [
        (k, automaton.characters.index(c), grammar.spoken[c])
        for k, c in enumerate(classes)
        if c in automaton.characters
    ]
    arcs = []
    for row in automaton.table.tolist():
        steps = tuple((k, row[at], spoken) for k, at, spoken in known if row[at] >= 0)
        own, following = [step[0] for step in steps], [step[1] for step in steps]
        places = {k: place for place, k in enumerate(own)}
        arcs.append(
            _Arcs(
                np.array(own, np.intp),
                np.array(following, np.intp),
                steps,
                places,
                any(not step[2] for step in steps),
            )
        )
    # One state more, the last, from which nothing is legal.
    states, size = len(arcs) + 1, len(classes) + 1
    look = np.full((states, size - 1), (states - 1) * size)
    for state, here in enumerate(arcs):
        look[state, here.classes] = here.states * size + here.classes
    look = np.concatenate([look, np.arange(states * size).reshape(states, size)], axis=1)
    return _Product(tuple(arcs), tuple(automaton.accepting.tolist()), look)


def _endings(of: Floats, product: _Product) -> Floats:
    """Return (frames, states + 1, classes + 1): the probability of all legal ways to go on.

    After a frame of that class (the blank last), with the automaton in that state.
    """
    size, length = of.shape
    # To each class and the blank, from what `look` tells: another character begins, the same one
    # goes on, or a gap follows.
    turns = np.zeros((length, 2 * size - 1, size))
    np.multiply(of[:-1].T[:, :, None], 1.0 - np.eye(size - 1, size), out=turns[:, : size - 1])
    own = np.arange(size - 1)
    turns[:, size - 1 + own, own] = of[:-1].T
    turns[:, -1] = of[-1][:, None]
    endings = np.empty((length, len(product.look), size))
    endings[-1] = np.array([*product.accepting, False])[:, None]
    found = np.empty(product.look.shape)
    for t in range(length - 1, 0, -1):
        endings[t].take(product.look, out=found, mode="clip")
        np.dot(found, turns[t], out=endings[t - 1])
    return endings
