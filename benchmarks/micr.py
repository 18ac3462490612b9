"""Accuracy of the E-13B reader on real cheques, and on rendered lines by resolution.

    python -m benchmarks.micr [--data DIR] [--rendered 60] [--write] [IMAGE ...]

With images as arguments, prints only the line read on each. Without, reads the real Indian cheques
and rendered pages, with the same number of lines for each resolution, and counts. `TRUTH` has the
content of the real lines; at 640 pixels the cheque number is in the file name. For comparison,
matched filters read the same cells: the drawn character with the highest correlation.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.data import add_data_option
from pipeline.files.page import decode_page
from pipeline.readers.micr import CLASSES, MIN_PROBABILITY, MicrReading, read_micr
from pipeline.readers.micr_line import cut_cells, darkness
from pipeline.readers.micr_parts import parse_parts
from pipeline.readers.runtime import Model
from pipeline.types import Box, Image, Page
from training.evaluation.metrics import wilson
from training.micr.cells import render_cells
from training.synthesis.micr import CHARACTERS, Wear, random_wear, render_line

RESULTS = Path(__file__).parent / "results" / "micr.md"
RESOLUTIONS = (40, 50, 60, 80, 100, 150, 200, 300, 600)

# Read by eye from enlarged crops. What the lines of one cheque book have in common, by its bank.
TRUTH = {
    "0836": "⑈{}⑈ 500025033⑆ 290062⑈ 31",
    "1008": "⑈{}⑈ 500229009⑆ 551452⑈ 31",
    "1206": "⑈{}⑈ 500015048⑆ 31",
    "3091": "⑈{}⑈ 500211012⑆ 426160⑈ 31",
    "3090": "⑈{}⑈ 500211012⑆ 426160⑈ 31",
}


def truth_of(path: Path) -> str:
    """Return the line on a real cheque, whose number is in the name of the file."""
    number = path.stem.removeprefix("Cheque-")
    return TRUTH[number[:4]].format(number)


@dataclass(slots=True)
class Tally:
    """The counts of one set."""

    name: str
    count: int = 0
    exact: int = 0  # whole lines
    fields: int = 0  # that the lines hold
    right: int = 0
    wrong: int = 0  # read with another value, or not on the cheque at all
    seconds: float = 0.0  # of CPU time, one thread

    def read(self, page: Page, truth: str, model: Model) -> MicrReading | None:
        begin = time.process_time()
        reading = read_micr(page, model)
        self.seconds += time.process_time() - begin
        true = {f.name: f.value for f in parse_parts(truth, [1.0] * len(truth), _places(truth))}
        seen = {f.name: f.value for f in reading.parts if f.value is not None} if reading else {}
        right = sum(true.get(name) == value for name, value in seen.items())
        self.count += 1
        self.exact += reading is not None and reading.raw == truth
        self.fields += len(true)
        self.right += right
        self.wrong += len(seen) - right
        return reading

    def row(self) -> str:
        low, high = wilson(self.exact, self.count)
        return (
            f"| {self.name} | {self.exact}/{self.count} | {100 * low:.1f} to {100 * high:.1f} % "
            f"| {self.right}/{self.fields} | {self.wrong} "
            f"| {1e3 * self.seconds / max(self.count, 1):.1f} |"
        )


def _places(text: str) -> list[Box]:
    return [Box(i, 0, 1, 1) for i in range(len(text))]


def real(data: Path, model: Model) -> Iterator[str]:
    """Yield a row of the table for each folder of cheques, and a line for each mistake."""
    for folder in ("fullres", "images"):
        tally = Tally(f"cheques_in/{folder}")
        mistakes = []
        for path in sorted((data / "cheques_in" / folder).glob("*.jpg")):
            reading = tally.read(decode_page(path.read_bytes()), truth_of(path), model)
            if reading is None or reading.raw != truth_of(path):
                mistakes.append(f"    {path.name}: {describe(reading)}")
        yield tally.row()
        yield from mistakes


def rendered(dpi: int, count: int, model: Model, *, worn: bool) -> str:
    """Return the row of `count` rendered pages at one resolution."""
    tally = Tally(f"rendered, {dpi} dpi, {'worn' if worn else 'clean'}")
    for number in range(count):
        rng = np.random.default_rng([7, dpi, worn, number])
        a, b, c, d = (rng.integers(0, 10, n) for n in (6, 9, 6, 2))
        text = "⑈{}⑈ {}⑆ {}⑈ {}".format(*("".join(map(str, part)) for part in (a, b, c, d)))
        wear = random_wear(rng) if worn else Wear()
        page = render_line(text, dpi, wear, rng, size=(8.0, 3.66), place=(2.0, 0.3)).grey
        tally.read(Page(page), text, model)
    return tally.row()


def filters_beside_network(model: Model) -> str:
    """Compare the network with matched filters on rendered cells and on cells of other things."""
    cells = render_cells(200, 99)
    character = cells.labels < len(CHARACTERS)
    drawn = np.stack([_template(c) for c in CLASSES[: len(CHARACTERS)]])
    network = model.probabilities(cells.images)[:, : len(CHARACTERS)]
    filtered = _correlate(cells.images, drawn)
    sure = int((network[character].max(axis=1) >= MIN_PROBABILITY).sum())
    lines = []
    for name, scores in (("network", network), ("matched filters", filtered)):
        highest, right = scores.max(axis=1), scores.argmax(axis=1) == cells.labels
        # Both accept the same number of characters: those with the highest scores.
        limit = np.sort(highest[character])[-sure]
        accepted = highest >= limit
        lines.append(
            f"- {name}: of {character.sum()} worn characters {(~right[character]).sum()} are taken "
            f"for another; of the {sure} surest {(~right & character & accepted).sum()}, and with "
            f"them {(accepted & ~character).sum()} of {(~character).sum()} cells of something else."
        )
    return "\n".join(lines) + "\n"


def _template(character: str) -> Image:
    rng = np.random.default_rng(0)
    line = render_line(character, 200, Wear(noise=0, blur=0.6), rng)
    cut: Image = cut_cells(darkness(line.grey), line.cells, 200.0)[0]
    return cut


def _correlate(images: Image, drawn: Image) -> NDArray[np.float64]:
    """Return the highest correlation of (n, 28, 24) with each of (14, 28, 24), shifted about."""
    best = np.full((len(images), len(drawn)), -1.0)
    flat = drawn.reshape(len(drawn), -1).astype(np.float32)
    flat = flat - flat.mean(axis=1, keepdims=True)
    flat = flat / np.linalg.norm(flat, axis=1, keepdims=True)
    for dy in (-2, -1, 0, 1, 2):
        for dx in (-2, -1, 0, 1, 2):
            moved = np.roll(images, (dy, dx), axis=(1, 2)).reshape(len(images), -1)
            centred = moved - moved.mean(axis=1, keepdims=True, dtype=np.float32)
            length = np.linalg.norm(centred, axis=1, keepdims=True) + 1e-6
            best = np.maximum(best, centred @ flat.T / length)
    return best


def describe(reading: MicrReading | None) -> str:
    """Return a reading in one line."""
    if reading is None:
        return "no E-13B line"
    fields = ", ".join(f"{f.name} {f.value} ({f.confidence:.3f})" for f in reading.parts)
    return f"{reading.raw}  [{fields}]  {reading.dpi:.0f} dpi"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    add_data_option(parser)
    parser.add_argument("--rendered", type=int, default=60, help="lines at each resolution")
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name}")
    parser.add_argument("images", nargs="*", type=Path)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    model = Model.bundled("micr")
    if options.images:
        for path in options.images:
            print(f"{path.name}: {describe(read_micr(decode_page(path.read_bytes()), model))}")
        return
    lines = [
        "| set | whole line exact | 95 % | fields right | fields wrong | CPU ms |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    mistakes: list[str] = []
    for line in real(options.data, model):
        (lines if line.startswith("|") else mistakes).append(line)
    for worn in (False, True):
        for dpi in RESOLUTIONS:
            lines.append(rendered(dpi, options.rendered, model, worn=worn))
    text = "\n".join(lines) + "\n\n" + filters_beside_network(model)
    print(text + "\n".join(mistakes))
    if options.write:
        command = f"python -m benchmarks.micr --rendered {options.rendered}"
        RESULTS.write_text(
            f"# The E-13B line\n\n`{command}`, weights {model.card.sha256[:12]}.\n\n{text}"
        )


if __name__ == "__main__":
    main()
