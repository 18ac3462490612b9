"""Pages of a tenant that share values which no two should."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.checks import CheckState, Finding, Twin, finding_from_json
from db.models import Batch, Document, Page, PageKey

TWINS_SHOWN = 5


def twins_of(s: Session, tenant_id: str, page_id: str, key: str) -> list[Twin]:
    """Return other pages of the tenant that have a key, the oldest first, a few at most."""
    rows = s.execute(
        select(Page.id, Page.ordinal, Page.label, Document.filename, Batch.name)
        .join(PageKey, PageKey.page_id == Page.id)
        .join(Document, Page.document_id == Document.id)
        .join(Batch, Page.batch_id == Batch.id)
        .where(PageKey.tenant_id == tenant_id, PageKey.key == key, PageKey.page_id != page_id)
        .order_by(Page.id)
        .limit(TWINS_SHOWN)
    )
    twins = []
    for other_id, ordinal, label, filename, batch in rows:
        number = f", page {ordinal}" if ordinal > 1 and not label else ""
        of_batch = f" of batch {batch}" if batch else ""
        twins.append(Twin(other_id, f"{label or filename}{number}{of_batch}"))
    return list(dict.fromkeys(twins))


def findings_of(s: Session, pages: Sequence[Page]) -> dict[str, tuple[Finding, ...]]:
    """Return what became of the checks of pages of one tenant, by the ids of the pages.

    Of two pages with the same values the later one was found to be a twin; this tells it of the
    earlier one as well.
    """
    stored = {page.id: page.checks for page in pages if page.checks}
    if not stored:
        return {}
    tenant_id = pages[0].tenant_id
    findings = {page_id: [finding_from_json(one) for one in own] for page_id, own in stored.items()}
    keys: dict[tuple[str, str], str] = {
        (page_id, check): key
        for page_id, check, key in s.execute(
            select(PageKey.page_id, PageKey.check_name, PageKey.key).where(
                PageKey.page_id.in_(list(findings))
            )
        )
    }
    shared = _shared(s, tenant_id, keys.values()) if keys else frozenset()
    return {
        page_id: tuple(
            _with_twins(s, tenant_id, page_id, finding, keys[page_id, finding.name], shared)
            if (page_id, finding.name) in keys
            else finding
            for finding in own
        )
        for page_id, own in findings.items()
    }


def _shared(s: Session, tenant_id: str, keys: Iterable[str]) -> frozenset[str]:
    """Return those of the keys that several pages have."""
    query = (
        select(PageKey.key)
        .where(PageKey.tenant_id == tenant_id, PageKey.key.in_(set(keys)))
        .group_by(PageKey.key)
        .having(func.count(PageKey.page_id.distinct()) > 1)
    )
    return frozenset(s.scalars(query))


def _with_twins(
    s: Session, tenant_id: str, page_id: str, finding: Finding, key: str, shared: frozenset[str]
) -> Finding:
    twins = twins_of(s, tenant_id, page_id, key) if key in shared else []
    if not twins:
        return replace(finding, state=CheckState.HOLDS, message="", twins=())
    if finding.fails and finding.twins[:1] == tuple(twins[:1]):
        return replace(finding, twins=tuple(twins))
    message = f"{twins[0].label} has the same {', '.join(finding.fields)}."
    return replace(finding, state=CheckState.FAILS, message=message, twins=tuple(twins))
