"""The tables, and the states of their rows. States change only through `db.transitions`.

Times are aware, in UTC. Ids sort by the time when they were made (`core.ids`), so the cursor of a
list is the last id that the client has seen.
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
    false,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from core.clock import utcnow
from core.ids import new_id
from core.limits import MAX_NOTE
from db.types import PlainText, UtcDateTime


class BatchState(StrEnum):
    RECEIVING = "receiving"  # open: more files may come
    PROCESSING = "processing"
    REVIEWING = "reviewing"  # every page has ended; some fields wait for a person
    COMPLETE = "complete"
    COMPLETE_WITH_ERRORS = "complete_with_errors"  # some document or page could not be read
    CANCELLED = "cancelled"


# More files may come, or some pages are still to be read.
WORKING_BATCHES = frozenset({BatchState.RECEIVING, BatchState.PROCESSING})
ENDED_BATCHES = frozenset(
    {BatchState.COMPLETE, BatchState.COMPLETE_WITH_ERRORS, BatchState.CANCELLED}
)


class DocumentState(StrEnum):
    STORED = "stored"  # the bytes are in the store, not yet opened
    OPENED = "opened"  # its pages are rows
    FAILED = "failed"  # it cannot be opened; error_code and error_message say why
    COPY = "copy"  # the bytes of an earlier document of the batch, which alone is read


class PageState(StrEnum):
    QUEUED = "queued"
    LEASED = "leased"  # a worker holds it until lease_until
    READ = "read"
    FAILED = "failed"  # the bytes are bad; never retried
    QUARANTINED = "quarantined"  # too many attempts failed; `retry` queues it again
    CANCELLED = "cancelled"
    PASSED_OVER = "passed_over"  # its template says to ignore it: neither read nor lost


UNREAD_PAGES = frozenset({PageState.QUEUED, PageState.LEASED})  # still to be read
LOST_PAGES = frozenset({PageState.FAILED, PageState.QUARANTINED})  # ended without a reading


class FieldState(StrEnum):
    ACCEPTED = "accepted"  # released by policy
    REVIEW = "review"  # waits for a person
    VERIFIED = "verified"  # released by a person
    UNREADABLE = "unreadable"  # a person says that nobody can read it


class Audit(StrEnum):
    """What is left of the check of a value that policy released."""

    DUE = "due"
    AGAIN = "again"  # a person read something else: another one is asked


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


def _where(condition: str, sqlite: str = "") -> dict[str, Any]:
    return {"postgresql_where": text(condition), "sqlite_where": text(sqlite or condition)}


def _template_ref() -> Any:
    # No cascade: a template cannot be deleted while a batch or document refers to it.
    return mapped_column(String(32), ForeignKey("template.id"), nullable=True)


class Tenant(Base):
    __tablename__ = "tenant"
    id: Mapped[str] = _id()
    name: Mapped[str] = mapped_column(PlainText(200), unique=True)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)


class ApiKey(Base):
    """A key is `cf_<prefix>_<secret>`. Only the SHA-256 of the secret (256 random bits) is kept."""

    __tablename__ = "api_key"
    id: Mapped[str] = _id()
    tenant_id: Mapped[str] = _ref("tenant")
    name: Mapped[str] = mapped_column(PlainText(200))
    prefix: Mapped[str] = mapped_column(String(16), unique=True)
    secret_hash: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    revoked_at: Mapped[datetime | None]


class Person(Base):
    """Somebody who works in the browser. The name is unique among all tenants: people sign in."""

    __tablename__ = "person"
    __table_args__ = (Index("ix_person_subject", "subject", unique=True),)
    id: Mapped[str] = _id()
    tenant_id: Mapped[str] = _ref("tenant")
    name: Mapped[str] = mapped_column(PlainText(200), unique=True)
    role: Mapped[str] = mapped_column(String(32))
    password_hash: Mapped[str | None] = mapped_column(String(200))  # None: signs in otherwise
    subject: Mapped[str | None] = mapped_column(String(600))  # at an identity provider
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    signed_in_at: Mapped[datetime | None]  # the last time
    disabled_at: Mapped[datetime | None]
    keys: Mapped[dict[str, Any] | None]  # her keys while verifying: {what it does: key}


class SignInLink(Base):
    """A link that signs a person in once. Only the SHA-256 of its random token is kept."""

    __tablename__ = "sign_in_link"
    id: Mapped[str] = _id()
    person_id: Mapped[str] = _ref("person")
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]


class WebSession(Base):
    """A browser in which a person is signed in. Only the SHA-256 of its random token is kept."""

    __tablename__ = "web_session"
    id: Mapped[str] = _id()
    person_id: Mapped[str] = _ref("person")
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    method: Mapped[str] = mapped_column(String(16), server_default="link")  # a SignInMethod
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    expires_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]


class TemplateText(Base):
    """The text of a template at the time of an upload: later edits do not change old batches."""

    __tablename__ = "template"
    __table_args__ = (UniqueConstraint("tenant_id", "name", "sha256"),)
    id: Mapped[str] = _id()
    tenant_id: Mapped[str] = _ref("tenant")
    name: Mapped[str] = mapped_column(PlainText(200))
    sha256: Mapped[str] = mapped_column(String(64))
    text: Mapped[str] = mapped_column(PlainText())
    # The checks across fields, in the form of `core.checks`, by the name of the template, for they
    # are judged again by each decision of a person. None: there are none.
    checks: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    created_at: Mapped[datetime] = mapped_column(default=utcnow)


class TemplatePicture(Base):
    """The page that a template was drawn on, level and flat. Its store namespace is the id."""

    __tablename__ = "template_picture"
    id: Mapped[str] = _id()
    tenant_id: Mapped[str] = _ref("tenant")
    sha256: Mapped[str] = mapped_column(String(64))
    width: Mapped[int]
    height: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(default=utcnow)


class TemplateVersion(Base):
    """A template as somebody saved it under a name. Rows are added; the newest is current."""

    __tablename__ = "template_version"
    __table_args__ = (UniqueConstraint("tenant_id", "name", "number"),)
    id: Mapped[str] = _id()
    tenant_id: Mapped[str] = _ref("tenant")
    name: Mapped[str] = mapped_column(PlainText(200))
    number: Mapped[int]  # from 1
    template_id: Mapped[str] = mapped_column(String(32), ForeignKey("template.id"))
    picture_id: Mapped[str | None] = mapped_column(
        String(32), ForeignKey("template_picture.id", ondelete="SET NULL")
    )
    draft: Mapped[bool] = mapped_column(default=False)  # not yet to read pages with
    saved_by: Mapped[str] = mapped_column(PlainText(200))
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    removed_at: Mapped[datetime | None]  # nobody shall use this name any more


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
    template_id: Mapped[str | None] = _template_ref()  # the default for its documents
    # The least confidence at which a value is released. None: none is, or the policy decides.
    release_threshold: Mapped[float | None]
    by_policy: Mapped[bool] = mapped_column(default=False, server_default=false())  # of the site
    idempotency_key: Mapped[str | None] = mapped_column(PlainText(200))
    request_hash: Mapped[str | None] = mapped_column(String(64))
    # What whoever uploaded it counted: a decimal as text, the field that it is the sum of, pages
    # and files. None: nobody did.
    control_total: Mapped[str | None] = mapped_column(String(32))
    control_field: Mapped[str | None] = mapped_column(PlainText(200))
    expected_pages: Mapped[int | None]
    expected_documents: Mapped[int | None]
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    finished_at: Mapped[datetime | None]


class ReleasePolicy(Base):
    """What a site lets the machine release. Rows are added: the last of a tenant is in force.

    It is in force until it has an alarm. What people found of the released values is watched as
    long as the policy is the last one.
    """

    __tablename__ = "release_policy"
    __table_args__ = (UniqueConstraint("tenant_id", "number"),)
    id: Mapped[str] = _id()
    tenant_id: Mapped[str] = _ref("tenant")
    number: Mapped[int]  # of its tenant, from 1
    one_in: Mapped[int | None]  # at most one wrong in so many; None: nothing is released
    thresholds: Mapped[list[Any]]  # [[template, field, least confidence], …]
    models: Mapped[list[Any]]  # the hashes of the readers for which it holds
    evidence: Mapped[dict[str, Any]]  # what it was set on: {"keyed": …, "wrong": …}
    who: Mapped[str] = mapped_column(PlainText(200))
    why: Mapped[str] = mapped_column(PlainText(MAX_NOTE))
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    watched_to: Mapped[str | None] = mapped_column(String(32))  # the last keying that was watched
    alarm_at: Mapped[datetime | None]
    alarm: Mapped[dict[str, Any] | None]  # {"audited": …, "wrong": …}
    alarm_sent_at: Mapped[datetime | None]  # to the webhook, if there is one
    acknowledged_at: Mapped[datetime | None]
    acknowledged_by: Mapped[str | None] = mapped_column(PlainText(200))
    acknowledged_why: Mapped[str | None] = mapped_column(PlainText(MAX_NOTE))


class Document(Base):
    __tablename__ = "document"
    __table_args__ = (
        Index("ix_document_batch_sha256", "batch_id", "sha256"),
        Index("ix_document_batch_state", "batch_id", "state"),
        Index("ix_document_state_hinted", "state", "hinted_at"),
    )
    id: Mapped[str] = _id()
    tenant_id: Mapped[str] = _ref("tenant")
    batch_id: Mapped[str] = _ref("batch")
    template_id: Mapped[str | None] = _template_ref()
    # As the user named it: a label, never a path on this machine.
    filename: Mapped[str] = mapped_column(PlainText(1000))
    sha256: Mapped[str] = mapped_column(String(64))
    size: Mapped[int] = mapped_column(BigInteger)
    copy_of: Mapped[str | None] = mapped_column(
        String(32), ForeignKey("document.id", ondelete="CASCADE"), index=True
    )
    state: Mapped[str] = mapped_column(String(32), default=DocumentState.STORED)
    attempt: Mapped[int] = mapped_column(Integer, default=0)  # the fencing token: it only grows
    failures: Mapped[int] = mapped_column(Integer, default=0)  # attempts that count against it
    set_aside: Mapped[bool] = mapped_column(default=False)  # failed, but its bytes are not at fault
    lease_until: Mapped[datetime | None]  # on the database's clock; None: nobody holds it
    not_before: Mapped[datetime | None]  # a service was away: no attempt before this time
    hinted_at: Mapped[datetime | None]  # when a queue message last named it
    error_code: Mapped[str | None] = mapped_column(String(64))
    error_message: Mapped[str | None] = mapped_column(PlainText())
    created_at: Mapped[datetime] = mapped_column(default=utcnow)


class Page(Base):
    __tablename__ = "page"
    __table_args__ = (
        UniqueConstraint("document_id", "ordinal"),
        Index("ix_page_batch_state", "batch_id", "state"),
        Index("ix_page_batch_place", "batch_id", "document_id", "ordinal"),
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
    label: Mapped[str] = mapped_column(PlainText(1000), default="")  # its name in a ZIP, else ""
    sha256: Mapped[str | None] = mapped_column(String(64))  # of the page image's object
    media_type: Mapped[str] = mapped_column(PlainText(64), default="")
    width: Mapped[int | None]
    height: Mapped[int | None]
    # Clockwise quarter turns that make it upright. Width, height and boxes are those of the scan.
    turn: Mapped[int] = mapped_column(SmallInteger, default=0, server_default="0")
    state: Mapped[str] = mapped_column(String(32), default=PageState.QUEUED)
    attempt: Mapped[int] = mapped_column(Integer, default=0)  # the fencing token: it only grows
    failures: Mapped[int] = mapped_column(Integer, default=0)  # attempts that count against it
    lease_until: Mapped[datetime | None]  # on the database's clock
    not_before: Mapped[datetime | None]  # a service was away: no attempt before this time
    hinted_at: Mapped[datetime | None]  # when a queue message last named it
    worker: Mapped[str | None] = mapped_column(PlainText(200))  # that claimed it last
    # The template of its document's set that fits it. None: not read yet, or none fits.
    template: Mapped[str | None] = mapped_column(PlainText(200))
    template_score: Mapped[float | None]
    # The findings of its template's checks, in the form of `core.checks`. None: there are none.
    checks: Mapped[list[Any] | None] = mapped_column(JSON(none_as_null=True))
    # The policy under which it was read. None: its batch does not ask for it, or none was in force.
    policy_id: Mapped[str | None] = mapped_column(
        String(32), ForeignKey("release_policy.id", ondelete="SET NULL"), index=True
    )
    error_code: Mapped[str | None] = mapped_column(String(64))
    error_message: Mapped[str | None] = mapped_column(PlainText())
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    finished_at: Mapped[datetime | None]


class PageKey(Base):
    """Values that no two pages of a tenant should share, hashed: a check says so."""

    __tablename__ = "page_key"
    __table_args__ = (
        UniqueConstraint("page_id", "check_name"),
        Index("ix_page_key_tenant_key", "tenant_id", "key"),
    )
    id: Mapped[str] = _id()
    tenant_id: Mapped[str] = _ref("tenant")
    page_id: Mapped[str] = _ref("page")
    check_name: Mapped[str] = mapped_column(PlainText(200))
    key: Mapped[str] = mapped_column(String(40))


class PassedOver(Base):
    """Something in a document that is no page: an image, a file, a frame. It is not stored."""

    __tablename__ = "passed_over"
    __table_args__ = (UniqueConstraint("document_id", "ordinal"),)
    id: Mapped[str] = _id()
    tenant_id: Mapped[str] = _ref("tenant")
    batch_id: Mapped[str] = mapped_column(ForeignKey("batch.id", ondelete="CASCADE"), index=True)
    document_id: Mapped[str] = _ref("document")
    ordinal: Mapped[int]  # within its document, from 1, in the order in which it was found
    name: Mapped[str] = mapped_column(PlainText(1000))  # what and where it is: a label
    code: Mapped[str] = mapped_column(String(64))  # why, for machines
    reason: Mapped[str] = mapped_column(PlainText())  # why, for people


class Field(Base):
    __tablename__ = "field"
    __table_args__ = (
        UniqueConstraint("page_id", "name"),
        Index("ix_field_batch_state", "batch_id", "state"),
        Index("ix_field_known", "tenant_id", "name", **_where("known", "known = 1")),
        Index("ix_field_audit", "tenant_id", "id", **_where("audit IS NOT NULL")),
    )
    id: Mapped[str] = _id()
    tenant_id: Mapped[str] = _ref("tenant")
    batch_id: Mapped[str] = _ref("batch")
    page_id: Mapped[str] = _ref("page")
    ordinal: Mapped[int]  # reading order on the page, from 1
    name: Mapped[str] = mapped_column(PlainText(200))
    state: Mapped[str] = mapped_column(String(32))
    value: Mapped[str | None] = mapped_column(PlainText())  # in review: what the machine proposes
    reason: Mapped[str | None] = mapped_column(String(32))  # a ReviewReason; None: policy released
    # The grammar's normal form, and whether a value must be there. None: read by a version that did
    # not store them; the text of the template has them.
    grammar: Mapped[str | None] = mapped_column(PlainText())
    required: Mapped[bool | None]
    released_by: Mapped[str | None] = mapped_column(PlainText(200))  # "policy", or a person's key
    released_at: Mapped[datetime | None]
    version: Mapped[int] = mapped_column(default=1, server_default="1")  # grows by each decision
    forced: Mapped[bool] = mapped_column(default=False, server_default=false())  # not legal
    note: Mapped[str | None] = mapped_column(PlainText(MAX_NOTE))  # of the person who decided
    postponed_at: Mapped[datetime | None]  # a person left it for later; it still waits
    verify: Mapped[str | None] = mapped_column(String(16))  # a VerifyMode; None: confirm
    # People whose keying counts towards closing it; those of `confirm` close it at once.
    keyed: Mapped[int] = mapped_column(SmallInteger, default=0, server_default="0")
    known: Mapped[bool] = mapped_column(default=False, server_default=false())  # two people agree
    audit: Mapped[str | None] = mapped_column(String(8))  # an Audit; None: not, or no longer


class FieldHold(Base):
    """A person has a field before her: until then nobody else is given it. A lock that expires."""

    __tablename__ = "field_hold"
    id: Mapped[str] = _id()
    field_id: Mapped[str] = mapped_column(ForeignKey("field.id", ondelete="CASCADE"), unique=True)
    person_id: Mapped[str] = _ref("person")
    until: Mapped[datetime]  # on the database's clock
    mode: Mapped[str] = mapped_column(String(16), default="confirm", server_default="confirm")


class Keying(Base):
    """What a person keyed for a field. Rows are added; `right` and `withdrawn_at` are filled later.

    The policy of release and the figures of each person are computed from these rows. They go with
    the batch.
    """

    __tablename__ = "keying"
    __table_args__ = (
        Index("ix_keying_tenant_id_id", "tenant_id", "id"),
        Index("ix_keying_person_id_id", "person_id", "id"),
    )
    id: Mapped[str] = _id()
    tenant_id: Mapped[str] = _ref("tenant")
    batch_id: Mapped[str] = mapped_column(ForeignKey("batch.id", ondelete="CASCADE"), index=True)
    field_id: Mapped[str] = mapped_column(ForeignKey("field.id", ondelete="CASCADE"), index=True)
    person_id: Mapped[str] = _ref("person")
    mode: Mapped[str] = mapped_column(String(16))  # a core.keying.KeyingMode
    value: Mapped[str | None] = mapped_column(PlainText())  # None: nobody can read it
    forced: Mapped[bool] = mapped_column(default=False)  # not a value that the field may hold
    note: Mapped[str | None] = mapped_column(PlainText(MAX_NOTE))
    shown: Mapped[str | None] = mapped_column(PlainText())  # the machine's value; None: it had none
    confidence: Mapped[float | None]  # of the machine in it
    # Whether `value` is what the field turned out to hold. None: not known; so always of a value
    # that nobody but the same person has confirmed.
    right: Mapped[bool | None]
    took_ms: Mapped[int | None]  # from when the field was shown
    keystrokes: Mapped[int | None]
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    withdrawn_at: Mapped[datetime | None]  # the person took it back: it counts for nothing


class CarpetScreen(Base):
    """The characters that a person confirmed together in a digit carpet."""

    __tablename__ = "carpet_screen"
    id: Mapped[str] = _id()
    tenant_id: Mapped[str] = _ref("tenant")
    batch_id: Mapped[str] = mapped_column(ForeignKey("batch.id", ondelete="CASCADE"), index=True)
    person_id: Mapped[str] = _ref("person")
    audit: Mapped[bool]  # of released fields
    # The fields that it changed: [{"field_id": …, "version": …, "act": …, "before": {…}}]
    changes: Mapped[list[Any]]
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    taken_back_at: Mapped[datetime | None]  # nothing that was said in it counts


class CharacterCheck(Base):
    """What a person said of one character of a field's value, which she saw in a carpet."""

    __tablename__ = "character_check"
    __table_args__ = (Index("ix_character_check_field_id_place", "field_id", "place"),)
    id: Mapped[str] = _id()
    screen_id: Mapped[str] = mapped_column(
        ForeignKey("carpet_screen.id", ondelete="CASCADE"), index=True
    )
    field_id: Mapped[str] = mapped_column(ForeignKey("field.id", ondelete="CASCADE"))
    attempt: Mapped[int]  # of the page: which reading she saw
    place: Mapped[int]  # in the value, from 0
    shown: Mapped[str] = mapped_column(PlainText(8))
    said: Mapped[str | None] = mapped_column(PlainText(8))  # None: something is odd about it


