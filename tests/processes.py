"""Processes of this machine, as `/proc` shows them; and Python in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from tests.samples import ROOT


def command_line(pid: int) -> list[str]:
    """Return the words of a process's command line; none where it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text("utf-8", "replace").split("\0")[:-1]
    except (FileNotFoundError, ProcessLookupError):
        return []


def children_of(pid: int | None) -> list[int]:
    """Return the process ids of the present children of a process, of all its threads."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*"):
        with suppress(FileNotFoundError, ProcessLookupError):
            found += [int(word) for word in (task / "children").read_text().split()]
    return found


def alive(pid: int) -> bool:
    """Tell whether a process runs. A zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def processes_of(home: Path) -> list[int]:
    """Return the ids of all processes whose environment or command line names `home`."""
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


def run_python(*arguments: str | Path, how: str = "-m") -> subprocess.CompletedProcess[str]:
    """Run a module, or code with `how` "-c", in a process of its own, from the project's root.

    This keeps TensorFlow out of the test process: its memory, its threads and its warnings.
    """
    return subprocess.run(
        [sys.executable, "-W", "ignore", how, *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
