"""The likeliest legal values of a CTC posterior, with their exact probabilities.

The probability of a string is the sum over all its alignments with the frames, that of a value the
sum over all legal strings with this value. The search expands prefixes best first (prefix search
decoding: Graves et al. 2006, section 3.2) in the product of the posterior with the grammar's
automaton. The bound of a prefix is the probability of all that may follow it, so that complete
values come out best first. The forward algorithm sums, frame by frame, over how long each character
and each gap lasts.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import count
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.grammar.base import Grammar
from pipeline.types import Alternative

MIN_RATIO: Final = 1e-4  # to the best value: a value less likely than this is not searched for
MAX_EXPANSIONS: Final = 300  # prefixes, at about 30 µs each, before the search is cut short
# The exact bounds of legal suffixes cost more than they save where one legal path alone is likelier
# than PEAKED and no more than FEW_EXPANSIONS prefixes are expanded.
PEAKED: Final = 0.99
FEW_EXPANSIONS: Final = 40

Floats = NDArray[np.float64]
Posterior = NDArray[np.float32] | NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LegalValues:
    """The likeliest legal values, best first, with their probabilities.

    `exact`: no other value is likelier than these, except for values below MIN_RATIO. Otherwise the
    search was cut short: the values are legal and their probabilities are right for the strings
    that were found, but a likelier value may be missing.
    """

    values: tuple[Alternative, ...]
    exact: bool


@dataclass(frozen=True, slots=True, eq=False)
class _Arcs:
    """The arcs out of one state of the automaton, for the characters that the reader knows."""

    steps: tuple[tuple[int, int, str], ...]  # class, next state, what the value gains
    distinct: bool  # the value gains something, and something else by each step


@dataclass(frozen=True, slots=True, eq=False)
class _Product:
    """A grammar's automaton for a reader of certain classes.

    `suffixes` is (states + 1, 2 classes + 1): for each state the flat indices, in the suffix
    probabilities (states + 1, classes + 1) of a frame, of what follows: first a new character of
    each class, then staying at each class, and last staying at the blank.
    """

    arcs: tuple[_Arcs, ...]
    accepting: tuple[bool, ...]
    suffixes: NDArray[np.intp]


# The ways to write a prefix, by the automaton's state and the class of the last character. Each has
# for every frame, (frames + 1,), the probability of all before the last character, if that begins
# at the frame.
_Entries = dict[tuple[int, int], Floats]


def likeliest_values(
    posterior: Posterior, grammar: Grammar, *, classes: str, most: int = 5
) -> LegalValues:
    """Return up to `most` of the likeliest legal values.

    `posterior` is (frames, len(classes) + 1): in each row the probabilities of the classes and,
    last, of the blank. Raises ValueError for another shape, and for a negative or non-finite
    number; rows are scaled to sum to 1. Values of probability 0 are not found. An empty field is no
    value here: its probability is the product of the blanks.
    """
    search = _Search(posterior, grammar, classes)
    if search.best_path > PEAKED:
        found = search.run(most, FEW_EXPANSIONS)
        if found.exact:
            return found
    search.bound_by_legal_suffixes()
    return search.run(most, MAX_EXPANSIONS)


def decode_greedily(scores: NDArray[np.floating], characters: Sequence[str]) -> str:
    """Return the text of the best path: the likeliest class of each frame, repeats merged.

    `scores` are (frames, classes), logits or probabilities. `characters` are those of the classes,
    "" for CTC's blank.
    """
    best = scores.argmax(axis=-1)
    changes = best[np.flatnonzero(np.diff(best, prepend=-1))]
    return "".join(characters[label] for label in changes.tolist())


class _Search:
    """A search in the product of a posterior and an automaton.

    At first the bounds take every suffix for legal: they hold, but are loose.
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
        self._of_class: list[list[float]] = self._of.tolist()
        # The probability of all suffixes that begin with a class at a frame, by state: (frames,
        # states, classes). As long as every suffix counts as legal, all states share one.
        self._suffixes: Floats = np.ascontiguousarray(self._of[:-1].T)[:, None]
        self._by_state = False
        # Before the first character: nothing, or a gap from the first frame on.
        self._start = np.ones(len(rows) + 1)
        np.cumprod(self._of[-1], out=self._start[1:])
        # The probability of the best path where it is legal: the best legal value has no less.
        path = decode_greedily(self._of.T, (*classes, ""))
        self.best_path = float(self._of.max(axis=0).prod()) if grammar.accepts(path) else 0.0

    def bound_by_legal_suffixes(self) -> None:
        """Make the bounds of prefixes exact: only legal suffixes count from here on."""
        self._suffixes = _legal_suffixes(self._of, self._product)
        self._by_state = True

    def run(self, most: int, max_expansions: int) -> LegalValues:
        """Search best first, expanding up to `max_expansions` prefixes."""
        order = count()
        # Prefixes by their bounds, and complete values (without entries) by their probabilities.
        heap: list[tuple[float, int, str, _Entries]] = []
        found: list[Alternative] = []
        best, expanded, text = self.best_path, 0, ""
        some_complete = False
        complete, children = self._expand({(0, -1): self._start}, MIN_RATIO * best)
        while True:
            if complete > MIN_RATIO * best:
                heapq.heappush(heap, (-complete, next(order), text, {}))
                best, some_complete = max(best, complete), True
            for gained, (bound, entries) in children.items():
                heapq.heappush(heap, (-bound, next(order), text + gained, entries))
            while heap and not heap[0][3] and len(found) < most:
                found.append(Alternative(heap[0][2], min(1.0, -heap[0][0])))
                heapq.heappop(heap)
            if not heap or len(found) == most or -heap[0][0] <= MIN_RATIO * best:
                # Bounds are sums in another order: equal values may come out the wrong way round.
                found.sort(key=lambda value: -value.probability)
                return LegalValues(tuple(found), exact=expanded < max_expansions)
            if expanded >= max_expansions and some_complete:
                rest = sorted(entry for entry in heap if not entry[3])
                found += [Alternative(text, -negative) for negative, _, text, _ in rest]
                return LegalValues(tuple(found[:most]), exact=False)
            _, _, text, entries = heapq.heappop(heap)
            if expanded >= max_expansions:
                heap.clear()  # cut short: go straight on to the first legal value
            expanded += 1
            complete, children = self._expand(entries, MIN_RATIO * best)

    def _expand(
        self, entries: _Entries, floor: float
    ) -> tuple[float, dict[str, tuple[float, _Entries]]]:
        """Return the probability that a prefix is complete, and the longer prefixes.

        These come by what the value gains, with their bounds; those not above `floor` are left out.
        """
        complete = 0.0
        bounds: dict[str, float] = {}
        steps: list[tuple[str, int, int, Floats]] = []
        pending = list(entries.items())
        for (state, last), entry in pending:
            arcs = self._product.arcs[state]
            ended = in_gap = entry
            if last >= 0:
                ended, in_gap = _forward(entry, self._of_class[last], self._of_class[-1])
            if self._product.accepting[state]:
                complete += float(ended[-1])
            suffixes = self._suffixes[:, state if self._by_state else 0]
            masses = ended[:-1].dot(suffixes).tolist()
            if last >= 0:
                # The same character again needs a gap before it.
                masses[last] = float(in_gap[:-1].dot(suffixes[:, last]))
            if arcs.distinct and len(pending) == 1:
                return complete, {
                    gained: (masses[k], {(following, k): in_gap if k == last else ended})
                    for k, following, gained in arcs.steps
                    if masses[k] > floor
                }
            for k, following, gained in arcs.steps:
                if masses[k] <= 0.0:
                    continue
                after = in_gap if k == last else ended
                if gained:
                    bounds[gained] = bounds.get(gained, 0.0) + masses[k]
                    steps.append((gained, following, k, after))
                else:
                    pending.append(((following, k), after))  # the value stays the same
        children: dict[str, tuple[float, _Entries]] = {}
        for gained, following, k, after in steps:
            if bounds[gained] > floor:
                _, longer = children.setdefault(gained, (bounds[gained], {}))
                known = longer.get((following, k))
                longer[following, k] = after if known is None else known + after
        return complete, children


