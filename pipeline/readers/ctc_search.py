"""The likeliest legal strings of a CTC posterior, with their exact probabilities.

A string's probability is the sum over all its alignments with the frames, and a value's the sum
over all legal strings that say it. Prefixes are taken up best first (prefix search decoding:
Graves et al. 2006, section 3.2), in the product of the posterior with the grammar's automaton:
what bounds a prefix is the probability of all that may follow it, so that what is found first is
best. How long a character or a gap lasts is summed frame by frame, for each prefix taken up.
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

    steps: tuple[tuple[int, int, str], ...]  # class, state, what it adds to the value
    plain: bool  # each adds something of its own


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


def likeliest_values(
    posterior: Posterior, grammar: Grammar, *, classes: str, most: int = 5
) -> Legal:
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


def decode_greedily(scores: NDArray[np.floating], characters: Sequence[str]) -> str:
    """Return the text of the best path: the likeliest class of each frame, repeats merged.

    `scores` are (frames, classes), logits or probabilities. `characters` are those of the classes,
    "" for CTC's blank.
    """
    best = scores.argmax(axis=-1)
    changes = best[np.flatnonzero(np.diff(best, prepend=-1))]
    return "".join(characters[label] for label in changes.tolist())


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
        self._of_class: list[list[float]] = self._of.tolist()
        # The probability of all that begins with a class at a frame, by state: (frames, states,
        # classes). Until it looks ahead there is one for all states.
        self._onward: Floats = np.ascontiguousarray(self._of[:-1].T)[:, None]
        self._ahead = False
        # Before the first character: nothing, or a gap from the start.
        self._start = np.ones(len(rows) + 1)
        np.cumprod(self._of[-1], out=self._start[1:])
        # Of the best path, where that is legal: no more than that of the best legal value.
        path = decode_greedily(self._of.T, (*classes, ""))
        legal = grammar.accepts(path)
        self.best_legal_path = float(self._of.max(axis=0).prod()) if legal else 0.0

    def look_ahead(self) -> None:
        """Bound each prefix from here on by the legal ways to go on."""
        self._onward = _legal_onward(self._of, self._product)
        self._ahead = True

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
        for (state, last), before in pending:
            arcs = self._product.arcs[state]
            said = gap = before
            if last >= 0:
                said, gap = _lasting(before, self._of_class[last], self._of_class[-1])
            if self._product.accepting[state]:
                complete += float(said[-1])
            onward = self._onward[:, state if self._ahead else 0]
            likely = said[:-1].dot(onward).tolist()
            if last >= 0:
                # The same character again needs a gap before it.
                likely[last] = float(gap[:-1].dot(onward[:, last]))
            if arcs.plain and len(pending) == 1:
                return complete, {
                    spoken: (likely[k], {(following, k): gap if k == last else said})
                    for k, following, spoken in arcs.steps
                    if likely[k] > floor
                }
            for k, following, spoken in arcs.steps:
                if likely[k] <= 0.0:
                    continue
                entering = gap if k == last else said
                if spoken:
                    masses[spoken] = masses.get(spoken, 0.0) + likely[k]
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


def _lasting(before: Floats, own: list[float], blank: list[float]) -> tuple[Floats, Floats]:
    """Return for each frame the probability of all before it, a character having been said.

    It may begin at a frame as likely as `before` (frames + 1,) tells, and is followed by a gap or
    not; the second is that of those with a gap. `own` and `blank` are the frames' probabilities.
    """
    lasting = waiting = 0.0
    said, gap = [0.0], [0.0]
    # As products with matrices of runs it takes no less: building these costs more than it saves.
    for entering, same, none in zip(before[:-1].tolist(), own, blank, strict=True):
        waiting = (waiting + lasting) * none
        lasting = (lasting + entering) * same
        gap.append(waiting)
        said.append(waiting + lasting)
    return np.array(said), np.array(gap)


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
        steps = tuple((k, row[at], spoken) for k, at, spoken in known if row[at] >= 0)
        added = {step[2] for step in steps}
        arcs.append(_Arcs(steps, plain="" not in added and len(added) == len(steps)))
    # One state more, the last, from which nothing is legal.
    states, size = len(arcs) + 1, len(classes) + 1
    look = np.full((states, size - 1), (states - 1) * size)
    for state, here in enumerate(arcs):
        for k, following, _ in here.steps:
            look[state, k] = following * size + k
    look = np.concatenate([look, np.arange(states * size).reshape(states, size)], axis=1)
    return _Product(tuple(arcs), tuple(automaton.accepting.tolist()), look)


def _legal_onward(of: Floats, product: _Product) -> Floats:
    """Return (frames, states + 1, classes): that of all legal ways to go on with a class.

    It begins at that frame, the automaton being in that state before it.
    """
    size, length = of.shape
    # To each class and the blank, from what `look` tells: another character begins, the same one
    # goes on, or a gap follows.
    turns = np.zeros((length, 2 * size - 1, size))
    np.multiply(of[:-1].T[:, :, None], 1.0 - np.eye(size - 1, size), out=turns[:, : size - 1])
    own = np.arange(size - 1)
    turns[:, size - 1 + own, own] = of[:-1].T
    turns[:, -1] = of[-1][:, None]
    # What may follow a frame of a class (the blank last), with the automaton in a state.
    endings = np.empty((len(product.look), size))
    endings[:] = np.array([*product.accepting, False])[:, None]
    found = np.empty((length, *product.look.shape))
    for t in range(length - 1, 0, -1):
        endings.take(product.look, out=found[t], mode="clip")
        np.dot(found[t], turns[t], out=endings)
    endings.take(product.look, out=found[0], mode="clip")
    return found[:, :, : size - 1] * of[:-1].T[:, None]
