"""From what a person types to the files and templates that are meant."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from core.errors import InputError, TemplateError


@dataclass(frozen=True, slots=True)
class Upload:
    """A file on this machine: `name` is what it is called elsewhere, `size` in bytes."""

    path: Path
    name: str
    size: int


def find_uploads(arguments: Iterable[str]) -> list[Upload]:
    """Return the files that the arguments name, in order, each once.

    An argument is a file, a folder (all files below it, hidden ones left out, sorted) or a
    pattern such as `scans/*.jpg` where the shell did not expand it. Files of a folder are named
    by their path below it. Raises InputError for what is not there or cannot be listed.
    """
    found: dict[Path, Upload] = {}
    for argument in arguments:
        for upload in _find(argument):
            found.setdefault(upload.path.resolve(), upload)
    if not found:
        raise InputError("There is no file in what was named.", code="no-files")
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
            raise InputError(f"There is no {argument}.", code="no-such-file")
    except OSError as exc:
        raise InputError(f"{argument} cannot be read ({exc.strerror}).") from exc


def _matches(pattern: Path) -> Iterator[Path]:
    try:
        return Path(pattern.anchor).glob(str(pattern.relative_to(pattern.anchor)))
    except (ValueError, NotImplementedError):  # an empty or impossible pattern
        return iter(())


@dataclass(frozen=True, slots=True)
class TemplateChoice:
    """The template of an upload: a name that the server knows, or the text of a file."""

    name: str | None = None
    text: str | None = None


def find_template(argument: str | None) -> TemplateChoice | None:
    """Return what `--template NAME|PATH` means: a path if it looks like one or is one.

    Raises TemplateError, naming the file, where it is missing, unreadable or wrong.
    """
    if argument is None:
        return None
    path = Path(argument).expanduser()
    if path.suffix.lower() not in (".yaml", ".yml") and len(path.parts) == 1 and not path.is_file():
        return TemplateChoice(name=argument)
    from pipeline.placing.template import parse_template

    try:
        text = parse_template(path.read_bytes()).text
    except OSError as exc:
        raise TemplateError(f"{argument} cannot be read ({exc.strerror}).") from exc
    except TemplateError as exc:
        raise TemplateError(f"{argument}: {exc.message}", hint=exc.hint, code=exc.code) from exc
    return TemplateChoice(text=text)
