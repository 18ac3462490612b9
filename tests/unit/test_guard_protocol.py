"""What goes through the pipes of the guarded child comes out as it went in."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import InputError
from pipeline.files.documents import DocumentLimits, DocumentPage, Position
from pipeline.files.passed_over import PassedOver
from worker.guard.protocol import (
    LENGTHS,
    Answer,
    At,
    End,
    Ready,
    Request,
    decode_answer,
    decode_request,
    encode_answer,
    encode_request,
)


def received(answer: Answer) -> Answer:
    frame, data = encode_answer(answer)
    header = frame[LENGTHS.size :]
    assert LENGTHS.unpack(frame[: LENGTHS.size]) == (len(header), len(data))
    return decode_answer(header, data)


@pytest.mark.parametrize(
    "answer",
    [
        Ready(),
        At(Position(3, 0), "front/Überweisung.tif#1", "image/png"),
        DocumentPage("", "image/jpeg"),  # the document itself
        DocumentPage("a.png", "image/png", b""),
        DocumentPage("a.png", "image/png", bytes(range(256))),
        PassedOver("b.pdf, notes.txt", "attachment", "It is attached."),
        End(),
    ],
)
def test_answers(answer: Answer) -> None:
    assert received(answer) == answer


def test_errors_keep_message_hint_and_code() -> None:
    error = InputError("The file is empty.", hint="Scan it again.", code="empty-file")
    for answer in (End(error), DocumentPage("a.tif#2", "image/png", error=error)):
        got = received(answer)
        assert isinstance(got, End | DocumentPage)
        assert got.error is not None
        assert (got.error.message, got.error.hint, got.error.code) == (
            error.message,
            error.hint,
            error.code,
        )


def test_requests() -> None:
    request = Request(Path("/tmp/x\ny"), DocumentLimits(max_pages=7), Position(2, 5))
    line = encode_request(request)
    assert line.index(b"\n") == len(line) - 1
    assert decode_request(line) == request
