"""The queries of the API. Each is limited to one tenant; what belongs to another is not found.

Call them in `Database.reading()`, where all queries see one snapshot of the database.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, func, select, tuple_
from sqlalchemy.orm import Session, aliased

from core.checks import Finding, finding_from_json
from core.errors import NotFoundError
from core.ids import is_id
from core.keying import VerifyMode
from db.models import (
    UNREAD_PAGES,
    Batch,
    Document,
    Event,
    Field,
    Page,
    PassedOver,
    Reading,
    TemplateText,
)
from db.page_filters import PageFilter, conditions
from db.progress import progress_of
from db.twins import findings_of
from db.views import (
    BatchProgress,
    BatchView,
    DocumentView,
    EventView,
    FieldView,
    PageView,
    PassedOverView,
)

# Pages that an export reads at once, and holds in memory.
_EXPORT_STEP = 500


def get_batch(s: Session, tenant_id: str, batch_id: str) -> BatchView:
    """Return a batch without its counts, by one query. Raises NotFoundError."""
    batch = _batch(s, tenant_id, batch_id)
    return BatchView(
        id=batch.id, state=batch.state, closed=batch.closed, template_id=batch.template_id
    )


def batch_progress(s: Session, tenant_id: str, batch_id: str) -> BatchProgress:
    """Return a batch with its counts. Raises NotFoundError."""
    return progress_of(s, [_batch(s, tenant_id, batch_id)])[0]


def list_batches(
    s: Session, tenant_id: str, *, after: str | None = None, limit: int = 100
) -> list[BatchProgress]:
    """Return the tenant's batches, newest first; `after` is the last id of the previous answer."""
    query = select(Batch).where(Batch.tenant_id == tenant_id)
    if after is not None:
        query = query.where(Batch.id < _checked(after, "batch"))
    return progress_of(s, s.scalars(query.order_by(Batch.id.desc()).limit(limit)).all())


def list_documents(
    s: Session, tenant_id: str, batch_id: str, *, after: str | None = None, limit: int = 100
) -> list[DocumentView]:
    """Return a batch's documents in the order of their upload. Raises NotFoundError."""
    _batch(s, tenant_id, batch_id)
    pages = select(func.count()).where(Page.document_id == Document.id).scalar_subquery()
    original = aliased(Document)
    query = (
        select(Document, TemplateText.name, pages, original.filename)
        .join(TemplateText, Document.template_id == TemplateText.id, isouter=True)
        .join(original, Document.copy_of == original.id, isouter=True)
        .where(Document.batch_id == batch_id, Document.tenant_id == tenant_id)
    )
    if after is not None:
        query = query.where(Document.id > _checked(after, "document"))
    rows = s.execute(query.order_by(Document.id).limit(limit)).all()
    passed_over = _passed_over(s, [row[0].id for row in rows])
    return [
        DocumentView(
            id=document.id,
            batch_id=document.batch_id,
            filename=document.filename,
            sha256=document.sha256,
            size=document.size,
            state=document.state,
            copy_of=document.copy_of,
            copy_of_file=first,
            template=template,
            pages=count,
            passed_over=tuple(passed_over.get(document.id, ())),
            error_code=document.error_code,
            error_message=document.error_message,
            created_at=document.created_at,
        )
        for document, template, count, first in rows
    ]


def _passed_over(s: Session, document_ids: Sequence[str]) -> dict[str, list[PassedOverView]]:
    found: dict[str, list[PassedOverView]] = {}
    query = select(PassedOver).where(PassedOver.document_id.in_(document_ids))
    for row in s.scalars(query.order_by(PassedOver.document_id, PassedOver.ordinal)):
        view = PassedOverView(row.id, row.name, row.code, row.reason)
        found.setdefault(row.document_id, []).append(view)
    return found


def list_pages(
    s: Session,
    tenant_id: str,
    batch_id: str,
    *,
    after: str | None = None,
    limit: int = 100,
    state: str | None = None,
    asked: PageFilter | None = None,
) -> list[PageView]:
    """Return a batch's pages with their fields, in the order of files and of pages within them.

    Raises NotFoundError.
    """
    _batch(s, tenant_id, batch_id)
    wanted = conditions(asked or PageFilter(state=state))
    query = _pages(tenant_id).where(Page.batch_id == batch_id, *wanted)
    if after is not None:
        query = query.where(_beyond(_page_place(s, tenant_id, after)))
    return _with_fields(s, s.execute(query.limit(limit)).all())


def page_with_fields(s: Session, tenant_id: str, page_id: str) -> PageView:
    """Return one page with its fields. Raises NotFoundError."""
    return _with_fields(s, [_page_row(s, tenant_id, page_id)])[0]


def get_page(s: Session, tenant_id: str, page_id: str) -> PageView:
    """Return one page without its fields, which its image does not need. Raises NotFoundError."""
    return _page_view(_page_row(s, tenant_id, page_id))


