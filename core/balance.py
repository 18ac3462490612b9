"""Which numbers to look at again where a batch does not come to its control total.

Amounts are whole numbers of the minor unit, so that sums are exact. The search finds changes of one
to three values, each to a value that it may have instead, that make the difference vanish: first
those of the fewest values, and of these the likeliest. Time and memory are bounded: only the
likeliest changes that shift the sum by the same amount are kept, and for three values only the
likeliest shifts are tried in two of them.
"""

from __future__ import annotations

import heapq
import re
from bisect import insort
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from core.errors import InputError

MOST_CHANGED: Final = 3  # values of one suspicion


_DECIMAL: Final = re.compile(r"[0-9]{1,18}(\.[0-9]{1,4})?", re.ASCII)
_GROUPED: Final = re.compile(r"[0-9]{1,3}(,[0-9]{2,3})*,[0-9]{3}(\.[0-9]{1,4})?", re.ASCII)

_KEPT: Final = 16  # changes with the same shift
_TRIED: Final = 4  # of these, in combination with others
_SHIFTS: Final = 600  # that two of three values may have


@dataclass(frozen=True, slots=True)
class Change:
    """One value may be another: `entry` is the number of the entry, amounts are minor units."""

    entry: int
    before: int
    after: int
    log_odds: float

    @property
    def shift(self) -> int:
        return self.after - self.before


@dataclass(frozen=True, slots=True)
class Suspicion:
    """Changes that together make the batch balance, by the number of their entries."""

    changes: tuple[Change, ...]
    log_odds: float


Entries = Iterable[tuple[int, Mapping[int, float]]]  # an amount, and log odds of others


def suspicions(entries: Entries, difference: int, *, most: int = 10) -> list[Suspicion]:
    """Return what may be wrong if the amounts of `entries` lack `difference`.

    At most `most`, those with the fewest changes first, then by their odds. Three values are only
    suspected together where no fewer would do. A difference of 0 leaves nothing to suspect.
    """
    if difference == 0:
        return []
    by_shift = _by_shift(entries)
    found = [_suspicion([change]) for change in by_shift.get(difference, ())][:most]
    if len(found) < most:
        found += _best(_pairs(by_shift, difference), most - len(found))
    if not found:
        found = _best(_triples(by_shift, difference), most)
    return found


def _by_shift(entries: Entries) -> dict[int, list[Change]]:
    """Return the likeliest changes with each shift, the likeliest first."""
    by_shift: dict[int, list[Change]] = {}
    for number, (before, others) in enumerate(entries):
        for after, log_odds in others.items():
            if after == before:
                continue
            kept = by_shift.setdefault(after - before, [])
            if len(kept) < _KEPT or log_odds > kept[-1].log_odds:
                insort(kept, Change(number, before, after, log_odds), key=_unlikely)
                del kept[_KEPT:]
    return by_shift


def _unlikely(change: Change) -> float:
    return -change.log_odds


def _pairs(by_shift: Mapping[int, Sequence[Change]], shift: int) -> Iterator[Suspicion]:
    for first, own in by_shift.items():
        rest = shift - first
        if rest < first or rest not in by_shift:
            continue
        for one in own[:_TRIED]:
            for other in by_shift[rest][:_TRIED]:
                if one.entry < other.entry or (one.entry != other.entry and first != rest):
                    yield _suspicion([one, other])


def _triples(by_shift: Mapping[int, Sequence[Change]], shift: int) -> Iterator[Suspicion]:
    likeliest = heapq.nlargest(_SHIFTS, by_shift, key=lambda one: by_shift[one][0].log_odds)
    for number, first in enumerate(likeliest):
        for second in likeliest[number:]:
            for third in by_shift.get(shift - first - second, ())[:_TRIED]:
                for one in by_shift[first][:_TRIED]:
                    for other in by_shift[second][:_TRIED]:
                        if len({one.entry, other.entry, third.entry}) == MOST_CHANGED:
                            yield _suspicion([one, other, third])


def _suspicion(changes: Sequence[Change]) -> Suspicion:
    ordered = tuple(sorted(changes, key=lambda change: change.entry))
    return Suspicion(ordered, sum(change.log_odds for change in ordered))


def _best(found: Iterable[Suspicion], most: int) -> list[Suspicion]:
    """Return the likeliest, each once, in bounded memory."""
    best: dict[tuple[Change, ...], Suspicion] = {}
    floor = float("-inf")
    for one in found:
        if one.log_odds > floor or len(best) < most:
            best[one.changes] = one
            if len(best) >= 4 * most:
                kept = heapq.nlargest(most, best.values(), key=_odds_of)
                best = {suspicion.changes: suspicion for suspicion in kept}
                floor = kept[-1].log_odds
    return heapq.nlargest(most, best.values(), key=_odds_of)


def _odds_of(suspicion: Suspicion) -> float:
    return suspicion.log_odds


# --- decimals as text ---------------------------------------------------------------------------


def control_total(text: str) -> str:
    """Return a total as a person writes it, `1,234.50`, as a decimal. Raises InputError."""
    plain = text.strip().replace("\N{NO-BREAK SPACE}", " ").replace(" ", "")
    if _GROUPED.fullmatch(plain):
        plain = plain.replace(",", "")
    if not _DECIMAL.fullmatch(plain):
        raise InputError(
            f"'{text[:40]}' is no control total.",
            hint="Write it with a point before the minor unit, for example 12345.50.",
            code="bad-control-total",
        )
    return plain


def minor_units(value: str | None, places: int) -> int | None:
    """Return a decimal in units of its last of `places` decimals; None if it is none such."""
    if value is None or not _DECIMAL.fullmatch(value) or places_of(value) > places:
        return None
    return int(Decimal(value).scaleb(places))


def places_of(value: str) -> int:
    """Return how many decimals a number has."""
    return len(value.partition(".")[2])


def decimal_text(amount: int, places: int) -> str:
    """Return an amount of minor units as people read it: 123450 is 1,234.50."""
    sign, amount = ("-" if amount < 0 else ""), abs(amount)
    whole, rest = divmod(amount, 10**places)
    return f"{sign}{whole:,}" + (f".{rest:0{places}}" if places else "")
