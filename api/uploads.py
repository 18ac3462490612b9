"""Files come in: each part of a request streams into the store, and then one transaction."""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TypeVar

from flask import Blueprint, Response, request, url_for
from pydantic import BaseModel
from sqlalchemy.orm import Session

from api import serializers
from api.context import caller, services
from api.multipart import Part, iter_parts
from api.openapi import Header, operation
from api.problems import ProblemError
from api.schemas import (
    BatchOptions,
    BatchReceipt,
    DocumentForm,
    DocumentsReceipt,
    NewBatch,
    RejectedFile,
    UploadedFile,
    UploadForm,
)
from core.errors import ConflictError, CounterfoilError, NotFoundError, TemplateError
from core.ids import new_id
from core.log import get_logger
from db import queries
from db.models import BatchState, DocumentState
from db.transitions import batches as transitions
from db.transitions.batches import NewDocument
from db.transitions.outbox import forget_objects
from pipeline.placing.template import bundled_names, bundled_text, parse_template
from storage.base import ObjectTooLargeError

log = get_logger(__name__)
blueprint = Blueprint("uploads", __name__)

MAX_JSON_BYTES = 2 << 20
MAX_FIELD_BYTES = 1 << 20  # of one form field; a template is the longest
MAX_FIELDS = 50
MAX_FILENAME = 1000  # what the database keeps of a name
RETRY_SECONDS = 60  # after a 429: pages are read at tens a second

_Form = TypeVar("_Form", bound=BaseModel)

IDEMPOTENCY_KEY = Header(
    "Idempotency-Key",
    "A repeated request with the same key returns the same batch and stores nothing twice.",
    pattern="^[!-~]{1,200}$",
)

_FILES = {"type": "array", "items": {"type": "string", "format": "binary"}, "minItems": 1}
_TEMPLATE_PROPERTIES = {
    "template": {"type": "string", "description": "Name of a bundled template."},
    "template_file": {
        "type": "string",
        "format": "binary",
        "description": "A template as a YAML file, in place of `template`.",
    },
}
_UPLOAD = {
    "multipart/form-data": {
        "type": "object",
        "properties": {
            "files": _FILES,
            "name": {"type": "string", "maxLength": 200},
            **_TEMPLATE_PROPERTIES,
            "release_threshold": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
            "keep_open": {"type": "boolean", "default": False},
        },
        "additionalProperties": False,
    }
}
_MORE_FILES = {
    "multipart/form-data": {
        "type": "object",
        "properties": {"files": _FILES, **_TEMPLATE_PROPERTIES},
        "required": ["files"],
        "additionalProperties": False,
    }
}


@dataclass(slots=True)
class _Received:
    """What one request brought: its form fields, the files in the store, the refused ones."""

    fields: dict[str, str] = field(default_factory=dict)
    stored: list[NewDocument] = field(default_factory=list)
    rejected: list[RejectedFile] = field(default_factory=list)


@blueprint.post("/batches")
@operation(
    "batches",
    {202: BatchReceipt},
    body=NewBatch,
    request_body=_UPLOAD,
    problems=(400, 409, 413, 415, 429, 507),
    headers=(IDEMPOTENCY_KEY,),
)
def create_batch() -> Response:
    """Create a batch, with its files.

    The answer comes when every byte is durable. Files that cannot be taken are listed under
    `rejected` with the reason; the others go on. A JSON request creates a batch without files.
    """
    key = _idempotency_key()
    _refuse_when_full()
    batch_id = new_id()
    if request.mimetype == "application/json":
        body = NewBatch.model_validate_json(_small_body())
        return _record_batch(batch_id, body, True, _Received(), key)
    try:
        received = _receive(batch_id, UploadForm)
        form = _form(UploadForm, received)
        if not received.stored and not (form.keep_open and not received.rejected):
            raise _no_files(received)
        return _record_batch(batch_id, form, form.keep_open, received, key)
    except BaseException:
        # No row will ever name these bytes. A crash here leaves them; they harm nothing.
        _discard(batch_id)
        raise