def get_pages(s: Session, tenant_id: str, page_ids: Sequence[str]) -> dict[str, PageView]:
    """Return pages without their fields, by their ids; unknown ones not."""
    query = _pages(tenant_id).where(Page.id.in_(page_ids))
    return {row[0].id: _page_view(row) for row in s.execute(query)}


def _page_row(s: Session, tenant_id: str, page_id: str) -> Row[Page, str, str]:
    rows = s.execute(_pages(tenant_id).where(Page.id == _checked(page_id, "page"))).all()
    if not rows:
        raise _missing("page")
    return rows[0]


def list_fields(
    s: Session,
    tenant_id: str,
    batch_id: str,
    *,
    after: str | None = None,
    limit: int = 100,
    state: str | None = None,
) -> list[FieldView]:
    """Return a batch's fields in the order of their pages. Raises NotFoundError."""
    _batch(s, tenant_id, batch_id)
    query = _fields(tenant_id).where(Field.batch_id == batch_id)
    if state is not None:
        query = query.where(Field.state == state)
    if after is not None:
        place = s.execute(
            select(Page.document_id, Page.ordinal, Field.ordinal)
            .join(Page, Field.page_id == Page.id)
            .where(Field.id == _checked(after, "field"), Field.tenant_id == tenant_id)
        ).first()
        if place is None:
            raise _missing("field")
        query = query.where(tuple_(Page.document_id, Page.ordinal, Field.ordinal) > tuple_(*place))
    ordered = query.order_by(Page.document_id, Page.ordinal, Field.ordinal)
    return [_field_view(row) for row in s.execute(ordered.limit(limit))]


def get_field(s: Session, tenant_id: str, field_id: str) -> FieldView:
    """Return one field with its current reading. Raises NotFoundError."""
    row = s.execute(_fields(tenant_id).where(Field.id == _checked(field_id, "field"))).first()
    if row is None:
        raise _missing("field")
    return _field_view(row)


def get_fields(s: Session, tenant_id: str, field_ids: Sequence[str]) -> list[FieldView]:
    """Return fields with their current readings, in the order of `field_ids`; unknown ones not."""
    found = s.execute(_fields(tenant_id).where(Field.id.in_(field_ids)))
    views = {row[0].id: _field_view(row) for row in found}
    return [views[one] for one in field_ids if one in views]


def count_fields(s: Session, tenant_id: str, batch_id: str, state: str) -> int:
    """Return the number of fields of a batch in a state."""
    query = select(func.count()).where(
        Field.batch_id == batch_id, Field.state == state, Field.tenant_id == tenant_id
    )
    return s.scalar(query) or 0


def iter_pages(s: Session, tenant_id: str, batch_id: str) -> Iterator[PageView]:
    """Yield every page of a batch with its fields, in the order of `list_pages`.

    The memory used does not grow with the batch. Raises NotFoundError at once.
    """
    _batch(s, tenant_id, batch_id)
    return _iter_pages(s, _pages(tenant_id).where(Page.batch_id == batch_id))


def _iter_pages(s: Session, query: Select[Page, str, str]) -> Iterator[PageView]:
    place: tuple[str, int] | None = None
    while True:
        step = query if place is None else query.where(_beyond(place))
        rows = s.execute(step.limit(_EXPORT_STEP)).all()
        if not rows:
            return
        place = (rows[-1][0].document_id, rows[-1][0].ordinal)
        yield from _with_fields(s, rows)
        s.expunge_all()


def events_after(
    s: Session, tenant_id: str, batch_id: str, after_id: int = 0, limit: int = 500
) -> list[EventView]:
    """Return the events of a batch that came after one, in order. Raises NotFoundError."""
    _batch(s, tenant_id, batch_id)
    query = _events(tenant_id, batch_id).where(Event.id > after_id).limit(limit)
    return [EventView(*row) for row in s.execute(query)]


def change_mark(s: Session, tenant_id: str) -> str:
    """Return a text that changes with each event of the tenant's batches, by one small query."""
    last = s.scalar(select(func.max(Event.id)).where(Event.tenant_id == tenant_id))
    count = s.scalar(select(func.count()).where(Batch.tenant_id == tenant_id))  # some were deleted
    return f"{last or 0}-{count or 0}"


def page_events(s: Session, tenant_id: str, batch_id: str, page_id: str) -> list[EventView]:
    """Return what happened to the fields of a page, in order."""
    of_page = Event.payload["page_id"].as_string() == page_id
    of_field = Event.kind.startswith("field.")
    query = _events(tenant_id, batch_id).where(of_page, of_field)
    return [EventView(*row) for row in s.execute(query)]


def _events(tenant_id: str, batch_id: str) -> Select[int, str, dict[str, Any], datetime]:
    return (
        select(Event.id, Event.kind, Event.payload, Event.created_at)
        .where(Event.batch_id == batch_id, Event.tenant_id == tenant_id)
        .order_by(Event.id)
    )


