"""Read a labelled set with every reader and rival, and count."""

from __future__ import annotations

import contextlib
import itertools
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from core.errors import InputError
from core.policy import ReviewReason
from pipeline.files.page import decode_page
from pipeline.grammar.base import Grammar
from pipeline.placing.template import Template
from pipeline.types import Box, FieldReading, Image, Page
from training.evaluation.labelled import Example, page_bytes
from training.evaluation.metrics import (
    Bin,
    Release,
    calibration_error,
    character_error_rate,
    released_surely,
    released_within,
    releases,
    reliability,
    wilson,
)
from training.evaluation.readers import Reads
from training.evaluation.rivals import Rival

_AS_THEY_ARE = frozenset({".jpg", ".jpeg", ".png"})  # any system decodes these alike
BUDGETS = (0.01, 0.001)  # shares of the released that may be wrong
Json = dict[str, Any]
Say = Callable[[int], None]  # how many fields are done


@dataclass(frozen=True, slots=True)
class Comparison:
    """When two strings are the same. By default, when they are equal, character by character."""

    ignore: str = ""  # characters that are taken out of both
    leading_zeros: bool = False  # at the front of both are taken away
    no_minor: bool = False  # a minor unit of nothing is taken away from both: 12.00 is 12

    def same(self, read: str | None, truth: str) -> bool:
        """Whether what was read counts as right; None reads as the empty string."""
        return self.plain(read or "") == self.plain(truth)

    def plain(self, text: str) -> str:
        if self.no_minor and "." in text:
            major, _, minor = text.partition(".")
            text = text if minor.strip("0") else major
        kept = "".join(character for character in text if character not in self.ignore)
        return (kept.lstrip("0") or kept[-1:]) if self.leading_zeros else kept

    def __str__(self) -> str:
        rules = [f"the characters {' '.join(self.ignore)} do not count"] if self.ignore else []
        rules += ["leading zeros do not count"] if self.leading_zeros else []
        rules += ["a minor unit of nothing does not count (12.00 is 12)"] if self.no_minor else []
        return "; ".join(rules) or "nothing is overlooked"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One field, as one system read it."""

    example: Example
    read: str | None  # None: nothing that may stand there
    confidence: float | None  # None where the system states none
    right: bool
    box: Box | None = None  # of the page, where the reading is a part of it
    milliseconds: float | None = None  # of its strip, or of the whole page that it is on
    error: str = ""  # why its page could not be read
    blocked: ReviewReason | None = None  # why it is never released


@dataclass(frozen=True, slots=True)
class Figures:
    """What one system's outcomes amount to."""

    system: str
    outcomes: tuple[Outcome, ...]
    comparison: Comparison

    @property
    def count(self) -> int:
        return len(self.outcomes)

    @property
    def right(self) -> int:
        return sum(outcome.right for outcome in self.outcomes)

    @property
    def character_errors(self) -> float:
        plain = self.comparison.plain
        return character_error_rate(
            [(plain(o.read or ""), plain(o.example.truth)) for o in self.outcomes]
        )

    @property
    def rates_itself(self) -> bool:
        return all(outcome.confidence is not None for outcome in self.outcomes)

    def bins(self) -> list[Bin]:
        return reliability(self._confidence(), [outcome.right for outcome in self.outcomes])

    def curve(self) -> list[Release]:
        """Without the value "", which is never released here, and without what is blocked."""
        right = [o.right for o in self.outcomes]
        released = [bool(o.read) and o.blocked is None for o in self.outcomes]
        return releases(self._confidence(), right, released)

    def milliseconds(self) -> list[float]:
        """Of each image once, in order."""
        images = {(o.example.file, o.example.page, o.example.box): o for o in self.outcomes}
        return [o.milliseconds for o in images.values() if o.milliseconds is not None]

    def by_length(self) -> list[tuple[str, int, int]]:
        """(characters of the truth, right, count), shortest first."""
        return self._by(lambda outcome: f"{len(self.comparison.plain(outcome.example.truth)):d}")

    def by_field(self) -> list[tuple[str, int, int]]:
        return self._by(lambda outcome: outcome.example.field)

    def mistakes(self) -> list[Outcome]:
        """What was read wrong, the most confident first."""
        wrong = [outcome for outcome in self.outcomes if not outcome.right]
        return sorted(wrong, key=lambda o: (not o.read, -(o.confidence or 0.0)))

    def as_json(self) -> Json:
        low, high = wilson(self.right, self.count)
        figures: Json = {
            "count": self.count,
            "right": self.right,
            "exact": self.right / self.count,
            "interval_95": [low, high],
            "character_error_rate": self.character_errors,
            "by_length": self._rows(self.by_length()),
            "by_field": self._rows(self.by_field()),
        }
        if times := self.milliseconds():
            figures["milliseconds"] = {
                "median": float(np.median(times)),
                "p95": float(np.quantile(times, 0.95)),
            }
        if self.rates_itself:
            bins, curve = self.bins(), self.curve()
            figures["calibration"] = {
                "expected_error": calibration_error(bins),
                "bins": [[b.count, b.confidence, b.accuracy] for b in bins],
            }
            figures["released"] = {
                f"{budget:g}": {
                    "observed": _release(released_within(curve, budget)),
                    "proven": _release(released_surely(curve, budget)),
                }
                for budget in (0.0, *BUDGETS)
            }
            figures["curve"] = [[r.threshold, r.released, r.wrong] for r in curve]
        return figures

    def _confidence(self) -> list[float]:
        return [outcome.confidence or 0.0 for outcome in self.outcomes]

    def _by(self, key: Callable[[Outcome], str]) -> list[tuple[str, int, int]]:
        counts: dict[str, tuple[int, int]] = {}
        for outcome in self.outcomes:
            right, count = counts.get(key(outcome), (0, 0))
            counts[key(outcome)] = (right + outcome.right, count + 1)
        return sorted(
            ((name, *both) for name, both in counts.items()), key=lambda r: (len(r[0]), r[0])
        )

    @staticmethod
    def _rows(rows: Iterable[tuple[str, int, int]]) -> Json:
        return {name: {"right": right, "count": count} for name, right, count in rows}