@blueprint.post("/batches/<id:batch_id>/documents")
@operation(
    "batches",
    {202: DocumentsReceipt},
    request_body=_MORE_FILES,
    problems=(400, 409, 413, 415, 429, 507),
)
def add_documents(batch_id: str) -> Response:
    """Add files to an open batch.

    Bytes that the batch has already are listed with `duplicate: true` and add nothing, so that
    a request may simply be sent again.
    """
    _refuse_when_full()
    tenant_id = caller().tenant_id
    with services().db.reading() as session:
        batch = queries.batch_progress(session, tenant_id, batch_id)
        if batch.closed or batch.state == BatchState.CANCELLED:
            raise ConflictError(
                "The batch is closed and takes no more files.",
                hint="Create another batch for them.",
                code="batch-closed",
            )
    received = _receive(batch_id, DocumentForm)
    template = _template(_form(DocumentForm, received))
    if not received.stored:
        raise _no_files(received)
    try:
        with services().db.transaction() as session:
            template_id = _template_id(session, template) or batch.template_id
            uploaded = _add_documents(session, batch_id, template_id, received)
    except NotFoundError:  # deleted meanwhile, and its objects perhaps before ours came
        with services().db.transaction() as session:
            forget_objects(session, batch_id)
        raise
    receipt = DocumentsReceipt(documents=uploaded, rejected=received.rejected)
    response = serializers.answer(receipt, HTTPStatus.ACCEPTED)
    response.headers["Location"] = url_for("v1.batches.get_batch", batch_id=batch_id)
    response.headers["Retry-After"] = "1"
    return response


def _record_batch(
    batch_id: str, options: BatchOptions, keep_open: bool, received: _Received, key: str | None
) -> Response:
    tenant_id = caller().tenant_id
    template = _template(options)
    with services().db.transaction() as session:
        batch, created = transitions.create_batch(
            session,
            tenant_id=tenant_id,
            batch_id=batch_id,
            name=options.name,
            template_id=_template_id(session, template),
            release_threshold=options.release_threshold,
            idempotency_key=key,
            request_hash=_request_hash(options, template, keep_open, received) if key else None,
        )
        uploaded = _add_documents(session, batch.id, batch.template_id, received)
        if created and not keep_open:
            transitions.close_batch(session, tenant_id=tenant_id, batch_id=batch.id)
    if not created:
        _discard(batch_id)
    with services().db.reading() as session:
        progress = queries.batch_progress(session, tenant_id, batch.id)
    receipt = BatchReceipt(
        **dict(serializers.batch_object(progress)), uploaded=uploaded, rejected=received.rejected
    )
    response = serializers.answer(receipt, HTTPStatus.ACCEPTED)
    response.headers["Location"] = url_for("v1.batches.get_batch", batch_id=batch.id)
    response.headers["Retry-After"] = "1"
    return response


# --- the body -----------------------------------------------------------------------------------


def _receive(batch_id: str, model: type[BaseModel]) -> _Received:
    """Stream the files of a multipart request into the store, under the batch's namespace."""
    if request.mimetype != "multipart/form-data":
        raise ProblemError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "unsupported-media-type",
            "Files come as multipart/form-data, each in a part named 'files'.",
        )
    limit = services().settings.max_files_per_request
    received = _Received()
    files = 0
    for part in iter_parts(request.stream, request.mimetype_params.get("boundary", "")):
        if part.name != "files" or part.filename is None:
            _take_field(received, part)
            continue
        if part.filename == "" and not part.stream.peek(1):  # type: ignore[attr-defined]
            continue  # a browser's file input that was left empty
        files += 1
        if files > limit:
            raise ProblemError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                "too-many-files",
                f"There are more than {limit:,} files in this request; nothing of it was taken.",
                hint="Create the batch with keep_open=true, add the files in several requests"
                " and close it.",
                limit=limit,
            )
        if files == 1:
            # A mistake in the form should not cost its sender the upload.
            _template(_form(model, received))
        _take_file(received, batch_id, part)
    return received


def _take_file(received: _Received, batch_id: str, part: Part) -> None:
    filename = _label(part.filename or "")
    limit = services().settings.max_file_bytes
    if not part.stream.peek(1):  # type: ignore[attr-defined]
        received.rejected.append(
            RejectedFile(filename=filename, code="empty-file", message="The file is empty.")
        )
        return
    try:
        stored = services().store.put(batch_id, part.stream, limit=limit)
    except ObjectTooLargeError:
        message = f"The file is larger than {limit:,} bytes."
        received.rejected.append(
            RejectedFile(filename=filename, code="file-too-large", message=message)
        )
        return
    received.stored.append(NewDocument(filename, stored.sha256, stored.size))