def backlog(s: Session, tenant_id: str, at_most: int) -> int:
    """Return the number of pages of the tenant that are still to be read, at most `at_most`."""
    waiting = (
        select(Page.id)
        .where(Page.tenant_id == tenant_id)
        .where(Page.state.in_(UNREAD_PAGES))
        .limit(at_most)
        .subquery()
    )
    return s.scalar(select(func.count()).select_from(waiting)) or 0


def _batch(s: Session, tenant_id: str, batch_id: str) -> Batch:
    query = select(Batch).where(
        Batch.id == _checked(batch_id, "batch"), Batch.tenant_id == tenant_id
    )
    batch = s.scalar(query)
    if batch is None:
        raise _missing("batch")
    return batch


def _pages(tenant_id: str) -> Select[Page, str, str]:
    return (
        select(Page, Document.filename, func.coalesce(Page.template, TemplateText.name))
        .join(Document, Page.document_id == Document.id)
        .join(TemplateText, Document.template_id == TemplateText.id, isouter=True)
        .where(Page.tenant_id == tenant_id)
        .order_by(Page.document_id, Page.ordinal)
    )


def _fields(tenant_id: str) -> Select[Field, Reading, list[Any]]:
    # The readings of the page's last attempt are the current ones.
    return (
        select(Field, Reading, Page.checks)
        .join(Page, Field.page_id == Page.id)
        .join(
            Reading,
            and_(Reading.field_id == Field.id, Reading.attempt == Page.attempt),
            isouter=True,
        )
        .where(Field.tenant_id == tenant_id)
    )


def _page_place(s: Session, tenant_id: str, page_id: str) -> tuple[str, int]:
    row = s.execute(
        select(Page.document_id, Page.ordinal).where(
            Page.id == _checked(page_id, "page"), Page.tenant_id == tenant_id
        )
    ).first()
    if row is None:
        raise _missing("page")
    return row[0], row[1]


def _beyond(place: tuple[str, int]) -> ColumnElement[bool]:
    return tuple_(Page.document_id, Page.ordinal) > tuple_(*place)


def _with_fields(s: Session, rows: Sequence[Row[Page, str, str]]) -> list[PageView]:
    fields: dict[str, list[FieldView]] = {row[0].id: [] for row in rows}
    if rows:
        tenant_id = rows[0][0].tenant_id
        query = _fields(tenant_id).where(Field.page_id.in_(list(fields)))
        for row in s.execute(query.order_by(Field.page_id, Field.ordinal)):
            fields[row[0].page_id].append(_field_view(row))
    findings = findings_of(s, [row[0] for row in rows])
    return [_page_view(row, fields[row[0].id], findings.get(row[0].id, ())) for row in rows]


def _page_view(
    row: Row[Page, str, str], fields: Sequence[FieldView] = (), findings: Sequence[Finding] = ()
) -> PageView:
    page, filename, template = row
    return PageView(
        id=page.id,
        batch_id=page.batch_id,
        document_id=page.document_id,
        file=filename,
        ordinal=page.ordinal,
        label=page.label,
        template=template,
        state=page.state,
        sha256=page.sha256,
        media_type=page.media_type,
        width=page.width,
        height=page.height,
        turn=page.turn,
        error_code=page.error_code,
        error_message=page.error_message,
        fields=tuple(fields),
        findings=tuple(findings),
    )


def _field_view(row: Row[Field, Reading, list[Any]]) -> FieldView:
    field, reading, checks = row
    findings = [finding_from_json(one) for one in checks or ()]
    return FieldView(
        id=field.id,
        page_id=field.page_id,
        batch_id=field.batch_id,
        ordinal=field.ordinal,
        name=field.name,
        state=field.state,
        value=field.value,
        reason=field.reason,
        grammar=field.grammar,
        required=field.required,
        released_by=field.released_by,
        released_at=field.released_at,
        version=field.version,
        forced=field.forced,
        note=field.note,
        postponed_at=field.postponed_at,
        verify=field.verify or VerifyMode.CONFIRM,
        raw=reading.raw if reading else None,
        confidence=reading.confidence if reading else None,
        alternatives=reading.alternatives if reading else [],
        characters=reading.characters if reading else None,
        rule=reading.rule if reading else None,
        reader=reading.reader if reading else None,
        model_sha256=reading.model_sha256 if reading else None,
        box=(reading.x, reading.y, reading.w, reading.h) if reading else None,
        contradicted_by=tuple(one for one in findings if one.fails and field.name in one.fields),
    )


def _checked(text: str, what: str) -> str:
    # PostgreSQL raises an error for some texts that are no id, such as a NUL.
    if not is_id(text):
        raise _missing(what)
    return text


def _missing(what: str) -> NotFoundError:
    return NotFoundError(f"There is no such {what}.", code=f"{what}-not-found")
