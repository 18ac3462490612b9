"""What the training runs of all readers share: the files in a run's folder, and its command."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from core.errors import ConfigError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

WEIGHTS, LAST, HISTORY, RUN = "best.weights.h5", "last.keras", "history.json", "run.json"


def require_keras() -> Any:
    """Import Keras, or raise a ConfigError that says what to install."""
    try:
        import keras
    except ImportError as exc:
        raise ConfigError(
            f"Keras or its backend is not installed ({exc.name or exc}); training needs it.",
            hint="Install the extra `train`: pip install 'counterfoil[train]' "
            "(in a checkout: pip install -e '.[train]').",
            code="tensorflow-missing",
        ) from exc
    return keras


def command_of(run: DataclassInstance, program: str) -> str:
    """Return the command that repeats a run, for its card, with DIR for every folder.

    `run` is the dataclass of a run. Each of its fields is an option; `data` and `out` are required.
    """
    words = [program, "--data DIR --out DIR"]
    for option in fields(run):
        value = getattr(run, option.name)
        if option.name in ("data", "out", "workers") or value == option.default:
            continue
        shown = "DIR" if isinstance(value, Path) else value
        words.append(f"--{option.name.replace('_', '-')} {shown}")
    return " ".join(words)


def fastest_precision(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return the dtype policy of Keras in which this processor (`cpuinfo`) trains fastest.

    Processors that multiply in bfloat16 need two thirds of the time of float32. On others
    TensorFlow emulates bfloat16, and a step takes some twenty times as long.
    """
    try:
        about = cpuinfo.read_text(encoding="ascii", errors="replace")
    except OSError:  # not Linux
        return "float32"
    flags = next((line for line in about.splitlines() if line.startswith("flags")), "").split()
    return "mixed_bfloat16" if {"avx512_bf16", "amx_bf16"} & set(flags) else "float32"


@contextmanager
def layers_in(precision: str) -> Iterator[None]:
    """Build layers under a dtype policy of Keras: `float32` or `mixed_bfloat16`."""
    from keras import config

    before = config.dtype_policy()
    config.set_dtype_policy(precision)
    try:
        yield
    finally:
        config.set_dtype_policy(before)


def mean_weights(
    a: Sequence[NDArray[np.float32]], b: Sequence[NDArray[np.float32]], share: float = 0.5
) -> list[NDArray[np.float32]]:
    """Return the mean of two sets of weights of one network; `a` counts `share`."""
    return [share * one + (1 - share) * other for one, other in zip(a, b, strict=True)]


def load_weights(network: Any, weights: Path) -> None:
    """Give `network` the weights of another run.

    Raises ConfigError if the file cannot be read or holds the weights of another network.
    """
    try:
        network.load_weights(weights)
    except (OSError, ValueError) as exc:
        raise ConfigError(
            f"{weights} does not hold weights of this network.",
            hint="Name a file of weights (.weights.h5) that a run with the same layout wrote.",
        ) from exc
