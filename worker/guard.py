"""Documents opened in a child process, so that no file of a stranger can take a worker down.

The child is a program of its own (`python -m worker.guard`), because Celery's workers may not have
children of multiprocessing. It is given a little memory, no environment but what Python needs, and
a time for each page; it stays for many documents, since starting it costs a third of a second.

On its standard input come requests, one line of JSON each; on its standard output go frames: two
lengths (8 bytes), a header in JSON, and a page's bytes. The pipe holds little, so the child is
never more than a page ahead of whoever takes the pages. When its input ends it ends, even in the
middle of a page: it does not outlive its parent.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any

from core.errors import InputError
from pipeline.files.documents import (
    START,
    DocumentLimits,
    DocumentPage,
    Position,
    open_document,
    too_many_pages,
    too_much_memory,
)

if TYPE_CHECKING:
    from core.settings import Settings

_LENGTHS = struct.Struct(">II")
_PROJECT = Path(__file__).resolve().parent.parent
# Decoders leak, and memory falls to pieces; a fresh child now and then costs nothing.
_DOCUMENTS_PER_CHILD = 200
# A ZIP of decoder-killing files costs a child each; past this many it is refused as a whole.
_DEATHS_PER_DOCUMENT = 20
_START_SECONDS = 60.0  # Python on a machine that is busy with everything else


class DocumentOpener:
    """Opens documents in a guarded child. One document at a time; not for several threads.

    `seconds_per_page` is the time for the child to bring the next page, `memory` its address
    space in bytes, itself included.
    """

    def __init__(self, limits: DocumentLimits, seconds_per_page: float, memory: int) -> None:
        self._limits = limits
        self._seconds = seconds_per_page
        self._memory = memory
        self._child: _Child | None = None
        self._opened = 0

    @classmethod
    def from_settings(cls, settings: Settings) -> DocumentOpener:
        limits = DocumentLimits(
            max_pages=settings.max_pages_per_document,
            max_page_pixels=settings.max_page_pixels,
            max_unpacked_bytes=settings.max_unpacked_bytes,
        )
        return cls(limits, settings.decode_seconds, settings.decode_memory)

    def open(self, path: Path, filename: str) -> Iterator[DocumentPage]:
        """Yield the pages of a document, as `pipeline.files.documents.open_document` does.

        A page that kills the child, or takes it too long or too much memory, comes out as a page
        with an error, and the others follow; where that was the document as a whole, InputError
        is raised. The codes are `decoder-crashed`, `decoder-too-slow`,
        `decoder-too-much-memory`.
        """
        start, deaths, pages = START, 0, 0
        tried: Position | None = None
        while True:
            child = self._ready_child()
            at: Position | None = None  # what the child is at
            done: Position | None = None  # what it has brought
            label, media_type = "", ""
            whole = False
            try:
                child.ask(path, filename, self._limits, start)
                for header, data in child.answers(self._seconds):
                    if header["kind"] == "at":
                        at = Position(header["member"], header["frame"])
                        label, media_type = header["label"], header["media_type"]
                        continue
                    if header["kind"] == "end":
                        whole = True
                        if header["error"]:
                            raise _error(header["error"])
                        return
                    done = at
                    pages = self._count(pages)
                    yield _page(header, data)
            except _ChildDiedError as death:
                deaths += 1
                if deaths > _DEATHS_PER_DOCUMENT:
                    raise death.error from death
                if at is not None and at == done:  # between two pages: nobody's fault in the file
                    start = _behind(at)
                    continue
                if death.error.code == "decoder-crashed" and tried != (at or start):
                    # Perhaps somebody killed it. Only what kills it twice is called bad.
                    tried = start = at or start
                    continue
                if at is None or (at.frame < 0 and not label):  # no ZIP: nothing is behind it
                    raise death.error from death
                start = _behind(at)
                pages = self._count(pages)
                yield DocumentPage(label, media_type, error=death.error)
            finally:
                # Whoever stops in the middle leaves a child in the middle of a document.
                if not whole:
                    self.close()

    def _count(self, pages: int) -> int:
        """Count a page. A child begins anew after a death; the limit holds for all it brings."""
        if pages == self._limits.max_pages:
            raise too_many_pages(self._limits.max_pages)
        return pages + 1

    def close(self) -> None:
        """End the child. The next document gets a new one."""
        child, self._child = self._child, None
        if child is not None:
            child.end()

    def __enter__(self) -> DocumentOpener:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _ready_child(self) -> _Child:
        child = self._child
        if child is not None and child.owner != os.getpid():
            child = self._child = None  # we were forked; the child is our parent's
        if child is not None and (self._opened >= _DOCUMENTS_PER_CHILD or not child.alive()):
            self.close()
            child = None
        if child is None:
            child = self._child = _Child(self._memory)
            self._opened = 0
        self._opened += 1
        return child


class _ChildDiedError(Exception):
    def __init__(self, error: InputError) -> None:
        super().__init__(error.message)
        self.error = error


class _Child:
    """The parent's end of the two pipes."""

    def __init__(self, memory: int) -> None:
        self.owner = os.getpid()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "worker.guard", str(memory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # what decoders mutter, and tracebacks of our killing it
            cwd=_PROJECT,
            env=_environment(),
            start_new_session=True,  # Ctrl-C is for the parent, which then ends it
        )
        self._started = False

    def alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, path: Path, filename: str, limits: DocumentLimits, start: Position) -> None:
        request = {
            "path": str(path.resolve()),
            "filename": filename,
            "limits": asdict(limits),
            "start": asdict(start),
        }
        try:
            stdin = _pipe(self._process.stdin)
            stdin.write(json.dumps(request).encode() + b"\n")
            stdin.flush()
        except BrokenPipeError as exc:
            raise _ChildDiedError(self._cause()) from exc

    def answers(self, seconds: float) -> Iterator[tuple[dict[str, Any], bytes]]:
        """Yield headers and data for ever; the time runs only while the child is waited for.

        Raises _ChildDiedError.
        """
        with selectors.DefaultSelector() as selector:
            selector.register(_pipe(self._process.stdout), selectors.EVENT_READ)
            deadline = time.monotonic() + seconds + (0 if self._started else _START_SECONDS)
            while True:
                lengths = self._take(_LENGTHS.size, selector, deadline, seconds)
                header_length, data_length = _LENGTHS.unpack(lengths)
                header = json.loads(self._take(header_length, selector, deadline, seconds))
                data = self._take(data_length, selector, deadline, seconds)
                self._started = True
                if header["kind"] == "ready":
                    deadline = time.monotonic() + seconds
                    continue
                yield header, bytes(data)
                # Word of a position is no progress: skipping many costs little, but let no
                # endless row of them hold us.
                if header["kind"] != "at":
                    deadline = time.monotonic() + seconds

    def _take(
        self, length: int, selector: selectors.BaseSelector, deadline: float, seconds: float
    ) -> bytearray:
        stream = _pipe(self._process.stdout)
        taken = bytearray()
        while len(taken) < length:
            if not selector.select(max(0.0, deadline - time.monotonic())):
                self.end()
                raise _ChildDiedError(
                    InputError(
                        f"Opening this page took longer than {seconds:g} seconds.",
                        hint="Scan it again, or save it as JPEG or PNG.",
                        code="decoder-too-slow",
                    )
                )
            piece = os.read(stream.fileno(), min(length - len(taken), 1 << 20))
            if not piece:
                raise _ChildDiedError(self._cause())
            taken += piece
        return taken

    def _cause(self) -> InputError:
        """Return why the child died of itself."""
        self.end()
        status = self._process.returncode
        if status == _OUT_OF_MEMORY:
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
            # One that died by itself is collected first, so that its own status is kept.
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


