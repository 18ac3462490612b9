"""Keeps child processes running and stops them in order."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

_POLL_SECONDS = 0.1
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 10.0
# After this time a child counts as healthy, and its next restart comes quickly again.
_HEALTHY_SECONDS = 30.0
_LOG_BYTES = 16 << 20


@dataclass(slots=True)
class Child:
    """A process to keep running. Children of the lowest `stage` are stopped first."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    stage: int
    stop_seconds: float  # from SIGTERM to SIGKILL
    pass_fds: Sequence[int] = ()
    process: subprocess.Popen[bytes] | None = None
    started: threading.Event = field(default_factory=threading.Event)
    born: float = 0.0
    pause: float = _FIRST_PAUSE
    due: float | None = None  # time of the next start

    def spawn(self) -> None:
        with self.log.open("ab") as log:
            # In a session of its own: Ctrl-C in the terminal reaches only the supervisor, and
            # processes that the child started can be killed with it as a group.
            self.process = subprocess.Popen(
                self.command,
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=tuple(self.pass_fds),
                start_new_session=True,
            )
        self.born, self.due = time.monotonic(), None
        self.started.set()

    def signal_group(self, number: signal.Signals) -> None:
        if self.process is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, number)


class Supervisor:
    """Starts children, and restarts those that end, in one thread of its own.

    It is one thread because Linux ties the parent-death signal of a child to the thread that
    started it. `report` is called from that thread with a sentence about each event.
    """

    def __init__(self, report: Callable[[str], None]) -> None:
        self._report = report
        self._children: list[Child] = []
        self._wanted: queue.SimpleQueue[Child] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._failure: OSError | None = None
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)
        self._thread.start()

    def start(self, child: Child) -> None:
        """Start a child and keep it running. Raises OSError if it cannot be started."""
        if child.log.exists() and child.log.stat().st_size > _LOG_BYTES:
            child.log.replace(child.log.with_suffix(".log.1"))
        self._wanted.put(child)
        child.started.wait()
        if self._failure is not None:
            raise self._failure

    def pid(self, name: str) -> int | None:
        """Return the process id of a child, or None if it is not running."""
        for child in self._children:
            process = child.process
            if child.name == name and process is not None and process.poll() is None:
                return process.pid
        return None

    def stop(self) -> None:
        """Stop all children, stage by stage, and wait for their end. May be called twice."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            with suppress(queue.Empty):
                child = self._wanted.get(timeout=_POLL_SECONDS)
                try:
                    child.spawn()
                    self._children.append(child)
                except OSError as exc:
                    self._failure = exc
                    child.started.set()
            for child in self._children:
                self._check(child)
        for stage in sorted({child.stage for child in self._children}):
            _end([child for child in self._children if child.stage == stage])

    def _check(self, child: Child) -> None:
        process, now = child.process, time.monotonic()
        if process is None or process.poll() is None:
            return
        if child.due is None:
            child.signal_group(signal.SIGKILL)  # processes that it started and left behind
            child.pause = (
                _FIRST_PAUSE
                if now - child.born > _HEALTHY_SECONDS
                else min(child.pause * 2, _LONGEST_PAUSE)
            )
            child.due = now + child.pause
            self._report(
                f"{child.name} ended ({_how(process.returncode)}); "
                f"it restarts in {child.pause:.0f} s, see {child.log}"
            )
        elif now >= child.due:
            try:
                child.spawn()
            except OSError as exc:
                child.due = now + child.pause
                self._report(f"{child.name} cannot be started: {exc}")


def _end(children: Sequence[Child]) -> None:
    for child in children:
        if child.process is not None and child.process.poll() is None:
            child.process.terminate()
    begun = time.monotonic()
    for child in children:
        if child.process is None:
            continue
        left = begun + child.stop_seconds - time.monotonic()
        try:
            child.process.wait(max(left, 0))
        except subprocess.TimeoutExpired:
            child.signal_group(signal.SIGKILL)
            child.process.wait()
        child.signal_group(signal.SIGKILL)


def _how(status: int) -> str:
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"killed by signal {-status}"
