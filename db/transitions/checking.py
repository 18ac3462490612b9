"""Checks across the fields of a page: judged when it is read, and again by each decision.

A field in a check that fails is not released by policy: it waits, with the reason `check-fails`.
If a person's decision makes a check fail, the fields that policy had released wait again. Whoever
decides a field that waits for this reason, and leaves the check failing, must force the value and
say why; then those that other people had decided wait again too, once. A forced value never waits
again, so this ends.

Locks: the caller has locked the batch. Where pages of all batches are compared, the row of the
tenant is locked after it, so that of two pages with the same values the later one is found.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from core.checks import (
    Check,
    Finding,
    Twin,
    Unique,
    Values,
    check_as_json,
    check_from_json,
    failing_fields,
    finding_as_json,
    judge_page,
)
from core.ids import new_id
from core.policy import ReviewReason
from db.models import (
    Batch,
    Document,
    Field,
    FieldState,
    Page,
    PageKey,
    TemplateText,
    Tenant,
)
from db.transitions.events import change_of, record_events
from db.transitions.results import PageResult
from db.twins import twins_of

_ChecksOf = Mapping[str, tuple[Check, ...]]  # by the name of the template

# What a field waits for anyhow, and for which a check that fails is the better reason.
_UNSURE = (None, ReviewReason.NO_THRESHOLD, ReviewReason.BELOW_THRESHOLD)


def checks_as_json(checks: _ChecksOf) -> dict[str, Any] | None:
    """Return the checks of templates as a row of `template` keeps them."""
    kept = {name: [check_as_json(one) for one in own] for name, own in checks.items() if own}
    return kept or None


def check_results(
    s: Session, read: Sequence[tuple[Page, PageResult]]
) -> list[tuple[Page, PageResult]]:
    """Judge the checks of pages that were just read; return the results with their reasons."""
    by_document = _checks_of(s, {page.document_id for page, _ in read})
    found = {
        page.id: by_document.get(page.document_id, {}).get(result.template or "", ())
        for page, result in read
    }
    if not any(found.values()):
        return list(read)
    _lock_tenants(s, (page.tenant_id for page, _ in read), found.values())
    checked = []
    for page, result in read:
        checks = found[page.id]
        findings = _judge(s, page, checks, {field.name: field.value for field in result.fields})
        page.checks = [finding_as_json(finding) for finding in findings] or None
        failing = failing_fields(findings)
        fields = tuple(
            replace(field, reason=ReviewReason.CHECK_FAILS)
            if field.name in failing and field.reason in _UNSURE
            else field
            for field in result.fields
        )
        checked.append((page, replace(result, fields=fields)))
    s.flush()
    return checked


def contradictions(s: Session, field: Field, value: str) -> list[tuple[Finding, bool]]:
    """Return the checks that fail with this value of a field; True: all else in it is decided."""
    page, checks, fields = _page_of(s, field)
    concerned = [check for check in checks if field.name in check.fields]
    values = {one.name: one.value for one in fields} | {field.name: value}
    twins = {check.name: _twins(s, page, check, values) for check in _unique(concerned)}
    waiting = {one.name for one in fields if one.state == FieldState.REVIEW and one is not field}
    return [
        (finding, waiting.isdisjoint(finding.fields))
        for finding in judge_page(concerned, values, twins)
        if finding.fails
    ]


def check_decision(s: Session, batch: Batch, decided: Field, who: str, now: datetime) -> None:
    """Judge the checks of a page anew, now that a field of it was decided.

    Fields that policy or people had released wait again where a check contradicts them.
    """
    page, checks, fields = _page_of(s, decided)
    if not checks:
        return
    findings = _judge(s, page, checks, {field.name: field.value for field in fields})
    page.checks = [finding_as_json(finding) for finding in findings]
    waiting = {field.name for field in fields if field.state == FieldState.REVIEW}
    failing = [one for one in findings if one.fails and decided.name in one.fields]
    events = []
    for field in fields:
        against = [one for one in failing if field.name in one.fields and field is not decided]
        undecided = all(not waiting.isdisjoint(one.fields) for one in against)
        by_a_person = field.state == FieldState.VERIFIED and not field.forced
        if not against or not (
            field.state == FieldState.ACCEPTED or (by_a_person and not undecided)
        ):
            continue
        payload = change_of(field, who) | {"value": field.value, "check": against[0].name}
        field.state, field.reason = FieldState.REVIEW, ReviewReason.CHECK_FAILS
        field.released_by = field.released_at = field.note = None
        field.version += 1
        events.append(("field.contradicted", payload))
    s.flush()
    record_events(s, batch, now, events)


def _page_of(s: Session, field: Field) -> tuple[Page, tuple[Check, ...], Sequence[Field]]:
    """Return the page of a field, its checks, and its fields if it has checks."""
    page = s.scalars(select(Page).where(Page.id == field.page_id)).one()
    checks = _checks_of(s, [page.document_id]).get(page.document_id, {}).get(page.template or "")
    if not checks:
        return page, (), ()
    _lock_tenants(s, [page.tenant_id], [checks])
    query = select(Field).where(Field.page_id == page.id).order_by(Field.ordinal)
    return page, checks, s.scalars(query).all()


def _checks_of(s: Session, document_ids: Iterable[str]) -> dict[str, _ChecksOf]:
    rows = s.execute(
        select(Document.id, TemplateText.id)
        .join(TemplateText, Document.template_id == TemplateText.id)
        .where(Document.id.in_(list(document_ids)), TemplateText.checks.is_not(None))
    ).all()
    stored = s.execute(
        select(TemplateText.id, TemplateText.checks).where(
            TemplateText.id.in_({template_id for _, template_id in rows})
        )
    )
    parsed = {
        template_id: {
            name: tuple(check_from_json(one) for one in own) for name, own in (checks or {}).items()
        }
        for template_id, checks in (stored if rows else ())
    }
    return {document_id: parsed[template_id] for document_id, template_id in rows}


def _judge(s: Session, page: Page, checks: Sequence[Check], values: Values) -> tuple[Finding, ...]:
    """Judge the checks of a page, and note what no other page may share with it."""
    s.execute(delete(PageKey).where(PageKey.page_id == page.id))
    keys = [(check, check.key(values)) for check in _unique(checks)]
    rows = [
        {
            "id": new_id(),
            "tenant_id": page.tenant_id,
            "page_id": page.id,
            "check_name": check.name,
            "key": key,
        }
        for check, key in keys
        if key is not None
    ]
    if rows:
        s.execute(insert(PageKey), rows)
    twins = {check.name: _twins(s, page, check, values) for check, _ in keys}
    return judge_page(checks, values, twins)


def _unique(checks: Iterable[Check]) -> list[Unique]:
    return [check for check in checks if isinstance(check, Unique)]


def _twins(s: Session, page: Page, check: Unique, values: Values) -> list[Twin]:
    key = check.key(values)
    if key is None:
        return []
    return twins_of(s, page.tenant_id, page.id, key)


def _lock_tenants(s: Session, ids: Iterable[str], checks: Iterable[Sequence[Check]]) -> None:
    if not any(_unique(own) for own in checks):
        return
    query = select(Tenant.id).where(Tenant.id.in_(set(ids))).order_by(Tenant.id)
    s.execute(query.with_for_update(key_share=True)).all()
