"""Processes that end together with their parent.

`python -m worker.parent PARENT COMMAND…` runs a command that gets SIGTERM when process PARENT ends.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with_parent(number: int = signal.SIGKILL, *, parent: int | None = None) -> None:
    """Have the kernel signal this process when its parent ends in any way. Linux only.

    A child that outlived its worker would keep the leases of its pages. `parent` is the process id
    of the parent if the caller knows it; then a parent that has already ended is noticed.
    """
    if sys.platform != "linux":
        return
    expected = os.getppid() if parent is None else parent
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
    if os.getppid() != expected:  # it ended in between
        os.kill(os.getpid(), number)


def main() -> None:
    """Run a command in place of this process. It gets time to write what it holds to its files."""
    parent, *command = sys.argv[1:]
    die_with_parent(signal.SIGTERM, parent=int(parent))
    os.execv(command[0], command)  # noqa: S606 (the parent-death signal survives exec)


if __name__ == "__main__":
    main()
