"""Which test process of pytest-xdist runs which files: `make test` has two."""

from __future__ import annotations

from xdist.scheduler import LoadFileScheduling

# These share a running stack, which each test process would start anew.
STACK = {
    "tests/faults/test_worker_faults.py",
    "tests/integration/test_cli_commands.py",
    "tests/integration/test_stack_path.py",
}


class FilesAndStacks(LoadFileScheduling):
    """Gives a test process a whole file at a time, or all files that share a stack."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::", 1)[0]
        return "stack" if file in STACK else file
