"""What exports are there, and what a batch has that can be exported."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Integer, cast, func, select
from sqlalchemy.orm import Session

from core.errors import NotFoundError
from core.exporting import ExportColumn, Kind, kind_of_grammar
from core.ids import is_id, object_key
from db.models import Field
from db.models_exports import Export, ExportState

_LISTED = 20


@dataclass(frozen=True, slots=True)
class ExportView:
    """An export, as people see it."""

    id: str
    batch_id: str
    who: str
    format: str
    state: str
    percent: int  # 0 to 100
    rows: int
    open_rows: int  # rows on which something is not released
    filename: str | None
    size: int | None
    object_key: str | None  # of its file; None: it is not there, or no longer
    error: str | None
    created_at: datetime
    expires_at: datetime | None


def fields_of_batch(s: Session, tenant_id: str, batch_id: str) -> dict[str, Kind]:
    """Return the names of a batch's fields in reading order, and what their values are.

    Where the pages of a batch do not agree, or somebody has recorded what the field may not hold,
    the values are text.
    """
    query = (
        select(
            Field.name,
            Field.grammar,
            func.min(Field.ordinal),
            func.max(cast(Field.forced, Integer)),
        )
        .where(Field.batch_id == batch_id, Field.tenant_id == tenant_id)
        .group_by(Field.name, Field.grammar)
    )
    kinds: dict[str, Kind] = {}
    for name, grammar, _, forced in sorted(s.execute(query), key=lambda row: (row[2], row[0])):
        kind = Kind.TEXT if forced else kind_of_grammar(grammar)
        kinds[name] = kind if kinds.get(name, kind) == kind else Kind.TEXT
    return kinds


def list_exports(s: Session, tenant_id: str, batch_id: str) -> list[ExportView]:
    """Return the last exports of a batch, the newest first."""
    query = (
        select(Export)
        .where(Export.tenant_id == tenant_id, Export.batch_id == batch_id)
        .order_by(Export.id.desc())
        .limit(_LISTED)
    )
    return [_view(export) for export in s.scalars(query)]


def get_export(s: Session, tenant_id: str, export_id: str) -> ExportView:
    """Return an export of the tenant. Raises NotFoundError."""
    query = select(Export).where(Export.id == export_id, Export.tenant_id == tenant_id)
    export = s.scalar(query) if is_id(export_id) else None
    if export is None:
        raise NotFoundError("There is no such export.", code="export-not-found")
    return _view(export)


def last_columns(s: Session, tenant_id: str) -> list[ExportColumn]:
    """Return the columns of the tenant's last export, to begin with; none if there is none."""
    query = select(Export.columns).where(Export.tenant_id == tenant_id)
    columns = s.scalar(query.order_by(Export.id.desc()).limit(1))
    return [ExportColumn.from_json(one) for one in columns or ()]


def exports_are_waiting(exports: list[ExportView]) -> bool:
    """Say whether any of these is not finished yet."""
    return any(one.state in (ExportState.QUEUED, ExportState.RUNNING) for one in exports)


def _view(export: Export) -> ExportView:
    there = export.state == ExportState.DONE and export.sha256 is not None
    total = max(export.pages_total, 1)
    return ExportView(
        id=export.id,
        batch_id=export.batch_id,
        who=export.who,
        format=export.format,
        state=export.state,
        percent=min(100, 100 * export.pages_done // total),
        rows=export.rows,
        open_rows=export.open_rows,
        filename=export.filename,
        size=export.size,
        object_key=object_key(export.id, export.sha256 or "") if there else None,
        error=export.error,
        created_at=export.created_at,
        expires_at=export.expires_at,
    )
