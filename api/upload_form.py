"""The multipart form of an upload: its fields, checked once, and its files, one at a time."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Generic, TypeVar

from flask import Request

from api.multipart import Part, iter_parts
from api.problems import ProblemError
from api.requests import POLICY, TemplateOptions, UploadForm
from api.templates import requested_templates
from core.text import printable
from pipeline.placing.template_set import TemplateSet

MAX_FIELD_BYTES = 1 << 20  # of one form field; a template is the longest
MAX_FIELDS = 50
MAX_FILENAME = 1000  # characters, as the database keeps

# Form fields of which there may be several, and the option that they are together.
REPEATABLE = {
    "template": "template",
    "template_file": "template_text",
    "template_text": "template_text",
}

_Options = TypeVar("_Options", bound=TemplateOptions)


def _described(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return schema | {"description": UploadForm.model_fields[name].description}


_FILES = {"type": "array", "items": {"type": "string", "format": "binary"}, "minItems": 1}
_TEMPLATE_PROPERTIES = {
    "template": _described("template", {"type": "array", "items": {"type": "string"}}),
    "template_file": {
        "type": "array",
        "items": {"type": "string", "format": "binary"},
        "description": "A template as a YAML file, or several; beside those of `template`.",
    },
}

# Request bodies as the OpenAPI document shows them.
NEW_BATCH_BODY = {
    "multipart/form-data": {
        "type": "object",
        "properties": {
            "files": _FILES,
            "name": _described("name", {"type": "string", "maxLength": 200}),
            **_TEMPLATE_PROPERTIES,
            "release_threshold": _described(
                "release_threshold",
                {
                    "anyOf": [
                        {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
                        {"const": POLICY},
                    ]
                },
            ),
            "control_total": _described("control_total", {"type": "string", "maxLength": 40}),
            "control_field": _described("control_field", {"type": "string", "maxLength": 200}),
            "expected_pages": _described("expected_pages", {"type": "integer", "minimum": 0}),
            "expected_documents": _described(
                "expected_documents", {"type": "integer", "minimum": 0}
            ),
            "keep_open": _described("keep_open", {"type": "boolean", "default": False}),
        },
        "additionalProperties": False,
    }
}
MORE_FILES_BODY = {
    "multipart/form-data": {
        "type": "object",
        "properties": {"files": _FILES, **_TEMPLATE_PROPERTIES},
        "required": ["files"],
        "additionalProperties": False,
    }
}


@dataclass(frozen=True, slots=True)
class IncomingFile:
    """One file of a form. Read `stream` before asking for the next file."""

    filename: str  # as the user named it: a label, never a path
    stream: io.BufferedReader

    @property
    def empty(self) -> bool:
        return not self.stream.peek(1)


class MultipartForm(Generic[_Options]):
    """The form of one request. Read all of `files()` before asking for the options."""

    def __init__(self, request: Request, model: type[_Options], *, max_files: int) -> None:
        self._request = request
        self._model = model
        self._max_files = max_files
        # Any other part that is a file is one to read, whatever its name: "file", "upload", "".
        self._options_sent_as_files = {*model.model_fields, *REPEATABLE}
        self._fields: list[tuple[str, str]] = []
        self._options: _Options | None = None  # made of `_fields`; None: not checked yet
        self._templates: TemplateSet | None = None
        # The form fields that `_templates` was made of.
        self._template_fields: tuple[object, object] = (None, None)

    def files(self) -> Iterator[IncomingFile]:
        """Yield the files in the order in which they arrive, and collect the form fields.

        Raises ProblemError for a body that is no multipart form (415, 400), for more than
        `max_files` files (413) and for a wrong form field (422).
        """
        if self._request.mimetype != "multipart/form-data":
            raise ProblemError(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
                "unsupported-media-type",
                "Files come as multipart/form-data, each in a part named 'files'.",
            )
        boundary = self._request.mimetype_params.get("boundary", "")
        count = 0
        for part in iter_parts(self._request.stream, boundary):
            if part.filename is None or part.name in self._options_sent_as_files:
                self._take_field(part)
                continue
            file = IncomingFile(file_label(part.filename), part.stream)
            if part.filename == "" and file.empty:
                continue  # a browser's file input that was left empty
            count += 1
            if count > self._max_files:
                raise _too_many_files(self._max_files)
            if count == 1:
                self.options()  # Refuses a wrong form before its sender has uploaded the files.
            yield file

    def options(self) -> _Options:
        """Return the form fields, checked once. Raises ValidationError, TemplateError.

        An empty field counts as absent, because browsers send the fields that were left empty.
        """
        if self._options is None:
            values: dict[str, Any] = {}
            for name, text in self._fields:
                if text and name in REPEATABLE:
                    values.setdefault(REPEATABLE[name], []).append(text)
                elif text:
                    values[name] = text
            options = self._model.model_validate(values)
            template_fields = (options.template, options.template_text)
            if template_fields != self._template_fields:
                self._templates = requested_templates(options)
                self._template_fields = template_fields
            self._options = options
        return self._options

    def templates(self) -> TemplateSet | None:
        """Return the templates of the form, parsed once. Raises as `options`."""
        self.options()
        return self._templates

    def _take_field(self, part: Part) -> None:
        if len(self._fields) >= MAX_FIELDS:
            raise _bad_field(f"The form has more than {MAX_FIELDS} fields.")
        if part.name not in REPEATABLE and any(part.name == name for name, _ in self._fields):
            raise _bad_field(f"The form field '{part.name}' was sent twice.")
        data = part.stream.read(MAX_FIELD_BYTES + 1)
        if len(data) > MAX_FIELD_BYTES:
            raise _bad_field(
                f"The form field '{part.name}' is longer than {MAX_FIELD_BYTES:,} bytes."
            )
        try:
            self._fields.append((part.name, data.decode()))
        except UnicodeDecodeError as exc:
            raise _bad_field(f"The form field '{part.name}' is not UTF-8 text.") from exc
        self._options = None  # checked before, if this field follows a file


def file_label(filename: str) -> str:
    """Return how a file is listed that a browser or client names so."""
    label = printable(filename)
    return label if len(label) <= MAX_FILENAME else f"{label[:500]}…{label[-499:]}"


def _too_many_files(limit: int) -> ProblemError:
    return ProblemError(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "too-many-files",
        f"There are more than {limit:,} files in this request. Nothing of it was stored.",
        hint="Create the batch with keep_open=true, add the files in several requests"
        " and close it.",
        limit=limit,
    )


def _bad_field(detail: str) -> ProblemError:
    return ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-request", detail)
