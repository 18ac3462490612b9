"""A site's verified fields, as strips for training and as a held-out part."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from core.errors import InputError
from pipeline.files.page import decode_page
from pipeline.grammar.base import Grammar
from pipeline.readers.normalise import normalise_strip
from pipeline.types import Image
from training.evaluation.labelled import Example, page_bytes
from training.evaluation.measure import cut
from training.strip.network import CLASSES
from training.strip.pool import Pool, join_strips
from training.strip.train import LEVELLED, fits


@dataclass(frozen=True, slots=True)
class Correction:
    """One field that a person verified."""

    file: Path
    grey: Image  # (h, w), uint8, as the reader gets it
    text: str  # what is written: digits and possibly a point; "" for nothing
    grammar: Grammar


@dataclass(frozen=True, slots=True)
class Corrections:
    kept: tuple[Correction, ...]
    remarks: tuple[str, ...]  # what was left out, and why


def load_corrections(
    examples: Sequence[Example],
    grammar_of: Callable[[str], Grammar | None],
    say: Callable[[int], None] = lambda _done: None,
) -> Corrections:
    """Cut the fields out of their pages; `grammar_of` returns the grammar of a field by its name.

    Fields from which the strip reader cannot learn are left out and counted in the remarks: fields
    without a grammar, texts that the grammar does not allow or that are too long for their image,
    and fields on pages that cannot be read.
    """

    @functools.lru_cache(maxsize=4)  # the fields of a page are adjacent
    def page(file: Path, number: int) -> Image:
        return decode_page(page_bytes(Example(file, "", page=number))).grey

    kept, left = [], dict[str, int]()

    def leave(why: str) -> None:
        left[why] = left.get(why, 0) + 1

    for done, example in enumerate(examples, start=1):
        grammar = grammar_of(example.field)
        if grammar is None:
            leave("are not in the template")
        elif example.truth and not _readable(example.truth, grammar):
            leave("hold a text that their grammar does not allow (see --field and --template)")
        else:
            try:
                grey = cut(page(example.file, example.page), example.box)
            except InputError:
                leave("are on pages that cannot be read")
            else:
                if fits(normalise_strip(grey), example.truth):
                    kept.append(Correction(example.file, grey, example.truth, grammar))
                else:
                    leave("have more characters than fit into their image")
        say(done)
    return Corrections(
        tuple(kept), tuple(f"{n} fields were left out: they {why}." for why, n in left.items())
    )


def _readable(text: str, grammar: Grammar) -> bool:
    return set(text) <= set(CLASSES) and grammar.accepts(text)


def split_by_file(
    corrections: Sequence[Correction], share: float, seed: int
) -> tuple[list[Correction], list[Correction]]:
    """Split into training and held-out fields, about `share` of them; no file is in both.

    The seed and the names of the files alone determine the split.
    """
    files = sorted({correction.file for correction in corrections})
    order = np.random.default_rng(seed).permutation(len(files))
    out: set[Path] = set()
    counted = 0
    for place in order:
        if counted >= share * len(corrections):
            break
        out.add(files[place])
        counted += sum(correction.file == files[place] for correction in corrections)
    rest = [correction for correction in corrections if correction.file not in out]
    return rest, [correction for correction in corrections if correction.file in out]


def as_pool(corrections: Sequence[Correction], rng: np.random.Generator | None = None) -> Pool:
    """Return the normalised strips; `rng` augments each one first, and levels some of them."""
    strips = []
    for own in corrections:
        strip = None
        if rng is not None:
            strip = normalise_strip(vary(own.grey, rng), level=bool(rng.random() < LEVELLED))
        if strip is None or not fits(strip, own.text):
            strip = normalise_strip(own.grey)
        strips.append((strip, own.text))
    return join_strips(strips)


def vary(grey: Image, rng: np.random.Generator) -> Image:
    """Augment a strip, (h, w), as if the same hand wrote it again or another scanner scanned it.

    It is sheared, rotated, scaled and shifted a little, made lighter or darker, and sometimes
    blurred or made noisy.
    """
    height, width = grey.shape
    stretch, tall = rng.uniform(0.88, 1.12), rng.uniform(0.92, 1.08)
    shear, turn = rng.uniform(-0.15, 0.15), rng.uniform(-0.02, 0.02)
    matrix = np.array([[stretch, shear, 0.0], [turn, tall, 0.0]])
    middle = np.array([width / 2, height / 2])
    shift = rng.uniform(-0.03, 0.03, 2) * height
    matrix[:, 2] = middle - matrix[:, :2] @ middle + shift
    moved = cv2.warpAffine(
        grey, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    changed: NDArray[np.float32] = moved.astype(np.float32)
    if rng.random() < 0.3:
        sigma = float(rng.uniform(0.3, 0.02 * height + 0.4))
        changed = np.asarray(cv2.GaussianBlur(changed, (0, 0), sigma), np.float32)
    if rng.random() < 0.3:
        changed = changed + rng.normal(0, rng.uniform(1, 5), grey.shape).astype(np.float32)
    lit = (changed - 128) * rng.uniform(0.8, 1.2) + 128 + rng.uniform(-15, 15)
    return np.asarray(np.clip(lit, 0, 255), np.uint8)
