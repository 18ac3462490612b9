"""Documents opened in a guarded child: what kills the child costs one page, not the worker."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from pipeline.files.documents import (
    START,
    DocumentLimits,
    DocumentPage,
    Position,
    too_many_pages,
)
from pipeline.files.passed_over import PassedOver
from worker.guard.process import ChildDiedError, GuardedProcess
from worker.guard.protocol import At, End, Request

if TYPE_CHECKING:
    from core.settings import Settings

# Starting a child takes a third of a second, so it stays for many documents. But decoders leak,
# and memory becomes fragmented.
_DOCUMENTS_PER_CHILD = 200
# Each file in a ZIP may kill a child; a ZIP that kills more of them is refused as a whole.
DEATHS_PER_DOCUMENT = 20


class DocumentOpener:
    """Opens documents in a guarded child, one at a time; threads must not share it.

    `seconds_per_page` is the time that the child has for the next page, `memory` its address
    space in bytes, Python included.
    """

    def __init__(self, limits: DocumentLimits, seconds_per_page: float, memory: int) -> None:
        self._limits = limits
        self._seconds = seconds_per_page
        self._memory = memory
        self._child: GuardedProcess | None = None
        self._opened = 0

    @classmethod
    def from_settings(cls, settings: Settings) -> DocumentOpener:
        limits = DocumentLimits(
            max_pages=settings.max_pages_per_document,
            max_page_pixels=settings.max_page_pixels,
            max_unpacked_bytes=settings.max_unpacked_bytes,
        )
        return cls(limits, settings.decode_seconds, settings.decode_memory)

    def open(self, path: Path) -> Iterator[DocumentPage | PassedOver]:
        """Yield what is in a document, as `pipeline.files.documents.open_document` does.

        A page that kills the child, or that takes it too long or too much memory, becomes a page
        with an error, and the pages behind it follow. If it was the document as a whole,
        InputError is raised. The codes are `decoder-crashed`, `decoder-too-slow` and
        `decoder-too-much-memory`.
        """
        path = path.resolve()
        start, deaths, pages = START, 0, 0
        tried: Position | None = None  # where a child has crashed once
        while True:
            child = self._ready_child()
            at: At | None = None  # what the child is opening
            done: At | None = None  # where its last page, or what it passed over, came from
            ended = False
            try:
                child.ask(Request(path, self._limits, start))
                for answer in child.answers(self._seconds):
                    if isinstance(answer, At):
                        at = answer
                    elif isinstance(answer, End):
                        ended = True
                        if answer.error is not None:
                            raise answer.error
                        return
                    elif isinstance(answer, DocumentPage):
                        done = at
                        pages = self._count(pages)
                        yield answer
                    elif isinstance(answer, PassedOver):
                        done = at
                        yield answer
            except ChildDiedError as death:
                deaths += 1
                if deaths > DEATHS_PER_DOCUMENT:
                    raise death.error from death
                if at is not None and at == done:  # between two pages: no page is to blame
                    start = _behind(at.position)
                    continue
                here = start if at is None else at.position
                if death.error.code == "decoder-crashed" and tried != here:
                    # Somebody may have killed it. What kills it twice is to blame.
                    tried = start = here
                    continue
                if at is None or (here.frame < 0 and not at.label):  # the document as a whole
                    raise death.error from death
                start = _behind(here)
                pages = self._count(pages)
                yield DocumentPage(at.label, at.media_type, error=death.error)
            finally:
                # If the caller stops half way, the child is in the middle of a document.
                if not ended:
                    self.close()

    def _count(self, pages: int) -> int:
        """Count a page. The limit holds for all children that a document needed."""
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

    def _ready_child(self) -> GuardedProcess:
        child = self._child
        if child is not None and child.owner != os.getpid():
            child = self._child = None  # this process was forked; its parent keeps the child
        if child is not None and (self._opened >= _DOCUMENTS_PER_CHILD or not child.alive()):
            self.close()
            child = None
        if child is None:
            child = self._child = GuardedProcess(self._memory)
            self._opened = 0
        self._opened += 1
        return child


def _behind(position: Position) -> Position:
    if position.frame < 0:
        return Position(position.member + 1)
    return Position(position.member, position.frame + 1)
