"""The likelihood of texts under a CTC posterior, for many strips at once (Graves et al. 2006)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def negative_log_likelihoods(
    logits: Sequence[NDArray[np.float32]], labels: Sequence[Sequence[int]], temperature: float = 1.0
) -> Floats:
    """Return -log p of each strip's text, (n,); infinite if the strip has too few steps.

    `logits` holds one (steps, classes) array for each strip; class 0 is the blank. `labels` holds
    the classes of each text.
    """
    count, steps = len(logits), max(map(len, logits), default=0)
    classes = logits[0].shape[1] if count else 1
    # Pad short strips with steps that are certainly blank, which cost nothing.
    padded = np.full((count, steps, classes), -np.inf)
    padded[:, :, 0] = 0.0
    for row, own in enumerate(logits):
        scaled = own.astype(np.float64) / temperature
        top = scaled.max(axis=1, keepdims=True)
        padded[row, : len(own)] = scaled - top - np.log(np.exp(scaled - top).sum(1, keepdims=True))
    # Each text with a blank before, between and after its characters; short ones end earlier.
    width = 2 * max(map(len, labels), default=0) + 1
    spelled = np.zeros((count, width), np.intp)
    for row, text in enumerate(labels):
        spelled[row, 1 : 2 * len(text) : 2] = text
    # Where a path may skip the blank: between characters that differ.
    skips = np.zeros((count, width), np.bool_)
    skips[:, 2:] = (spelled[:, 2:] != 0) & (spelled[:, 2:] != spelled[:, :-2])
    rows = np.arange(count)[:, None]
    before = np.full((count, width), -np.inf)
    before[:, 0] = 0.0  # as if a blank had come before
    with np.errstate(invalid="ignore"):
        for step in range(steps):
            reached = before.copy()
            reached[:, 1:] = np.logaddexp(reached[:, 1:], before[:, :-1])
            jumped = np.where(skips[:, 2:], before[:, :-2], -np.inf)
            reached[:, 2:] = np.logaddexp(reached[:, 2:], jumped)
            before = reached + padded[rows, step, spelled]
    last = 2 * np.array([len(text) for text in labels], np.intp)
    ending = before[np.arange(count), last]
    characters = before[np.arange(count), np.maximum(last - 1, 0)]
    return np.asarray(-np.where(last > 0, np.logaddexp(ending, characters), ending))
