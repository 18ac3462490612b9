"""Pools of normalised strips to train on: how they are kept, and drawn by several processes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.readers.normalise import ROWS
from pipeline.types import Image
from training.datasets import DigitSet, load_femnist, load_mnist, load_nsysu, split_by_writer

Part = Literal["train", "validation"]
SPLIT = 1  # seed of the split by writer; one for all runs, since a run may start from another
EXAMPLE_COLUMNS = 192  # the width at conversion; the runtime resizes the input for any other
_HELD_OUT = 0.08  # share of MNIST's writers in the validation part
_SHARD = 500  # strips that a process draws at a time
_REPRESENTATIVE = 400  # strips that set the ranges of the int8 activations


@dataclass(frozen=True, slots=True)
class Pool:
    """Normalised strips, side by side. Strip i is `pixels[:, starts[i]:starts[i + 1]]`."""

    pixels: Image  # (32, all columns)
    starts: NDArray[np.int64]  # (n + 1,)
    texts: NDArray[np.str_]  # (n,) digits; "" where there is no number

    def __len__(self) -> int:
        return len(self.texts)

    def strip(self, index: int) -> Image:
        return self.pixels[:, self.starts[index] : self.starts[index + 1]]


def join_strips(strips: list[tuple[Image, str]]) -> Pool:
    """Return a pool of normalised strips and their texts."""
    starts = np.cumsum([0, *(image.shape[1] for image, _ in strips)], dtype=np.int64)
    pixels = np.concatenate([image for image, _ in strips], axis=1)
    return Pool(pixels, starts, np.array([text for _, text in strips]))


def save_pool(path: Path, pool: Pool) -> None:
    partial = path.with_suffix(".partial.npz")
    np.savez(partial, pixels=pool.pixels, starts=pool.starts, texts=pool.texts)
    partial.replace(path)


def load_pool(path: Path) -> Pool:
    with np.load(path) as stored:
        return Pool(stored["pixels"], stored["starts"], stored["texts"])


@cache
def digits_of(data: Path, part: Part) -> tuple[DigitSet, ...]:
    """Return the digits that strips of a part are composed from; no writer is in both parts.

    They are kept: a process draws many shards, and loads them as long as it draws 250 strips.
    """
    mnist, held_out = split_by_writer(load_mnist(data, "train"), _HELD_OUT, seed=SPLIT)
    if part == "validation":
        return (held_out,)
    return mnist, load_femnist(data), load_nsysu(data, "train")


def kept_pool(
    out: Path, part: Part, count: int, draw: Callable[[int, int], list[tuple[Image, str]]]
) -> Pool:
    """Return the pool of a part that is kept in the folder `out`; draw it first if it is not there.

    `draw(start, count)` draws the strips from number `start` on, with their texts; several
    processes call it, so it must be picklable.
    """
    path = out / f"strips-{part}-{count}.npz"
    if path.is_file():
        return load_pool(path)
    sys.stderr.write(f"Drawing {count:,} strips to {part} …\n")
    starts = range(0, count, _SHARD)
    counts = [min(_SHARD, count - start) for start in starts]
    drawn: list[tuple[Image, str]] = []
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as processes:
        for done, shard in enumerate(processes.map(draw, starts, counts), start=1):
            drawn += shard
            if done % 10 == 0:
                sys.stderr.write(f"  {len(drawn):,} of {count:,}\n")
    pool = join_strips(drawn)
    save_pool(path, pool)
    return pool


def representative(pool: Pool) -> Image:
    """Return some of the strips, (n, 32, 192), cropped or padded with paper.

    They set the ranges of the activations in an int8 conversion.
    """
    chosen = np.random.default_rng(0).permutation(len(pool))[:_REPRESENTATIVE]
    examples = np.zeros((len(chosen), ROWS, EXAMPLE_COLUMNS), np.uint8)
    for row, index in enumerate(chosen):
        strip = pool.strip(int(index))[:, :EXAMPLE_COLUMNS]
        examples[row, :, : strip.shape[1]] = strip
    return examples
