"""Processes of this machine, as `/proc` shows them."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def command_line(pid: int) -> list[str]:
    """Return the words of a process's command line; none where it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text("utf-8", "replace").split("\0")[:-1]
    except (FileNotFoundError, ProcessLookupError):
        return []


def children_of(pid: int | None) -> list[int]:
    """Process ids of the children of a process, of all its threads, now."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*"):
        with suppress(FileNotFoundError, ProcessLookupError):
            found += [int(word) for word in (task / "children").read_text().split()]
    return found


def alive(pid: int) -> bool:
    """Whether a process runs; one that is dead and not yet collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def processes_of(home: Path) -> list[int]:
    """Ids of all processes whose environment or command line names this data directory."""
    found = []
    mark = os.fsencode(home)
    for folder in Path("/proc").glob("[0-9]*"):
        pid = int(folder.name)
        try:
            said = (folder / "environ").read_bytes() + (folder / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        if mark in said and pid != os.getpid() and alive(pid):
            found.append(pid)
    return found
