"""A batch as the rows of a table: one for each page, and one for each file or thing without pages.

A value that is not released is never in a cell: its cell is empty, and the last column names it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from core.exporting import (
    NOT_RELEASED,
    OF_FIELD,
    OF_PAGE,
    Cell,
    ExportColumn,
    Kind,
    cell_of_value,
)
from core.policy import Decision
from db import queries
from db.models import LOST_PAGES, DocumentState, FieldState, PageState
from db.session import Session
from db.views import FieldView, PageView

_DOCUMENTS_AT_ONCE = 500
_WHY_OPEN: Final = {
    FieldState.REVIEW: "waits for a person",
    FieldState.UNREADABLE: "nobody can read it",
}
_NOT_READ_YET: Final = "this page is not read yet"


@dataclass(frozen=True, slots=True)
class Row:
    cells: tuple[Cell, ...]
    open: bool  # something on it is not released
    of_page: bool


def headings(columns: Sequence[ExportColumn]) -> list[str]:
    """Return the headings of a table with these columns; the last says what is not released."""
    last = NOT_RELEASED
    taken = {column.heading for column in columns}
    while last in taken:
        last += "!"
    return [*(column.heading for column in columns), last]


def kinds(columns: Sequence[ExportColumn], of_fields: Mapping[str, Kind]) -> list[Kind]:
    """Return what the cells of each column are."""
    found = []
    for column in columns:
        if column.key == "value":
            found.append(of_fields.get(column.field or "", Kind.TEXT))
        else:
            found.append((OF_PAGE if column.field is None else OF_FIELD)[column.key][1])
    return [*found, Kind.TEXT]


def iter_rows(
    s: Session,
    tenant_id: str,
    batch_id: str,
    columns: Sequence[ExportColumn],
    of_fields: Mapping[str, Kind],
    base_url: str,
) -> Iterator[Row]:
    """Yield every row of a batch, in bounded memory. Raises NotFoundError."""
    batch = queries.batch_progress(s, tenant_id, batch_id).name
    for page in queries.iter_pages(s, tenant_id, batch_id):
        fields = {field.name: field for field in page.fields}
        cells = tuple(
            _of_page(page, batch, column.key)
            if column.field is None
            else _of_field(fields.get(column.field), column, of_fields, base_url)
            for column in columns
        )
        missing = _missing(page)
        yield Row((*cells, missing), bool(missing), True)
    for told, missing in _without_pages(s, tenant_id, batch_id):
        cells = tuple(
            ({"batch": batch} | told).get(column.key) if column.field is None else None
            for column in columns
        )
        yield Row((*cells, missing), bool(missing), False)


def _of_page(page: PageView, batch: str, key: str) -> Cell:
    match key:
        case "batch":
            return batch
        case "file":
            return page.file
        case "page":
            return page.ordinal
        case "label":
            return page.label
        case "template":
            return page.template
        case "page_state":
            return page.state
        case "checks":
            return "; ".join(f"{one.name}: {one.message}" for one in page.findings if one.fails)
        case _:
            return page.id


def _of_field(
    field: FieldView | None, column: ExportColumn, of_fields: Mapping[str, Kind], base_url: str
) -> Cell:
    if field is None:
        return None
    match column.key:
        case "value":
            if field.decision != Decision.ACCEPTED or field.value is None:
                return None
            kind = of_fields.get(field.name, Kind.TEXT)
            if kind != Kind.TEXT and not field.value:
                return None
            return cell_of_value(field.value, kind, field.grammar)
        case "state":
            return field.state
        case "confidence":
            return field.confidence
        case "released_by":
            return field.released_by
        case "released_at":
            return field.released_at
        case "raw":
            return field.raw
        case "model":
            return field.model_sha256
        case _:
            return f"{base_url.rstrip('/')}/fields/{field.id}/crop"


def _missing(page: PageView) -> str:
    if page.state in LOST_PAGES or page.state == PageState.CANCELLED:
        return page.error_message or f"this page is {page.state}"
    if page.state == PageState.PASSED_OVER:
        return ""
    if page.state != PageState.READ:
        return _NOT_READ_YET
    return "; ".join(
        f"{field.name}: {_WHY_OPEN.get(FieldState(field.state), field.state)}"
        for field in page.fields
        if field.decision != Decision.ACCEPTED
    )


def _without_pages(
    s: Session, tenant_id: str, batch_id: str
) -> Iterator[tuple[dict[str, Cell], str]]:
    """Yield what is known of each file without pages and each thing passed over, and what it lacks.

    Of a copy and of what was passed over nothing is missing: its state says what it is.
    """
    after: str | None = None
    while found := queries.list_documents(
        s, tenant_id, batch_id, after=after, limit=_DOCUMENTS_AT_ONCE
    ):
        for document in found:
            told: dict[str, Cell] = {"file": document.filename, "template": document.template}
            if document.state == DocumentState.FAILED:
                yield told | {"page_state": "failed"}, document.error_message or "it failed"
            elif document.state == DocumentState.COPY:
                yield told | {"page_state": f"a copy of {document.copy_of_file}"}, ""
            elif document.state != DocumentState.OPENED:
                yield told | {"page_state": document.state}, "this file is not opened yet"
            for item in document.passed_over:
                state = f"passed over: {item.reason}"
                yield told | {"label": item.name, "page_state": state}, ""
        after = found[-1].id
