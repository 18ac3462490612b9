"""Labelled sets: which image holds which field, and what is written there.

The form is told by the content, not asked for; docs/evaluation.md describes each.
"""

from __future__ import annotations

import csv
import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import InputError
from pipeline.files.documents import DocumentLimits, only_pages, open_document
from pipeline.placing.template import Template
from pipeline.types import Box

_NO_DATA = frozenset({"file", "boxes"})
_EXPORTED = frozenset({"file", "page", "field", "value", "state", "box"})
_VERIFIED = "verified"


@dataclass(frozen=True, slots=True)
class Example:
    """One field whose content is known."""

    file: Path
    truth: str
    field: str = ""  # its name; "" where the image is the field
    box: Box | None = None  # in pixels of the page, where only that part is the field
    page: int = 1  # within the file, from 1


@dataclass(frozen=True, slots=True)
class LabelledSet:
    name: str
    form: str  # what was found, in words
    examples: tuple[Example, ...]
    remarks: tuple[str, ...]  # what was left out, and why


@dataclass(frozen=True, slots=True)
class Part:
    """Which images of a set: each `step`th from `start`, counted from 0; at most `limit`."""

    start: int = 0
    step: int = 1
    limit: int | None = None

    def of(self, groups: Sequence[list[Example]]) -> list[list[Example]]:
        return list(groups)[self.start :: self.step][: self.limit]

    def __str__(self) -> str:
        halves = {(0, 1): "all", (0, 2): "even half", (1, 2): "odd half"}
        name = halves.get((self.start, self.step), f"every {self.step}. from {self.start}")
        return name if self.limit is None else f"{name}, the first {self.limit}"


def load_labelled(
    path: Path, *, template: Template | None = None, part: Part = Part()
) -> LabelledSet:
    """Load the set at `path`: a folder with `labels.json` or `labels.csv`, or such a file.

    With a template, the images are whole pages, the template finds the fields, and the boxes of
    the labels are not used; labels of fields that it does not have are left out, with a remark.
    Raises InputError if there is no such set, an image is missing, or nothing is left to read.
    """
    pages = template is not None
    labels = _find(path)
    read = _from_json if labels.suffix.lower() == ".json" else _from_csv
    form, examples, remarks = read(labels, pages)
    if template is not None:
        examples, remarks = _known_fields(examples, remarks, template)
    groups = [
        list(group) for _, group in itertools.groupby(examples, key=lambda e: (e.file, e.page))
    ]
    chosen = [example for group in part.of(groups) for example in group]
    for example in chosen:
        if not example.file.is_file():
            raise InputError(f"{labels.name} names {example.file}, which is not there.")
    if not chosen:
        raise InputError(f"{labels} holds nothing to read in this part ({part}).")
    name = path.name if path.is_dir() else f"{path.parent.name}/{path.name}"
    return LabelledSet(name, form, tuple(chosen), tuple(remarks))


def page_bytes(example: Example) -> bytes:
    """Return the encoded image of the page: of the file, or of one of its frames.

    Raises InputError where there is no such page.
    """
    frames = only_pages(open_document(example.file, DocumentLimits()))
    page = next(itertools.islice(frames, example.page - 1, None), None)
    if page is None:
        raise InputError(f"{example.file.name} has no page {example.page}.")
    if page.error is not None:
        raise page.error
    return example.file.read_bytes() if page.data is None else page.data


def _known_fields(
    examples: list[Example], remarks: list[str], template: Template
) -> tuple[list[Example], list[str]]:
    names = [field.name for field in template.fields]
    unknown = Counter(example.field for example in examples if example.field not in names)
    known = [example for example in examples if example.field in names]
    if unknown and not known:
        raise InputError(
            f"The template {template.name} has none of the labelled fields ({', '.join(unknown)}).",
            hint=f"It has {', '.join(names)}.",
        )
    return known, remarks + [
        f"{count} labels of the field {name} were left out: the template does not have it."
        for name, count in unknown.items()
    ]


_Found = tuple[str, list[Example], list[str]]


def _find(path: Path) -> Path:
    if path.is_file():
        return path
    for name in ("labels.json", "labels.csv"):
        if (path / name).is_file():
            return path / name
    raise InputError(
        f"there are no labels at {path}.",
        hint="Name a folder with labels.json or labels.csv, or such a file "
        "(docs/evaluation.md has the forms).",
    )


