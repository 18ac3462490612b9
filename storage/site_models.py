"""The strip readers that a site has adapted to its own handwriting, and which of them is in use.

    HOME/models/strip/current          the name of the model in use, or `bundled`
    HOME/models/strip/<12 hex digits>/ strip.tflite, strip.json, strip.weights.h5, report.json

The 12 digits are the first of the sha256 of the weights. A folder is complete before it gets its
name, and `current` is replaced in one step, so an interruption changes nothing. `report.json` names
the model from which this one was adapted.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import ConfigError, ConflictError
from storage.fsync import fsync

BUNDLED = "bundled"  # the name of the weights that come with Counterfoil
_CURRENT = "current"
_REPORT = "report.json"


@dataclass(frozen=True, slots=True)
class SiteModel:
    name: str  # the first 12 characters of the sha256 of its weights
    folder: Path
    report: dict[str, Any]  # of its adaptation
    current: bool


def models_folder(home: Path) -> Path:
    return home / "models" / "strip"


def current_name(home: Path) -> str:
    """Return the name of the model in use: `bundled` until another is promoted."""
    try:
        return (models_folder(home) / _CURRENT).read_text(encoding="utf-8").strip() or BUNDLED
    except FileNotFoundError:
        return BUNDLED


def current_strip(home: Path) -> Path | None:
    """Return the folder of the site's strip reader, or None if the bundled one is in use.

    Raises ConfigError if the folder is missing: it is better not to start than to read with another
    model unnoticed.
    """
    name = current_name(home)
    if name == BUNDLED:
        return None
    folder = models_folder(home) / name
    if not (folder / "strip.tflite").is_file():
        raise ConfigError(
            f"The site's strip reader {name} is not in {models_folder(home)}.",
            hint="Restore the folder, or go back with `counterfoil train back`.",
            code="bad-weights",
        )
    return folder


def list_models(home: Path) -> list[SiteModel]:
    """Return the models that were promoted at this site, oldest first."""
    root, current = models_folder(home), current_name(home)
    found = [
        (path.stat().st_mtime, SiteModel(path.parent.name, path.parent, _read(path), False))
        for path in root.glob(f"[0-9a-f]*/{_REPORT}")
    ]
    return [
        SiteModel(model.name, model.folder, model.report, model.name == current)
        for _, model in sorted(found, key=lambda entry: (entry[0], entry[1].name))
    ]


@contextmanager
def new_model(home: Path) -> Iterator[Path]:
    """Yield a temporary folder for a new model, in the file system of the site's models."""
    root = models_folder(home)
    root.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".new-", dir=root))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def promote(home: Path, written: Path, name: str, champion: str) -> Path:
    """Put the model in `written` into use; return its folder.

    Raises ConflictError if `champion`, the model that it was better than, is no longer in use.
    """
    if current_name(home) != champion:
        raise ConflictError(
            f"The new model is better than {champion}, but {current_name(home)} is now in use.",
            hint="Adapt again.",
        )
    folder = models_folder(home) / name
    for path in written.iterdir():
        fsync(path)
    if not folder.exists():
        written.rename(folder)
    _set_current(home, name)
    return folder


def step_back(home: Path) -> str:
    """Put the model from which the current one was adapted back into use; return its name.

    If that model is unknown or gone, it is the bundled one. Raises ConflictError if the bundled one
    is already in use.
    """
    name = current_name(home)
    if name == BUNDLED:
        raise ConflictError("The bundled strip reader is in use; there is no earlier one.")
    folder = models_folder(home)
    before = str(_read(folder / name / _REPORT).get("champion", BUNDLED))
    if not (folder / before / "strip.tflite").is_file():
        before = BUNDLED
    _set_current(home, before)
    return before


def _set_current(home: Path, name: str) -> None:
    folder = models_folder(home)
    partial = folder / f".{_CURRENT}-{os.getpid()}"
    partial.write_text(name + "\n", encoding="utf-8")
    fsync(partial)
    partial.replace(folder / _CURRENT)
    fsync(folder)


def _read(path: Path) -> dict[str, Any]:
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return report if isinstance(report, dict) else {}
