"""Single digits, and pairs and triples that touch, composed from digits of test writers.

    python -m benchmarks.touching [--count 1000] [--reader glyph] [--sheet touching.png] [--write]

The digits of a string are by one writer of MNIST's test set (QMNIST's ids), none of whose digits
train. They are moved together until their ink is one connected piece and the bounding boxes of
neighbours overlap, so that no contour separates them. The seed determines everything.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.by_reader import parser, run
from benchmarks.report import Section, share
from core.errors import ConfigError
from pipeline.grammar.base import ANY_DIGITS
from pipeline.grammar.parse import parse_grammar
from pipeline.types import Image, Page
from training.datasets import DigitSet, load_mnist
from training.evaluation.metrics import HIGH_CONFIDENCE, wilson
from training.evaluation.readers import Reads
from training.strip.contact_sheet import lay_out
from training.synthesis.digit_strips import develop
from training.synthesis.touching import join_digits

Floats = NDArray[np.float32]

HEIGHTS = (16.0, 64.0)  # pixels: height of a digit, uniform on a log scale
LENGTHS = {"single digits": 1, "pairs": 2, "triples": 3}
NOISE = 4.0
_SEED = 20


@dataclass(frozen=True, slots=True)
class Touching:
    grey: Image  # (h, w)
    text: str
    writer: int


def compose(digits: DigitSet, length: int, rng: np.random.Generator) -> Touching:
    """Compose one string of `length` touching digits by one writer."""
    if digits.writers is None:
        raise ConfigError(f"The set {digits.name!r} does not record who wrote its digits.")
    while True:
        writer = int(rng.choice(np.unique(digits.writers)))
        own = np.flatnonzero(digits.writers == writer)
        if len(own) < length:
            continue
        chosen = rng.choice(own, length, replace=False)
        low, high = np.log(HEIGHTS)
        scale = float(np.exp(rng.uniform(low, high))) / 20
        cover = join_digits(digits.images[chosen], scale, rng)
        if cover is not None:
            margin = max(3, round(6 * scale))
            page = np.pad(cover.astype(np.float32) / np.float32(255), margin)
            text = "".join(str(digits.labels[i]) for i in chosen)
            return Touching(develop(page, rng, noise=NOISE), text, writer)


def draw(digits: DigitSet, length: int, count: int) -> list[Touching]:
    rng = np.random.default_rng((_SEED, length))
    return [compose(digits, length, rng) for _ in range(count)]


def measure(readers: dict[str, Reads], sets: dict[str, list[Touching]]) -> Section:
    """Read every set with each reader, with unknown and with known length."""
    rows, figures = [], {}
    for kind, strips in sets.items():
        for name, reads in readers.items():
            known = parse_grammar(f"digits({len(strips[0].text)})")
            for words, grammar in (("any length", ANY_DIGITS), ("length known", known)):
                right, sure, fooled, times = 0, 0, 0, []
                for strip in strips:
                    begin = time.perf_counter()
                    field = reads([Page(strip.grey)], grammar)[0].fields[0]
                    times.append(1e3 * (time.perf_counter() - begin))
                    right += field.value == strip.text
                    if field.value and field.confidence >= HIGH_CONFIDENCE:
                        sure += 1
                        fooled += field.value != strip.text
                bounds = wilson(right, len(strips))
                key = f"{kind}, {name} reader, {words}"
                figures[key] = {
                    "right": right,
                    "count": len(strips),
                    "interval_95": bounds,
                    "confident": sure,
                    "confident_wrong": fooled,
                }
                exact = share(right, len(strips), bounds)
                rows.append((key, exact, str(sure), str(fooled), f"{median(times):.1f}"))
    return Section(
        title="Single and touching digits of test writers",
        columns=("strings", "exact", f"confident (≥ {HIGH_CONFIDENCE:g})", "of these wrong", "ms"),
        rows=tuple(rows),
        figures=figures,
        notes=(
            "Digits of MNIST's test set, one writer for each string, 16 to 64 pixels high, on "
            f"plain paper with noise σ = {NOISE:g}. The ink is one piece, and the bounding boxes "
            "of neighbours overlap. Interval: Wilson, 95 %.",
        ),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser("touching", __doc__, "touching.md")
    options.add_argument("--count", type=int, default=1000, help="of each length")
    options.add_argument("--sheet", type=Path, help="write a picture of the first strings there")
    chosen = options.parse_args(arguments)

    def work(readers: dict[str, Reads]) -> list[Section]:
        digits = load_mnist(chosen.data, "test")
        sets = {name: draw(digits, length, chosen.count) for name, length in LENGTHS.items()}
        if chosen.sheet:
            shown = [
                (s.grey, f"{s.text} (writer {s.writer})") for t in sets.values() for s in t[:40]
            ]
            cv2.imwrite(str(chosen.sheet), lay_out(shown, 8))
        return [measure(readers, sets)]

    return run("touching", chosen, arguments, work)


if __name__ == "__main__":
    sys.exit(main())
