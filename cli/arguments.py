"""From what a person types to the files and templates that are meant.

Every command resolves files with `find_uploads`, and `--template NAME|FILE` with `find_template`
(to send it to a server) or `load_template` (to read with it here).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import InputError, TemplateError

if TYPE_CHECKING:
    from pipeline.placing.template import Template


@dataclass(frozen=True, slots=True)
class Upload:
    """A file on this machine. `name` is what the server calls it, `size` is in bytes."""

    path: Path
    name: str
    size: int


def find_uploads(arguments: Iterable[str]) -> list[Upload]:
    """Return the files that the arguments name, in order and without duplicates.

    An argument is a file, a folder (all files below it, sorted, without hidden ones) or a pattern
    such as `scans/*.jpg` that the shell did not expand. A file of a folder is named by its path
    below the folder. Raises InputError if something does not exist or cannot be listed.
    """
    found: dict[Path, Upload] = {}
    for argument in arguments:
        for upload in _find(argument):
            found.setdefault(upload.path.resolve(), upload)
    if not found:
        raise InputError("No files were found.", code="no-files")
    return list(found.values())


def _find(argument: str) -> Iterator[Upload]:
    path = Path(argument).expanduser()
    try:
        if path.is_dir():
            for item in sorted(path.rglob("*")):
                below = item.relative_to(path)
                if item.is_file() and not any(part.startswith(".") for part in below.parts):
                    yield Upload(item, below.as_posix(), item.stat().st_size)
        elif path.exists():
            yield Upload(path, path.name, path.stat().st_size)
        elif matches := sorted(_matches(path)):
            for match in matches:
                if not match.name.startswith(".") or path.name.startswith("."):  # as a shell does
                    yield from _find(str(match))
        else:
            raise InputError(f"There is no file or folder {argument}.", code="no-such-file")
    except OSError as exc:
        raise InputError(f"{argument} cannot be read ({exc.strerror}).") from exc


def _matches(pattern: Path) -> Iterator[Path]:
    try:
        return Path(pattern.anchor).glob(str(pattern.relative_to(pattern.anchor)))
    except (ValueError, NotImplementedError):  # an empty or impossible pattern
        return iter(())


@dataclass(frozen=True, slots=True)
class TemplateChoice:
    """A template as a person names it: a bundled one by its name, or the text of a file."""

    name: str | None = None
    text: str | None = None


def find_template(argument: str) -> TemplateChoice:
    """Return what `--template NAME|FILE` means, for the server; the text of a file is checked.

    Raises TemplateError, naming the file, if it is missing, unreadable or wrong. The server says
    whether it knows a name.
    """
    path = _path_of(argument)
    return TemplateChoice(name=argument) if path is None else TemplateChoice(text=_load(path).text)


def load_template(argument: str) -> Template:
    """Return the template that `--template NAME|FILE` means, to read with it on this machine.

    Raises TemplateError, naming the file or the bundled templates, if there is none or it is wrong.
    """
    from pipeline.placing.template import bundled_template

    path = _path_of(argument)
    return bundled_template(argument) if path is None else _load(path)


def _path_of(argument: str) -> Path | None:
    """Return the file that is meant, or None for a name of a bundled template.

    It is a file if one is there, or if it looks like a path: in a folder, or .yaml or .yml.
    """
    path = Path(argument).expanduser()
    looks_like_one = path.suffix.lower() in (".yaml", ".yml") or len(path.parts) != 1
    return path if looks_like_one or path.is_file() else None


def _load(path: Path) -> Template:
    from pipeline.placing.template import parse_template
    from pipeline.placing.yaml_nodes import MAX_CHARACTERS

    try:
        with path.open("rb") as file:
            return parse_template(file.read(4 * MAX_CHARACTERS + 1))  # no more, whatever it is
    except OSError as exc:
        raise TemplateError(f"{path} cannot be read ({exc.strerror}).") from exc
    except TemplateError as exc:
        raise TemplateError(f"{path}: {exc.message}", hint=exc.hint, code=exc.code) from exc
