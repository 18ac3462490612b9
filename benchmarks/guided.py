"""Digits that touch or follow their box, read as `digits(1)`.

    python -m benchmarks.guided [--count 200] [--sheet guided.png] [--write]

Four kinds: drawn along the six dots of a guide, as ODK Scan prints it; drawn along the sides of the
box itself; digits of MNIST's test writers that touch or cross the box; and the same within it. The
seed determines everything.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.by_reader import parser, run
from benchmarks.report import Json, Section, share
from core.policy import review_reason
from pipeline.grammar.parse import parse_grammar
from pipeline.types import Image, Page
from training.evaluation.metrics import wilson
from training.evaluation.readers import Reads
from training.strip.contact_sheet import lay_out
from training.synthesis.digit_strips import develop
from training.synthesis.hand import DigitSet, load_mnist

NOISE: Final = 3.0
_SEED: Final = 80
_DOTS: Final = ((0.0, 0.0), (1.0, 0.0), (0.0, 0.5), (1.0, 0.5), (0.0, 1.0), (1.0, 1.0))
# The dots that a pen joins for each digit, as the strokes of a seven-segment display.
_PATHS: Final = (
    (0, 1, 3, 5, 4, 2, 0),
    (1, 3, 5),
    (0, 1, 3, 2, 4, 5),
    (0, 1, 3, 2, 3, 5, 4),
    (0, 2, 3, 1, 3, 5),
    (1, 0, 2, 3, 5, 4),
    (1, 0, 2, 4, 5, 3, 2),
    (0, 1, 3, 5),
    (0, 1, 3, 5, 4, 2, 0, 2, 3),
    (3, 2, 0, 1, 3, 5),
)


@dataclass(frozen=True, slots=True)
class Boxed:
    grey: Image  # (h, w)
    digit: str


def _box(rng: np.random.Generator) -> tuple[NDArray[np.float32], tuple[float, float, float, float]]:
    """Return a cover (h, w) of 0 to 1 with a box, and the box: x, y, w, h in pixels."""
    height = float(rng.uniform(50, 120))
    width = height * float(rng.uniform(0.55, 0.85))
    margin = float(rng.uniform(0.12, 0.3)) * height
    cover = np.zeros((round(height + 2 * margin), round(width + 2 * margin)), np.float32)
    first, last = (round(margin), round(margin)), (round(margin + width), round(margin + height))
    thick = int(rng.integers(1, max(2, round(0.05 * height)) + 1))
    cv2.rectangle(cover, first, last, float(rng.uniform(0.5, 0.95)), thick, cv2.LINE_AA)
    return cover, (margin, margin, width, height)


def _draw_path(
    cover: NDArray[np.float32],
    digit: int,
    room: tuple[float, float, float, float],
    rng: np.random.Generator,
) -> None:
    """Draw a digit along the guides of `room` (x, y, w, h), with a hand's wobble."""
    x, y, w, h = room
    wobble = 0.03 * h
    places = np.array(_DOTS) * (w, h) + (x, y) + rng.normal(0, 0.6 * wobble, (6, 2))
    path = places[list(_PATHS[digit])]
    points = [path[:1]]
    for a, b in itertools.pairwise(path):
        share = np.linspace(0, 1, 9)[1:, None]
        bow = np.sin(np.pi * share) * rng.normal(0, 0.5 * wobble, (1, 2))
        points.append(a + share * (b - a) + bow)
    line = np.rint(np.concatenate(points) * 8).astype(np.int32)
    thick = max(1, round(float(rng.uniform(0.035, 0.07)) * h))
    ink = np.zeros(cover.shape, np.uint8)
    cv2.polylines(ink, [line], False, 255, thick, cv2.LINE_AA, shift=3)
    np.maximum(cover, ink.astype(np.float32) / 255 * float(rng.uniform(0.75, 1)), out=cover)


def _finish(cover: NDArray[np.float32], rng: np.random.Generator) -> Image:
    soft = cv2.GaussianBlur(cover, (0, 0), float(rng.uniform(0.5, 1.2)))
    return develop(np.asarray(soft, np.float32), rng, noise=NOISE)


def _on_guides(digits: DigitSet, rng: np.random.Generator) -> Boxed:
    cover, (x, y, w, h) = _box(rng)
    digit = int(rng.integers(10))
    inset = float(rng.uniform(0.12, 0.22))
    room = (x + inset * w, y + inset * w, w * (1 - 2 * inset), h - 2 * inset * w)
    radius = max(1, round(0.02 * h))
    for dot_x, dot_y in _DOTS:
        place = (round(room[0] + dot_x * room[2]), round(room[1] + dot_y * room[3]))
        cv2.circle(cover, place, radius, 0.8, cv2.FILLED, cv2.LINE_AA)
    _draw_path(cover, digit, room, rng)
    return Boxed(_finish(cover, rng), str(digit))