class Reading(Base):
    """What a reader saw. Rows are added, never changed; those of the last attempt are current."""

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
    # [{"text": …, "probability": …, "box": [x, y, w, h], "alternatives": […]}], one for each
    # character of `value`; none: no reader tells where they are. None: read by an older version.
    characters: Mapped[list[Any] | None] = mapped_column(JSON(none_as_null=True))
    rule: Mapped[str | None] = mapped_column(PlainText(200))
    x: Mapped[float]
    y: Mapped[float]
    w: Mapped[float]
    h: Mapped[float]
    created_at: Mapped[datetime] = mapped_column(default=utcnow)


class Outbox(Base):
    """A message for the dispatcher, written in the transaction that makes its content true."""

    __tablename__ = "outbox"
    # Without it, SQLite would give the id of a deleted message to a new one, and a second, slower
    # dispatcher that still has the old id to delete would delete the new message unsent.
    __table_args__ = ({"sqlite_autoincrement": True},)
    id: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True
    )
    kind: Mapped[str] = mapped_column(String(32))  # a db.transitions.outbox.OutboxKind
    payload: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(default=utcnow)


class Event(Base):
    """What happened to a batch, in order. The progress stream of the API reads these rows."""

    __tablename__ = "event"
    __table_args__ = (
        Index("ix_event_batch_id_id", "batch_id", "id"),
        Index("ix_event_tenant_id_id", "tenant_id", "id"),
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
