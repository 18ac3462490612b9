"""The templates that a site has stored under names of its own.

    HOME/templates/NAME.yaml   one template, or several as YAML documents of one file
    HOME/templates/NAME/       the same as a folder of such files

A file that is stored here is complete before it gets its name. What the texts mean, the pipeline
knows (`pipeline.placing.template_set.named_templates`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from errno import ENOENT
from pathlib import Path

from core.errors import ConfigError, ConflictError
from storage.fsync import fsync

SUFFIXES = (".yaml", ".yml")

_MOST_OF_A_LIST = 8 << 20  # bytes: more than the pipeline takes, and no more in memory


@dataclass(frozen=True, slots=True)
class SiteTemplates:
    """The stored templates of the installation whose data folder is `home`."""

    home: Path

    @property
    def folder(self) -> Path:
        return self.home / "templates"

    def names(self) -> list[str]:
        """Return the names that something is stored under, in alphabetical order.

        Raises ConfigError if the folder cannot be read.
        """
        return sorted(self._paths())

    def texts(self, name: str) -> Mapping[str, bytes]:
        """Return the files stored under a name, by their names; none for any other name.

        `name` may come from a stranger: it is looked up among the names in the folder, and no path
        is made of it. Raises ConfigError if a file cannot be read, or if both a file and a folder
        have this name.
        """
        paths = self._paths().get(name, [])
        if len(paths) > 1:
            both = " and ".join(path.name for path in paths)
            raise ConfigError(
                f"{both} in {self.folder} have the same name.", hint="Rename one of them."
            )
        try:
            files = [file for path in paths for file in _files(path)]
            return {file.name: file.read_bytes() for file in files}
        except OSError as exc:
            raise _unreadable(exc) from exc

    def read_list(self, name: str, file: str) -> bytes:
        """Return a file that lies beside the templates stored under a name.

        `file` is the plain name of a file. Raises OSError.
        """
        if Path(file).name != file:
            raise FileNotFoundError(ENOENT, "No such file", file)
        folder = self.folder / name
        with (folder if folder.is_dir() else self.folder).joinpath(file).open("rb") as stream:
            return stream.read(_MOST_OF_A_LIST)

    def store(self, name: str, text: str, *, replace: bool = False) -> Path:
        """Store the text of templates under a name, durably; return its file.

        `name` was checked to be that of a template. Raises ConflictError if it is taken, unless
        `replace`, and where it names a folder; ConfigError if nothing can be written.
        """
        taken = self._paths().get(name, [])
        path = self.folder / f"{name}.yaml"
        if any(path.is_dir() for path in taken) or (taken and not replace):
            raise ConflictError(
                f"There is already a {taken[0]}.",
                hint="Change the files in that folder, or choose another name with --set."
                if taken[0].is_dir()
                else "Replace it with --replace, or choose another name with --set.",
            )
        partial = self.folder / f".{name}-{os.getpid()}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            partial.write_text(text, encoding="utf-8")
            fsync(partial)
            partial.replace(path)
            for other in taken:
                if other != path:  # NAME.yml
                    other.unlink()
            fsync(self.folder)
        except OSError as exc:
            raise ConfigError(f"{path} cannot be written ({exc.strerror}).") from exc
        finally:
            partial.unlink(missing_ok=True)
        return path

    def _paths(self) -> dict[str, list[Path]]:
        """Return the file of each name, or its folder; or both."""
        found: dict[str, list[Path]] = {}
        try:
            for path in sorted(self.folder.iterdir()):
                if path.name.startswith("."):
                    continue
                if path.is_dir():
                    found.setdefault(path.name, []).append(path)
                elif path.suffix.lower() in SUFFIXES:
                    found.setdefault(path.stem, []).append(path)
        except FileNotFoundError:
            return {}
        except OSError as exc:
            raise _unreadable(exc) from exc
        return found


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return sorted(
        file
        for file in path.iterdir()
        if file.suffix.lower() in SUFFIXES and not file.name.startswith(".")
    )


def _unreadable(exc: OSError) -> ConfigError:
    return ConfigError(f"The stored templates cannot be read: {exc.filename} ({exc.strerror}).")
