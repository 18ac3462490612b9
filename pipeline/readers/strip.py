"""The strip reader: a whole field at once, without segmentation, as a posterior over time.

A convolutional network with CTC (Graves et al. 2006) reads digits that touch, lean or overlap,
which no contour separates. It gives probabilities, in which `pipeline.readers.ctc_search` finds the
likeliest legal values. Where the first reading leaves doubt, three more views of the strip are read
and all four averaged (test-time augmentation): the writing brought to the usual height and made
wider, the same made narrower, and the first view made narrower. The two narrower views show the
strip before it was cleaned: what cleaning harmed is whole there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.cleaning.clean import CleanStrip
from pipeline.grammar.base import Grammar
from pipeline.readers.base import MAX_ALTERNATIVES, FieldStrip, Hypotheses, Trace
from pipeline.readers.ctc_search import decode_greedily, likeliest_values
from pipeline.readers.normalise import (
    ROWS,
    PlacedStrip,
    normalise_strip,
    place_strip,
    stretch_strip,
)
from pipeline.readers.runtime import Model
from pipeline.types import Alternative, Image

# Strips are padded with paper to one of these widths: the runtime plans its tensors for each width.
WIDTHS: Final = (64, 96, 128, 160, 192, 256, 384, 512)
BATCH: Final = 8  # strips a call
# The probability of all but the best hypothesis from which more views of a strip are read.
MAX_DOUBT: Final = 0.01
_NARROWER, _WIDER = 0.87, 1.15  # times the width
_SURELY_EMPTY: Final = 0.99  # from here on no number is worth the search
_MIN_PROBABILITY: Final = 1e-7  # a less likely value is legal, but was not seen


def read_ctc(
    fields: Sequence[FieldStrip], cleaned: Sequence[CleanStrip], model: Model
) -> list[Hypotheses]:
    """Read each strip, in order, from the grey image that cleaning left."""
    return read_images(
        [clean.grey for clean in cleaned],
        [field.grammar.transcribed() for field in fields],
        model,
        uncleaned=[field.strip.grey for field in fields],
    )


def read_images(
    images: Sequence[Image],
    grammars: Sequence[Grammar],
    model: Model,
    *,
    uncleaned: Sequence[Image] | None = None,
) -> list[Hypotheses]:
    """Read each image, (h, w) uint8 of any size, under its grammar.

    `uncleaned` are the same images before cleaning, for the further views.
    """
    if uncleaned is None:
        uncleaned = images
    placed = [place_strip(image) for image in images]
    first_views = [view.image for view in placed]
    seen = posteriors(first_views, model)
    read = _decode(seen, grammars, model)
    doubtful = [index for index, found in enumerate(read) if found.doubt > MAX_DOUBT]
    views = [_further_views(images[i], first_views[i], uncleaned[i]) for i in doubtful]
    asked = [grammars[index] for index in doubtful]
    further = [_decode(posteriors(view, model), asked, model) for view in zip(*views, strict=True)]
    for index, *more in zip(doubtful, *further, strict=True):
        read[index] = _average(read[index], *more)
    classes = model.card.classes[1:]
    return [
        replace(found, trace=_trace(posterior, classes, view))
        for found, posterior, view in zip(read, seen, placed, strict=True)
    ]


def _trace(posterior: NDArray[np.float32], classes: str, view: PlacedStrip) -> Trace:
    step = view.image.shape[1] / len(posterior) * view.step
    return Trace(posterior, classes, view.start, step)


def _further_views(image: Image, first_view: Image, uncleaned: Image) -> tuple[Image, Image, Image]:
    """Return three more views of `image`, normalised; `first_view` is the one already read."""
    level = normalise_strip(image, level=True)
    level_uncleaned, first_uncleaned = level, first_view
    if uncleaned is not image:  # cleaning changed something
        level_uncleaned = normalise_strip(uncleaned, level=True)
        first_uncleaned = normalise_strip(uncleaned)
    return (
        stretch_strip(level, _WIDER),
        stretch_strip(level_uncleaned, _NARROWER),
        stretch_strip(first_uncleaned, _NARROWER),
    )


def _average(first: Hypotheses, *more: Hypotheses) -> Hypotheses:
    """Average the views of a strip. A value that was not found in one view counts as 0 there."""
    views = (first, *more)
    means: dict[str, float] = defaultdict(float)
    for view in views:
        for item in view.legal:
            means[item.value] += item.probability / len(views)
    ranked = sorted(means, key=lambda value: -means[value])[:MAX_ALTERNATIVES]
    empty = sum(view.empty for view in views) / len(views)
    return Hypotheses(first.raw, tuple(Alternative(v, means[v]) for v in ranked), empty)


def _decode(
    seen: Sequence[NDArray[np.float32]], grammars: Sequence[Grammar], model: Model
) -> list[Hypotheses]:
    """Return what one view of each strip says."""
    return [
        _hypotheses(posterior, grammar, model.card.classes[1:])
        for posterior, grammar in zip(seen, grammars, strict=True)
    ]


def _hypotheses(posterior: NDArray[np.float32], grammar: Grammar, classes: str) -> Hypotheses:
    raw = decode_greedily(posterior, (*classes, ""))
    empty = float(np.prod(posterior[:, -1], dtype=np.float64))  # every step is blank
    if empty > _SURELY_EMPTY:
        return Hypotheses(raw, (), empty)
    found = likeliest_values(posterior, grammar, classes=classes, most=MAX_ALTERNATIVES).values
    return Hypotheses(raw, tuple(v for v in found if v.probability > _MIN_PROBABILITY), empty)


def posteriors(images: Sequence[Image], model: Model) -> list[NDArray[np.float32]]:
    """Return for each normalised strip its (steps, 12) probabilities.

    The columns are the ten digits, the decimal point and, last, CTC's blank. A step is four columns
    of the strip; the steps of the padding are left out.
    """
    found = []
    for logits in run_strips(images, model):
        found.append(
            np.roll(model.calibrated(logits), -1, axis=-1)
        )  # the network has the blank first
    return found


def padded_batches(images: Sequence[Image]) -> Iterator[tuple[list[int], Image]]:
    """Yield normalised strips in batches for a network, with their indices.

    A batch is (n, 32, width, 1) uint8, n at most BATCH: its strips padded with paper to one width.
    """
    by_width: dict[int, list[int]] = defaultdict(list)
    for index, image in enumerate(images):
        by_width[next(width for width in WIDTHS if width >= image.shape[1])].append(index)
    for width, indices in by_width.items():
        for start in range(0, len(indices), BATCH):
            chosen = indices[start : start + BATCH]
            batch = np.zeros((len(chosen), ROWS, width, 1), np.uint8)
            for row, index in enumerate(chosen):
                batch[row, :, : images[index].shape[1], 0] = images[index]
            yield chosen, batch


def run_strips(images: Sequence[Image], model: Model) -> list[NDArray[np.float32]]:
    """Return for each normalised strip its (steps, 12) logits, CTC's blank first."""
    found: dict[int, NDArray[np.float32]] = {}
    for chosen, batch in padded_batches(images):
        width = batch.shape[2]
        for index, logits in zip(chosen, model.run(batch)[:, 0], strict=True):
            found[index] = logits[: images[index].shape[1] * len(logits) // width]
    return [found[index] for index in range(len(images))]
