"""Renewing claims while work goes on."""

from __future__ import annotations

import threading

from core.errors import TransientError
from worker.heartbeat import Heartbeat


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
