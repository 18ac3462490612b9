"""Batches that do not balance: is the value that is wrong among the first three suspects?

    python -m benchmarks.balance [--data DIR] [--batches 1000] [--write]

Real readings: every courtesy amount of `courtesy_amounts` is read as it is, with its confidence and
its alternatives; these images trained nothing. A batch has 20 to 500 values, drawn with
replacement, of which one or two are wrong. Its control total is the sum of the true values. Batch
number n is drawn from the seed `SEED + n`.

misread: a real misreading with one digit wrong; all others as they were read.
misread, released: the same, if the machine was at least 90 % sure of it; of the others a person has
    keyed those below 90 %, rightly.
mistyped: one below 90 %, in which the person typed one digit wrong, any for any.
all keyed: a person has keyed every value, and typed one digit of one wrong.
surely misread: a right reading of 90 % and more with a digit replaced by one that it is confused
    with, so that nothing points at it; the others as in "misread, released".

Some labels of the set are plainly wrong, and such a value counts as misread. Those of the even half
were corrected by eye (courtesy_errata.json); the others are as they are.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.courtesy import ERRATA
from benchmarks.data import add_data_option
from core.balance import Suspicion, suspicions
from core.misreads import instead_of
from pipeline.grammar.base import ANY_DIGITS
from pipeline.read import read_strip
from pipeline.readers.loaded import load_readers
from training.evaluation.labelled import load_labelled
from training.evaluation.metrics import wilson

RESULTS = Path(__file__).parent / "results" / "balance.md"
SEED: Final = 1607
SIZES: Final = (20, 500)  # values of a batch
FIRST: Final = 3
SURE: Final = 0.9


@dataclass(frozen=True)
class Amount:
    """A value as it is in the batch, and the true one."""

    truth: str
    value: str
    confidence: float
    alternatives: dict[str, float]
    keyed: bool = False

    @cached_property
    def others(self) -> dict[int, float]:
        found: dict[int, float] = {}
        for one in instead_of(self.value, self.confidence, self.alternatives, keyed=self.keyed):
            if one.value:
                number = int(one.value)
                found[number] = max(found.get(number, one.log_odds), one.log_odds)
        return found


Spoil = Callable[[np.random.Generator], Amount]
Change = Callable[[Amount, np.random.Generator], Amount]


def read_amounts(data: Path) -> list[Amount]:
    """Read every courtesy amount."""
    readers = load_readers()
    errata: dict[str, str] = json.loads(ERRATA.read_text(encoding="utf-8"))
    amounts = []
    for example in load_labelled(data / "courtesy_amounts").examples:
        (field,) = read_strip(example.file.read_bytes(), ANY_DIGITS, readers).fields
        amounts.append(
            Amount(
                truth=errata.get(example.file.name, example.truth),
                value=field.value or "",
                confidence=field.confidence,
                alternatives={one.value: one.probability for one in field.alternatives},
            )
        )
    return amounts


def one_digit_wrong(amount: Amount) -> bool:
    pairs = list(zip(amount.truth, amount.value, strict=False))
    same_length = len(amount.truth) == len(amount.value)
    return same_length and sum(one != other for one, other in pairs) == 1


def as_it_is(amount: Amount, _random: np.random.Generator) -> Amount:
    return amount


def mistyped(amount: Amount, random: np.random.Generator) -> Amount:
    """Return a right reading as a person keyed it who hit one wrong digit."""
    at = int(random.integers(len(amount.value)))
    digit = str((int(amount.value[at]) + int(random.integers(1, 10))) % 10)
    return replace(amount, value=amount.value[:at] + digit + amount.value[at + 1 :], keyed=True)


def surely_misread(amount: Amount, random: np.random.Generator) -> Amount:
    """Return a right reading with a confused digit, of which its alternatives know nothing."""
    one_digit = [
        other
        for other in instead_of(amount.value, 1.0, {}, keyed=False)
        if other.value[0] != "0" or len(other.value) == 1
    ]
    weights = np.exp([other.log_odds for other in one_digit])
    chosen = one_digit[int(random.choice(len(one_digit), p=weights / weights.sum()))]
    rest = {value: share for value, share in amount.alternatives.items() if value != amount.truth}
    return replace(amount, value=chosen.value, alternatives=rest)


@dataclass(frozen=True, slots=True)
class Outcome:
    size: int
    found: bool  # every wrong value is among the first suspects
    first: bool  # the first suspect is right in all
    seconds: float


def try_batch(
    right: Sequence[Amount], spoil: Spoil, wrong: int, random: np.random.Generator
) -> Outcome:
    size = int(random.integers(SIZES[0], SIZES[1] + 1))
    batch = [right[int(at)] for at in random.integers(len(right), size=size)]
    guilty = random.choice(size, size=wrong, replace=False)
    for at in guilty:
        batch[int(at)] = spoil(random)
    difference = sum(int(one.truth) - int(one.value) for one in batch)
    began = time.process_time()
    found = suspicions([(int(one.value), one.others) for one in batch], difference)
    seconds = time.process_time() - began
    wanted = {int(at): int(batch[int(at)].truth) for at in guilty}
    entries = {change.entry for one in found[:FIRST] for change in one.changes}
    return Outcome(
        size, difference == 0 or wanted.keys() <= entries, _is(found[:1], wanted), seconds
    )


def _is(found: Sequence[Suspicion], wanted: dict[int, int]) -> bool:
    return any({change.entry: change.after for change in one.changes} == wanted for one in found)


def report(amounts: Sequence[Amount], batches: int) -> str:
    right = [one for one in amounts if one.value == one.truth]
    misread = [one for one in amounts if one_digit_wrong(one)]
    # Below the threshold people keyed them, whatever the machine had read.
    unsure = [replace(one, value=one.truth, keyed=True) for one in amounts if one.confidence < SURE]
    released = [one for one in right if one.confidence >= SURE]
    slipped = [one for one in misread if one.confidence >= SURE]
    keyed = [replace(one, value=one.truth, keyed=True) for one in amounts]
    worked = [*released, *unsure]

    def one_of(some: Sequence[Amount], change: Change = as_it_is) -> Spoil:
        return lambda random: change(some[int(random.integers(len(some)))], random)

    kinds: list[tuple[str, Sequence[Amount], Spoil]] = [
        ("misread", right, one_of(misread)),
        ("misread, released", worked, one_of(slipped)),
        ("mistyped", worked, one_of(unsure, mistyped)),
        ("all keyed", keyed, one_of(keyed, mistyped)),
        ("surely misread", worked, one_of(released, surely_misread)),
    ]
    listed = sum(one.truth in one.alternatives for one in misread)
    lines = [
        "# Batches that do not balance",
        "",
        f"`python -m benchmarks.balance --batches {batches}`: {len(amounts)} courtesy amounts of"
        f" real cheques, {len(right)} read rightly, {len(misread)} with one digit wrong,"
        f" {len(slipped)} of these at least 90 % sure; of all misread {listed} have the true value"
        f" among their alternatives. {batches} batches a row of {SIZES[0]} to {SIZES[1]} values,"
        f" seed {SEED}.",
        "",
        f"| Wrong | Kind | Among the first {FIRST} suspects | The first is right | Median ms |",
        "|---:|---|---:|---:|---:|",
    ]
    for wrong in (1, 2):
        for name, others, spoil in kinds:
            outcomes = [
                try_batch(others, spoil, wrong, np.random.default_rng(SEED + number))
                for number in range(batches)
            ]
            found = sum(one.found for one in outcomes)
            first = sum(one.first for one in outcomes)
            low, high = wilson(found, batches)
            milliseconds = 1000 * float(np.median([one.seconds for one in outcomes]))
            lines.append(
                f"| {wrong} | {name} | {found} of {batches} = {found / batches:.1%}"
                f" ({low:.1%} to {high:.1%}) | {first / batches:.1%} | {milliseconds:.0f} |"
            )
            print(lines[-1], flush=True)
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_data_option(parser)
    parser.add_argument("--batches", type=int, default=1000, help="batches of each kind")
    parser.add_argument("--readings", type=Path, metavar="FILE", help="keep the readings there")
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS}")
    arguments = parser.parse_args()
    if arguments.readings and arguments.readings.exists():
        kept = json.loads(arguments.readings.read_text(encoding="utf-8"))
        amounts = [Amount(**one) for one in kept]
    else:
        amounts = read_amounts(arguments.data)
        if arguments.readings:
            text = json.dumps([asdict(one) for one in amounts])
            arguments.readings.write_text(text, encoding="utf-8")
    text = report(amounts, arguments.batches)
    if arguments.write:
        RESULTS.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
