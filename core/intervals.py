"""Bounds of a share that was counted. Plain arithmetic."""

from __future__ import annotations

import math


def upper_bound(part: int, count: int, certainty: float = 0.95) -> float:
    """The one-sided upper bound of the share `part` of `count` (Clopper, Pearson 1934).

    The largest share under which `part` or fewer would still be seen with a chance of
    1 - `certainty`; 1 of nothing. Raises ValueError if `part` is not within `count`.
    """
    if not 0 <= part <= count:
        raise ValueError(f"{part} of {count} is no share")
    if part == count:
        return 1.0
    low, high = part / count, 1.0
    for _ in range(50):  # halves: well below 1e-12
        middle = (low + high) / 2
        if at_most(part, count, middle) > 1 - certainty:
            low = middle
        else:
            high = middle
    return high


def at_most(part: int, count: int, share: float) -> float:
    """The chance of `part` or fewer successes in `count` trials of chance `share`."""
    if share in (0.0, 1.0):
        return 1.0 - share if part < count else 1.0
    log, sum_ = count * math.log1p(-share), 0.0
    odds = math.log(share) - math.log1p(-share)
    for k in range(part + 1):
        sum_ += math.exp(log)
        log += math.log((count - k) / (k + 1)) + odds if k < count else 0.0
    return min(1.0, sum_)
