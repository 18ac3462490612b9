"""The same strips read by Counterfoil, Tesseract and RapidOCR: exact match and time."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np

from benchmarks.report import Section, share
from benchmarks.samples import temporary
from pipeline.files.page import decode_page
from pipeline.grammar.base import ANY_DIGITS
from pipeline.read import read_strip
from pipeline.readers.base import BOTH, GLYPH, STRIP
from pipeline.readers.loaded import Readers
from training.evaluation.metrics import wilson
from training.evaluation.rivals import TESSERACT_AT_ONCE, Rival, find_rivals
from training.synthesis.digit_strips import compose_strip

HEIGHTS = (28, 40, 56, 80, 112)
NOISE = 4.0
_WHO_READS = {BOTH: "both readers", GLYPH: "glyph reader", STRIP: "strip reader"}


@dataclass(frozen=True, slots=True)
class Item:
    path: Path  # of an image of one line
    truth: str  # digits


# Text and milliseconds of each item in turn; no milliseconds where they are not known singly.
Answers = Iterator[tuple[str, float | None]]
Reader = Callable[[Sequence[Item]], Answers]
Say = Callable[[str], None]


def measure(
    readers: Readers,
    data: Path | None,
    *,
    limit: int | None,
    strings: int,
    rapidocr: Path | None,
    say: Say,
) -> Section:
    """Read courtesy amounts and composed strings with all systems that are here."""
    systems, notes = _systems(readers, rapidocr)
    rows: list[tuple[str, ...]] = []
    figures: dict[str, Any] = {}
    with temporary("readers") as folder:
        sets = {
            "courtesy amounts of real cheques, even half": _amounts(data, limit) if data else [],
            "five MNIST test digits": _strings(data, strings, Path(folder)) if data else [],
        }
        for name, items in sets.items():
            if not items:
                notes.append(f"Not measured: {name} (no such data in the data folder).")
                continue
            for system, reader in systems.items():
                found = read_all(reader, items, partial(_say_done, say, f"{name}: {system}"))
                figures.setdefault(name, {})[system] = found
                bounds = (found["low"], found["high"])
                rows.append(
                    (
                        f"{name}, {system}",
                        share(found["right"], found["count"], bounds),
                        f"{found['milliseconds']:.1f}" if found["milliseconds"] else "?",
                    )
                )
    notes.insert(
        0,
        "Right: all digits of the line and no others. Everything but digits is taken out of what "
        "each system says, and out of the truth, before they are compared. Milliseconds: median "
        "of wall-clock time a strip on one thread, without decoding the image (Tesseract: mean "
        f"of {TESSERACT_AT_ONCE} strips that one process reads, its start and decoding "
        f"included). Composed strings: heights {', '.join(map(str, HEIGHTS))} px, noise σ = "
        f"{NOISE:g}. Interval: Wilson, 95 %.",
    )
    return Section(
        title="The same strips, side by side",
        columns=("strips and system", "exact", "ms a strip"),
        rows=tuple(rows),
        figures=figures,
        notes=tuple(notes),
    )


def _systems(readers: Readers, rapidocr: Path | None) -> tuple[dict[str, Reader], list[str]]:
    name = f"Counterfoil ({_WHO_READS[readers.of_fields]})"
    systems: dict[str, Reader] = {name: lambda items: _ours(items, readers)}
    rivals, absent = find_rivals([] if rapidocr is None else [rapidocr])
    for name, rival in rivals.items():
        systems[name] = partial(_theirs, rival=rival)
    return systems, absent


def _say_done(say: Say, what: str, done: int, count: int) -> None:
    say(f"{what}, {done} of {count}")


def read_all(
    reader: Reader, items: Sequence[Item], say: Callable[[int, int], None]
) -> dict[str, Any]:
    right, times = 0, []
    for number, (item, (text, milliseconds)) in enumerate(zip(items, reader(items), strict=True)):
        right += _digits(text) == item.truth
        if milliseconds is not None:
            times.append(milliseconds)
        if number % 20 == 0:
            say(number, len(items))
    low, high = wilson(right, len(items))
    return {
        "right": right,
        "count": len(items),
        "low": low,
        "high": high,
        "milliseconds": median(times) if times else None,
    }


# ---- what is read ----


def _amounts(data: Path, limit: int | None) -> list[Item]:
    folder = data / "courtesy_amounts"
    if not (folder / "labels.json").exists():
        return []
    # The other half is looked at once, by `benchmarks.courtesy --half odd`.
    labels = json.loads((folder / "labels.json").read_text())[0::2][:limit]
    return [Item(folder / label["file"], _digits(label["text"])) for label in labels]


def _strings(data: Path, count: int, folder: Path) -> list[Item]:
    if not (data / "mnist.npz").exists():
        return []
    with np.load(data / "mnist.npz") as mnist:
        digits, labels = mnist["x_test"], mnist["y_test"]
    rng = np.random.default_rng(2)
    items = []
    for number in range(count):
        drawn = rng.integers(0, len(digits), 5)
        height = HEIGHTS[number % len(HEIGHTS)]
        strip = compose_strip(digits[drawn], height, rng, noise=NOISE)
        path = folder / f"{number:05d}.png"
        cv2.imwrite(str(path), strip)
        items.append(Item(path, "".join(str(labels[index]) for index in drawn)))
    return items


def _digits(text: str) -> str:
    return re.sub("[^0-9]", "", text)


# ---- who reads ----


def _ours(items: Iterable[Item], readers: Readers) -> Answers:
    for item in items:
        page = decode_page(item.path.read_bytes())
        begin = time.perf_counter()
        reading = read_strip(page, ANY_DIGITS, readers)
        milliseconds = 1e3 * (time.perf_counter() - begin)
        yield (reading.fields[0].value or "" if reading.fields else ""), milliseconds


def _theirs(items: Sequence[Item], rival: Rival) -> Answers:
    for answer in rival([item.path for item in items]):
        yield answer.text, answer.milliseconds
