"""A multipart body as a sequence of parts, each of them a stream.

Werkzeug's `request.files` first writes every file to a temporary file. Here a file goes from the
socket straight into the object store, and no file is ever whole in memory.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol

from werkzeug.datastructures import Headers
from werkzeug.sansio.multipart import (
    Data,
    Epilogue,
    Event,
    Field,
    File,
    MultipartDecoder,
    NeedData,
    State,
)

from api.problems import ProblemError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

CHUNK = 256 * 1024
MAX_HEADER_BYTES = 64 * 1024  # of one part


class Source(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Part:
    """One part. `filename` is None for a plain form field. Read `stream` before the next part."""

    name: str
    filename: str | None
    stream: io.BufferedReader


def iter_parts(source: Source, boundary: str) -> Iterator[Part]:
    """Yield the parts of a multipart/form-data body in the order in which they arrive.

    What the caller leaves unread of a part is skipped. If the body is no multipart body or ends
    early, ProblemError (400) is raised, here or by `Part.stream.read`.
    """
    if not boundary.isascii() or not 0 < len(boundary) <= 200:
        raise malformed("its Content-Type names no boundary")
    events = _Events(source, boundary.encode())
    while (event := events.next()) is not None:
        if not isinstance(event, Field | File):
            continue
        raw = _PartBody(events)
        filename = event.filename if isinstance(event, File) else None
        # Buffered, so that `read(n)` returns less only at the end: S3 parts have a minimum size.
        yield Part(event.name or "", filename, io.BufferedReader(raw, CHUNK))
        raw.skip()


def malformed(why: str) -> ProblemError:
    return ProblemError(
        HTTPStatus.BAD_REQUEST,
        "malformed-upload",
        f"The upload is not a complete multipart/form-data body: {why}.",
        hint="Nothing of it was kept. Send it again.",
    )


class _Decoder(MultipartDecoder):
    """Takes the headers of a part in Windows' encoding as well, as old programs send names."""

    def _parse_headers(self, data: bytes | bytearray) -> Headers:
        try:
            data.decode()
        except UnicodeDecodeError:
            data = data.decode("cp1252", "replace").encode()
        return super()._parse_headers(data)


class _Events:
    def __init__(self, source: Source, boundary: bytes) -> None:
        self._source = source
        self._decoder = _Decoder(boundary)

    def next(self) -> Event | None:
        """Return the next event, or None after the last part."""
        try:
            while isinstance(event := self._decoder.next_event(), NeedData):
                if self._decoder.state is State.EPILOGUE:
                    self._finish()
                    return None
                if len(self._decoder.buffer) > MAX_HEADER_BYTES + CHUNK:
                    raise malformed("the headers of a part are too long")
                self._decoder.receive_data(self._read() or None)
        except (ValueError, AttributeError) as exc:
            raise malformed("it ends early, or a part's headers are wrong") from exc
        return None if isinstance(event, Epilogue) else event

    def _finish(self) -> None:
        # Read here, because Werkzeug would collect all that follows the last boundary in memory.
        while self._read():
            pass

    def _read(self) -> bytes:
        try:
            return self._source.read(CHUNK)
        except OSError as exc:  # else it would pass for a fault of the store that reads from here
            raise malformed("the connection broke") from exc


class _PartBody(io.RawIOBase):
    def __init__(self, events: _Events) -> None:
        self._events = events
        self._pending = memoryview(b"")
        self._more = True

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        target = memoryview(buffer).cast("B")
        while not self._pending and self._more:
            self._advance()
        count = min(len(target), len(self._pending))
        target[:count] = self._pending[:count]
        self._pending = self._pending[count:]
        return count

    def skip(self) -> None:
        while self._more:
            self._advance()
        self._pending = memoryview(b"")

    def _advance(self) -> None:
        event = self._events.next()
        if not isinstance(event, Data):
            self._more = False
            raise malformed("a part has no end")
        self._pending = memoryview(event.data)
        self._more = event.more_data
