"""Milliseconds of the search under a grammar, over posteriors from clear to hopeless.

    python -m benchmarks.search [--count 40] [--out benchmarks/results/search.md]

The posteriors are noise in which the characters of a legal string, at equal distances and with
blanks between them, are raised by a number of logits. Noise without a string stands for a strip
without a number. Times are medians of CPU time on one thread. The last column counts searches that
reached their limit.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.grammar.base import Grammar
from pipeline.grammar.parse import parse_grammar
from pipeline.readers.ctc_search import likeliest_values

CLASSES = "0123456789"
FIELDS = (
    ("digits", "25031"),
    ("digits(6)", "250310"),
    ("digits(12)", "250310778142"),
    ("amount(INR)", "1250000"),
    ("date(DDMMYYYY,2000-2035)", "14032016"),
    ("checksum(luhn,16)", "4539578763621486"),
    ("checksum(mod97,16)", "4539578763621415"),
)
RAISED = (14.0, 9.0, 6.0, 0.0)


def posterior(
    text: str, frames: int, raised: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return (frames, classes + 1) probabilities in which `text` is raised by `raised` logits."""
    logits = rng.normal(size=(frames, len(CLASSES) + 1))
    logits[:, -1] += raised
    for frame, character in zip(
        np.linspace(1, frames - 2, len(text)).astype(int), text, strict=True
    ):
        logits[frame, -1] -= raised
        logits[frame, CLASSES.index(character)] += raised
    weights = np.exp(logits)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def row(grammar: Grammar, text: str, frames: int, raised: float, count: int) -> str:
    """Return one row of the table."""
    rng = np.random.default_rng(frames)
    times, cut, best = [], 0, []
    for _ in range(count + 1):
        seen = posterior(text, frames, raised, rng)
        begin = time.process_time()
        found = likeliest_values(seen, grammar, classes=CLASSES)
        times.append(1e3 * (time.process_time() - begin))
        cut += not found.exact
        best.append(found.values[0].probability if found.values else 0.0)
    # The first search builds the product of grammar and classes, once in each process.
    return (
        f"| `{grammar.name}` | {frames} | {raised:g} | {np.median(best[1:]):.2g} | "
        f"{np.median(times[1:]):.2f} | {max(times[1:]):.2f} | {cut}/{count + 1} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=40, help="posteriors in each row")
    parser.add_argument("--frames", type=int, default=32)
    parser.add_argument("--out", type=Path, help="write the table here")
    arguments = parser.parse_args()
    lines = [
        "| grammar | frames | raised by | best string's probability | ms | worst | cut short |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, text in FIELDS:
        grammar = parse_grammar(name)
        lines += [row(grammar, text, arguments.frames, far, arguments.count) for far in RAISED]
    table = "\n".join(lines) + "\n"
    print(table)
    if arguments.out:
        command = f"python -m benchmarks.search --count {arguments.count}"
        command += f" --frames {arguments.frames}"
        arguments.out.write_text(f"# The search under a grammar\n\n`{command}`\n\n{table}")


if __name__ == "__main__":
    main()
