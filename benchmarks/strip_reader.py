"""CPU milliseconds of one look of the strip reader, by the width of the strip.

    python -m benchmarks.strip_reader [--repeats 200] [--write]

Strips are drawn and normalised. `network` is the int8 network on one thread, with one strip and in
batches of eight; `normalise` is the step before it, from strips 48 pixels high. Times are the
median and the least of one run, since machines are shared. A doubtful strip takes four looks.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median

import cv2
import numpy as np
from rich.console import Console

from benchmarks.report import Section, markdown
from pipeline.readers.normalise import normalise_strip
from pipeline.readers.runtime import Model
from pipeline.readers.strip import BATCH, WIDTHS, run_strips
from pipeline.types import Image
from training.evaluation.machine import machine
from training.synthesis.strips import StripSynthesizer

RESULTS = Path(__file__).parent / "results" / "strip-reader.md"


def draw(count: int) -> dict[int, list[tuple[Image, Image]]]:
    """Return `count` strips, scanned and normalised, for each padded width."""
    found: dict[int, list[tuple[Image, Image]]] = {width: [] for width in WIDTHS}
    synthesizer, rng = StripSynthesizer(), np.random.default_rng(1)
    while min(len(strips) for strips in found.values()) < count:
        grey = synthesizer(rng).grey
        size = (max(8, round(grey.shape[1] * 48 / grey.shape[0])), 48)
        scanned = np.asarray(cv2.resize(grey, size), np.uint8)
        image = normalise_strip(scanned)
        width = next(width for width in WIDTHS if width >= image.shape[1])
        if len(found[width]) < count:
            found[width].append((scanned, image))
    return found


def _normalise(greys: Sequence[Image]) -> list[Image]:
    return [normalise_strip(grey) for grey in greys]


def timed(work: Callable[[], object], repeats: int, strips: int) -> tuple[float, float]:
    """Return CPU milliseconds per strip: median and least."""
    work()  # the first run allocates the tensors
    times = []
    for _ in range(repeats):
        begin = time.process_time()
        work()
        times.append(1e3 * (time.process_time() - begin) / strips)
    return median(times), min(times)


def measure(repeats: int) -> Section:
    """Time each width."""
    model = Model.bundled("strip")
    rows, figures = [], {}
    for width, strips in draw(BATCH).items():
        images = [image for _, image in strips]
        greys = [grey for grey, _ in strips]
        alone = timed(partial(run_strips, images[:1], model), repeats, 1)
        batch = timed(partial(run_strips, images, model), repeats // 4, BATCH)
        before = timed(partial(_normalise, greys), repeats // 8, BATCH)
        figures[str(width)] = {"alone": alone, "batch": batch, "normalise": before}
        rows.append((str(width), *(f"{a:.2f}, {b:.2f}" for a, b in (alone, batch, before))))
    return Section(
        title="One look of the strip reader, CPU ms a strip: median, least",
        columns=("columns", "network, alone", f"network, {BATCH} at once", "normalise"),
        rows=tuple(rows),
        figures=figures,
        notes=("An amount of five or six digits is 96 to 160 columns wide.",),
    )


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.strip_reader",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name} as well")
    options = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    about = machine()
    about["weights"] = Model.bundled("strip").card.sha256
    section = measure(options.repeats)
    Console(highlight=False).print(section.as_table())
    if options.write:
        command = f"python -m benchmarks.strip_reader --repeats {options.repeats} --write"
        RESULTS.write_text(markdown(command, about, [section]), encoding="utf-8")


if __name__ == "__main__":
    main()
