"""What people keyed without seeing the machine's value, as evidence for the release policy.

Call these in `Database.reading()`, or in the transaction that acts on them. Only what the readers
in use have read counts: a policy holds for the weights that it was made for.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

from sqlalchemy import Row, Select, func, select
from sqlalchemy.orm import Session

from core.keying import KeyingMode
from core.policy import ReviewReason
from core.release import FieldKey, KeyedField
from db.models import (
    Batch,
    BatchState,
    Field,
    Keying,
    Page,
    Reading,
    ReleasePolicy,
)

_BLIND = (KeyingMode.BLIND, KeyingMode.DOUBLE, KeyingMode.THIRD, KeyingMode.AUDIT)
_MOST_KEYINGS = 200_000  # the newest: more would slow the page down
_MOST_RECENT = 5_000  # fields that show how sure the machine usually is

# What was released, until or unless people found it wrong.
_RELEASED = (None, ReviewReason.AUDIT_DIFFERS, ReviewReason.FAILED_AUDIT)
# Fields whose confidence alone decides whether they are released.
_RELEASABLE = (*_RELEASED, ReviewReason.NO_THRESHOLD, ReviewReason.BELOW_THRESHOLD)
_BUSY = (BatchState.RECEIVING, BatchState.PROCESSING, BatchState.REVIEWING)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was keyed blindly, and by which readers it had been read."""

    fields: dict[FieldKey, list[KeyedField]]
    models: tuple[str, ...]  # hashes

    @property
    def keyed(self) -> int:
        return sum(len(fields) for fields in self.fields.values())

    @property
    def wrong(self) -> int:
        return sum(not field.right for fields in self.fields.values() for field in fields)


@dataclass(frozen=True, slots=True)
class RecentField:
    """A field that was read lately, keyed or not."""

    key: FieldKey
    confidence: float
    releasable: bool  # its confidence alone decides; else a person sees it in any case
    length: int  # characters of its value


def keyed_blindly(s: Session, tenant_id: str) -> Evidence:
    """Return the evidence of a site since its last alarm: what was before holds no longer.

    Evidence for a threshold must be a fair sample of the fields above it. So of a batch that
    released nothing the fields of a name count once all of them were keyed blindly and the batch
    waits for nobody; of others only what was released, for thresholds that are at least as high. As
    long as people disagree with the machine and fewer agree with it, the field is wrong.
    """
    models = _models_in_use(s, tenant_id)
    policies = {
        policy.id: {(template, name): least for template, name, least in policy.thresholds}
        for policy in s.scalars(select(ReleasePolicy).where(ReleasePolicy.tenant_id == tenant_id))
    }
    query = _keyings(tenant_id).where(
        Keying.mode != KeyingMode.PLANTED, Reading.model_sha256.in_(models)
    )
    since = last_alarm(s, tenant_id)
    if since is not None:
        query = query.where(Keying.created_at > since)
    found: dict[FieldKey, list[KeyedField]] = {}
    of_batches: dict[tuple[str, FieldKey], list[KeyedField]] = {}
    for rows in _by_field(s, query):
        first, right = rows[0], _is_wrong(rows) is False
        key: FieldKey = (first.template or "", first.name)
        if first.reason == ReviewReason.NO_THRESHOLD and first.state not in _BUSY:
            of_batch = of_batches.setdefault((first.batch_id, key), [])
            of_batch.append(KeyedField(first.confidence, right))
        elif first.reason in _RELEASED:
            rules = policies.get(first.policy_id, {})
            threshold = rules.get(key) if first.policy_id else first.release_threshold
            if threshold is not None:
                released = KeyedField(first.confidence, right, complete_from=threshold)
                found.setdefault(key, []).append(released)
    totals = _without_threshold(s, {batch_id for batch_id, _ in of_batches}, models)
    for (batch_id, key), fields in of_batches.items():
        # If people decided some in another way, the rest may be the easier ones.
        if len(fields) == totals[batch_id, key]:
            found.setdefault(key, []).extend(fields)
    return Evidence(found, tuple(models))


def _without_threshold(
    s: Session, batch_ids: Collection[str], models: Collection[str]
) -> dict[tuple[str, FieldKey], int]:
    """Count the fields of batches that waited for no other reason than that none was released."""
    query = (
        select(Field.batch_id, Page.template, Field.name, func.count())
        .join(Page, Field.page_id == Page.id)
        .join(Reading, (Reading.field_id == Field.id) & (Reading.attempt == Page.attempt))
        .where(
            Field.batch_id.in_(batch_ids),
            Field.reason == ReviewReason.NO_THRESHOLD,
            Reading.model_sha256.in_(models),
        )
        .group_by(Field.batch_id, Page.template, Field.name)
    )
    return {
        (batch_id, (template or "", name)): count
        for batch_id, template, name, count in s.execute(query)
    }


