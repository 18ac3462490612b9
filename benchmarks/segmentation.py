"""Exact match of five-digit strings over digit height, noise and shadow.

    python -m benchmarks.segmentation [--count 400] [--out benchmarks/results/segmentation.md]

Strings are composed from digits of MNIST's test set, side by side with realistic gaps, and read by
the glyph reader alone. With `--split train` the digits come from the training set: use these for
every choice; the test digits are for the final figure alone. Chosen on training digits were the
limits between print and numbers in `pipeline.placing.layout` and `pipeline.read`, and what
fragments and thin lines cost in `pipeline.readers.segment`. The older constants of
`pipeline.cleaning.ink` and `pipeline.readers.segment` (stroke and block, smoothing, margins over
noise, the other priors of pieces) were chosen while looking at strings of test digits, so that the
figure on these may flatter them a little.

The glyph network also reads the same digits one by one, as published: this separates its errors
from those of thresholding and segmentation. With `--amounts` the courtesy amounts of real cheques
are read as well.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from benchmarks.data import add_data_option
from pipeline.fields import clean_fields
from pipeline.files.page import decode_page
from pipeline.grammar.base import ANY_DIGITS
from pipeline.readers.base import FieldStrip
from pipeline.readers.glyph import read_glyphs
from pipeline.readers.loaded import Readers, load_readers
from pipeline.readers.normalise import normalise_glyph
from pipeline.types import Box, Image, Strip
from training.evaluation.metrics import wilson
from training.synthesis.digit_strips import Shadow, compose_strip

HEIGHTS = (20, 28, 40, 56, 80, 112, 160, 200)
CONDITIONS: tuple[tuple[float, Shadow], ...] = (
    (0, "none"),
    (1, "none"),
    (4, "none"),
    (12, "none"),
    (0, "gradient"),
    (12, "gradient"),
    (0, "edge"),
    (12, "edge"),
)


@dataclass(frozen=True, slots=True)
class Cell:
    height: int
    noise: float
    shadow: Shadow
    right: int
    alone: int  # strings whose digits the network reads right one by one, as published
    count: int
    milliseconds: float  # of CPU time, one thread


def measure(
    digits: Image, labels: Image, readers: Readers, count: int, heights: tuple[int, ...] = HEIGHTS
) -> Iterator[Cell]:
    """Read `count` strings in every cell; the digits of a cell are always the same."""
    normal = np.stack([normalise_glyph(digit) for digit in digits])
    alone = readers.glyph.probabilities(normal).argmax(axis=1) == labels
    for height in heights:
        for number, (noise, shadow) in enumerate(CONDITIONS):
            rng = np.random.default_rng([height, number])
            drawn = rng.integers(0, len(digits), (count, 5))
            strips = [
                compose_strip(digits[row], height, rng, noise=noise, shadow=shadow) for row in drawn
            ]
            right = 0
            begin = time.process_time()
            for row, grey in zip(drawn, strips, strict=True):
                right += read(grey, readers) == "".join(str(labels[index]) for index in row)
            spent = 1e3 * (time.process_time() - begin) / count
            known = int(alone[drawn].all(axis=1).sum())
            yield Cell(height, noise, shadow, right, known, count, spent)


def read(grey: Image, readers: Readers) -> str:
    """Return the value read in one strip."""
    box = Box(0, 0, grey.shape[1], grey.shape[0])
    strip = FieldStrip(Strip("strip", box, grey), ANY_DIGITS, ruled=False)
    (seen,) = read_glyphs([strip], clean_fields([strip]), readers.glyph)
    return seen.legal[0].value if seen.legal else ""


def table(cells: list[Cell]) -> str:
    """Return the cells as a Markdown table, with a row for each height and one for all."""
    lines = [
        "| frame of 28 rows, px | noise σ | shadow | exact | 95 % | network alone | CPU ms |",
        "|---:|---:|---|---:|---|---:|---:|",
    ]
    lines += [_row(str(cell.height), f"{cell.noise:g}", cell.shadow, [cell]) for cell in cells]
    for height in sorted({cell.height for cell in cells}):
        lines.append(_row(str(height), "all", "all", [c for c in cells if c.height == height]))
    lines.append(_row("all", "all", "all", cells))
    return "\n".join(lines) + "\n"


def _row(height: str, noise: str, shadow: str, cells: list[Cell]) -> str:
    right, count = sum(cell.right for cell in cells), sum(cell.count for cell in cells)
    alone = sum(cell.alone for cell in cells)
    low, high = wilson(right, count)
    spent = float(np.mean([cell.milliseconds for cell in cells]))
    return (
        f"| {height} | {noise} | {shadow} | {right:,}/{count:,} = {100 * right / count:.1f} % | "
        f"{100 * low:.1f} to {100 * high:.1f} % | {100 * alone / count:.1f} % | {spent:.1f} |"
    )


def courtesy_amounts(folder: Path, readers: Readers) -> str:
    """Return a sentence with the exact match on the amounts of real cheques."""
    # The other half is looked at once, by `benchmarks.courtesy --half odd`.
    items = json.loads((folder / "labels.json").read_text())[0::2]
    right = 0
    begin = time.process_time()
    for item in items:
        page = decode_page((folder / item["file"]).read_bytes())
        right += read(page.grey, readers) == item["text"]
    spent = 1e3 * (time.process_time() - begin) / len(items)
    low, high = wilson(right, len(items))
    return (
        f"Courtesy amounts of real cheques, even half, unchanged: {right}/{len(items)} = "
        f"{100 * right / len(items):.1f} % ({100 * low:.1f} to {100 * high:.1f} %), "
        f"{spent:.1f} CPU ms each.\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.segmentation",
        description=__doc__.splitlines()[0] if __doc__ else "",
    )
    add_data_option(parser)
    parser.add_argument("--count", type=int, default=400, help="strings in each cell")
    parser.add_argument("--split", choices=("train", "test"), default="test", help="whose digits")
    parser.add_argument("--heights", type=int, nargs="*", default=list(HEIGHTS))
    parser.add_argument("--amounts", action="store_true", help="read the courtesy amounts too")
    parser.add_argument("--out", type=Path, help="write the table here")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    with np.load(arguments.data / "mnist.npz") as mnist:
        digits, labels = mnist[f"x_{arguments.split}"], mnist[f"y_{arguments.split}"]
    if arguments.split == "train":
        digits, labels = digits[:10_000], labels[:10_000]  # as many as in the test set
    readers = load_readers()
    cells = []
    for cell in measure(digits, labels, readers, arguments.count, tuple(arguments.heights)):
        cells.append(cell)
        print(table([cell]).splitlines()[2], flush=True)
    text = table(cells)
    print(text.splitlines()[-1])
    if arguments.amounts:
        sentence = courtesy_amounts(arguments.data / "courtesy_amounts", readers)
        print(sentence)
        text += "\n" + sentence
    if arguments.out:
        command = f"python -m benchmarks.segmentation --count {arguments.count}"
        command += f" --heights {' '.join(map(str, arguments.heights))}"
        command += " --amounts" if arguments.amounts else ""
        command += f" --split {arguments.split}" if arguments.split != "test" else ""
        weights = readers.glyph.card.sha256[:12]
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(
            f"# Five-digit strings of MNIST {arguments.split} digits, exact match\n\n"
            f"`{command}`\nwith the weights {weights}. A digit of MNIST fills 20 of the 28 rows of "
            "its frame. Network alone: the share of\nstrings whose five digits it reads right one "
            "by one, as published; only by luck is the exact share higher.\nSome constants were "
            "chosen on strings of test digits (`benchmarks/segmentation.py` says which).\n\n" + text
        )


if __name__ == "__main__":
    main()
