"""From what a person types to the files and templates that are meant.

Every command resolves files with `find_uploads`, and `--template NAME|FILE|DIR` with
`find_templates` (to send them to a server) or `load_templates` (to read with them here).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import InputError, TemplateError

if TYPE_CHECKING:
    from pipeline.placing.template import Template
    from pipeline.placing.template_set import TemplateSet


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
    below the folder. Files that would have one name are named by their whole paths: the server
    takes the same name and the same bytes for one file. Raises InputError if something does not
    exist or cannot be listed.
    """
    found: dict[Path, Upload] = {}
    for argument in arguments:
        for upload in _find(argument):
            found.setdefault(upload.path.resolve(), upload)
    if not found:
        raise InputError("No files were found.", code="no-files")
    names = Counter(upload.name for upload in found.values())
    return [
        replace(upload, name=upload.path.as_posix()) if names[upload.name] > 1 else upload
        for upload in found.values()
    ]


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
    """Templates as a person names them: bundled and stored ones by name, files by their text."""

    names: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()


def find_templates(arguments: Iterable[str]) -> TemplateChoice | None:
    """Return what `--template NAME|FILE|DIR`, once or more, means for the server.

    The text of a file is checked. Returns None where there are no arguments. Raises TemplateError,
    naming the file, if it is missing, unreadable or wrong. The server says whether it knows a name.
    """
    paths = [path for argument in arguments for path in _paths_of(argument)]
    if not paths:
        return None
    names = tuple(path for path in paths if isinstance(path, str))
    return TemplateChoice(
        names, tuple(_load(path).text for path in paths if isinstance(path, Path))
    )


def load_templates(arguments: Iterable[str]) -> TemplateSet | None:
    """Return the templates that `--template NAME|FILE|DIR` means, to read with them here.

    A name is that of a bundled or a stored template, or of a stored set. Returns None where there
    are no arguments. Raises TemplateError, naming the file or the known names, if there is none or
    it is wrong.
    """
    from core.settings import load_settings
    from pipeline.placing.template_set import combine, named_templates
    from storage.site_templates import SiteTemplates

    paths = [path for argument in arguments for path in _paths_of(argument)]
    if not paths:
        return None
    stored = SiteTemplates(load_settings().home)
    return combine(
        [_load(path) if isinstance(path, Path) else named_templates(path, stored) for path in paths]
    )


def load_files(arguments: Iterable[str]) -> TemplateSet:
    """Return the templates of files and folders, never of names. Raises TemplateError."""
    from pipeline.placing.template_set import combine

    paths = [Path(argument).expanduser() for argument in arguments]
    return combine(
        [_load(file) for path in paths for file in (_in_folder(path) if path.is_dir() else [path])]
    )


def load_template(argument: str) -> Template:
    """Return the one template that `--template NAME|FILE` means.

    Raises TemplateError as `load_templates` does, and for a file, folder or stored set of several.
    """
    templates = load_templates([argument])
    if templates is None or len(templates.templates) != 1:
        raise TemplateError(f"{argument} holds several templates; this command takes one.")
    return templates.templates[0]


def _paths_of(argument: str) -> list[Path | str]:
    """Return the files that are meant, or the name of a bundled or stored template.

    It is a file if one is there, or if it looks like a path: in a folder, or .yaml or .yml. Of a
    folder all templates are meant, unless a bundled template has its name. A folder without
    templates, such as one of scans, is meant only if it is written as a path: `scans/`.
    """
    path = Path(argument).expanduser()
    looks_like_path = path.suffix.lower() in (".yaml", ".yml") or path.name != argument
    if path.is_dir() and not _is_bundled(argument):
        try:
            return [*_in_folder(path)]
        except TemplateError:
            if looks_like_path:
                raise
    return [path if looks_like_path or path.is_file() else argument]


def _in_folder(folder: Path) -> list[Path]:
    found = sorted(item for item in folder.iterdir() if item.suffix.lower() in (".yaml", ".yml"))
    if not found:
        raise TemplateError(f"There is no template (.yaml) in the folder {folder}.")
    return found


def _is_bundled(name: str) -> bool:
    from pipeline.placing.template import bundled_names

    return name in bundled_names()


def _load(path: Path) -> TemplateSet:
    from pipeline.placing.template_set import MAX_TEMPLATES, parse_templates
    from pipeline.placing.yaml_nodes import MAX_CHARACTERS

    most = 4 * MAX_TEMPLATES * MAX_CHARACTERS + 1  # no more, whatever it is

    def read(file: Path) -> bytes:
        with file.open("rb") as stream:
            return stream.read(most)

    try:
        return parse_templates(read(path), read_list=lambda name: read(path.parent / name))
    except OSError as exc:
        raise TemplateError(f"{path} cannot be read ({exc.strerror}).") from exc
    except TemplateError as exc:
        raise TemplateError(f"{path}: {exc.message}", hint=exc.hint, code=exc.code) from exc
