"""Strips without a number: how often does a reader see one, and with what confidence?

    python -m benchmarks.no_number [--reader glyph] [--sheet strips.png] [--write]

One set is drawn. It has empty boxes and combs, handwritten words and fillings, signatures, smudges
and print (which the training of the strip reader also has, from another seed), and stamps, bar
codes and guilloche (which it does not have). The other set is cropped from real cheques, away from
their number fields: payee, amount in words, signature, the name of the bank.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from benchmarks.by_reader import parser, run
from benchmarks.report import Section, share
from core.errors import InputError
from pipeline.files.page import decode_page
from pipeline.geometry import intersection
from pipeline.grammar.base import ANY_DIGITS
from pipeline.types import Box, Image, Page
from training.evaluation.measure import cut
from training.evaluation.metrics import HIGH_CONFIDENCE, wilson
from training.evaluation.readers import Reads
from training.strip.contact_sheet import lay_out
from training.synthesis.capture import capture
from training.synthesis.paper import blank_paper, guilloche
from training.synthesis.printing import print_text
from training.synthesis.strips import StripSynthesizer

EACH = 125  # strips of each of the eight kinds
_SEED = 30
_FROM_TRAINING = ("empty", "words", "filling", "signature", "smudge", "print")
_STAMPS = ("PAID", "RECEIVED", "CANCELLED", "COPY", "CLEARING", "POSTED", "VERIFIED", "URGENT")


@dataclass(frozen=True, slots=True)
class NoNumber:
    kind: str
    grey: Image  # (h, w)


def drawn(each: int = EACH) -> list[NoNumber]:
    """Draw `each` strips of each of the eight kinds; they are always the same."""
    kinds = dict.fromkeys(("empty", "words", "filling", "signature", "smudge", "print"), 0)
    synthesizer = StripSynthesizer(empties=1.0, seed=_SEED)
    rng = np.random.default_rng(_SEED)
    found = []
    # Words and fillings are one kind of the eight: 62 and 63 of 125.
    wanted = dict.fromkeys(kinds, each) | {"words": each - each // 2, "filling": each // 2}
    while any(kinds[kind] < wanted[kind] for kind in kinds):
        strip = synthesizer(rng)
        kind = next(kind for kind in _FROM_TRAINING if kind in strip.traits)
        if kinds[kind] < wanted[kind]:
            kinds[kind] += 1
            found.append(NoNumber(kind, strip.grey))
    for kind, draw in (("stamp", stamp), ("bar code", bar_code), ("guilloche", engraving)):
        found += [NoNumber(kind, draw(rng)) for _ in range(each)]
    return found


def stamp(rng: np.random.Generator) -> Image:
    """Return a strip with a rubber stamp: a word in a ring or a frame, rotated and worn."""
    rows, columns = int(rng.integers(36, 80)), int(rng.integers(120, 300))
    page = np.full((rows, columns, 3), 255, np.uint8)
    word = str(rng.choice(_STAMPS))
    size = int(rng.uniform(0.3, 0.6) * rows)
    print_text(page, word, columns / 2, rows / 2, size, (0, 0, 0), anchor="mm", bold=True)
    middle, wide = (columns // 2, rows // 2), int(0.36 * size * len(word)) + 8
    if rng.random() < 0.5:
        cv2.ellipse(page, middle, (wide, int(0.45 * rows)), 0, 0, 360, (0, 0, 0), 2, cv2.LINE_AA)
    else:
        corner, far = (middle[0] - wide, 4), (middle[0] + wide, rows - 5)
        cv2.rectangle(page, corner, far, (0, 0, 0), 2, cv2.LINE_AA)
    turn = cv2.getRotationMatrix2D((columns / 2, rows / 2), rng.uniform(-20, 20), 1.0)
    ink = 255 - cv2.warpAffine(page[:, :, 0], turn, (columns, rows), borderValue=(255.0,))
    worn = cv2.resize(rng.uniform(0.1, 1.0, (8, 24)).astype(np.float32), (columns, rows))
    return _captured(_paper(rows, columns, rng) * (1 - ink / 255 * worn * 0.7), 0.5 * rows, rng)


def bar_code(rng: np.random.Generator) -> Image:
    """Return a strip with bars of one to four units, without digits below."""
    rows, unit = int(rng.integers(30, 80)), float(rng.uniform(1.2, 3.5))
    widths = rng.integers(1, 5, int(rng.integers(30, 80)))
    edges = np.round(np.cumsum(widths) * unit).astype(int)
    margin = int(rng.integers(6, 40))
    page = _paper(rows, int(edges[-1]) + 2 * margin, rng)
    top, bottom = (0, rows) if rng.random() < 0.3 else (int(0.1 * rows), int(0.9 * rows))
    for start, end in zip(edges[:-1:2], edges[1::2], strict=False):
        page[top:bottom, margin + start : margin + end] *= 0.15
    return _captured(page, 0.6 * rows, rng)


def engraving(rng: np.random.Generator) -> Image:
    """Return part of a sheet of strongly printed security paper, as in the field of a cheque."""
    sheet = blank_paper(220, 900, (236, 240, 234), rng)
    depth = float(rng.uniform(0.25, 0.8))
    guilloche(sheet, (40, 90, 120), rng, depth=depth)
    rows, columns = int(rng.integers(28, 80)), int(rng.integers(110, 320))
    y, x = int(rng.integers(0, 220 - rows)), int(rng.integers(0, 900 - columns))
    grey = cv2.cvtColor(sheet, cv2.COLOR_RGB2GRAY)[y : y + rows, x : x + columns]
    return _captured(grey.astype(np.float32), 0.6 * rows, rng)


def _paper(rows: int, columns: int, rng: np.random.Generator) -> np.ndarray:
    level = float(rng.uniform(200, 245))
    return (level + rng.normal(0, 2, (rows, columns))).astype(np.float32)


def _captured(page: np.ndarray, height: float, rng: np.random.Generator) -> Image:
    return capture(page.astype(np.float32), height, rng)[0]


def real(data: Path) -> list[NoNumber]:
    """Crop strips from the real cheques where there is no number field."""
    folder = data / "cheques_in"
    if not (folder / "labels.json").is_file():
        raise InputError(f"there are no cheques in {folder}.", hint="Name the folder with --data.")
    found = []
    for entry in json.loads((folder / "labels.json").read_text()):
        grey = decode_page((folder / entry["file"]).read_bytes()).grey
        boxes = {name: Box(*box) for name, box in entry["boxes"].items()}
        for kind, box in places_without_a_number(boxes):
            found.append(NoNumber(kind, cut(grey, box)))
    return found


def places_without_a_number(boxes: dict[str, Box]) -> Iterator[tuple[str, Box]]:
    yield "payee", boxes["receivername"]
    yield "signature", boxes["signature"]
    bank = boxes["bank"]  # its name; branch and code are printed below
    yield "bank's name", Box(bank.x, bank.y, bank.w, 0.55 * bank.h)
    # The amount in words stands between the payee and the amount box's foot, left of it; account
    # numbers are printed right below.
    payee, amount = boxes["receivername"], boxes["amount"]
    if intersection(amount, boxes["signature"]) is not None:
        return  # the label of one cheque is misplaced: where its amount is, is not known
    top, bottom = payee.y + payee.h, amount.y + 0.8 * amount.h
    end = amount.x - 0.12 * amount.w  # the printed currency sign is no word
    start, middle = 40.0, (40.0 + end) / 2
    yield "words, first half", Box(start, top, middle - start, bottom - top)
    yield "words, second half", Box(middle, top, end - middle, bottom - top)


def measure(readers: dict[str, Reads], title: str, strips: Sequence[NoNumber]) -> Section:
    """Read every strip as digits of any number, with each reader."""
    rows, figures = [], {}
    kinds = list(dict.fromkeys(strip.kind for strip in strips))
    for name, reads in readers.items():
        seen: dict[str, list[float]] = {kind: [] for kind in kinds}
        for strip in strips:
            field = reads([Page(strip.grey)], ANY_DIGITS)[0].fields[0]
            seen[strip.kind].append(field.confidence if field.value else 0.0)
        figures[name] = {kind: _counted(seen[kind]) for kind in kinds}
        everything = [confidence for kind in kinds for confidence in seen[kind]]
        figures[name]["all"] = _counted(everything)
        for kind in (*kinds, "all"):
            confidences = everything if kind == "all" else seen[kind]
            sure = sum(confidence >= HIGH_CONFIDENCE for confidence in confidences)
            total = len(confidences)
            rows.append(
                (
                    f"{kind}, {name} reader",
                    share(sure, total, wilson(sure, total)),
                    str(sum(confidence >= 0.9 for confidence in confidences)),
                    str(sum(confidence >= 0.5 for confidence in confidences)),
                    f"{max(confidences):.3f}",
                )
            )
    return Section(
        title=title,
        columns=("strips", f"number at ≥ {HIGH_CONFIDENCE:g}", "≥ 0.9", "≥ 0.5", "highest"),
        rows=tuple(rows),
        figures=figures,
    )


def _counted(confidences: list[float]) -> dict[str, float]:
    return {
        "count": len(confidences),
        "confident": sum(confidence >= HIGH_CONFIDENCE for confidence in confidences),
        "highest": max(confidences),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser("no_number", __doc__, "no-number.md")
    options.add_argument("--sheet", type=Path, help="write a picture of some of the strips there")
    chosen = options.parse_args(arguments)

    def work(readers: dict[str, Reads]) -> list[Section]:
        sets: dict[str, Callable[[], list[NoNumber]]] = {
            "Drawn strips that hold no number": drawn,
            "Parts of real cheques that hold no number": partial(real, chosen.data),
        }
        made = {title: make() for title, make in sets.items()}
        if chosen.sheet:
            some = [strip for strips in made.values() for strip in strips[:: len(strips) // 160]]
            cv2.imwrite(str(chosen.sheet), lay_out([(s.grey, s.kind) for s in some], 8))
        return [measure(readers, title, strips) for title, strips in made.items()]

    return run("no_number", chosen, arguments, work)


if __name__ == "__main__":
    sys.exit(main())
