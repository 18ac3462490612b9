"""Where the characters of a known text stand in a CTC posterior: the likeliest path that emits it.

The Viterbi algorithm over the text with blanks between its characters (forced alignment).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def align(
    scores: NDArray[np.floating], labels: Sequence[int], *, blank: int
) -> list[tuple[int, int]]:
    """Return the first and the last step of each label on the likeliest path that emits them.

    `scores` is (steps, classes): logits or the logarithms of probabilities, since their scale in a
    step is the same on all paths. Raises ValueError if the steps do not suffice for the labels.
    """
    states = [blank]  # a blank, the first label, a blank, …
    for label in labels:
        states += [label, blank]
    # A state may follow itself, the state before, and the one before that if that is another label.
    skips = [k % 2 == 1 and k > 1 and states[k] != states[k - 2] for k in range(len(states))]
    best = [-math.inf] * len(states)
    came: list[list[int]] = []
    for step, row in enumerate(scores[:, states].tolist()):
        if step == 0:
            best[: min(2, len(row))] = row[:2]
            continue
        after, ways = [best[0] + row[0]], [0]
        for k in range(1, len(row)):
            way, score = 0, best[k]
            if best[k - 1] > score:
                way, score = 1, best[k - 1]
            if skips[k] and best[k - 2] > score:
                way, score = 2, best[k - 2]
            after.append(score + row[k])
            ways.append(way)
        best = after
        came.append(ways)
    at = len(states) - 1
    if len(states) > 1 and best[-2] > best[-1]:
        at -= 1
    if best[at] == -math.inf:
        raise ValueError(f"{len(scores)} steps are too few for {len(labels)} labels")
    spans: dict[int, tuple[int, int]] = {}
    for step in range(len(scores) - 1, -1, -1):
        _, last = spans.get(at, (step, step))
        spans[at] = (step, last)
        if step:
            at -= came[step - 1][at]
    return [spans[2 * number + 1] for number in range(len(labels))]


def align_quickly(posterior: NDArray[np.floating], labels: Sequence[int]) -> list[tuple[int, int]]:
    """Return `align` of a posterior, (steps, classes) with the blank last.

    Where the likeliest class of each step spells the text already, that is the likeliest path.
    """
    blank = posterior.shape[1] - 1
    best = posterior.argmax(axis=1).tolist()
    runs = [t for t, label in enumerate(best) if t == 0 or label != best[t - 1]]
    ends = [*runs[1:], len(best)]
    spelt = [(best[t], (t, end - 1)) for t, end in zip(runs, ends, strict=True) if best[t] != blank]
    if [label for label, _ in spelt] == list(labels):
        return [span for _, span in spelt]
    return align(np.log(np.maximum(posterior, 1e-30)), labels, blank=blank)
