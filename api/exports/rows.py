"""A batch as rows: one for each field, each page or file without fields, and what is no page.

The latter state the reason, so that nothing uploaded is missing from an export without a word.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Final, Literal

from api import serializers
from api.schemas import ErrorObject, ExportedPage
from db import queries
from db.models import LOST_PAGES, DocumentState, PageState
from db.session import Session
from db.views import DocumentView, ExportRow, PageView

PASSED_OVER: Final = "passed_over"  # the state of what is no page
_DOCUMENTS_AT_ONCE = 500


def iter_rows(s: Session, tenant_id: str, batch_id: str) -> Iterator[ExportRow]:
    """Yield every row of a batch, in bounded memory. Raises NotFoundError."""
    for page in queries.iter_export_rows(s, tenant_id, batch_id):
        yield from _page_rows(page)
    for document in _documents(s, tenant_id, batch_id):
        if document.state != DocumentState.OPENED:
            yield _document_row(document)
        for item in document.passed_over:
            yield ExportRow(
                batch=document.batch_id,
                file=document.filename,
                label=item.name,
                template=document.template,
                page_state=PASSED_OVER,
                error=item.reason,
                document_id=document.id,
                row_id=item.id,
            )


def iter_pages(s: Session, tenant_id: str, batch_id: str) -> Iterator[ExportedPage]:
    """Yield every page of a batch, then files without pages and what was passed over.

    The latter are pages without a number. Memory is bounded. Raises NotFoundError.
    """
    for page in queries.iter_export_rows(s, tenant_id, batch_id):
        yield ExportedPage(**dict(serializers.page_object(page)))
    for document in _documents(s, tenant_id, batch_id):
        if document.state == DocumentState.FAILED:
            error = serializers.document_object(document).error
            yield _no_page(document, PageState.FAILED, error)
        elif document.state == DocumentState.COPY:
            message = _copy_of(document)
            yield _no_page(document, "copy", ErrorObject(code="copy", message=message))
        elif document.state != DocumentState.OPENED:
            yield _no_page(document, PageState.QUEUED, None)
        for item in document.passed_over:
            error = ErrorObject(code=item.code, message=item.reason)
            yield _no_page(document, PASSED_OVER, error, item.name)


def _no_page(
    document: DocumentView,
    state: PageState | Literal["copy", "passed_over"],
    error: ErrorObject | None,
    label: str = "",
) -> ExportedPage:
    return ExportedPage(
        id=None,
        document_id=document.id,
        file=document.filename,
        page=None,
        label=label,
        template=document.template,
        state=state,
        turn=None,
        fields=[],
        error=error,
    )


def _documents(s: Session, tenant_id: str, batch_id: str) -> Iterator[DocumentView]:
    after: str | None = None
    while True:
        found = queries.list_documents(
            s, tenant_id, batch_id, after=after, limit=_DOCUMENTS_AT_ONCE
        )
        yield from found
        if len(found) < _DOCUMENTS_AT_ONCE:
            return
        after = found[-1].id


def _copy_of(document: DocumentView) -> str:
    return f"The same bytes as {document.copy_of_file}, where its numbers are."


def _document_row(document: DocumentView) -> ExportRow:
    error = document.error_message if document.state == DocumentState.FAILED else None
    if document.state == DocumentState.COPY:
        error = _copy_of(document)
    return ExportRow(
        batch=document.batch_id,
        file=document.filename,
        template=document.template,
        page_state=document.state,
        error=error,
        document_id=document.id,
        row_id=document.id,
    )


def _page_rows(page: PageView) -> Iterator[ExportRow]:
    reason = page.state in LOST_PAGES or page.state == PageState.PASSED_OVER
    row = ExportRow(
        batch=page.batch_id,
        file=page.file,
        page=page.ordinal,
        label=page.label,
        template=page.template,
        page_state=page.state,
        error=page.error_message if reason else None,
        document_id=page.document_id,
        page_id=page.id,
        row_id=page.id,
    )
    if not page.fields:
        yield row
    for field in page.fields:
        yield replace(
            row,
            field=field.name,
            value=field.value,
            raw=field.raw,
            confidence=field.confidence,
            state=field.state,
            decision=field.decision,
            reason=field.reason,
            released_by=field.released_by,
            released_at=field.released_at,
            forced=field.forced,
            note=field.note,
            box=json.dumps([round(side, 1) for side in field.box]) if field.box else None,
            field_id=field.id,
            row_id=field.id,
        )
