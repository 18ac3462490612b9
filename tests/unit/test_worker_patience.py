"""Waiting for services, and holding claims."""

from __future__ import annotations

import threading

import pytest

from core.errors import InputError, TransientError
from worker.patience import Heartbeat, patiently


def test_a_service_that_comes_back_is_waited_for() -> None:
    answers = iter([TransientError("away"), 42])

    def step() -> int:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert patiently(step, what="store") == 42


def test_one_that_stays_away_is_given_up() -> None:
    def step() -> None:
        raise TransientError("away")

    with pytest.raises(TransientError, match="away"):
        patiently(step, what="store", seconds=0)


def test_bad_bytes_are_not_tried_again() -> None:
    calls = []

    def step() -> None:
        calls.append(1)
        raise InputError("bad")

    with pytest.raises(InputError):
        patiently(step, what="store")
    assert len(calls) == 1


def test_a_heartbeat_goes_on_over_a_missed_beat_and_ends_with_the_claim() -> None:
    answers = iter([True, TransientError("database away"), True, False])
    ended = threading.Event()
    beats = []

    def renew() -> bool:
        answer = next(answers)
        beats.append(answer)
        if isinstance(answer, Exception):
            raise answer
        if not answer:
            ended.set()
        return answer

    with Heartbeat(renew, 0.001):
        assert ended.wait(10)
    assert len(beats) == 4


def test_a_heartbeat_stops_with_its_block() -> None:
    begun = threading.Event()

    def renew() -> bool:
        begun.set()
        return True

    with Heartbeat(renew, 0.001):
        assert begun.wait(10)
    assert "heartbeat" not in {thread.name for thread in threading.enumerate()}
