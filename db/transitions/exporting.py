"""Exports in the background: asked for, claimed by a worker, done, and after a while deleted.

A worker's claim is fenced by the attempt, as that of a page is: who was too slow writes nothing.
The file is in the namespace of the export's id, so that whatever was stored there goes with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import and_, func, or_, select, update
from sqlalchemy.orm import Session

from core.errors import InputError
from core.exporting import ExportColumn, ExportFormat
from db import queries
from db.models import Page
from db.models_exports import Export, ExportState
from db.session import database_now
from db.transitions.outbox import hint_delete, hint_export

KEPT: Final = timedelta(days=7)
MAX_COLUMNS: Final = 1000


@dataclass(frozen=True, slots=True)
class ClaimedExport:
    export_id: str
    attempt: int
    tenant_id: str
    batch_id: str
    format: ExportFormat
    columns: tuple[ExportColumn, ...]
    base_url: str


def create_export(
    s: Session,
    *,
    tenant_id: str,
    batch_id: str,
    who: str,
    export_format: ExportFormat,
    columns: Sequence[ExportColumn],
    base_url: str,
) -> str:
    """Ask for an export and return its id.

    Raises NotFoundError, and InputError for no column, too many, or two with one heading.
    """
    queries.get_batch(s, tenant_id, batch_id)
    headings = [column.heading for column in columns]
    if not columns or len(columns) > MAX_COLUMNS:
        raise InputError("Choose at least one column.", code="no-column")
    twice = {heading for heading in headings if headings.count(heading) > 1}
    if twice:
        raise InputError(f"Two columns are called “{min(twice)}”.", code="column-twice")
    pages = select(func.count()).select_from(Page).where(Page.batch_id == batch_id)
    export = Export(
        tenant_id=tenant_id,
        batch_id=batch_id,
        who=who,
        format=export_format,
        columns=[column.as_json() for column in columns],
        base_url=base_url,
        pages_total=s.scalar(pages) or 0,
        created_at=database_now(s),
    )
    s.add(export)
    s.flush()
    hint_export(s, export.id)
    return export.id


def claim_export(
    s: Session, export_id: str, *, lease_seconds: float, max_attempts: int
) -> ClaimedExport | None:
    """Claim an export that nobody works on; None if there is none, or it failed too often."""
    export = s.scalar(select(Export).where(Export.id == export_id).with_for_update())
    now = database_now(s)
    if export is None or not _free(export, now):
        return None
    if export.attempt >= max_attempts:
        export.state, export.finished_at = ExportState.FAILED, now
        export.error = "The export failed several times. The log of the worker has the reason."
        s.flush()
        return None
    export.attempt += 1
    export.state, export.pages_done = ExportState.RUNNING, 0
    export.lease_until = now + timedelta(seconds=lease_seconds)
    s.flush()
    return ClaimedExport(
        export.id,
        export.attempt,
        export.tenant_id,
        export.batch_id,
        ExportFormat(export.format),
        tuple(ExportColumn.from_json(one) for one in export.columns),
        export.base_url,
    )


def renew_export(
    s: Session, claim: ClaimedExport, *, pages_done: int, lease_seconds: float
) -> bool:
    """Say how far the work is, and hold it longer. False: it is no longer ours."""
    until = database_now(s) + timedelta(seconds=lease_seconds)
    return _change(s, claim, pages_done=pages_done, lease_until=until)


def finish_export(
    s: Session,
    claim: ClaimedExport,
    *,
    rows: int,
    open_rows: int,
    filename: str,
    sha256: str,
    size: int,
) -> bool:
    """Record the file of an export. False: it is no longer ours, or its batch is gone."""
    now = database_now(s)
    done = _change(
        s,
        claim,
        state=ExportState.DONE,
        rows=rows,
        open_rows=open_rows,
        filename=filename,
        sha256=sha256,
        size=size,
        pages_done=Export.pages_total,
        finished_at=now,
        expires_at=now + KEPT,
        lease_until=None,
    )
    if s.scalar(select(Export.id).where(Export.id == claim.export_id)) is None:
        hint_delete(s, claim.export_id)
    return done


def fail_export(s: Session, claim: ClaimedExport, message: str) -> bool:
    """Record why an export cannot be made."""
    now = database_now(s)
    return _change(
        s, claim, state=ExportState.FAILED, error=message, finished_at=now, lease_until=None
    )


def exports_to_hint(s: Session, *, older_than_seconds: float, limit: int) -> list[str]:
    """Return exports of which no worker seems to know: queued for long, or left by a dead one."""
    now = database_now(s)
    waiting = and_(
        Export.state == ExportState.QUEUED,
        Export.created_at < now - timedelta(seconds=older_than_seconds),
    )
    left = and_(Export.state == ExportState.RUNNING, Export.lease_until <= now)
    return list(s.scalars(select(Export.id).where(or_(waiting, left)).limit(limit)))


def expire_exports(s: Session) -> None:
    """Have the files of old exports deleted."""
    old = select(Export.id).where(
        Export.state == ExportState.DONE, Export.expires_at <= database_now(s)
    )
    for export_id in s.scalars(old).all():
        s.execute(update(Export).where(Export.id == export_id).values(state=ExportState.EXPIRED))
        hint_delete(s, export_id)


def _free(export: Export, now: datetime) -> bool:
    if export.state == ExportState.QUEUED:
        return True
    expired = export.lease_until is None or export.lease_until <= now
    return export.state == ExportState.RUNNING and expired


def _change(s: Session, claim: ClaimedExport, **values: object) -> bool:
    changed = s.execute(
        update(Export)
        .where(
            Export.id == claim.export_id,
            Export.state == ExportState.RUNNING,
            Export.attempt == claim.attempt,
        )
        .values(**values)
        .returning(Export.id)
    )
    return changed.first() is not None
