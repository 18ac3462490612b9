"""Speed and accuracy, measured in one run and reported with the command that made them."""

import os

# One reader uses one core, as in a worker; said before any library has made its threads.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_name] = "1"
