"""The strip reader: a whole field at once, without segmentation, as a posterior over time.

A convolutional network with CTC reads digits that touch, lean or overlap, which no contour
separates. It gives not a string but probabilities, in which `pipeline.readers.ctc_search` finds the
likeliest legal ones. What it is not sure of at the first look it looks at again, with its writing
at a usual height, wider, and narrower as it was before it was cleaned: a shape that it has not seen
is read one way and another, and what cleaning harmed is whole there. The mean of the looks counts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.grammar.parse import Grammar
from pipeline.readers.ctc_search import likeliest
from pipeline.readers.normalise import ROWS, normalise_strip, stretch_strip
from pipeline.readers.runtime import Model
from pipeline.types import Alternative, Image

# Strips are padded with paper to one of these widths: each width is a plan of tensors of its own.
WIDTHS = (64, 96, 128, 160, 192, 256, 384, 512)
BATCH = 8  # strips a call
ALTERNATIVES = 5
DOUBT = 0.01  # from which a strip is looked at again
_NARROWER, _WIDER = 0.87, 1.15
_SURELY = 0.99
_UNSEEN = 1e-7  # a value less likely than this was not seen, it is only legal


@dataclass(frozen=True, slots=True)
class StripOpinion:
    """What the strip reader says of one strip.

    `raw` is the string along the likeliest classes, whatever the grammar, at the first look;
    `legal` the likeliest legal values, best first; `nothing` the probability that no character
    stands there. The probabilities are those of the network with its temperature, the mean of all
    looks: together they are at most 1.
    """

    raw: str
    legal: tuple[Alternative, ...]
    nothing: float

    @property
    def doubt(self) -> float:
        """The probability of all but the likeliest."""
        return 1 - max([self.nothing, *(item.probability for item in self.legal[:1])])


def form_opinions(
    strips: Sequence[Image],
    grammars: Sequence[Grammar],
    model: Model,
    uncleaned: Sequence[Image] | None = None,
) -> list[StripOpinion]:
    """Read each strip, (h, w) uint8 of any size, under its grammar.

    `uncleaned` are the same strips with the print that was cleaned away, for the further looks.
    """
    images = [normalise_strip(strip) for strip in strips]
    opinions = _look(images, grammars, model)
    doubtful = [index for index, opinion in enumerate(opinions) if opinion.doubt > DOUBT]
    asked = [grammars[index] for index in doubtful]
    whole = strips if uncleaned is None else uncleaned
    further = [_further(strips[i], images[i], whole[i]) for i in doubtful]
    again = [_look(looks, asked, model) for looks in zip(*further, strict=True)]
    for index, *more in zip(doubtful, *again, strict=True):
        opinions[index] = _mean(opinions[index], *more)
    return opinions


def _further(strip: Image, plain: Image, whole: Image) -> tuple[Image, Image, Image]:
    """Return what the further looks see of `strip`: `plain` normalised, `whole` before cleaning."""
    level = normalise_strip(strip, level=True)
    level_whole, plain_whole = level, plain
    if whole is not strip:  # something was cleaned away
        level_whole, plain_whole = normalise_strip(whole, level=True), normalise_strip(whole)
    return (
        stretch_strip(level, _WIDER),
        stretch_strip(level_whole, _NARROWER),
        stretch_strip(plain_whole, _NARROWER),
    )


def _look(images: Sequence[Image], grammars: Sequence[Grammar], model: Model) -> list[StripOpinion]:
    return [
        _opinion(posterior, grammar, model.card.classes[1:])
        for posterior, grammar in zip(posteriors(images, model), grammars, strict=True)
    ]


def _mean(first: StripOpinion, *more: StripOpinion) -> StripOpinion:
    """What several looks say together; a value that one of them has not seen counts as 0 there."""
    looks = (first, *more)
    shares: dict[str, float] = defaultdict(float)
    for look in looks:
        for item in look.legal:
            shares[item.value] += item.probability / len(looks)
    ranked = sorted(shares, key=lambda value: -shares[value])[:ALTERNATIVES]
    nothing = sum(look.nothing for look in looks) / len(looks)
    return StripOpinion(first.raw, tuple(Alternative(v, shares[v]) for v in ranked), nothing)


def posteriors(images: Sequence[Image], model: Model) -> list[NDArray[np.float32]]:
    """Return for each normalised strip its (steps, 12) probabilities.

    The columns are the digits and the decimal point, and last CTC's blank. A step is four columns
    of the strip; the steps of the padding are left out.
    """
    found = []
    for logits in run_strips(images, model):
        scaled = logits / np.float32(model.card.temperature)
        shares = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
        shares /= shares.sum(axis=-1, keepdims=True)
        found.append(np.roll(shares, -1, axis=-1))  # the blank comes first
    return found


def run_strips(images: Sequence[Image], model: Model) -> list[NDArray[np.float32]]:
    """Return for each normalised strip its (steps, 12) logits, CTC's blank first."""
    by_width: dict[int, list[int]] = defaultdict(list)
    for index, image in enumerate(images):
        by_width[next(width for width in WIDTHS if width >= image.shape[1])].append(index)
    found: dict[int, NDArray[np.float32]] = {}
    for width, indices in by_width.items():
        for start in range(0, len(indices), BATCH):
            chosen = indices[start : start + BATCH]
            batch = np.zeros((len(chosen), ROWS, width, 1), np.uint8)
            for row, index in enumerate(chosen):
                batch[row, :, : images[index].shape[1], 0] = images[index]
            for index, logits in zip(chosen, model.run(batch)[:, 0], strict=True):
                found[index] = logits[: images[index].shape[1] * len(logits) // width]
    return [found[index] for index in range(len(images))]


def _opinion(posterior: NDArray[np.float32], grammar: Grammar, classes: str) -> StripOpinion:
    best = posterior.argmax(axis=-1)
    changes = best[np.flatnonzero(np.diff(best, prepend=-1))]
    raw = "".join(classes[label] for label in changes if label < len(classes))
    nothing = float(np.prod(posterior[:, -1], dtype=np.float64))
    if nothing > _SURELY:  # no number is worth the search
        return StripOpinion(raw, (), nothing)
    legal = likeliest(posterior, grammar, classes=classes, most=ALTERNATIVES).values
    return StripOpinion(raw, tuple(v for v in legal if v.probability > _UNSEEN), nothing)
