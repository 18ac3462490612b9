"""Where the real data sets are that some benchmarks read."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

VARIABLE = "COUNTERFOIL_DATA"


def add_data_option(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Add `--data DIR`; the default is the folder that COUNTERFOIL_DATA names.

    With neither, a `required` folder ends the program with a message; otherwise it is None.
    """
    folder = os.environ.get(VARIABLE)
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        default=Path(folder) if folder else None,
        required=required and not folder,
        help=f"folder of the real data sets (default: {VARIABLE}; docs/training.md lists them)",
    )
