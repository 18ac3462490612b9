"""Digits an hour in the digit carpet, beside keying every field.

    python -m benchmarks.carpet --data DIR [--limit 540] [--write]

The amounts of real cheques are read. Those that wait and are in the carpet are looked at as a
person would who makes no mistake: digit by digit, screens of 200, most doubtful first; she moves to
each wrong one, types over it, and confirms. Her keys are counted as the page takes them. The times
are stated, not measured: a glance at one more picture, a keystroke and a moment of thought as in
the keystroke-level model (Card, Moran and Newell 1980).
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.report import Section
from db.carpet import MAX_OTHER
from pipeline.grammar.parse import parse_grammar
from pipeline.read import read_strip
from pipeline.readers.loaded import load_readers
from pipeline.types import FieldReading
from training.evaluation.labelled import Part, load_labelled
from web.carpet import SCREEN

RESULTS = Path("benchmarks/results/carpet.md")
THRESHOLD: Final = 0.99  # of the batch: what is less sure waits
COLUMNS: Final = 23  # of the page at 1,280 pixels
GLANCE: Final = 0.25  # seconds a picture
KEY: Final = 0.28  # seconds a keystroke: a person of average skill
THOUGHT: Final = 1.35  # seconds before a screen, a correction and a field


@dataclass(frozen=True, slots=True)
class Digit:
    probability: float
    wrong: bool


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS}")
    asked = parser.parse_args()
    text = measure(asked.data, asked.limit).as_markdown()
    print(text)
    if asked.write:
        RESULTS.write_text(text + "\n", encoding="utf-8")


def measure(data: Path, limit: int | None) -> Section:
    """Read the odd half of the amounts and count what a person does with those that wait."""
    readers, grammar = load_readers(), parse_grammar("digits")
    examples = load_labelled(data / "courtesy_amounts", part=Part(1, 2, limit)).examples
    screens: dict[str, list[Digit]] = defaultdict(list)
    waiting = fields = keyed = misread = 0
    for example in examples:
        (field,) = read_strip(example.file.read_bytes(), grammar, readers).fields
        if field.confidence >= THRESHOLD and field.blocked is None:
            continue
        waiting += 1
        if not is_offered(field):
            continue
        if len(field.value or "") != len(example.truth):
            misread += 1  # she marks a picture with two digits as odd
            continue
        fields += 1
        keyed += len(example.truth) + 1
        for one, truth in zip(field.characters, example.truth, strict=True):
            screens[one.text].append(Digit(one.probability, one.text != truth))
    digits = sum(map(len, screens.values()))
    wrong = sum(one.wrong for own in screens.values() for one in own)
    keys, seconds = _looked_at(screens)
    by_hand = keyed * KEY + fields * THOUGHT
    figures = {"fields": fields, "digits": digits, "keys": keys, "seconds": seconds}
    return Section(
        title="Digit carpet",
        columns=("what", "carpet", "keying every field"),
        rows=(
            ("keystrokes", f"{keys:,}", f"{keyed:,}"),
            ("minutes", f"{seconds / 60:.1f}", f"{by_hand / 60:.1f}"),
            (
                "digits an hour",
                f"{3600 * digits / seconds:,.0f}",
                f"{3600 * digits / by_hand:,.0f}",
            ),
            (
                "fields an hour",
                f"{3600 * fields / seconds:,.0f}",
                f"{3600 * fields / by_hand:,.0f}",
            ),
        ),
        figures=figures,
        notes=(
            f"{len(examples):,} amounts, of which {waiting:,} wait at {THRESHOLD}; {fields:,} of "
            f"these with {digits:,} digits are looked at, {wrong:,} of them wrong; {misread:,} "
            "more have too few or too many digits, and go to who sees the whole. Assumed, not "
            f"measured: {GLANCE} s a picture, {KEY} s a key, {THOUGHT} s of thought before each "
            "screen, correction and field; nobody is mistaken.",
        ),
    )


def is_offered(field: FieldReading) -> bool:
    """Say whether the field is in a carpet, as `db.carpet` does of a stored one."""
    length = len(field.value or "")
    same = sum(one.probability for one in field.alternatives if len(one.value) == length)
    return bool(field.characters) and field.blocked is None and 1 - same <= MAX_OTHER


def _looked_at(screens: dict[str, list[Digit]]) -> tuple[int, float]:
    """Return the keys that a person presses on all screens, and the seconds that she takes."""
    keys, seconds = 0, 0.0
    for own in screens.values():
        ordered = sorted(own, key=lambda one: one.probability)
        for start in range(0, len(ordered), SCREEN):
            screen = ordered[start : start + SCREEN]
            here, pressed = 0, 1  # Enter
            for place, one in enumerate(screen):
                if one.wrong:
                    pressed += _moves(here, place) + 1
                    seconds += THOUGHT
                    here = place
            keys += pressed
            seconds += THOUGHT + GLANCE * len(screen) + KEY * pressed
    return keys, seconds


def _moves(here: int, there: int) -> int:
    """Return how often a person presses an arrow between two places."""
    down, across = there // COLUMNS - here // COLUMNS, there % COLUMNS - here % COLUMNS
    return abs(down) + abs(across)


if __name__ == "__main__":
    main()