def read_fields(
    reads: Reads,
    examples: Sequence[Example],
    target: Template | Grammar,
    comparison: Comparison,
    say: Say = lambda _done: None,
) -> tuple[Outcome, ...]:
    """Read all examples, one image at a time, so that each has its own time.

    With a template each page is read once; its time is from its bytes to all its fields. With a
    grammar each image, or the part in the example's box, is one field; decoding is not timed.
    """
    outcomes: list[Outcome] = []
    for group in _pages(examples) if isinstance(target, Template) else _single(examples):
        outcomes += _read(reads, group, target, comparison)
        say(len(outcomes))
    return tuple(outcomes)


def read_with_rival(
    rival: Rival,
    examples: Sequence[Example],
    comparison: Comparison,
    say: Say = lambda _done: None,
) -> tuple[Outcome, ...]:
    """Read the same strips with a rival.

    It knows no grammar, so that of what it says only characters count that some truth holds.
    """
    alphabet = {character for example in examples for character in example.truth}
    outcomes = []
    with tempfile.TemporaryDirectory(prefix="counterfoil-evaluate-") as folder:
        paths = [_as_file(example, Path(folder) / f"{i}.png") for i, example in enumerate(examples)]
        for example, answer in zip(examples, rival(paths), strict=True):
            text = "".join(character for character in answer.text if character in alphabet)
            right = comparison.same(text, example.truth)
            outcomes.append(
                Outcome(example, text, answer.confidence, right, example.box, answer.milliseconds)
            )
            say(len(outcomes))
    return tuple(outcomes)


def picture_of(outcome: Outcome) -> Image | None:
    """Return the field as the reader saw it, (h, w); None where the page cannot be decoded."""
    try:
        return cut(decode_page(page_bytes(outcome.example)).grey, outcome.box)
    except InputError:
        return None


def cut(grey: Image, box: Box | None) -> Image:
    """Return the part of a page; all of it without a box. Raises InputError outside the page."""
    if box is None:
        return grey
    rows, columns = grey.shape
    x0, y0 = max(0, round(box.x)), max(0, round(box.y))
    x1, y1 = min(columns, round(box.x + box.w)), min(rows, round(box.y + box.h))
    if x0 >= x1 or y0 >= y1:
        raise InputError("a box of the labels lies outside its page.")
    return grey[y0:y1, x0:x1]


def _release(release: Release | None) -> Json:
    if release is None:
        return {"released": 0, "wrong": 0, "coverage": 0.0, "threshold": None, "bound": None}
    return {
        "released": release.released,
        "wrong": release.wrong,
        "coverage": release.coverage,
        "threshold": release.threshold,
        "bound": release.bound,
    }


def _pages(examples: Sequence[Example]) -> Iterator[list[Example]]:
    for _, group in itertools.groupby(examples, key=lambda e: (e.file, e.page)):
        yield list(group)


def _single(examples: Sequence[Example]) -> Iterator[list[Example]]:
    return ([example] for example in examples)


def _read(
    reads: Reads, group: list[Example], target: Template | Grammar, comparison: Comparison
) -> list[Outcome]:
    try:
        image: bytes | Page = page_bytes(group[0])
        if isinstance(target, Grammar) and isinstance(image, bytes):
            image = Page(cut(decode_page(image).grey, group[0].box))
        begin = time.perf_counter()
        page = reads([image], target)[0]
        milliseconds = 1e3 * (time.perf_counter() - begin)
        if page.error is not None:
            raise page.error
    except InputError as exc:
        return [Outcome(e, None, 0.0, False, e.box, None, str(exc)) for e in group]
    fields = {field.name: field for field in page.fields}
    return [
        _outcome(example, _field(example, fields, target), target, comparison, milliseconds)
        for example in group
    ]


def _field(
    example: Example, fields: dict[str, FieldReading], target: Template | Grammar
) -> FieldReading | None:
    if isinstance(target, Grammar):
        return next(iter(fields.values()), None)
    if example.field not in fields:
        raise InputError(
            f"The template has no field '{example.field}'.", hint=f"It has {', '.join(fields)}."
        )
    return fields[example.field]


def _outcome(
    example: Example,
    field: FieldReading | None,
    target: Template | Grammar,
    comparison: Comparison,
    milliseconds: float,
) -> Outcome:
    value = None if field is None else field.value
    # A field that holds no number is read rightly where no number came out.
    right = comparison.same(value, example.truth)
    box = example.box if isinstance(target, Grammar) or field is None else field.box
    confidence = 0.0 if field is None else field.confidence
    blocked = None if field is None else field.blocked
    return Outcome(example, value, confidence, right, box, milliseconds, blocked=blocked)


def _as_file(example: Example, path: Path) -> Path:
    """Return a file that is the strip alone; none is there where the image cannot be decoded."""
    if example.box is None and example.file.suffix.lower() in _AS_THEY_ARE:
        return example.file
    with contextlib.suppress(InputError):
        grey = cut(decode_page(page_bytes(example)).grey, example.box)
        path.write_bytes(cv2.imencode(".png", grey)[1].tobytes())
    return path
