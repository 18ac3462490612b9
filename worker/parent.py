"""Processes that end with the one that started them."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with_parent(number: int = signal.SIGKILL, *, parent: int | None = None) -> None:
    """Have the kernel end this process when its parent goes, however that goes. Linux only.

    A child that outlived its worker would hold leases for pages that nobody knows of. `parent`
    is the id that the parent is known to have, to notice one that is gone already.
    """
    if sys.platform != "linux":
        return
    expected = os.getppid() if parent is None else parent
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
    if os.getppid() != expected:  # it went in between
        os.kill(os.getpid(), number)
