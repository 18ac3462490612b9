"""The strip readers that a site has adapted to its own hands, and which of them reads.

    HOME/models/strip/current              the name of the one that reads, or `bundled`
    HOME/models/strip/<sha256, 12 of it>/  strip.tflite, strip.json, strip.weights.h5, report.json

Each folder is complete before it has its name, and `current` is replaced at once: whoever is
interrupted leaves things as they were. `report.json` names the model that it was adapted from.
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

BUNDLED = "bundled"  # the weights that come with Counterfoil
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
    """Return the name of the model that reads: `bundled` until another was promoted."""
    try:
        return (models_folder(home) / _CURRENT).read_text(encoding="utf-8").strip() or BUNDLED
    except FileNotFoundError:
        return BUNDLED


def current_strip(home: Path) -> Path | None:
    """Return the folder of the site's strip reader; None where the bundled one reads.

    Raises ConfigError where it is named but not there: to read on with another one unnoticed
    would be worse than not to start.
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
    """Return the models that were promoted at this site, the oldest first."""
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
    """Give a folder to write a model into, on the disk of the site's models; it goes away after."""
    root = models_folder(home)
    root.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".new-", dir=root))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def promote(home: Path, written: Path, name: str, champion: str) -> Path:
    """Make the model in `written` the one that reads; return its folder.

    Raises ConflictError where `champion`, against which it won, no longer reads.
    """
    if current_name(home) != champion:
        raise ConflictError(
            f"Meanwhile {current_name(home)} reads, not {champion}, against which this one won.",
            hint="Adapt again.",
        )
    folder = models_folder(home) / name
    for path in written.iterdir():
        _sync(path)
    if not folder.exists():
        written.rename(folder)
    _set_current(home, name)
    return folder


def step_back(home: Path) -> str:
    """Let the model read again that the current one was adapted from; return its name.

    That is the bundled one where it is not known or gone. Raises ConflictError where the bundled
    one reads already.
    """
    name = current_name(home)
    if name == BUNDLED:
        raise ConflictError("The bundled strip reader reads; there is nothing to go back from.")
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
    _sync(partial)
    partial.replace(folder / _CURRENT)
    _sync(folder)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _read(path: Path) -> dict[str, Any]:
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return report if isinstance(report, dict) else {}