def _forward(entry: Floats, own: list[float], blank: list[float]) -> tuple[Floats, Floats]:
    """Return the forward probabilities of a prefix: that the frames before each hold all of it.

    `entry` (frames + 1,) has for each frame the probability of what comes before the last
    character, if that begins there; `own` and `blank` are the frames' probabilities of its class
    and of the blank. The second result counts only alignments with a gap at the end.
    """
    in_character = in_gap = 0.0
    ended, with_gap = [0.0], [0.0]
    # A product with matrices of runs is no quicker: building these costs more than it saves.
    for entering, same, none in zip(entry[:-1].tolist(), own, blank, strict=True):
        in_gap = (in_gap + in_character) * none
        in_character = (in_character + entering) * same
        with_gap.append(in_gap)
        ended.append(in_gap + in_character)
    return np.array(ended), np.array(with_gap)


@lru_cache(maxsize=256)
def _product(grammar: Grammar, classes: str) -> _Product:
    automaton = grammar.automaton
    known = [
        (k, automaton.characters.index(c), grammar.output[c])
        for k, c in enumerate(classes)
        if c in automaton.characters
    ]
    arcs = []
    for row in automaton.table.tolist():
        steps = tuple((k, row[column], gained) for k, column, gained in known if row[column] >= 0)
        gains = {gained for _, _, gained in steps}
        arcs.append(_Arcs(steps, distinct="" not in gains and len(gains) == len(steps)))
    # One state more, the last, from which nothing is legal.
    states, size = len(arcs) + 1, len(classes) + 1
    suffixes = np.full((states, size - 1), (states - 1) * size)
    for state, here in enumerate(arcs):
        for k, following, _ in here.steps:
            suffixes[state, k] = following * size + k
    staying = np.arange(states * size).reshape(states, size)
    suffixes = np.concatenate([suffixes, staying], axis=1)
    return _Product(tuple(arcs), tuple(automaton.accepting.tolist()), suffixes)


def _legal_suffixes(of: Floats, product: _Product) -> Floats:
    """Return the probabilities of all legal suffixes, (frames, states + 1, classes).

    A suffix begins with the class at the frame, from the state before it (the backward algorithm).
    """
    size, length = of.shape
    # For each frame, from the columns of `product.suffixes` to the class before them: a character
    # of another class begins, the same one goes on, or there is a gap.
    turns = np.zeros((length, 2 * size - 1, size))
    np.multiply(of[:-1].T[:, :, None], 1.0 - np.eye(size - 1, size), out=turns[:, : size - 1])
    own = np.arange(size - 1)
    turns[:, size - 1 + own, own] = of[:-1].T
    turns[:, -1] = of[-1][:, None]
    # The probability of all legal frames after the present one, by state and by the class of this
    # frame, the blank last.
    endings = np.empty((len(product.suffixes), size))
    endings[:] = np.array([*product.accepting, False])[:, None]
    found = np.empty((length, *product.suffixes.shape))
    for t in range(length - 1, 0, -1):
        endings.take(product.suffixes, out=found[t], mode="clip")
        np.dot(found[t], turns[t], out=endings)
    endings.take(product.suffixes, out=found[0], mode="clip")
    return found[:, :, : size - 1] * of[:-1].T[:, None]
