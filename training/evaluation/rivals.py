"""Tesseract and RapidOCR on the same strips: what one would otherwise reach for.

Neither was made for handwritten digits. Each runs in a process of its own, on one thread.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from core.errors import ConfigError

TESSERACT_AT_ONCE = 20
_STRIPS = Path(__file__).with_name("rapidocr_strips.py")
_ONE_THREAD = {"OMP_THREAD_LIMIT": "1", "OMP_NUM_THREADS": "1"}


@dataclass(frozen=True, slots=True)
class Answer:
    text: str
    confidence: float | None  # as the system states it, where it does
    milliseconds: float | None  # where they are known singly


Rival = Callable[[Sequence[Path]], Iterator[Answer]]  # of images that are one line each, in order


def find_rivals(interpreters: Sequence[Path]) -> tuple[dict[str, Rival], list[str]]:
    """Return the systems that are here, by name, and a sentence for each that is not.

    `interpreters` are those that may have RapidOCR, the first that has it is taken.
    """
    rivals: dict[str, Rival] = {}
    absent = []
    if program := shutil.which("tesseract"):
        done = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
        name = done.stdout.splitlines()[0].capitalize()
        rivals[name] = partial(_tesseract, program=program)
    else:
        absent.append(
            "Not measured: Tesseract. It is used where the program is on the PATH "
            "(Debian and Ubuntu: apt install tesseract-ocr)."
        )
    for python in interpreters:
        if version := _rapidocr_version(python):
            rivals[f"RapidOCR {version}"] = partial(_rapidocr, python=python)
            break
    else:
        absent.append(
            "Not measured: RapidOCR. `make bench` installs it into an environment of its own; "
            "another interpreter that has rapidocr-onnxruntime is named with --rapidocr."
        )
    return rivals, absent


def _tesseract(paths: Sequence[Path], program: str) -> Iterator[Answer]:
    for start in range(0, len(paths), TESSERACT_AT_ONCE):
        part = paths[start : start + TESSERACT_AT_ONCE]
        begin = time.perf_counter()
        texts = _run_tesseract(part, program)
        milliseconds: float | None = 1e3 * (time.perf_counter() - begin) / len(part)
        if len(texts) != len(part):  # it leaves out images that it finds too small: one by one
            milliseconds = None
            texts = ["".join(_run_tesseract([path], program)) for path in part]
        yield from (Answer(text, None, milliseconds) for text in texts)


def _run_tesseract(paths: Sequence[Path], program: str) -> list[str]:
    """Return the text of each image; of fewer where it leaves some out."""
    with tempfile.TemporaryDirectory(prefix="counterfoil-tesseract-") as folder:
        listing = Path(folder) / "list.txt"
        listing.write_text("\n".join(str(path.resolve()) for path in paths) + "\n")
        command = [program, str(listing), "stdout", "--psm", "7"]
        command += ["-c", "tessedit_char_whitelist=0123456789"]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env=os.environ | _ONE_THREAD
        )
    texts = done.stdout.split("\f")  # between pages; some builds put one behind the last as well
    return texts[:-1] if len(texts) > len(paths) and not texts[-1].strip() else texts


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


def _rapidocr(paths: Sequence[Path], python: Path) -> Iterator[Answer]:
    with subprocess.Popen(
        [python, str(_STRIPS)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | _ONE_THREAD,
    ) as process:
        if process.stdin is None or process.stdout is None:
            raise AssertionError("it is started with pipes")
        try:
            for path in paths:
                process.stdin.write(f"{path.resolve()}\n")
                process.stdin.flush()
                line = process.stdout.readline()
                if not line:
                    raise ConfigError(f"RapidOCR ended at {path.name}.")
                answer = json.loads(line)
                yield Answer(
                    str(answer["text"]), float(answer["confidence"]), float(answer["milliseconds"])
                )
        finally:
            process.kill()


def here() -> list[Path]:
    """Return the interpreters that may have RapidOCR: that of `make bench`, then this one."""
    return [Path(".venv-bench") / "bin" / "python", Path(sys.executable)]
