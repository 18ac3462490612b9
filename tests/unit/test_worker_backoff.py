"""Waiting for a service that is away."""

from __future__ import annotations

import pytest

from core.errors import InputError, TransientError
from worker.backoff import retry_with_backoff


def test_a_service_that_comes_back_is_waited_for() -> None:
    answers = iter([TransientError("away"), 42])

    def step() -> int:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert retry_with_backoff(step, service="store") == 42


def test_one_that_stays_away_is_given_up() -> None:
    def step() -> None:
        raise TransientError("away")

    with pytest.raises(TransientError, match="away"):
        retry_with_backoff(step, service="store", seconds=0)


def test_bad_bytes_are_not_tried_again() -> None:
    calls = []

    def step() -> None:
        calls.append(1)
        raise InputError("bad")

    with pytest.raises(InputError):
        retry_with_backoff(step, service="store")
    assert len(calls) == 1
