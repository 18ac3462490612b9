"""The audit log, for admins: who did what, when, and from where."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from flask import Blueprint, Response, render_template, request, stream_with_context

from api import audit
from api.context import services
from api.exports.files import BOM, CHUNK
from core.errors import InputError
from core.roles import Role
from core.text import formula_safe
from db import queries_people as queries
from db.queries_people import AuditFilter
from db.session import Session
from web import words
from web.signing_in import needs, person

blueprint = Blueprint("audit_log", __name__)

ENTRIES_AT_ONCE = 100
COLUMNS = ("time", "who", "action", "about", "address")

# What actions are called; others go by the name of their route.
ACTIONS: Final = {
    "signed-in": "signed in",
    "password-wrong": "gave a wrong password",
    "signing_in.leave": "signed out",
    "account.change_password": "changed their password",
    "account.leave_everywhere": "signed out everywhere",
    "people.add": "added a person",
    "people.give_link": "made a sign-in link",
    "people.set_role": "changed a role",
    "people.disable": "disabled a person",
    "people.enable": "enabled a person",
    "audit_log.export": "downloaded the audit log",
    "upload.send": "uploaded files",
    "upload.send_more": "uploaded more files",
    "upload.read_samples": "uploaded the samples",
    "upload.close": "closed a batch",
    "template_list.start": "started a template",
    "template_list.take_in": "took a template in from a file",
    "template_list.go_back": "went back to a version of a template",
    "template_list.remove": "removed a template",
    "template_edit.save": "saved a template",
    "template_edit.lay_page": "laid a page behind a template",
    "batches.export": "downloaded a batch",
    "export.order": "asked for an export",
    "export.download": "downloaded an export",
    "batches.try_again": "had pages read again",
    "batches.cancel": "cancelled a batch",
    "batches.delete": "deleted a batch",
    "verify.decide": "decided a field",
    "verify.postpone": "left a field for later",
    "verify.reopen": "took a decision back",
    "keys.choose": "changed their keys",
    "policy.change": "set the release policy",
    "policy.acknowledge": "acknowledged an alarm of the release policy",
    "findings.keep": "kept values against a check",
    "v1.uploads.create_batch": "uploaded files",
    "v1.uploads.add_documents": "uploaded more files",
    "v1.batches.close_batch": "closed a batch",
    "v1.batches.cancel_batch": "cancelled a batch",
    "v1.batches.retry_batch": "had pages read again",
    "v1.batches.delete_batch": "deleted a batch",
    "v1.fields.verify_field": "decided a field",
    "v1.exports.export_file": "downloaded a batch",
    "v1.exports.export_to_table": "wrote a batch into a table",
    "command.sign-in": "made a sign-in link on the server",
}


@blueprint.get("/audit")
@needs(Role.ADMIN)
def audit_log() -> str:
    """Show the newest entries, filtered."""
    before = request.args.get("before", "")
    with services().db.reading() as session:
        found = queries.list_audit(
            session,
            person().tenant_id,
            _filter(),
            before=int(before) if before.isdecimal() and len(before) < 19 else None,
            limit=ENTRIES_AT_ONCE,
        )
        names = [one.name for one in queries.list_people(session, person().tenant_id)]
    chosen = {name: request.args.get(name, "") for name in ("who", "action", "since", "until")}
    return render_template(
        "audit.html",
        entries=found,
        more=found[-1].id if len(found) == ENTRIES_AT_ONCE else None,
        names=names,
        actions=sorted(ACTIONS.items(), key=lambda item: item[1]),
        chosen=chosen,
        filters={name: value for name, value in chosen.items() if value},
        action=action,
        about=about,
    )


@blueprint.get("/audit.csv")
@needs(Role.ADMIN)
def export() -> Response:
    """Download the entries that the filters leave, the oldest first."""
    which, tenant_id = _filter(), person().tenant_id
    audit.record_now()

    def text() -> Iterator[str]:
        with services().db.reading() as session:
            yield from _csv(session, tenant_id, which)

    response = Response(stream_with_context(text()), content_type="text/csv; charset=utf-8")
    response.headers["Content-Disposition"] = 'attachment; filename="counterfoil-audit.csv"'
    return response


def action(name: str) -> str:
    """Return what an action is called."""
    return ACTIONS.get(name) or words.label(name.rpartition(".")[2]).lower()


def about(what: Mapping[str, Any]) -> str:
    """Return in a few words what an action was about; ids only where there is no name."""
    named = [str(what[key]) for key in ("name", "role", "format") if what.get(key)]
    named += [f"by {what['by']}"] if "by" in what else []
    ids = [f"{key[:-3]} {value}" for key, value in what.items() if key.endswith("_id")]
    return ", ".join(named or ids)


def _csv(session: Session, tenant_id: str, which: AuditFilter) -> Iterator[str]:
    buffer = io.StringIO()
    buffer.write(BOM)
    writer = csv.writer(buffer)
    writer.writerow(COLUMNS)
    for entry in queries.iter_audit(session, tenant_id, which):
        details = json.dumps(entry.about, ensure_ascii=False) if entry.about else ""
        time = entry.at.isoformat(timespec="seconds")
        row = (time, entry.who, entry.action, details, entry.address)
        writer.writerow([formula_safe(cell) for cell in row])
        if buffer.tell() >= CHUNK:
            yield buffer.getvalue()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue()


def _filter() -> AuditFilter:
    return AuditFilter(
        who=request.args.get("who") or None,
        action=request.args.get("action") or None,
        since=_midnight("since"),
        until=_midnight("until", days=1),
    )


def _midnight(name: str, days: int = 0) -> datetime | None:
    """Return the beginning of a day that was asked for, or of one so many days later, in UTC."""
    text = request.args.get(name, "")
    if not text:
        return None
    try:
        day = date.fromisoformat(text) + timedelta(days=days)
        return datetime.combine(day, datetime.min.time(), UTC)
    except (ValueError, OverflowError) as exc:
        raise InputError("A day is written as 2026-11-28.", code="bad-day") from exc
