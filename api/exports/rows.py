"""A batch as rows: one for each field, each page or file without fields, and what is no page.

The latter state the reason, so that nothing uploaded is missing from an export without a word.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, Literal

from api import serializers
from api.answers import ErrorObject, ExportedPage
from db import queries
from db.models import LOST_PAGES, DocumentState, PageState
from db.session import Session
from db.views import DocumentView, ExportRow, PageView

_DOCUMENTS_AT_ONCE = 500
# Of a file that is not opened yet, the pages are still to come.
_AS_PAGE: Final[dict[str, PageState | Literal["copy", "passed_over"]]] = {
    DocumentState.FAILED: PageState.FAILED,
    DocumentState.COPY: "copy",
    "passed_over": "passed_over",
}


@dataclass(frozen=True, slots=True)
class _NoPage:
    """A file without pages, or something in a file that is no page; `error` says why."""

    id: str  # of the document, or of what was passed over
    document: DocumentView
    state: DocumentState | Literal["passed_over"]
    label: str = ""
    error: ErrorObject | None = None


def iter_rows(s: Session, tenant_id: str, batch_id: str) -> Iterator[ExportRow]:
    """Yield every row of a batch, in bounded memory. Raises NotFoundError."""
    for page in queries.iter_pages(s, tenant_id, batch_id):
        yield from _page_rows(page)
    for item in _without_pages(s, tenant_id, batch_id):
        yield ExportRow(
            batch=item.document.batch_id,
            file=item.document.filename,
            label=item.label,
            template=item.document.template,
            page_state=item.state,
            error=item.error.message if item.error else None,
            document_id=item.document.id,
            row_id=item.id,
        )


def iter_pages(s: Session, tenant_id: str, batch_id: str) -> Iterator[ExportedPage]:
    """Yield every page of a batch, then files without pages and what was passed over.

    The latter are pages without a number. Memory is bounded. Raises NotFoundError.
    """
    for page in queries.iter_pages(s, tenant_id, batch_id):
        yield ExportedPage(**dict(serializers.page_object(page)))
    for item in _without_pages(s, tenant_id, batch_id):
        yield ExportedPage(
            id=None,
            document_id=item.document.id,
            file=item.document.filename,
            page=None,
            label=item.label,
            template=item.document.template,
            state=_AS_PAGE.get(item.state, PageState.QUEUED),
            turn=None,
            fields=[],
            error=item.error,
        )


def _without_pages(s: Session, tenant_id: str, batch_id: str) -> Iterator[_NoPage]:
    for document in _documents(s, tenant_id, batch_id):
        state, error = DocumentState(document.state), None
        if state == DocumentState.FAILED:
            error = serializers.document_object(document).error
        elif state == DocumentState.COPY:
            message = f"The same bytes as {document.copy_of_file}, where its numbers are."
            error = ErrorObject(code="copy", message=message)
        if state != DocumentState.OPENED:
            yield _NoPage(document.id, document, state, error=error)
        for item in document.passed_over:
            why = ErrorObject(code=item.code, message=item.reason)
            yield _NoPage(item.id, document, "passed_over", item.name, why)


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