def _from_json(labels: Path, pages: bool) -> _Found:
    try:
        entries = json.loads(labels.read_text(encoding="utf-8"))
    except (ValueError, OSError) as exc:
        raise InputError(f"{labels} is not JSON ({exc}).") from exc
    if isinstance(entries, dict):
        entries = _by_stem(labels.parent, entries)
    if not isinstance(entries, list) or not all(
        isinstance(entry, dict) and isinstance(entry.get("file"), str) for entry in entries
    ):
        raise InputError(f"{labels} must be a list of objects that each name a 'file'.")
    folder = labels.parent
    if all(isinstance(entry.get("text"), str) for entry in entries):
        texts = [Example(folder / entry["file"], entry["text"]) for entry in entries]
        return "labels.json, each image one field", texts, []
    examples, nulls, unboxed = [], 0, 0
    for entry in entries:
        for field in entry.keys() - _NO_DATA if pages else _fields_with_box(entry):
            if entry[field] is None:
                nulls += 1
            else:
                box = None if pages else Box(*map(float, entry["boxes"][field]))
                examples.append(Example(folder / entry["file"], str(entry[field]), field, box))
        unboxed += not pages and not _fields_with_box(entry)
    examples.sort(key=_in_order([folder / entry["file"] for entry in entries]))
    if unboxed and not examples:
        raise InputError(
            f"{labels} names whole pages and no boxes;",
            hint="say with --template where fields are.",
        )
    remarks = [f"{nulls} fields are labelled illegible and were left out."] if nulls else []
    where = "fields found by the template" if pages else "fields cut out by their boxes"
    return f"labels.json of whole pages, {where}", examples, remarks


def _by_stem(folder: Path, entries: dict[str, Any]) -> list[Any]:
    """`{"0001": {"amount": …}}`: images named without their ending."""
    files = {path.stem: path.name for path in folder.iterdir() if path.suffix != ".json"}
    return [
        {"file": files.get(stem, stem), **fields} if isinstance(fields, dict) else None
        for stem, fields in entries.items()
    ]


def _fields_with_box(entry: dict[str, Any]) -> list[str]:
    boxes = entry.get("boxes")
    known = boxes.keys() & entry.keys() if isinstance(boxes, dict) else set()
    return sorted(known - _NO_DATA)


def _in_order(files: Sequence[Path]) -> Callable[[Example], tuple[int, str]]:
    places = {file: number for number, file in enumerate(files)}
    return lambda example: (places[example.file], example.field)


def _from_csv(labels: Path, pages: bool) -> _Found:
    try:
        with labels.open(encoding="utf-8-sig", newline="") as stream:
            rows = list(csv.DictReader(stream))
    except (OSError, UnicodeDecodeError, csv.Error) as exc:
        raise InputError(f"{labels} is not a CSV file in UTF-8 ({exc}).") from exc
    columns = set(rows[0]) if rows else set()
    if columns >= _EXPORTED:
        return _from_export(labels, rows, pages)
    if not columns >= {"file", "text"}:
        raise InputError(
            f"{labels} needs the columns file and text (and field, for pages with a template)."
        )
    if pages and "field" not in columns:
        raise InputError(f"{labels} needs the column field, to go with --template.")
    examples = [
        Example(labels.parent / row["file"], row["text"], row.get("field") or "") for row in rows
    ]
    return "CSV of whole pages" if pages else "CSV, each image one field", _joined(examples), []


def _from_export(labels: Path, rows: Iterable[dict[str, str]], pages: bool) -> _Found:
    """An export of this product beside the files that were uploaded: what a person verified.

    What the machine released by itself is no truth, and is left out. So is what a person recorded
    against the field's grammar: a reader cannot return it.
    """
    examples, other, forced = [], 0, 0
    for row in rows:
        if row["state"] != _VERIFIED or not row["field"]:
            other += bool(row["field"])
            continue
        if row.get("forced") == "true":
            forced += 1
            continue
        try:
            box = None if pages or not row["box"] else Box(*map(float, json.loads(row["box"])))
            page = int(row["page"])
        except (ValueError, TypeError) as exc:
            raise InputError(f"{labels} is not an export as Counterfoil writes it.") from exc
        if box is not None or pages:
            file = labels.parent / row["file"]
            examples.append(Example(file, row["value"], row["field"], box, page))
    remarks = [f"{other} fields that no person verified were left out."] if other else []
    if forced:
        remarks.append(f"{forced} values that their grammar does not allow were left out.")
    return "an export of verified fields", _joined(examples), remarks


def _joined(examples: list[Example]) -> list[Example]:
    """Bring the fields of a page together, pages in the order in which they first appear."""
    first: dict[tuple[Path, int], int] = {}
    for example in examples:
        first.setdefault((example.file, example.page), len(first))
    return sorted(examples, key=lambda example: first[example.file, example.page])
