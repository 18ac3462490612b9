"""The guarded child as its parent sees it.

It is a program of its own, because Celery's workers may not have children of `multiprocessing`.
It gets a limited address space, and of the environment only what Python needs.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO

from core.errors import InputError
from pipeline.files.documents import too_much_memory
from worker.guard.protocol import (
    LENGTHS,
    OUT_OF_MEMORY,
    Answer,
    At,
    Ready,
    Request,
    decode_answer,
    encode_request,
)

PROJECT = Path(__file__).resolve().parents[2]
_START_SECONDS = 60.0  # Python's, on a busy machine


class ChildDiedError(Exception):
    """The child died or was killed; `error` is what to tell the person whose page it was at."""

    def __init__(self, error: InputError) -> None:
        super().__init__(error.message)
        self.error = error


class GuardedProcess:
    """A child that opens documents, with `memory` bytes of address space."""

    def __init__(self, memory: int) -> None:
        self.owner = os.getpid()  # after a fork, the child is that of another process
        self._process = subprocess.Popen(
            [sys.executable, "-m", "worker.guard.program", str(memory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # messages of decoders, and tracebacks when we kill it
            cwd=PROJECT,
            env=guarded_environment(),
            start_new_session=True,  # Ctrl-C is for the parent, which then ends it
        )
        self._started = False

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def output(self) -> IO[bytes]:
        return _pipe(self._process.stdout)

    def alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, request: Request) -> None:
        """Send a request. Raises ChildDiedError."""
        try:
            stdin = _pipe(self._process.stdin)
            stdin.write(encode_request(request))
            stdin.flush()
        except BrokenPipeError as exc:
            raise ChildDiedError(self._cause_of_death()) from exc

    def answers(self, seconds: float) -> Iterator[Answer]:
        """Yield answers without end; each page, or the end, may take so many seconds.

        The clock runs only while the child is waited for. Raises ChildDiedError.
        """
        with selectors.DefaultSelector() as selector:
            selector.register(self.output, selectors.EVENT_READ)
            deadline = time.monotonic() + seconds + (0 if self._started else _START_SECONDS)
            while True:
                lengths = self._take(LENGTHS.size, selector, deadline, seconds)
                header_length, data_length = LENGTHS.unpack(lengths)
                header = self._take(header_length, selector, deadline, seconds)
                data = self._take(data_length, selector, deadline, seconds)
                answer = decode_answer(header, bytes(data))
                self._started = True
                if not isinstance(answer, Ready):
                    yield answer
                # A position is no progress: passing over many takes little time, but an endless
                # row of them must end.
                if not isinstance(answer, At):
                    deadline = time.monotonic() + seconds

    def _take(
        self, length: int, selector: selectors.BaseSelector, deadline: float, seconds: float
    ) -> bytearray:
        taken = bytearray()
        while len(taken) < length:
            if not selector.select(max(0.0, deadline - time.monotonic())):
                self.end()
                raise ChildDiedError(_too_slow(seconds))
            piece = os.read(self.output.fileno(), min(length - len(taken), 1 << 20))
            if not piece:
                raise ChildDiedError(self._cause_of_death())
            taken += piece
        return taken

    def _cause_of_death(self) -> InputError:
        self.end()
        status = self._process.returncode
        if status == OUT_OF_MEMORY:
            return too_much_memory()
        name = signal.Signals(-status).name if -status in set(signal.Signals) else f"{status}"
        return InputError(
            f"This page is damaged in a way that stops the program that opens it ({name}).",
            hint="Scan or export it again.",
            code="decoder-crashed",
        )

    def end(self) -> None:
        """Kill the child, if it has not died yet, and wait for it."""
        process = self._process
        if process.stdin is not None:
            with suppress(OSError):  # it may have died with a request on its way
                process.stdin.close()
        try:
            # If it died by itself, this keeps its own exit status.
            process.wait(timeout=0 if process.stdout is None else 0.05)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise AssertionError("the child is started with pipes")
    return stream


def _too_slow(seconds: float) -> InputError:
    return InputError(
        f"Opening this page took longer than {seconds:g} seconds.",
        hint="Scan it again, or save it as JPEG or PNG.",
        code="decoder-too-slow",
    )


def guarded_environment() -> dict[str, str]:
    """Return what Python needs, and nothing that is secret."""
    kept = {
        name: os.environ[name]
        for name in ("PATH", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "PYTHONPATH")
        if name in os.environ
    }
    # The threads of the linear algebra library would take address space and do nothing.
    return kept | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
