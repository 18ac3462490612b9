"""Damage as disks and networks do it: bytes that are cut off, zeroed, dropped or flipped."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


def blocks_lost(data: bytes, size: int, count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Yield `count` copies of `data` each cut off, with a block of zeros, and without a block."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        at = int(rng.integers(0, max(1, len(data) - size)))
        yield f"cut at {at}", data[:at]
        zeroed = data[:at] + bytes(min(size, len(data) - at)) + data[at + size :]
        if zeroed != data:
            yield f"zeros at {at}", zeroed
        dropped = data[:at] + data[at + size :]
        yield f"dropped at {at}", dropped


def bits_flipped(data: bytes, count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Yield `count` copies of `data`, each with one other bit."""
    rng = np.random.default_rng(seed)
    for at, bit in zip(rng.integers(0, len(data), count), rng.integers(0, 8, count), strict=True):
        changed = bytearray(data)
        changed[at] ^= 1 << int(bit)
        yield f"bit {bit} of {at}", bytes(changed)
