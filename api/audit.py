"""What a request does goes into the audit log, in the transaction that does it.

Every request that changes something is recorded under the name of its endpoint, with the ids in its
address; a view says more by `note`. Downloads change nothing but are asked about all the same: they
call `record_now`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from flask import Flask, g, has_request_context, request

from api.context import Caller, Services, services
from db.session import Session
from db.transitions.audit import record_audit

_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
# It only hands out work.
_SILENT: Final = frozenset({"web.verify.hold_next"})


def install(app: Flask, services: Services) -> None:
    """Record what the requests of `app` do."""
    app.before_request(_begin)
    services.db.before_commit = _record


def note(**about: Any) -> None:
    """Say more of what this request does, before its transaction ends. Never a secret."""
    g.audit_about = g.get("audit_about", {}) | about


def leave_out() -> None:
    """Do not record this request, or not again: its transition does that itself."""
    g.audit_pending = False


def record_now(**about: Any) -> None:
    """Record a request that changes nothing, such as a download."""
    note(**about)
    g.audit_pending = True
    with services().db.transaction():
        pass  # `_record` writes the entry


def _begin() -> None:
    g.audit_pending = request.method not in _SAFE and request.endpoint not in _SILENT


def _record(session: Session) -> Callable[[], None] | None:
    """Write the entry of the present request, unless an earlier transaction of it has."""
    if not has_request_context() or not g.get("audit_pending"):
        return None
    caller: Caller | None = g.get("caller")
    if caller is None:
        return None
    person = g.get("person")
    record_audit(
        session,
        tenant_id=caller.tenant_id,
        who=caller.key_name,
        person_id=None if person is None else person.id,
        action=(request.endpoint or "").removeprefix("web."),
        address=request.remote_addr or "",
        about=(request.view_args or {}) | g.get("audit_about", {}),
    )
    return leave_out