def _behind(at: Position) -> Position:
    return Position(at.member + 1) if at.frame < 0 else Position(at.member, at.frame + 1)


def _environment() -> dict[str, str]:
    """Return what Python needs and nothing that is secret."""
    kept = {
        name: os.environ[name]
        for name in ("PATH", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "PYTHONPATH")
        if name in os.environ
    }
    # Threads of the linear algebra library would take address space and do nothing.
    return kept | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


def _error(fields: dict[str, str]) -> InputError:
    return InputError(fields["message"], hint=fields["hint"], code=fields["code"])


def _page(header: dict[str, Any], data: bytes) -> DocumentPage:
    return DocumentPage(
        label=header["label"],
        media_type=header["media_type"],
        data=data if header["has_data"] else None,
        error=_error(header["error"]) if header["error"] else None,
    )


# ---- the child ----

_OUT_OF_MEMORY = 77  # an exit status that nothing else uses


def main(memory: int) -> None:
    """Serve requests until the input ends."""
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # whatever a decoder prints is no frame
    _confine(memory)
    requests: list[bytes] = []
    taken = threading.Semaphore(0)

    def listen() -> None:
        for line in sys.stdin.buffer:
            requests.append(line)
            taken.release()
        os._exit(0)  # the parent is gone or done with us, in the middle of a page or not

    threading.Thread(target=listen, daemon=True).start()
    _send(answers, {"kind": "ready"})
    while True:
        taken.acquire()
        _answer(answers, json.loads(requests.pop(0)))


def _confine(memory: int) -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))


def _answer(answers: IO[bytes], request: dict[str, Any]) -> None:
    def watch(position: Position, label: str, media_type: str) -> None:
        _send(
            answers,
            {"kind": "at", "label": label, "media_type": media_type, **asdict(position)},
        )

    error: InputError | None = None
    try:
        for page in open_document(
            Path(request["path"]),
            request["filename"],
            DocumentLimits(**request["limits"]),
            start=Position(**request["start"]),
            watch=watch,
        ):
            _send(answers, _header(page), page.data or b"")
    except InputError as exc:
        error = exc
    except MemoryError:
        os._exit(_OUT_OF_MEMORY)
    except BrokenPipeError:
        os._exit(0)
    _send(answers, {"kind": "end", "error": _fields(error)})


def _header(page: DocumentPage) -> dict[str, Any]:
    return {
        "kind": "page",
        "label": page.label,
        "media_type": page.media_type,
        "error": _fields(page.error),
        "has_data": page.data is not None,
    }


def _fields(error: InputError | None) -> dict[str, str] | None:
    if error is None:
        return None
    return {"message": error.message, "hint": error.hint, "code": error.code}


def _send(answers: IO[bytes], header: dict[str, Any], data: bytes = b"") -> None:
    encoded = json.dumps(header).encode()
    for part in (_LENGTHS.pack(len(encoded), len(data)) + encoded, data):
        view = memoryview(part)
        while view:
            view = view[answers.write(view) :]


if __name__ == "__main__":
    main(int(sys.argv[1]))
