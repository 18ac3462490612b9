"""Uploads: each file of a request streams into the store, then one transaction writes the rows."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields
from http import HTTPStatus
from typing import Any, TypeVar

from flask import Blueprint, Response, request, url_for

from api import serializers
from api.answers import BatchReceipt, DocumentsReceipt, RejectedFile, UploadedFile
from api.context import caller, services
from api.json_body import read_body
from api.openapi import Header, operation
from api.problems import ProblemError
from api.requests import POLICY, BatchOptions, DocumentForm, NewBatch, TemplateOptions, UploadForm
from api.templates import asked_templates, requested_templates
from api.upload_form import MORE_FILES_BODY, NEW_BATCH_BODY, IncomingFile, MultipartForm
from core.errors import ConflictError, CounterfoilError, InputError, NotFoundError
from core.ids import new_id
from db import queries
from db.models import BatchState, DocumentState
from db.session import Session
from db.transitions import batches as transitions
from db.transitions.asking import Counted
from db.transitions.batches import NewDocument
from db.transitions.outbox import forget_objects
from pipeline.placing.template_set import TemplateSet
from storage.base import ObjectTooLargeError

blueprint = Blueprint("uploads", __name__)

MAX_JSON_BYTES = 2 << 20
RETRY_SECONDS = 60  # after a 429: pages are read at tens a second

IDEMPOTENCY_KEY = Header(
    "Idempotency-Key",
    "A repeated request with the same key returns the same batch and stores nothing twice.",
    pattern="^[!-~]{1,200}$",
)

_Options = TypeVar("_Options", bound=TemplateOptions)


@dataclass(slots=True)
class Received:
    """The files of one request: those in the store, and those that were refused."""

    stored: list[NewDocument] = field(default_factory=list)
    rejected: list[RejectedFile] = field(default_factory=list)
    # COMMIT is being sent or was: whatever error comes now, rows may name the stored files.
    may_have_rows: bool = False

    def reject(self, file: IncomingFile, code: str, message: str) -> None:
        self.rejected.append(RejectedFile(filename=file.filename, code=code, message=message))


@blueprint.post("/batches")
@operation(
    "batches",
    {202: BatchReceipt},
    body=NewBatch,
    request_body=NEW_BATCH_BODY,
    problems=(400, 409, 413, 415, 429, 507),
    headers=(IDEMPOTENCY_KEY,),
)
def create_batch() -> Response:
    """Create a batch, with files or without.

    The answer comes when every byte is stored durably. Files that cannot be taken are listed
    under `rejected` with the reason; the others are taken. A JSON request creates an open batch
    without files.
    """
    key = _idempotency_key()
    refuse_when_full()
    batch_id = new_id()
    if request.mimetype == "application/json":
        body = read_body(NewBatch, MAX_JSON_BYTES)
        return record_batch(batch_id, body, requested_templates(body), True, Received(), key)
    with receiving(batch_id) as received:
        form = _form(UploadForm)
        store_files(batch_id, form.files(), received)
        options = form.options()
        if not received.stored and not (options.keep_open and not received.rejected):
            raise _no_files(received)
        return record_batch(batch_id, options, form.templates(), options.keep_open, received, key)


@blueprint.post("/batches/<id:batch_id>/documents")
@operation(
    "batches",
    {202: DocumentsReceipt},
    request_body=MORE_FILES_BODY,
    problems=(400, 409, 413, 415, 429, 507),
)
def add_documents(batch_id: str) -> Response:
    """Add files to an open batch.

    A file that is in the batch already, with its name and bytes, is listed with `duplicate: true`
    and adds nothing, so that it is safe to send a request again. The same bytes under another name
    are a document of its own, a copy, which is listed and not read again.
    """
    refuse_when_full()
    with services().db.reading() as session:
        batch = queries.get_batch(session, caller().tenant_id, batch_id)
    if batch.closed or batch.state == BatchState.CANCELLED:
        raise ConflictError(
            "The batch is closed and takes no more files.",
            hint="Create another batch for them.",
            code="batch-closed",
        )
    form = _form(DocumentForm)
    received = Received()
    store_files(batch_id, form.files(), received)
    templates = form.templates()
    if not received.stored:
        raise _no_files(received)
    try:
        with services().db.transaction() as session:
            template_id = _template_id(session, templates) or batch.template_id
            uploaded = _add_documents(session, batch_id, template_id, received)
    except NotFoundError:  # the batch was deleted meanwhile, perhaps before these objects came
        with services().db.transaction() as session:
            forget_objects(session, batch_id)
        raise
    return _accepted(DocumentsReceipt(documents=uploaded, rejected=received.rejected), batch_id)


def _form(model: type[_Options]) -> MultipartForm[_Options]:
    return MultipartForm(request, model, max_files=services().settings.max_files_per_request)


@contextlib.contextmanager
def receiving(batch_id: str) -> Iterator[Received]:
    """Collect the files of a new batch; if it fails, delete those that no row can name."""
    received = Received()
    try:
        yield received
    except BaseException:
        # If the answer to COMMIT was lost, the batch may exist, and a repeated request returns it:
        # it must find its bytes. Bytes that no row names only take space.
        if not received.may_have_rows:
            _discard(batch_id)
        raise


def store_files(batch_id: str, files: Iterable[IncomingFile], received: Received) -> None:
    """Stream files into the store, in the namespace of the batch."""
    limit = services().settings.max_file_bytes
    for file in files:
        if file.empty:
            received.reject(file, "empty-file", "The file is empty.")
            continue
        try:
            stored = services().store.put(batch_id, file.stream, limit=limit)
        except ObjectTooLargeError:
            received.reject(file, "file-too-large", f"The file is larger than {limit:,} bytes.")
            continue
        received.stored.append(NewDocument(file.filename, stored.sha256, stored.size))


# --- the rows -----------------------------------------------------------------------------------


def record_batch(
    batch_id: str,
    options: BatchOptions,
    templates: TemplateSet | None,
    keep_open: bool,
    received: Received,
    key: str | None,
) -> Response:
    tenant_id, release = caller().tenant_id, options.release_threshold
    with services().db.transaction() as session:
        batch, created = transitions.create_batch(
            session,
            tenant_id=tenant_id,
            batch_id=batch_id,
            name=options.name,
            template_id=_template_id(session, templates),
            release_threshold=None if release == POLICY else release,
            by_policy=release == POLICY,
            counted=_counted(options, templates),
            idempotency_key=key,
            request_hash=_request_hash(options, keep_open, received) if key else None,
        )
        uploaded = _add_documents(session, batch.id, batch.template_id, received)
        if created and not keep_open:
            transitions.close_batch(session, tenant_id=tenant_id, batch_id=batch.id)
        received.may_have_rows = True
    if not created:  # the rows are of an earlier request, which stored its own files
        _discard(batch_id)
    with services().db.reading() as session:
        progress = queries.batch_progress(session, tenant_id, batch.id)
    receipt = BatchReceipt(
        **dict(serializers.batch_object(progress)), uploaded=uploaded, rejected=received.rejected
    )
    return _accepted(receipt, batch.id)


def _counted(options: BatchOptions, templates: TemplateSet | None) -> Counted:
    """Return what the batch should come to. Raises InputError if nothing can be added up."""
    counted = Counted(**_counts_of(options))
    if (counted.control_total is None) != (counted.control_field is None):
        raise InputError(
            "A control total and the field that it is the sum of belong together.",
            hint="Send both 'control_total' and 'control_field', or neither.",
            code="bad-control-total",
        )
    known = sorted(
        {field.name for one in templates.templates for field in one.fields} if templates else ()
    )
    if counted.control_field is not None and templates and counted.control_field not in known:
        raise InputError(
            f"No template of this batch has a field '{counted.control_field}' to add up.",
            hint=f"There are: {', '.join(known[:20])}.",
            code="bad-control-total",
        )
    return counted


def _counts_of(options: BatchOptions) -> dict[str, Any]:
    return {one.name: getattr(options, one.name) for one in fields(Counted)}


def _accepted(receipt: BatchReceipt | DocumentsReceipt, batch_id: str) -> Response:
    response = serializers.json_response(receipt, HTTPStatus.ACCEPTED)
    response.headers["Location"] = url_for("v1.batches.get_batch", batch_id=batch_id)
    response.headers["Retry-After"] = "1"
    return response


def _template_id(session: Session, templates: TemplateSet | None) -> str | None:
    if templates is None:
        return None
    kept = transitions.add_template(
        session,
        tenant_id=caller().tenant_id,
        name=templates.name,
        text=templates.text,
        checks={template.name: template.checks for template in templates.templates},
    )
    return kept.id


def _add_documents(
    session: Session, batch_id: str, template_id: str | None, received: Received
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
            copy_of=document.copy_of,
        )
        for file, (document, created) in zip(received.stored, added, strict=True)
    ]


def _request_hash(options: BatchOptions, keep_open: bool, received: Received) -> str:
    """Return a hash of the whole request: a repeated one must be the same.

    Of a template that it names, the name: what is stored under it may have changed meanwhile.
    """
    asked = {
        "name": options.name,
        "template": asked_templates(options),
        "release_threshold": options.release_threshold,
        "counted": _counts_of(options),
        "keep_open": keep_open,
        "files": [[file.filename, file.sha256] for file in received.stored],
        "rejected": [[file.filename, file.code] for file in received.rejected],
    }
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


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
            "An Idempotency-Key consists of 1 to 200 printable ASCII characters.",
        )
    return key


def refuse_when_full() -> None:
    """Raise ProblemError (429) while too many pages of the caller's tenant wait."""
    limit = services().settings.max_queued_pages
    with services().db.reading() as session:
        waiting = queries.backlog(session, caller().tenant_id, limit + 1)
    if waiting > limit:
        raise ProblemError(
            HTTPStatus.TOO_MANY_REQUESTS,
            "too-many-pages-waiting",
            f"More than {limit:,} pages are waiting to be read.",
            hint="Send more when some of them have been read.",
            headers={"Retry-After": str(RETRY_SECONDS)},
        )


def _no_files(received: Received) -> ProblemError:
    detail = (
        "None of the files can be taken." if received.rejected else "The request has no file in it."
    )
    return ProblemError(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "no-usable-file",
        detail,
        hint="See 'rejected'."
        if received.rejected
        else "Send files in parts named 'files', or keep_open=true to send them later.",
        rejected=[file.model_dump() for file in received.rejected],
    )
