"""A batch as rows: one for each field, and one for each page or file without fields.

The latter state the reason, so that no uploaded file is missing from an export without a word.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

from api import serializers
from api.schemas import ExportedPage
from db import queries
from db.models import LOST_PAGES, DocumentState, PageState
from db.session import Session
from db.views import DocumentView, ExportRow, PageView

_DOCUMENTS_AT_ONCE = 500


def iter_rows(s: Session, tenant_id: str, batch_id: str) -> Iterator[ExportRow]:
    """Yield every row of a batch, in bounded memory. Raises NotFoundError."""
    for page in queries.iter_export_rows(s, tenant_id, batch_id):
        yield from _page_rows(page)
    for document in _without_pages(s, tenant_id, batch_id):
        yield _document_row(document)


def iter_pages(s: Session, tenant_id: str, batch_id: str) -> Iterator[ExportedPage]:
    """Yield every page of a batch, then each file without pages as a page without a number.

    Memory is bounded. Raises NotFoundError.
    """
    for page in queries.iter_export_rows(s, tenant_id, batch_id):
        yield ExportedPage(**dict(serializers.page_object(page)))
    for document in _without_pages(s, tenant_id, batch_id):
        failed = document.state == DocumentState.FAILED
        yield ExportedPage(
            id=None,
            document_id=document.id,
            file=document.filename,
            page=None,
            label="",
            template=document.template,
            state=PageState.FAILED if failed else PageState.QUEUED,
            turn=None,
            fields=[],
            error=serializers.document_object(document).error if failed else None,
        )


def _without_pages(s: Session, tenant_id: str, batch_id: str) -> Iterator[DocumentView]:
    after: str | None = None
    while True:
        found = queries.list_documents(
            s, tenant_id, batch_id, after=after, limit=_DOCUMENTS_AT_ONCE
        )
        yield from (item for item in found if item.state != DocumentState.OPENED)
        if len(found) < _DOCUMENTS_AT_ONCE:
            return
        after = found[-1].id


def _document_row(document: DocumentView) -> ExportRow:
    failed = document.state == DocumentState.FAILED
    return ExportRow(
        batch=document.batch_id,
        file=document.filename,
        template=document.template,
        page_state=document.state,
        error=document.error_message if failed else None,
        document_id=document.id,
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
        )
