"""Look at a page at once, for a person who waits: in a guarded child, one for each request."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

from core.errors import InputError, TransientError
from core.settings import Settings
from pipeline.files.documents import too_much_memory
from worker.guard.process import PROJECT, guarded_environment
from worker.preview.protocol import OUT_OF_MEMORY, Request, decode_error

AT_ONCE = 2  # children of one server process
_WAIT_SECONDS = 20.0  # for a child of somebody else to end
_START_SECONDS = 60.0  # Python's, on a busy machine
_SECONDS = 60  # of computing

_places = threading.BoundedSemaphore(AT_ONCE)


def look(request: Request, settings: Settings) -> dict[str, Any]:
    """Return the child's answer, as `worker.preview.program` makes it.

    Raises InputError: the file or the template is bad, or the file killed the child;
    TransientError while too many others wait.
    """
    request = replace(
        request,
        max_pixels=settings.max_page_pixels,
        max_pages=settings.max_pages_per_document,
        max_unpacked_bytes=settings.max_unpacked_bytes,
        home=str(Path(settings.home).absolute()),
    )
    if not _places.acquire(timeout=_WAIT_SECONDS):
        raise TransientError("Other people are trying pages just now.", code="busy")
    try:
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "worker.preview.program",
                str(settings.decode_memory),
                f"{_SECONDS}",
            ],
            input=request.encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=PROJECT,
            env=guarded_environment(),
            timeout=_START_SECONDS + _SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as exc:
        raise _too_slow() from exc
    finally:
        _places.release()
    if done.returncode != 0:
        raise _death(done.returncode)
    answer: dict[str, Any] = json.loads(done.stdout)
    if "error" in answer:
        raise decode_error(answer["error"])
    return answer


def _death(status: int) -> InputError:
    if status == OUT_OF_MEMORY:
        return too_much_memory()
    if status in (-24, -9):  # SIGXCPU
        return _too_slow()
    return InputError(
        "This file is damaged in a way that stops the program that opens it.",
        hint="Scan or export it again.",
        code="decoder-crashed",
    )


def _too_slow() -> InputError:
    return InputError(
        "Opening this page took too long.",
        hint="Scan it again, or save it as JPEG or PNG.",
        code="decoder-too-slow",
    )