def audited(s: Session, policy: ReleasePolicy) -> list[bool]:
    """Return of each released value that was keyed again whether it is wrong, in that order.

    One person alone may be wrong herself: where she differs and nobody else has decided, the field
    is left out.
    """
    query = _keyings(policy.tenant_id).where(Page.policy_id == policy.id)
    checked = (Keying.tenant_id == policy.tenant_id, Keying.mode == KeyingMode.AUDIT)
    query = query.where(Field.id.in_(select(Keying.field_id).where(*checked)))
    found = []
    for rows in _by_field(s, query):
        wrong = _is_wrong(rows)
        if wrong is not None:
            found.append((rows[-1].id, wrong))
    return [wrong for _, wrong in sorted(found)]


def newest_keying(s: Session, tenant_id: str) -> str | None:
    """Return the id of the last keying of a site."""
    return s.scalar(select(func.max(Keying.id)).where(Keying.tenant_id == tenant_id))


def last_alarm(s: Session, tenant_id: str) -> datetime | None:
    query = select(ReleasePolicy.alarm_at).where(ReleasePolicy.tenant_id == tenant_id)
    found = query.where(ReleasePolicy.alarm_at.is_not(None)).order_by(ReleasePolicy.number.desc())
    return s.scalar(found.limit(1))


def recent_fields(s: Session, tenant_id: str) -> list[RecentField]:
    """Return the fields that the readers in use read last, newest first."""
    query = (
        select(Page.template, Field.name, Reading.confidence, Field.reason, Reading.value)
        .join(Page, Field.page_id == Page.id)
        .join(Reading, (Reading.field_id == Field.id) & (Reading.attempt == Page.attempt))
        .where(
            Field.tenant_id == tenant_id,
            Reading.model_sha256.in_(_models_in_use(s, tenant_id)),
        )
        .order_by(Field.id.desc())
        .limit(_MOST_RECENT)
    )
    return [
        RecentField(
            (template or "", name),
            confidence,
            reason in _RELEASABLE,
            len(value or ""),
        )
        for template, name, confidence, reason, value in s.execute(query)
    ]


def _models_in_use(s: Session, tenant_id: str) -> list[str]:
    """Return the hash of each reader by its newest reading."""
    newest = (
        select(Field.id)
        .where(Field.tenant_id == tenant_id)
        .order_by(Field.id.desc())
        .limit(500)
        .subquery()
    )
    rows = s.execute(
        select(Reading.reader, Reading.model_sha256)
        .join(newest, newest.c.id == Reading.field_id)
        .order_by(Reading.id)
    )
    last = {row.reader: row.model_sha256 for row in rows}
    return sorted(last.values())


def _by_field(s: Session, query: Select[*tuple[Any, ...]]) -> Iterator[list[Row[*tuple[Any, ...]]]]:
    """Yield the keyings of each field that was keyed blindly, oldest first."""

    def field_of(row: Row[*tuple[Any, ...]]) -> str:
        return str(row.field_id)

    rows = sorted(s.execute(query), key=lambda row: (row.field_id, row.id))
    for _, group in groupby(rows, field_of):
        found = list(group)
        if any(row.mode in _BLIND for row in found):
            yield found


def _is_wrong(rows: Sequence[Row[*tuple[Any, ...]]]) -> bool | None:
    """Say whether the machine's value is wrong, by the last word of each person; None: not settled.

    Who saw the machine's value and confirmed it is no witness; who saw and changed it is.
    """
    last = {row.person_id: row for row in rows}.values()
    against = sum(row.value != row.shown for row in last)
    agreeing = sum(row.value == row.shown and row.mode in _BLIND for row in last)
    if against >= 2 and against > agreeing:
        return True
    if agreeing and agreeing >= against:  # one slip does not outweigh a person and the machine
        return False
    return None


def _keyings(tenant_id: str) -> Select[*tuple[Any, ...]]:
    return (
        select(
            Keying.id,
            Keying.field_id,
            Field.batch_id,
            Keying.person_id,
            Keying.mode,
            Keying.value,
            Keying.shown,
            Keying.confidence,
            Field.name,
            Field.reason,
            Page.template,
            Page.policy_id,
            Batch.release_threshold,
            Batch.state,
        )
        .join(Field, Keying.field_id == Field.id)
        .join(Page, Field.page_id == Page.id)
        .join(Batch, Field.batch_id == Batch.id)
        .join(Reading, (Reading.field_id == Field.id) & (Reading.attempt == Page.attempt))
        .where(Keying.tenant_id == tenant_id, Keying.withdrawn_at.is_(None))
        .order_by(Keying.id.desc())
        .limit(_MOST_KEYINGS)
    )
