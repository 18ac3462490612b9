"""The tables. States change only through `db.transitions`.

Times are aware, in UTC. Ids are time-ordered (`core.ids`), so that sorting by id is sorting by
age and a list's cursor is the last id seen.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar

from sqlalchemy import (
    JSON,
    BigInteger,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    String,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from core.clock import utcnow
from core.ids import new_id
from db.types import PlainText, UtcDateTime


class BatchState(StrEnum):
    RECEIVING = "receiving"  # open: more files may come
    PROCESSING = "processing"
    REVIEWING = "reviewing"  # every page has ended, some fields wait for a person
    COMPLETE = "complete"
    COMPLETE_WITH_ERRORS = "complete_with_errors"  # some document or page could not be read
    CANCELLED = "cancelled"


# Files may still come, or pages are still to be read.
WORKING_BATCHES = frozenset({BatchState.RECEIVING, BatchState.PROCESSING})
ENDED_BATCHES = frozenset(
    {BatchState.COMPLETE, BatchState.COMPLETE_WITH_ERRORS, BatchState.CANCELLED}
)


class DocumentState(StrEnum):
    STORED = "stored"  # the bytes are in the store, not yet opened
    OPENED = "opened"  # its pages are rows
    FAILED = "failed"  # the bytes are bad; see error


class PageState(StrEnum):
    QUEUED = "queued"
    LEASED = "leased"
    READ = "read"
    FAILED = "failed"  # the bytes are bad; never retried
    QUARANTINED = "quarantined"  # gave up after too many attempts
    CANCELLED = "cancelled"


UNREAD_PAGES = frozenset({PageState.QUEUED, PageState.LEASED})  # still to be read
LOST_PAGES = frozenset({PageState.FAILED, PageState.QUARANTINED})  # ended without a reading


class FieldState(StrEnum):
    ACCEPTED = "accepted"  # released by policy
    REVIEW = "review"  # waits for a person
    VERIFIED = "verified"  # released by a person
    UNREADABLE = "unreadable"  # a person says that nobody can read it


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: UtcDateTime,
        dict[str, Any]: JSON,
        list[Any]: JSON,
    }


def _id() -> Mapped[str]:
    return mapped_column(String(32), primary_key=True, default=new_id)


def _ref(table: str) -> Any:
    return mapped_column(String(32), ForeignKey(f"{table}.id", ondelete="CASCADE"))


def _template_ref() -> Any:
    # No cascade: a template that batches were read with cannot be deleted under them.
    return mapped_column(String(32), ForeignKey("template.id"), nullable=True)


class Tenant(Base):
    __tablename__ = "tenant"
    id: Mapped[str] = _id()
    name: Mapped[str] = mapped_column(PlainText(200), unique=True)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)


class ApiKey(Base):
    """A key is `cf_<prefix>_<secret>`; of the secret (256 random bits) only its SHA-256 is kept."""

    __tablename__ = "api_key"
    id: Mapped[str] = _id()
    tenant_id: Mapped[str] = _ref("tenant")
    name: Mapped[str] = mapped_column(PlainText(200))
    prefix: Mapped[str] = mapped_column(String(16), unique=True)
    secret_hash: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    revoked_at: Mapped[datetime | None]


class TemplateText(Base):
    """The text of a template as it was when a document came in: later edits change no old batch."""

    __tablename__ = "template"
    __table_args__ = (UniqueConstraint("tenant_id", "name", "sha256"),)
    id: Mapped[str] = _id()
    tenant_id: Mapped[str] = _ref("tenant")
    name: Mapped[str] = mapped_column(PlainText(200))
    sha256: Mapped[str] = mapped_column(String(64))
    text: Mapped[str] = mapped_column(PlainText())
    created_at: Mapped[datetime] = mapped_column(default=utcnow)


class Batch(Base):
    __tablename__ = "batch"
    __table_args__ = (
        UniqueConstraint("tenant_id", "idempotency_key"),
        Index("ix_batch_tenant_id_id", "tenant_id", "id"),
    )
    id: Mapped[str] = _id()
    tenant_id: Mapped[str] = _ref("tenant")
    name: Mapped[str] = mapped_column(PlainText(200), default="")
    state: Mapped[str] = mapped_column(String(32), default=BatchState.RECEIVING)
    closed: Mapped[bool] = mapped_column(default=False)  # no more files will come
    template_id: Mapped[str | None] = _template_ref()  # default of its documents
    release_threshold: Mapped[float | None]  # confidence from which policy releases; None: never
    idempotency_key: Mapped[str | None] = mapped_column(PlainText(200))
    request_hash: Mapped[str | None] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    finished_at: Mapped[datetime | None]


class Document(Base):
    __tablename__ = "document"
    __table_args__ = (
        UniqueConstraint("batch_id", "sha256"),
        Index("ix_document_batch_state", "batch_id", "state"),
        Index("ix_document_state_hinted", "state", "hinted_at"),
    )
    id: Mapped[str] = _id()
    tenant_id: Mapped[str] = _ref("tenant")
    batch_id: Mapped[str] = _ref("batch")
    template_id: Mapped[str | None] = _template_ref()
    filename: Mapped[str] = mapped_column(
        PlainText(1000)
    )  # as the user named it; never a path here
    sha256: Mapped[str] = mapped_column(String(64))
    size: Mapped[int] = mapped_column(BigInteger)
    state: Mapped[str] = mapped_column(String(32), default=DocumentState.STORED)
    attempt: Mapped[int] = mapped_column(Integer, default=0)  # the fence: it only grows
    failures: Mapped[int] = mapped_column(Integer, default=0)  # attempts that count against it
    set_aside: Mapped[bool] = mapped_column(default=False)  # failed, but not for its bytes
    lease_until: Mapped[datetime | None]  # on the database's clock; None: nobody holds it
    not_before: Mapped[datetime | None]  # a service was away: nobody tries before this
    hinted_at: Mapped[datetime | None]  # when the queue was last told of it
    error_code: Mapped[str | None] = mapped_column(String(64))
    error_message: Mapped[str | None] = mapped_column(PlainText())
    created_at: Mapped[datetime] = mapped_column(default=utcnow)


class Page(Base):
    __tablename__ = "page"
    __table_args__ = (
        UniqueConstraint("document_id", "ordinal"),
        Index("ix_page_batch_state", "batch_id", "state"),
        Index("ix_page_batch_finished", "batch_id", "finished_at"),
        Index("ix_page_state_lease", "state", "lease_until"),
        Index("ix_page_state_hinted", "state", "hinted_at"),
        Index("ix_page_tenant_state", "tenant_id", "state"),
    )
    id: Mapped[str] = _id()
    tenant_id: Mapped[str] = _ref("tenant")
    batch_id: Mapped[str] = _ref("batch")
    document_id: Mapped[str] = _ref("document")
    ordinal: Mapped[int]  # within its document, from 1
    label: Mapped[str] = mapped_column(PlainText(1000), default="")  # member of a ZIP, else ""
    sha256: Mapped[str | None] = mapped_column(String(64))  # of the page image's object
    media_type: Mapped[str] = mapped_column(PlainText(64), default="")
    width: Mapped[int | None]
    height: Mapped[int | None]
    # Quarter turns clockwise that bring it upright; width, height and boxes are as it was scanned.
    turn: Mapped[int] = mapped_column(SmallInteger, default=0, server_default="0")
    state: Mapped[str] = mapped_column(String(32), default=PageState.QUEUED)
    attempt: Mapped[int] = mapped_column(Integer, default=0)  # the fence: it only grows
    failures: Mapped[int] = mapped_column(Integer, default=0)  # attempts that count against it
    lease_until: Mapped[datetime | None]  # on the database's clock
    not_before: Mapped[datetime | None]  # a service was away: nobody tries before this
    hinted_at: Mapped[datetime | None]  # when the queue was last told of it
    worker: Mapped[str | None] = mapped_column(PlainText(200))
    template_score: Mapped[float | None]
    error_code: Mapped[str | None] = mapped_column(String(64))
    error_message: Mapped[str | None] = mapped_column(PlainText())
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    finished_at: Mapped[datetime | None]


class Field(Base):
    __tablename__ = "field"
    __table_args__ = (
        UniqueConstraint("page_id", "name"),
        Index("ix_field_batch_state", "batch_id", "state"),
    )
    id: Mapped[str] = _id()
    tenant_id: Mapped[str] = _ref("tenant")
    batch_id: Mapped[str] = _ref("batch")
    page_id: Mapped[str] = _ref("page")
    ordinal: Mapped[int]  # reading order on the page, from 1
    name: Mapped[str] = mapped_column(PlainText(200))
    state: Mapped[str] = mapped_column(String(32))
    value: Mapped[str | None] = mapped_column(PlainText())  # released, or proposed while in review
    reason: Mapped[str | None] = mapped_column(String(32))  # a ReviewReason; None: policy released
    released_by: Mapped[str | None] = mapped_column(PlainText(200))  # "policy" or who verified it
    released_at: Mapped[datetime | None]


class Reading(Base):
    """What a reader saw. Readings are added, never changed; the newest attempt's is the current."""

    __tablename__ = "reading"
    __table_args__ = (UniqueConstraint("field_id", "attempt", "reader"),)
    id: Mapped[str] = _id()
    tenant_id: Mapped[str] = _ref("tenant")
    field_id: Mapped[str] = _ref("field")
    attempt: Mapped[int]  # of the page
    reader: Mapped[str] = mapped_column(String(32))
    model_sha256: Mapped[str] = mapped_column(String(64))
    raw: Mapped[str] = mapped_column(PlainText())
    value: Mapped[str | None] = mapped_column(PlainText())
    confidence: Mapped[float]
    alternatives: Mapped[list[Any]]  # [{"value": …, "probability": …}], best first
    rule: Mapped[str | None] = mapped_column(PlainText(200))
    x: Mapped[float]
    y: Mapped[float]
    w: Mapped[float]
    h: Mapped[float]
    created_at: Mapped[datetime] = mapped_column(default=utcnow)


class Outbox(Base):
    """What must be told to the queue, written in the transaction that makes it true."""

    __tablename__ = "outbox"
    # SQLite would give the id of a deleted message to a new one, which a second dispatcher,
    # slow to delete, would then delete unsent.
    __table_args__ = ({"sqlite_autoincrement": True},)
    id: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True
    )
    kind: Mapped[str] = mapped_column(String(32))  # intake | read | delete_objects
    payload: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(default=utcnow)


class Event(Base):
    """What happened to a batch, in order: the source of its progress stream and its history."""

    __tablename__ = "event"
    __table_args__ = (
        Index("ix_event_batch_id_id", "batch_id", "id"),
        {"sqlite_autoincrement": True},
    )
    id: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True
    )
    tenant_id: Mapped[str] = _ref("tenant")
    batch_id: Mapped[str] = _ref("batch")
    kind: Mapped[str] = mapped_column(String(64))
    payload: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
