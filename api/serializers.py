"""Results of queries as the JSON objects of the HTTP API."""

from __future__ import annotations

from http import HTTPStatus

from flask import Response, url_for
from pydantic import BaseModel

from api.answers import (
    Alternative,
    BatchField,
    BatchObject,
    CharacterObject,
    CheckObject,
    DocumentCounts,
    DocumentObject,
    ErrorObject,
    FieldCounts,
    FieldObject,
    PageCounts,
    PageObject,
    PassedOverObject,
)
from core.checks import Finding
from core.policy import ReviewReason
from db.models import LOST_PAGES, BatchState, DocumentState, FieldState, PageState
from db.views import BatchProgress, DocumentView, FieldView, PageView


def json_response(model: BaseModel, status: HTTPStatus = HTTPStatus.OK) -> Response:
    return Response(model.model_dump_json() + "\n", status, content_type="application/json")


def batch_object(batch: BatchProgress) -> BatchObject:
    return BatchObject(
        id=batch.id,
        name=batch.name,
        state=BatchState(batch.state),
        closed=batch.closed,
        template=batch.template,
        release_threshold="policy" if batch.by_policy else batch.release_threshold,
        control_total=batch.control_total,
        control_field=batch.control_field,
        expected_pages=batch.expected_pages,
        expected_documents=batch.expected_documents,
        created_at=batch.created_at,
        finished_at=batch.finished_at,
        documents=_document_counts(batch.documents),
        pages=PageCounts(total=sum(batch.pages.values()), **batch.pages),
        fields=FieldCounts(total=sum(batch.fields.values()), **batch.fields),
        passed_over=batch.passed_over,
        percent=batch.percent,
        eta_seconds=batch.eta_seconds,
        links={
            "self": url_for("v1.batches.get_batch", batch_id=batch.id),
            "documents": url_for("v1.batches.list_documents", batch_id=batch.id),
            "pages": url_for("v1.batches.list_pages", batch_id=batch.id),
            "fields": url_for("v1.batches.list_fields", batch_id=batch.id),
            "events": url_for("v1.events.stream_events", batch_id=batch.id),
            "export": url_for("v1.exports.export_file", batch_id=batch.id),
        },
    )


def _document_counts(states: dict[str, int]) -> DocumentCounts:
    counts = dict(states)
    copies = counts.pop(DocumentState.COPY)
    return DocumentCounts(total=sum(states.values()), copies=copies, **counts)


def document_object(document: DocumentView) -> DocumentObject:
    return DocumentObject(
        id=document.id,
        batch_id=document.batch_id,
        filename=document.filename,
        sha256=document.sha256,
        size=document.size,
        template=document.template,
        pages=document.pages,
        passed_over=[
            PassedOverObject(name=item.name, code=item.code, reason=item.reason)
            for item in document.passed_over
        ],
        copy_of=document.copy_of,
        copy_of_file=document.copy_of_file,
        state=DocumentState(document.state),
        error=_error(document.error_code, document.error_message),
        created_at=document.created_at,
    )


def field_object(field: FieldView) -> FieldObject:
    return FieldObject(**_field_members(field))


def batch_field(field: FieldView) -> BatchField:
    return BatchField(
        **_field_members(field),
        page_id=field.page_id,
        links={
            "page": url_for("v1.pages.get_page", page_id=field.page_id),
            "crop": url_for("v1.pages.field_crop", field_id=field.id),
            "verify": url_for("v1.fields.verify_field", field_id=field.id),
        },
    )


def page_object(page: PageView) -> PageObject:
    # A page that waits for its next attempt keeps the fault of the last one, which is no error yet.
    ended = page.state in LOST_PAGES
    return PageObject(
        id=page.id,
        document_id=page.document_id,
        file=page.file,
        page=page.ordinal,
        label=page.label,
        template=page.template,
        state=PageState(page.state),
        turn=page.turn,
        fields=[field_object(field) for field in page.fields],
        checks=[_check_object(finding) for finding in page.findings],
        error=_error(page.error_code, page.error_message) if ended else None,
        passed_over=page.error_message if page.state == PageState.PASSED_OVER else None,
    )


def _check_object(finding: Finding) -> CheckObject:
    return CheckObject(
        name=finding.name,
        fields=list(finding.fields),
        state=finding.state,
        message=finding.message,
        pages=[twin.page_id for twin in finding.twins],
    )


def _field_members(field: FieldView) -> dict[str, object]:
    return {
        "id": field.id,
        "name": field.name,
        "state": FieldState(field.state),
        "value": field.value,
        "raw": field.raw,
        "confidence": field.confidence,
        "alternatives": [Alternative(**item) for item in field.alternatives],
        "characters": None
        if field.characters is None
        else [CharacterObject(**item) for item in field.characters],
        "box": field.box,
        "decision": field.decision,
        "reason": field.reason and ReviewReason(field.reason),
        "grammar": field.grammar,
        "required": field.required,
        "rule": field.rule,
        "reader": field.reader,
        "model_sha256": field.model_sha256,
        "released_by": field.released_by,
        "released_at": field.released_at,
        "version": field.version,
        "forced": field.forced,
        "note": field.note,
    }


def _error(code: str | None, message: str | None) -> ErrorObject | None:
    return ErrorObject(code=code, message=message or "") if code else None
