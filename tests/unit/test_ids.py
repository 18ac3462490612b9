"""Ids are UUIDs of version 7, and only grow."""

from __future__ import annotations

import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from core.ids import is_id, new_id


def test_ids_grow_and_differ() -> None:
    ids = [new_id() for _ in range(20_000)]  # more than the counter holds in a millisecond
    assert ids == sorted(ids)
    assert len(set(ids)) == len(ids)


def test_threads_make_no_id_twice() -> None:
    with ThreadPoolExecutor(8) as pool:
        ids = [
            one
            for many in pool.map(lambda _: [new_id() for _ in range(500)], range(8))
            for one in many
        ]
    assert len(set(ids)) == 4000


def test_an_id_is_a_uuid_of_version_7_made_now() -> None:
    before = time.time_ns() // 1_000_000
    one = uuid.UUID(new_id())
    assert (one.version, one.variant) == (7, uuid.RFC_4122)
    # An id may be ahead of the clock by what the counter borrowed.
    assert before <= one.int >> 80 <= time.time_ns() // 1_000_000 + 1000


@pytest.mark.parametrize("text", ["", "0" * 31, "0" * 33, "G" * 32, "A" * 32, "0" * 31 + "\n", "é"])
def test_what_is_no_id(text: str) -> None:
    assert is_id(new_id())
    assert not is_id(text)
