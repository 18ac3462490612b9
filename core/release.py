"""How sure the machine must be, so that at most one released value in N is wrong.

The evidence are fields that people keyed without seeing what the machine read. A threshold is
chosen from a fixed list, and the promise must hold although it is the evidence that chooses, and
although a supervisor looks at it as often as she likes. So each threshold is tested with a
likelihood ratio that stays small for ever if the promise is false: under "at least one in N of
the values above this threshold is wrong" it is a nonnegative supermartingale, and by Ville's
inequality it ever reaches 1/p with a chance of at most p (Robbins 1970; Howard, Ramdas, McAuliffe
and Sekhon 2021). Several thresholds are tested by the fallback procedure (Wiens 2003), one of the
ways of "Learn then Test" (Angelopoulos, Bates, Candès, Jordan and Lei 2021, arXiv:2110.01052): from
four fixed starts, each with a quarter of the 5 %, downwards as long as each test succeeds. The
chance that any threshold is called safe that is not is then at most 5 %, whatever the error curve.

Plain arithmetic, without database, clock or settings.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from core.intervals import at_most, upper_bound

CERTAINTY: Final = 0.95
BUDGETS: Final = (50, 100, 200, 500, 1000, 2000, 5000, 10_000)  # one wrong in so many

# Strictest first. Eighths of a decade: 1 - 10 ** (-k / 8) for k from 40 down to 0.
THRESHOLDS: Final = tuple(round(1 - 10 ** (-k / 8), 7) for k in range(40, -1, -1))
_STARTS: Final = frozenset(round(1 - 10**-decades, 7) for decades in (4, 3, 2, 1))
_LEVEL: Final = (1 - CERTAINTY) / len(_STARTS)

# People who key blindly repeat some of the machine's mistakes, as where a 1 looks like a 7 to
# everybody: one in twenty by the first, it is assumed, and as many by a second, who is
# asked where the first differs. So at least this share of the mistakes is seen.
SEEN: Final = 0.9

_LEAST_OF_ITS_OWN: Final = 50  # keyed fields, or a field of a template is not released at all

FieldKey = tuple[str, str]  # the template's name, "" without one; and the field's name


@dataclass(frozen=True, slots=True)
class Rules:
    """A policy as it is applied to what was read."""

    policy_id: str
    thresholds: Mapping[FieldKey, float]
    models: frozenset[str]  # the hashes of the readers that it was made for

    def threshold(self, template: str | None, field: str, model: str) -> float | None:
        """Return the least confidence at which a value is released; None: people see it."""
        return self.thresholds.get((template or "", field)) if model in self.models else None


@dataclass(frozen=True, slots=True)
class KeyedField:
    """A field that was keyed blindly, and whether the machine had read the same."""

    confidence: float  # of the machine, 0 to 1
    right: bool
    # Of its kind all fields from this confidence on were keyed, or a random sample of them; those
    # below were not.
    complete_from: float = 0.0


@dataclass(frozen=True, slots=True)
class Point:
    """What is known of a threshold."""

    threshold: float
    keyed: int  # fields of at least this confidence
    wrong: int  # of these

    @property
    def bound(self) -> float:
        """The one-sided 95 % Clopper-Pearson bound of the share of wrong ones; 1 of nothing."""
        return min(1.0, upper_bound(self.wrong, self.keyed, CERTAINTY) / SEEN)


def points_of(fields: Iterable[KeyedField]) -> tuple[Point, ...]:
    """Count the evidence for each of THRESHOLDS."""
    rising = THRESHOLDS[::-1]
    # How many more fields count for a threshold than for the next lower one.
    keyed, wrong = [0] * (len(rising) + 1), [0] * (len(rising) + 1)
    for field in fields:
        start = bisect_left(rising, field.complete_from)
        end = max(start, bisect_right(rising, field.confidence))
        keyed[start] += 1
        keyed[end] -= 1
        wrong[start] += not field.right
        wrong[end] -= not field.right
    counts = zip(rising, accumulate(keyed), accumulate(wrong), strict=False)
    return tuple(Point(*one) for one in counts)[::-1]


def log_evidence(keyed: int, wrong: int, share: float) -> float:
    """The log of how much `wrong` of `keyed` speaks against an error of `share` or more.

    The likelihood of the counts, averaged over all errors from 0 to `share` alike, over their
    likelihood under `share`. 0 where they do not speak against it.
    """
    if wrong >= keyed * share:
        return 0.0
    right = keyed - wrong
    beta = math.lgamma(wrong + 1) + math.lgamma(right + 1) - math.lgamma(keyed + 2)
    inside = 1 - at_most(wrong, keyed + 1, share)
    log = beta + math.log(inside) - (wrong + 1) * math.log(share) - right * math.log1p(-share)
    return max(0.0, log)


def choose_threshold(points: Sequence[Point], one_in: int) -> float | None:
    """Return the lowest threshold that keeps "at most one wrong in `one_in`", or None.

    The chance that it does not is at most 5 %, whenever and however often this is asked.
    """
    chosen, level = None, 0.0
    for point in points:
        if point.threshold in _STARTS:
            level += _LEVEL
        if level and log_evidence(point.keyed, point.wrong, SEEN / one_in) >= -math.log(level):
            chosen = point.threshold
        else:
            level = 0.0
    return chosen


def missing(points: Sequence[Point], one_in: int) -> int:
    """Return how many more fields must be keyed blindly at least, all sure ones being right."""
    needed = []
    for point in points:
        if point.threshold in _STARTS:
            more = _first(
                lambda more, point=point: (  # type: ignore[misc]
                    log_evidence(point.keyed + more, point.wrong, SEEN / one_in)
                    >= -math.log(_LEVEL)
                )
            )
            share = (point.keyed + 1) / (points[-1].keyed + 1)  # of the fields that are so sure
            needed.append(math.ceil(more / share))
    return min(needed)


def enough_alone(one_in: int) -> int:
    """Return from how many keyed fields on a field of a template is judged by itself."""
    return 2 * missing(points_of(()), one_in)


def _first(holds: Callable[[int], bool]) -> int:
    """Return the least count for which `holds`, which stays true from there on."""
    high = 1
    if holds(0):
        return 0
    while not holds(high):
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


@dataclass(frozen=True, slots=True)
class Choice:
    """What a policy says of one field of a template."""

    field: FieldKey
    keyed: int  # blindly, of this field
    wrong: int  # of these
    alone: bool  # judged by its own evidence; else together with others that have little
    threshold: float | None  # None: people see every one
    missing: int  # fields to key blindly until it may be released; 0 if it is


@dataclass(frozen=True, slots=True)
class Outlook:
    """What the evidence allows."""

    one_in: int
    choices: tuple[Choice, ...]  # by template and field
    pooled: tuple[Point, ...]  # of the fields that are judged together
    missing: int  # fields to key blindly until any may be released; 0 if some is

    @property
    def thresholds(self) -> dict[FieldKey, float]:
        return {one.field: one.threshold for one in self.choices if one.threshold is not None}


def look(evidence: Mapping[FieldKey, Sequence[KeyedField]], one_in: int) -> Outlook:
    """Choose thresholds for the fields of a site.

    A field of a template with enough evidence is judged by itself. The others are judged together,
    except those of which almost nothing was keyed: nothing is known of them. Which field is judged
    how depends on counts only, never on what is right or wrong.
    """
    least = enough_alone(one_in)
    pool = {
        key: fields for key, fields in evidence.items() if _LEAST_OF_ITS_OWN <= len(fields) < least
    }
    pooled = points_of(field for fields in pool.values() for field in fields)
    together, together_missing = choose_threshold(pooled, one_in), missing(pooled, one_in)
    choices = []
    for key, fields in sorted(evidence.items()):
        alone = len(fields) >= least
        threshold, more = None, max(_LEAST_OF_ITS_OWN - len(fields), 0)
        if alone:
            own = points_of(fields)
            threshold, more = choose_threshold(own, one_in), missing(own, one_in)
        elif key in pool:
            threshold, more = together, together_missing
        wrong = sum(not field.right for field in fields)
        choices.append(
            Choice(key, len(fields), wrong, alone, threshold, 0 if threshold is not None else more)
        )
    some = [choice.missing for choice in choices if choice.alone or choice.field in pool]
    return Outlook(one_in, tuple(choices), pooled, min([*some, together_missing]))


# --- the monitor --------------------------------------------------------------------------------

FALSE_ALARMS: Final = 0.05  # the chance of an alarm, ever, under a policy that keeps its budget
_TIMES: Final = (1.5, 2.0, 3.0, 5.0, 10.0, 30.0)  # how much worse it may have become


@dataclass(frozen=True, slots=True)
class Watch:
    """What the released values that were keyed again say of a policy."""

    audited: int
    wrong: int
    evidence: float  # the most that ever spoke against the budget; 1 / FALSE_ALARMS is an alarm
    raised_after: int | None  # audited fields; None: there is no alarm


def watch(wrong: Sequence[bool], one_in: int) -> Watch:
    """Test whether more than one in `one_in` is wrong, from audits in the order of their keying.

    The error may have risen at any time, so a likelihood ratio starts anew after as many fields as
    hold one error on average, the m-th with the weight 1 / (m (m + 1)); each is the mean over
    several sizes of the rise. The sum is a nonnegative supermartingale as long as the budget is
    kept, so that looking every day costs nothing (Ville's inequality; for starts at all times see
    Shin, Ramdas and Rinaldo 2022, "E-detectors").
    """
    share = 1 / one_in
    rises = [min(times * share, 0.9) for times in _TIMES]
    logs = [
        (math.log(rise / share), math.log1p(-rise) - math.log1p(-share)) for rise in rises
    ]  # of a wrong field, of a right one
    errors, most, raised_after = [0], 0.0, None  # `errors[n]`: among the first n
    for number, one in enumerate(wrong, 1):
        errors.append(errors[-1] + one)
        if not one:
            continue  # a right field only lowers the ratio
        total = 0.0
        for m, start in enumerate(range(0, number, one_in), 1):
            bad = errors[number] - errors[start]
            good = number - start - bad
            ratios = sum(math.exp(min(bad * up + good * down, 700.0)) for up, down in logs)
            total += ratios / len(logs) / (m * (m + 1))
        most = max(most, total)
        if raised_after is None and most >= 1 / FALSE_ALARMS:
            raised_after = number
    return Watch(len(wrong), errors[-1], most, raised_after)
