"""CPU time and memory of trees of processes, from /proc. Linux only."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

_PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")


def tree(root: int) -> list[int]:
    """Return a process and all below it."""
    parents: dict[int, list[int]] = {}
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                parents.setdefault(int(_stat(int(entry.name))[1]), []).append(int(entry.name))
    found = [root]
    for process in found:
        found += parents.get(process, [])
    return found


def cpu_seconds(root: int) -> float:
    """Return the CPU time of a process and all below it, those that ended included."""
    spent = 0
    for process in tree(root):
        with suppress(OSError):
            spent += sum(int(ticks) for ticks in _stat(process)[11:15])
    return spent / _TICKS


def _stat(process: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the third on (the second holds any character)."""
    return (_PROC / str(process) / "stat").read_text().rpartition(")")[2].split()


@dataclass(slots=True)
class Memory:
    """The most that one process held, in MB of a million bytes."""

    rss: float = 0.0
    pss: float = 0.0  # shared pages divided among those who share them


class MemoryWatch:
    """Looks at processes twice a second until its block ends, and keeps the largest."""

    def __init__(self, processes: Callable[[], Iterable[int]], every: float = 0.5) -> None:
        self.most = Memory()
        self._processes = processes
        self._every = every
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="memory", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._look()

    def _watch(self) -> None:
        while not self._stop.wait(self._every):
            self._look()

    def _look(self) -> None:
        for process in self._processes():
            with suppress(OSError):  # it has ended
                rollup = _kilobytes(_PROC / str(process) / "smaps_rollup")
                status = _kilobytes(_PROC / str(process) / "status")
                # The kernel itself keeps the highest RSS, between our looks too.
                rss = max(rollup.get("Rss", 0), status.get("VmHWM", 0))
                self.most.rss = max(self.most.rss, rss * 1024 / 1e6)
                self.most.pss = max(self.most.pss, rollup.get("Pss", 0) * 1024 / 1e6)


def _kilobytes(path: Path) -> dict[str, int]:
    values = {}
    for line in path.read_text().splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        if len(words) == 2 and words[1] == "kB":
            values[name] = int(words[0])
    return values
