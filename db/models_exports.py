"""Exports that are made in the background."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from core.clock import utcnow
from core.ids import new_id
from db.models import Base
from db.types import PlainText


class ExportState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"  # a worker holds it until lease_until
    DONE = "done"  # its file is in the store until expires_at
    FAILED = "failed"
    EXPIRED = "expired"  # its file is deleted


class Export(Base):
    """An export of a batch. The namespace of its file in the object store is its id."""

    __tablename__ = "export"
    __table_args__ = (
        Index("ix_export_tenant_id", "tenant_id", "id"),
        Index("ix_export_batch_id", "batch_id"),
        Index("ix_export_state", "state"),
    )
    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenant.id", ondelete="CASCADE"))
    batch_id: Mapped[str] = mapped_column(ForeignKey("batch.id", ondelete="CASCADE"))
    who: Mapped[str] = mapped_column(PlainText(200))
    format: Mapped[str] = mapped_column(String(16))  # a core.exporting.ExportFormat
    columns: Mapped[list[Any]]  # of core.exporting.ExportColumn, in order
    base_url: Mapped[str] = mapped_column(PlainText(1000))  # of the pages, for links to pictures
    state: Mapped[str] = mapped_column(String(16), default=ExportState.QUEUED)
    attempt: Mapped[int] = mapped_column(default=0)  # the fencing token: it only grows
    lease_until: Mapped[datetime | None]  # on the database's clock
    pages_total: Mapped[int] = mapped_column(default=0)
    pages_done: Mapped[int] = mapped_column(default=0)
    rows: Mapped[int] = mapped_column(default=0)
    open_rows: Mapped[int] = mapped_column(default=0)  # rows on which something is not released
    filename: Mapped[str | None] = mapped_column(PlainText(300))
    sha256: Mapped[str | None] = mapped_column(String(64))
    size: Mapped[int | None] = mapped_column(BigInteger)
    error: Mapped[str | None] = mapped_column(PlainText())
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    finished_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]
