"""Does the release policy keep its promise, and how soon does its monitor see that it is broken?

    python -m benchmarks.policy [--sites 1000] [--one-in 200] [--write]

Sites are simulated whose error is known for every confidence. People key fields blindly and
see nine in ten of the machine's mistakes. After every 200 fields a supervisor looks, and sets
the policy to what the page offers her. The promise of a site is broken if, at any of her looks,
the threshold that is offered lets more than one in N of the released values be wrong. Beside it:
the lowest threshold whose 95 % Clopper-Pearson bound keeps the budget at the moment of the look,
with no correction for the choice and for the looks.

For the monitor, released values are keyed again blindly. Their error keeps the budget, and is
three times as high from some field on.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.intervals import at_most
from core.release import SEEN, THRESHOLDS, Point, choose_threshold, missing, points_of, watch
from training.evaluation.metrics import wilson

RESULTS = Path("benchmarks/results/policy.md")
SEED = 16
EVERY = 200  # fields keyed between two looks
_FINE = 20_000  # confidences at which the true error is summed

Floats = NDArray[np.float64]
Curve = Callable[[Floats], Floats]  # confidence -> chance that the value is wrong
Chooser = Callable[[Sequence[Point], int], float | None]


@dataclass(frozen=True, slots=True)
class Site:
    """Confidences are 1 - 10 ** -u with u uniform from 0 to `most`."""

    most: float
    error: Curve

    def draw(self, count: int, rng: np.random.Generator) -> tuple[Floats, NDArray[np.bool_]]:
        """Return confidences, and which of the values a person sees to be wrong."""
        confidences = 1 - 10 ** -rng.uniform(0, self.most, count)
        return confidences, rng.random(count) < SEEN * self.error(confidences)

    def truths(self) -> dict[float, tuple[float, float]]:
        """Return for each threshold the share of fields released, and of these that is wrong."""
        confidences = 1 - 10 ** -((np.arange(_FINE) + 0.5) / _FINE * self.most)  # ascending
        # From each confidence on: the errors above it.
        errors = np.cumsum(self.error(confidences)[::-1])[::-1]
        found = {}
        for threshold in THRESHOLDS:
            start = int(np.searchsorted(confidences, threshold))
            released = _FINE - start
            mean = float(errors[start]) / released if released else 0.0
            found[threshold] = (released / _FINE, mean)
        return found


def usual(rng: np.random.Generator, _one_in: int) -> Site:
    """A confidence that is roughly true: too high or too low by up to some ten times."""
    scale, power = 10 ** rng.uniform(-0.5, 1.0), rng.uniform(0.6, 1.2)
    return Site(4.5, partial(_power, scale, power))


def _power(scale: float, power: float, confidences: Floats) -> Floats:
    return np.minimum(1.0, scale * (1 - confidences) ** power)


def just_too_bad(_rng: np.random.Generator, one_in: int) -> Site:
    """The worst case for the promise: every threshold just breaks it."""
    return Site(4.5, lambda confidences: np.full(len(confidences), 1.02 / one_in))


def worst_on_top(rng: np.random.Generator, one_in: int) -> Site:
    """The surest values are wrong most often, as where a stamp is read as a number."""
    top, bad = 10 ** -rng.uniform(2.5, 4), rng.uniform(2, 10) / one_in
    return Site(4.5, lambda confidences: np.where(confidences > 1 - top, bad, 0.5 / one_in))


KINDS = {
    "usual: error = a (1 - confidence)^b": usual,
    "every threshold just breaks the budget": just_too_bad,
    "the surest are wrong most often": worst_on_top,
}


def uncorrected(points: Sequence[Point], one_in: int) -> float | None:
    """Return the lowest threshold whose own 95 % bound keeps the budget."""
    kept = [
        point.threshold
        for point in points
        if point.wrong * one_in <= point.keyed * SEEN
        and point.keyed
        and at_most(point.wrong, point.keyed, SEEN / one_in) <= 0.05
    ]
    return kept[-1] if kept else None


@dataclass(frozen=True, slots=True)
class Outcome:
    broken: bool  # at some look
    released: float  # share of the fields at the last look
    possible: float  # the largest share that any threshold could release


def try_site(
    site: Site, one_in: int, keyed: int, choose: Chooser, rng: np.random.Generator
) -> Outcome:
    """Let a supervisor look after every EVERY fields, `keyed` in all."""
    confidences, wrong = site.draw(keyed, rng)
    above = confidences[:, None] >= np.array(THRESHOLDS)[None, :]
    counts = np.cumsum(above, axis=0)[EVERY - 1 :: EVERY]
    errors = np.cumsum(above & wrong[:, None], axis=0)[EVERY - 1 :: EVERY]
    truths = site.truths()
    broken, chosen = False, None
    for count, error in zip(counts.tolist(), errors.tolist(), strict=True):
        points = [Point(*one) for one in zip(THRESHOLDS, count, error, strict=True)]
        chosen = choose(points, one_in)
        broken |= chosen is not None and truths[chosen][1] > 1 / one_in
    kept = [share for share, error in truths.values() if error <= 1 / one_in]
    return Outcome(broken, truths[chosen][0] if chosen is not None else 0.0, max(kept, default=0.0))


def of_policy(sites: int, one_in: int) -> list[str]:
    """Return the table of how often the promise is broken."""
    keyed = -(-6 * missing(points_of(()), one_in) // EVERY) * EVERY
    lines = [
        f"## The promise: at most one wrong in {one_in:,}, {sites:,} sites a row",
        "",
        f"{keyed:,} fields keyed blindly a site, {keyed // EVERY} looks.",
        "",
        "| Sites | Threshold | Broken at some look | Released at the end, median | Possible |",
        "|---|---|---:|---:|---:|",
    ]
    for name, draw in KINDS.items():
        for title, choose in (("as on the page", choose_threshold), ("uncorrected", uncorrected)):
            rng = np.random.default_rng(SEED)
            outcomes = [
                try_site(draw(rng, one_in), one_in, keyed, choose, rng) for _ in range(sites)
            ]
            bad = sum(one.broken for one in outcomes)
            low, high = wilson(bad, sites)
            lines.append(
                f"| {name} | {title} | {bad} = {bad / sites:.1%} ({low:.1%} to {high:.1%}) | "
                f"{np.median([one.released for one in outcomes]):.0%} | "
                f"{np.median([one.possible for one in outcomes]):.0%} |"
            )
    return lines


def of_monitor(sites: int, one_in: int) -> list[str]:
    """Return the table of false alarms, and of how soon a rise to three times is seen."""
    rng = np.random.default_rng(SEED)
    longest = 30 * one_in
    lines = [
        f"## The monitor: at most one wrong in {one_in:,}, {sites:,} sites a row",
        "",
        "| Error of what is released, before | after | Rises after | Alarms before it | "
        "Audited fields until the alarm: median | nine in ten within | not within "
        f"{longest:,} |",
        "|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for before, after, good in (
        (1.0, 1.0, longest),
        (1.0, 3.0, 0),
        (1.0, 3.0, 5 * one_in),
        (1.0, 3.0, 30 * one_in),
        (0.5, 1.5, 5 * one_in),
        (1.0, 10.0, 5 * one_in),
    ):
        early, delays = 0, []
        for _ in range(sites):
            seen = rng.random(good) < before / one_in
            if before != after:
                seen = np.concatenate([seen, rng.random(longest) < after / one_in])
            raised = watch(seen.tolist(), one_in).raised_after
            if raised is not None and raised <= good:
                early += 1
            elif before != after:
                delays.append(np.inf if raised is None else raised - good)
        low, high = wilson(early, sites)
        alarms = f"{early} = {early / sites:.1%} ({low:.1%} to {high:.1%})"
        cells = [f"{before:g} × budget", f"{after:g} ×", f"{good:,}", alarms if good else "–"]
        if before == after:
            cells[1:3] = ["never", f"({longest:,} audited)"]
            cells += ["–"] * 3
        else:
            found = np.array(delays)
            half, most = np.quantile(found, [0.5, 0.9], method="inverted_cdf")
            times = [
                f"{one:,.0f}" if np.isfinite(one) else f"> {longest:,}" for one in (half, most)
            ]
            cells += [*times, f"{np.isinf(found).sum()} of {len(found):,}"]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sites", type=int, default=1000)
    parser.add_argument("--one-in", type=int, default=200)
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS}")
    arguments = parser.parse_args()
    lines = [
        "# Release policy, simulated",
        "",
        f"`python -m benchmarks.policy --sites {arguments.sites} --one-in {arguments.one_in}`; "
        "intervals are Wilson's, 95 %. What is simulated is said in `benchmarks/policy.py`.",
        "",
        *of_policy(arguments.sites, arguments.one_in),
        "",
        *of_monitor(arguments.sites, arguments.one_in),
    ]
    text = "\n".join(lines) + "\n"
    print(text)
    if arguments.write:
        RESULTS.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
