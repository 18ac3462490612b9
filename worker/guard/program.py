"""What the guarded child runs: `python -m worker.guard.program BYTES`, its address space.

It serves requests until its input ends. Then it ends at once, even in the middle of a page, so
that it does not outlive its parent. The pipe holds little, so the child is never more than one
page ahead of its parent.
"""

from __future__ import annotations

import os
import resource
import sys
import threading
from queue import SimpleQueue
from typing import IO

from core.errors import InputError
from pipeline.files.documents import Position, open_document
from worker.guard.protocol import (
    OUT_OF_MEMORY,
    Answer,
    At,
    End,
    Ready,
    Request,
    decode_request,
    encode_answer,
)


def main(memory: int) -> None:
    """Serve requests until the input ends."""
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what a decoder prints must not get among the frames
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    requests: SimpleQueue[Request] = SimpleQueue()
    threading.Thread(target=_listen, args=(requests,), daemon=True).start()
    _send(answers, Ready())
    while True:
        _serve(answers, requests.get())


def _listen(requests: SimpleQueue[Request]) -> None:
    for line in sys.stdin.buffer:
        requests.put(decode_request(line))
    os._exit(0)  # the parent is gone, or needs us no longer


def _serve(answers: IO[bytes], request: Request) -> None:
    def watch(position: Position, label: str, media_type: str) -> None:
        _send(answers, At(position, label, media_type))

    error: InputError | None = None
    try:
        for page in open_document(request.path, request.limits, start=request.start, watch=watch):
            _send(answers, page)
    except InputError as exc:
        error = exc
    except MemoryError:
        os._exit(OUT_OF_MEMORY)
    except BrokenPipeError:
        os._exit(0)
    _send(answers, End(error))


def _send(answers: IO[bytes], answer: Answer) -> None:
    for part in encode_answer(answer):
        view = memoryview(part)
        while view:
            view = view[answers.write(view) :]


if __name__ == "__main__":
    main(int(sys.argv[1]))
