"""Accuracy on the NIST form when it is rotated, scaled, shifted, blurred or dirty.

    python -m benchmarks.registration [--data DIR] [--write]

Prints the score of the placement for each distortion, and how many of the 28 fields are read
exactly. `--write` also writes the table to `benchmarks/results/registration.md`. The distortions
are fixed, so the figures are reproducible.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.data import add_data_option
from pipeline.geometry import rotation, translation
from pipeline.placing.template import bundled_template
from pipeline.read import read_pages
from pipeline.readers.loaded import load_readers
from pipeline.types import Image, Page

RESULTS = Path(__file__).parent / "results" / "registration.md"


@dataclass(frozen=True, slots=True)
class Distortion:
    """A distortion of a scan. Shifts are shares of the page's width and height."""

    turn: float = 0.0  # degrees, about the middle of the page
    scale: float = 1.0  # of the resolution
    shift: tuple[float, float] = (0.0, 0.0)
    shrink: float = 1.0  # of the page on its sheet
    blur: float = 0.0  # pixels of the scan, standard deviation
    noise: float = 0.0  # grey levels, standard deviation
    paper: int = 255  # grey of the paper; if it is not white, ink is 30
    bitonal: bool = False

    def __str__(self) -> str:
        parts = [
            f"turned {self.turn:+g}°" if self.turn else "",
            f"{300 * self.scale:g} dpi" if self.scale != 1 else "",
            f"shifted {self.shift[0]:+.0%} {self.shift[1]:+.0%}" if any(self.shift) else "",
            f"page at {self.shrink:.0%}" if self.shrink != 1 else "",
            f"blur σ {self.blur:g}" if self.blur else "",
            f"noise σ {self.noise:g}" if self.noise else "",
            f"grey paper {self.paper}" if self.paper != 255 else "",
            "bitonal" if self.bitonal else "",
        ]
        return ", ".join(part for part in parts if part) or "as it is"


TURNS = tuple(Distortion(turn=turn) for turn in (-5, -3, -1.3, 1.3, 3, 5))
SCALES = tuple(Distortion(scale=scale) for scale in (0.5, 2 / 3, 1.5, 2))
SHIFTS = tuple(
    Distortion(shift=shift)
    for shift in ((0.05, 0.0), (-0.05, 0.0), (0.0, 0.05), (0.0, -0.05), (0.05, 0.05))
)
OTHERS = (
    Distortion(),
    Distortion(shrink=0.7),
    Distortion(noise=12, paper=225),
    Distortion(blur=2.5, noise=6, paper=200),
)
COMBINED = (
    Distortion(turn=3, scale=0.5, shift=(0.05, 0.0)),
    Distortion(turn=-3, scale=0.5, shift=(-0.04, 0.05)),
    Distortion(turn=3, scale=2, shift=(0.05, -0.05)),
    Distortion(turn=-3, scale=2, shift=(-0.02, 0.05)),
    Distortion(turn=-2, scale=0.5, shift=(0.03, 0.03), bitonal=True),
    Distortion(turn=2.5, scale=0.75, shift=(0.05, 0.05), blur=1, noise=10, paper=215),
    Distortion(turn=-4, scale=0.6, shift=(0.02, -0.05), noise=8, paper=190),
    Distortion(turn=5, scale=0.5, shift=(0.0, 0.05), shrink=0.9),
)
ALL = OTHERS[:1] + TURNS + SCALES + SHIFTS + OTHERS[1:] + COMBINED


def distort(grey: Image, how: Distortion) -> Image:
    """Return `grey`, (h, w), distorted; areas outside the scan become paper."""
    height, width = grey.shape
    middle = (width / 2, height / 2)
    shrink = np.diag([how.shrink, how.shrink, 1.0])
    about = translation(*middle) @ shrink @ translation(-middle[0], -middle[1])
    moved = translation(how.shift[0] * width, how.shift[1] * height)
    matrix = moved @ rotation(how.turn, middle) @ about
    size = (round(width * how.scale), round(height * how.scale))
    if how.scale > 1:
        grey = np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_CUBIC), np.uint8)
        zoom = np.diag([how.scale, how.scale, 1.0])
        matrix = zoom @ matrix @ np.linalg.inv(zoom)
    turned = cv2.warpAffine(grey, matrix[:2], grey.shape[::-1], borderValue=255)
    if how.scale < 1:
        turned = cv2.resize(turned, size, interpolation=cv2.INTER_AREA)
    values: NDArray[np.floating] = np.asarray(turned, np.float32)
    if how.blur:
        values = np.asarray(cv2.GaussianBlur(values, (0, 0), how.blur), np.float32)
    if how.paper != 255:
        values = 30 + values * ((how.paper - 30) / 255)
    if how.noise:
        values = values + np.random.default_rng(7).normal(0, how.noise, values.shape)
    if how.bitonal:
        values = np.where(values > 140, 255, 0)
    image: Image = np.clip(values, 0, 255).astype(np.uint8)
    return image


def measure(data: Path) -> list[tuple[str, float | None, int, str]]:
    """Return for each distortion its name, the score, the exact fields, and the mistakes."""
    grey = cv2.imread(str(data / "forms" / "nist_hsf_w4164.png"), cv2.IMREAD_GRAYSCALE)
    if grey is None:
        raise SystemExit(f"There is no NIST form in {data / 'forms'}.")
    truth = (data / "forms" / "nist_hsf_w4164.txt").read_text().split()
    template, readers = bundled_template("nist-hsf"), load_readers()
    rows = []
    for how in ALL:
        page = Page(distort(np.asarray(grey, np.uint8), how))
        reading = read_pages([page], template, readers)[0]
        values = [field.value for field in reading.fields] or [None] * len(truth)
        wrong = [f"{t} as {v}" for t, v in zip(truth, values, strict=True) if t != v]
        note = reading.error.code if reading.error else ", ".join(wrong)
        rows.append((str(how), reading.template_score, len(truth) - len(wrong), note))
        print(rows[-1], file=sys.stderr, flush=True)
    return rows


def table(rows: list[tuple[str, float | None, int, str]]) -> str:
    """Return the rows as a Markdown table with a line of totals."""
    lines = [
        "# The NIST form under distortion",
        "",
        "`python -m benchmarks.registration --write`",
        "",
        "| distortion | score | exact of 28 | wrong |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {'-' if score is None else f'{score:.2f}'} | {exact} | {note} |"
        for name, score, exact, note in rows
    ]
    total, least = sum(row[2] for row in rows), min(row[2] for row in rows)
    lines += ["", f"{total} of {28 * len(rows)} fields exact; at least {least} of 28 on each page."]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_data_option(parser)
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS}")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    text = table(measure(arguments.data))
    print(text)
    if arguments.write:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
