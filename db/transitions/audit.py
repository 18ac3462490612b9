"""The audit log: who did what, when, and from where.

An entry is written in the transaction of what it tells, so that neither is there without the other.
The database refuses to change or delete one.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Session

from db.models_people import AuditEvent
from db.session import database_now


def record_audit(
    s: Session,
    *,
    tenant_id: str,
    who: str,
    person_id: str | None,
    action: str,
    address: str,
    about: dict[str, Any] | None = None,
) -> None:
    """Add an entry. `about` has ids and names, never a secret; `address` is "" on the server."""
    s.add(
        AuditEvent(
            tenant_id=tenant_id,
            who=who,
            person_id=person_id,
            action=action,
            about=about or {},
            address=address,
            at=database_now(s),
        )
    )
    s.flush()
