"""Compose new strings from the start of one verified strip and the end of another.

A site has a few hundred verified strings, and a network that sees them a hundred times learns them
by heart. Cutting the strips between their digits and joining the parts makes many more strings of
the same ink.
"""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.readers.ctc_align import align
from pipeline.readers.runtime import Model
from pipeline.types import Image
from training.strip.export import pool_logits
from training.strip.network import BLANK, CLASSES, COLUMNS_A_STEP
from training.strip.pool import Pool, join_strips
from training.strip.train import fits

_STRONG = 96  # of 255: fainter ink is the paper's pattern
_RULE = 25  # columns: horizontal ink this long is a base line, which crosses gaps
_TALL = 8  # of a strip's 32 rows: lower ink may be a comma
_SEEN = 0.5  # the least probability with which the reader must see a character there


def find_gaps(pool: Pool, model: Model) -> list[tuple[int | None, ...]]:
    """Return for each strip the column of the gap before each character but the first.

    It is None if there is no such column: the two touch or lean over each other, or `model`, which
    locates the characters, reads one of them as another.
    """
    found = []
    for index, logits in enumerate(pool_logits(model, pool)):
        labels = [CLASSES.index(character) + 1 for character in str(pool.texts[index])]
        spans = align(logits, labels, blank=BLANK)
        seen = [
            _probability(logits[first : last + 1], label) >= _SEEN
            for (first, last), label in zip(spans, labels, strict=True)
        ]
        written = _written(pool.strip(index))
        between = [(_middle(end), _middle(start)) for (_, end), (start, _) in pairwise(spans)]
        gaps = [_only_gap(written, left, right) for left, right in between]
        # The reader may emit a character before it begins or after it ends. So each must have ink
        # of its own between its gaps, or up to where a neighbour is emitted.
        edges = [
            said if gap is None else (gap, gap) for gap, said in zip(gaps, between, strict=True)
        ]
        around = pairwise([(0, 0), *edges, (written.shape[1], written.shape[1])])
        whole = [
            own_seen and _stands_between(written, start, end)
            for own_seen, ((start, _), (_, end)) in zip(seen, around, strict=True)
        ]
        found.append(
            tuple(
                gap if before and after else None
                for gap, (before, after) in zip(gaps, pairwise(whole), strict=True)
            )
        )
    return found


def cross(
    pool: Pool, gaps: list[tuple[int | None, ...]], count: int, rng: np.random.Generator
) -> Pool:
    """Return `count` strips, each the start of one strip of `pool` and the end of another.

    If no strip can be cut, the strips of `pool` are returned unchanged.
    """
    cuts = [
        (index, number, column)
        for index, own in enumerate(gaps)
        for number, column in enumerate(own, start=1)
        if column is not None
    ]
    strips: list[tuple[Image, str]] = []
    while len(strips) < count:
        if not cuts:
            index = int(rng.integers(len(pool)))
            strips.append((pool.strip(index), str(pool.texts[index])))
            continue
        (i, before, left), (j, after, right) = (cuts[k] for k in rng.integers(len(cuts), size=2))
        text = str(pool.texts[i])[:before] + str(pool.texts[j])[after:]
        image = np.concatenate([pool.strip(i)[:, :left], pool.strip(j)[:, right:]], axis=1)
        if fits(image, text):
            strips.append((image, text))
    return join_strips(strips)


def _written(strip: Image) -> Image:
    """Return strong ink that is not part of a base line, as 1 on 0."""
    strong = (strip >= _STRONG).astype(np.uint8)
    rules = cv2.morphologyEx(strong, cv2.MORPH_OPEN, np.ones((1, _RULE), np.uint8))
    return np.asarray(cv2.subtract(strong, rules), np.uint8)


def _middle(step: int) -> int:
    return COLUMNS_A_STEP * step + COLUMNS_A_STEP // 2


def _only_gap(written: Image, left: int, right: int) -> int | None:
    """Return the middle of the gap between two columns; a cut at a stroke's edge would show.

    It is None if there is no gap, or more than one: then a character may stand between them.
    """
    clear = np.flatnonzero(~written[:, left:right].any(axis=0))
    if not len(clear) or clear[-1] - clear[0] >= len(clear):
        return None
    return left + int(clear[len(clear) // 2])


def _stands_between(written: Image, start: int, end: int) -> bool:
    """Return whether ink as tall as a character, not a comma, stands between two columns."""
    return int(np.count_nonzero(written[:, start:end].any(axis=1))) >= _TALL


def _probability(logits: NDArray[np.float32], label: int) -> float:
    """Return the greatest probability of a label over the steps."""
    return float(np.exp(logits[:, label] - np.logaddexp.reduce(logits, axis=1)).max())
