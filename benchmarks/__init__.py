"""Benchmarks of speed and accuracy; each report names the command that made it."""

import os

# One reader uses one core, as in a worker. Set before any library starts its threads.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_name] = "1"