def _take_field(received: _Received, part: Part) -> None:
    if len(received.fields) >= MAX_FIELDS or part.name in received.fields:
        raise _bad_field(f"The form field '{part.name}' came twice, or there are too many.")
    data = part.stream.read(MAX_FIELD_BYTES + 1)
    if len(data) > MAX_FIELD_BYTES:
        raise _bad_field(f"The form field '{part.name}' is longer than {MAX_FIELD_BYTES:,} bytes.")
    try:
        received.fields[part.name] = data.decode()
    except UnicodeDecodeError as exc:
        raise _bad_field(f"The form field '{part.name}' is not UTF-8 text.") from exc


def _form(model: type[_Form], received: _Received) -> _Form:
    """Check the form fields. An empty one counts as left out, as browsers send them."""
    values = {name: text for name, text in received.fields.items() if text}
    if "template_file" in values:
        values["template_text"] = values.pop("template_file")
    return model.model_validate(values)


def _small_body() -> bytes:
    request.max_content_length = MAX_JSON_BYTES
    return request.get_data(cache=False)


def _label(filename: str) -> str:
    """A name is kept as it came, as a label: no path is ever made of it."""
    label = filename.replace("\0", "\ufffd")
    return label if len(label) <= MAX_FILENAME else f"{label[:500]}…{label[-499:]}"


# --- the rows -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Template:
    name: str
    text: str


def _template(options: BaseModel) -> _Template | None:
    """Return the template that a request names or brings. Raises TemplateError."""
    name: str | None = getattr(options, "template", None)
    text: str | None = getattr(options, "template_text", None)
    if name and text:
        raise TemplateError(
            "A template comes either by name or as a file.", hint="Leave one of them out."
        )
    if text:
        return _Template(parse_template(text).name, text)
    if not name:
        return None
    names = bundled_names()
    if name not in names:
        raise TemplateError(
            f"There is no template '{name}'.",
            hint=f"There are: {', '.join(names)}. Or send your own as 'template_file'.",
            code="unknown-template",
        )
    return _Template(name, bundled_text(name))


def _template_id(session: Session, template: _Template | None) -> str | None:
    if template is None:
        return None
    kept = transitions.add_template(
        session, tenant_id=caller().tenant_id, name=template.name, text=template.text
    )
    return kept.id


def _add_documents(
    session: Session, batch_id: str, template_id: str | None, received: _Received
) -> list[UploadedFile]:
    added = transitions.add_documents(
        session,
        tenant_id=caller().tenant_id,
        batch_id=batch_id,
        files=received.stored,
        template_id=template_id,
    )
    return [
        UploadedFile(
            id=document.id,
            filename=file.filename,
            sha256=file.sha256,
            size=file.size,
            state=DocumentState(document.state),
            duplicate=not created,
        )
        for file, (document, created) in zip(received.stored, added, strict=True)
    ]


def _request_hash(
    options: BatchOptions, template: _Template | None, keep_open: bool, received: _Received
) -> str:
    """Name what was asked for: a replay must ask for the same."""
    said = {
        "name": options.name,
        "template": template and [template.name, template.text],
        "release_threshold": options.release_threshold,
        "keep_open": keep_open,
        "files": [[file.filename, file.sha256] for file in received.stored],
        "rejected": [[file.filename, file.code] for file in received.rejected],
    }
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _discard(batch_id: str) -> None:
    with contextlib.suppress(CounterfoilError):
        services().store.delete_namespace(batch_id)


# --- refusals -----------------------------------------------------------------------------------


def _idempotency_key() -> str | None:
    key = request.headers.get("Idempotency-Key")
    if key is not None and not (key.isascii() and key.isprintable() and 0 < len(key) <= 200):
        raise ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "bad-idempotency-key",
            "An Idempotency-Key is 1 to 200 printable ASCII characters.",
        )
    return key


def _refuse_when_full() -> None:
    limit = services().settings.max_queued_pages
    with services().db.reading() as session:
        waiting = queries.backlog(session, caller().tenant_id, limit + 1)
    if waiting > limit:
        raise ProblemError(
            HTTPStatus.TOO_MANY_REQUESTS,
            "too-many-pages-waiting",
            f"More than {limit:,} pages wait to be read.",
            hint="Send more when some of them are done.",
            headers={"Retry-After": str(RETRY_SECONDS)},
        )


def _no_files(received: _Received) -> ProblemError:
    detail = "None of the files can be taken." if received.rejected else "There is no file in it."
    return ProblemError(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "no-usable-file",
        detail,
        hint="See 'rejected'."
        if received.rejected
        else "Send files in parts named 'files', or keep_open=true to send them later.",
        rejected=[file.model_dump() for file in received.rejected],
    )


def _bad_field(detail: str) -> ProblemError:
    return ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-request", detail)
