"""The same strips read by Counterfoil, Tesseract and RapidOCR: exact match and time."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
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
from pipeline.grammar import ANY_DIGITS
from pipeline.page import decode_page
from pipeline.read import Readers, read_strip
from training.evaluate import wilson
from training.synthesis.digit_strips import compose_strip

RAPIDOCR = Path(__file__).with_name("rapidocr_strips.py")
HEIGHTS = (28, 40, 56, 80, 112)
NOISE = 4.0
_TESSERACT_AT_ONCE = 20
_ONE_THREAD = {"OMP_THREAD_LIMIT": "1", "OMP_NUM_THREADS": "1"}


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
    data: Path,
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
            "courtesy amounts of real cheques": _amounts(data, limit),
            "five MNIST test digits": _strings(data, strings, Path(folder)),
        }
        for name, items in sets.items():
            if not items:
                notes.append(f"Not measured: {name} (no such data in the data folder).")
                continue
            for system, reader in systems.items():
                found = _measure(reader, items, partial(_say_done, say, f"{name}: {system}"))
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
        f"of {_TESSERACT_AT_ONCE} strips that one process reads, its start and decoding "
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
    systems: dict[str, Reader] = {"Counterfoil (glyph reader)": lambda items: _ours(items, readers)}
    notes = []
    if program := shutil.which("tesseract"):
        version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
        systems[version.stdout.splitlines()[0].capitalize()] = lambda items: _tesseract(
            items, program
        )
    else:
        notes.append("Not measured: Tesseract (the program is not installed).")
    if rapidocr is not None and (version_of := _rapidocr_version(rapidocr)):
        systems[f"RapidOCR {version_of}"] = lambda items: _rapidocr(items, rapidocr)
    else:
        notes.append("Not measured: RapidOCR (`make bench` installs it, given a network).")
    return systems, notes


def _say_done(say: Say, what: str, done: int, count: int) -> None:
    say(f"{what}, {done} of {count}")


def _measure(
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
    labels = json.loads((folder / "labels.json").read_text())[:limit]
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


def _tesseract(items: Sequence[Item], program: str) -> Answers:
    for start in range(0, len(items), _TESSERACT_AT_ONCE):
        part = items[start : start + _TESSERACT_AT_ONCE]
        begin = time.perf_counter()
        texts = _run_tesseract(part, program)
        milliseconds: float | None = 1e3 * (time.perf_counter() - begin) / len(part)
        if len(texts) != len(part):  # it leaves out images that it finds too small: one by one
            milliseconds = None
            texts = ["".join(_run_tesseract([item], program)) for item in part]
        yield from ((text, milliseconds) for text in texts)


def _run_tesseract(items: Sequence[Item], program: str) -> list[str]:
    """Return the text of each image; of fewer where it leaves some out."""
    listing = "\n".join(str(item.path.resolve()) for item in items) + "\n"
    with temporary("tesseract") as folder:
        path = Path(folder) / "list.txt"
        path.write_text(listing)
        command = [program, str(path), "stdout", "--psm", "7"]
        command += ["-c", "tessedit_char_whitelist=0123456789"]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env=os.environ | _ONE_THREAD
        )
    texts = done.stdout.split("\f")  # between pages; some builds put one behind the last as well
    return texts[:-1] if len(texts) > len(items) and not texts[-1].strip() else texts


def _rapidocr_version(python: Path) -> str | None:
    code = (
        "import importlib.metadata as m, rapidocr_onnxruntime; "
        "print(m.version('rapidocr-onnxruntime'))"
    )
    try:
        done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _rapidocr(items: Sequence[Item], python: Path) -> Answers:
    with subprocess.Popen(
        [python, str(RAPIDOCR)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | _ONE_THREAD,
    ) as process:
        if process.stdin is None or process.stdout is None:
            raise AssertionError("it is started with pipes")
        try:
            for item in items:
                process.stdin.write(f"{item.path.resolve()}\n")
                process.stdin.flush()
                line = process.stdout.readline()
                if not line:
                    raise SystemExit(f"RapidOCR ended at {item.path.name}.")
                answer = json.loads(line)
                yield str(answer["text"]), float(answer["milliseconds"])
        finally:
            process.kill()