def _on_box(digits: DigitSet, rng: np.random.Generator) -> Boxed:
    cover, (x, y, w, h) = _box(rng)
    digit = int(rng.integers(10))
    inset = float(rng.uniform(0.0, 0.08))
    room = (x + inset * w, y + inset * w, w * (1 - 2 * inset), h - 2 * inset * w)
    _draw_path(cover, digit, room, rng)
    return Boxed(_finish(cover, rng), str(digit))


def _paste(digits: DigitSet, rng: np.random.Generator, *, touching: bool) -> Boxed:
    cover, (x, y, w, h) = _box(rng)
    digit = str(rng.integers(10))
    glyph = digits.pick(digit, rng).astype(np.float32) / 255
    fill = float(rng.uniform(0.9, 1.15) if touching else rng.uniform(0.5, 0.75))
    scale = min(fill * h / glyph.shape[0], fill * w / glyph.shape[1])
    turn = np.array([[scale, 0, 0], [0, scale, 0]])
    turn[0, 2] = x + 0.5 * (w - scale * glyph.shape[1]) + 0.04 * w * float(rng.normal())
    turn[1, 2] = y + 0.5 * (h - scale * glyph.shape[0]) + 0.04 * h * float(rng.normal())
    ink = cv2.warpAffine(glyph, turn, cover.shape[::-1], flags=cv2.INTER_CUBIC)
    crisp = 1 / (1 + np.exp(-(ink - 0.45) / 0.08))
    np.maximum(cover, crisp * float(rng.uniform(0.75, 1)), out=cover)
    return Boxed(_finish(cover, rng), digit)


KINDS: Final[dict[str, Callable[[DigitSet, np.random.Generator], Boxed]]] = {
    "along a guide": _on_guides,
    "along the box": _on_box,
    "touching the box": lambda digits, rng: _paste(digits, rng, touching=True),
    "within the box": lambda digits, rng: _paste(digits, rng, touching=False),
}


def draw(kind: str, digits: DigitSet, count: int) -> list[Boxed]:
    rng = np.random.default_rng((_SEED, list(KINDS).index(kind)))
    return [KINDS[kind](digits, rng) for _ in range(count)]


def measure(readers: dict[str, Reads], sets: dict[str, list[Boxed]]) -> Section:
    """Read every set with each reader."""
    grammar = parse_grammar("digits(1)")
    rows, figures = [], {}
    for kind, strips in sets.items():
        for name, reads in readers.items():
            seen = [reads([Page(strip.grey)], grammar)[0].fields[0] for strip in strips]
            right = sum(f.value == s.digit for f, s in zip(seen, strips, strict=True))
            found: Json = {"count": len(strips), "right": right}
            figures[f"{kind}, {name} reader"] = found
            row = [f"{kind}, {name} reader", share(right, len(strips), wilson(right, len(strips)))]
            for level in (0.9, 0.99):
                out = [
                    f.value == s.digit
                    for f, s in zip(seen, strips, strict=True)
                    if not review_reason(
                        f.value, f.confidence, level, required=False, blocked=f.blocked
                    )
                ]
                found[f"at {level:g}"] = {"right": sum(out), "wrong": len(out) - sum(out)}
                row += [str(sum(out)), str(len(out) - sum(out))]
            rows.append(tuple(row))
    return Section(
        title="Digits that touch or follow their box",
        columns=(
            "strips",
            "right",
            "right at 0.9",
            "wrong at 0.9",
            "right at 0.99",
            "wrong at 0.99",
        ),
        rows=tuple(rows),
        figures=figures,
        notes=(
            "Read as `digits(1)`; an empty value counts as wrong, and as released, as in a field "
            "that may be empty. Interval: Wilson, 95 %.",
        ),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser("guided", __doc__, "guided.md")
    options.add_argument("--count", type=int, default=200, help="of each kind")
    options.add_argument("--sheet", type=Path, help="write a picture of some strips there")
    chosen = options.parse_args(arguments)

    def work(readers: dict[str, Reads]) -> list[Section]:
        digits = load_mnist(chosen.data)
        sets = {kind: draw(kind, digits, chosen.count) for kind in KINDS}
        if chosen.sheet:
            shown = [(s.grey, f"{s.digit} {kind}") for kind, t in sets.items() for s in t[:24]]
            cv2.imwrite(str(chosen.sheet), lay_out(shown, 8))
        return [measure(readers, sets)]

    return run("guided", chosen, arguments, work)


if __name__ == "__main__":
    sys.exit(main())
