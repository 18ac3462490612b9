"""The tables that guard the sign-in and tell who did what. Neither refers to another table."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Index, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from core.clock import utcnow
from core.ids import new_id
from db.models import Base
from db.types import PlainText


class SignInAttempt(Base):
    """Somebody gave a name and a password. The reconciler deletes old ones."""

    __tablename__ = "sign_in_attempt"
    __table_args__ = (
        Index("ix_sign_in_attempt_name", "name_hash", "at"),
        Index("ix_sign_in_attempt_address", "address", "at"),
    )
    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    # The SHA-256 of the name: some people type their password where the name belongs.
    name_hash: Mapped[str] = mapped_column(String(64))
    address: Mapped[str] = mapped_column(String(64))  # of IPv6, the network of 64 bits
    succeeded: Mapped[bool] = mapped_column(default=False)
    at: Mapped[datetime] = mapped_column(default=utcnow)  # on the database's clock


class AuditEvent(Base):
    """Who did what, when, and from where. The database refuses to change or delete a row."""

    __tablename__ = "audit_event"
    __table_args__ = (
        Index("ix_audit_event_tenant", "tenant_id", "id"),
        Index("ix_audit_event_who", "tenant_id", "who", "id"),
        Index("ix_audit_event_action", "tenant_id", "action", "id"),
        Index("ix_audit_event_at", "tenant_id", "at"),
        {"sqlite_autoincrement": True},
    )
    id: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True
    )
    tenant_id: Mapped[str] = mapped_column(String(32))
    who: Mapped[str] = mapped_column(PlainText(200))  # as she was called then, or an API key
    person_id: Mapped[str | None] = mapped_column(String(32))  # None: an API key, or a command
    action: Mapped[str] = mapped_column(String(100))
    about: Mapped[dict[str, Any]]  # ids, and what else tells what it was; never a secret
    address: Mapped[str] = mapped_column(String(64))  # "": on the server itself
    at: Mapped[datetime] = mapped_column(default=utcnow)  # on the database's clock
