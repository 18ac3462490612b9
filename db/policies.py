"""Queries of release policies, each limited to one tenant. Call them in `Database.reading()`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from core.release import FieldKey, Watch, watch
from db.evidence import audited
from db.models import Page, ReleasePolicy


@dataclass(frozen=True, slots=True)
class AlarmView:
    """What ended a policy, and who knows of it."""

    at: datetime
    audited: int  # released values that people keyed again
    wrong: int  # of these
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    acknowledged_why: str | None


@dataclass(frozen=True, slots=True)
class PolicyView:
    id: str
    number: int  # from 1
    one_in: int | None  # at most one wrong in so many; None: nothing is released
    thresholds: dict[FieldKey, float]
    keyed: int  # fields of the evidence on which it was set
    wrong: int  # of these
    who: str
    why: str
    created_at: datetime
    pages: int  # read under it
    alarm: AlarmView | None


def list_policies(s: Session, tenant_id: str) -> list[PolicyView]:
    """Return the policies of a site, the last first. Without an alarm, that one is in force."""
    query = select(ReleasePolicy).where(ReleasePolicy.tenant_id == tenant_id)
    policies = s.scalars(query.order_by(ReleasePolicy.number.desc())).all()
    counted = (
        select(Page.policy_id, func.count())
        .where(Page.policy_id.in_([policy.id for policy in policies]))
        .group_by(Page.policy_id)
    )
    pages: dict[str | None, int] = {}
    for policy_id, count in s.execute(counted):
        pages[policy_id] = count
    return [_view(policy, pages.get(policy.id, 0)) for policy in policies]


def watched(s: Session, tenant_id: str, policy_id: str) -> Watch | None:
    """Return what people found of the values that a policy released; None: it releases nothing."""
    policy = s.get(ReleasePolicy, policy_id)
    if policy is None or policy.tenant_id != tenant_id or policy.one_in is None:
        return None
    return watch(audited(s, policy), policy.one_in)


def has_open_alarm(s: Session, tenant_id: str) -> bool:
    """Say whether a supervisor must look at an alarm."""
    return s.scalar(_open_alarms().where(ReleasePolicy.tenant_id == tenant_id).limit(1)) is not None


def count_open_alarms(s: Session) -> int:
    """Return how many alarms of all tenants nobody has acknowledged."""
    return s.scalar(select(func.count()).select_from(_open_alarms().subquery())) or 0


def _open_alarms() -> Select[str]:
    return select(ReleasePolicy.id).where(
        ReleasePolicy.alarm_at.is_not(None), ReleasePolicy.acknowledged_at.is_(None)
    )


def _view(policy: ReleasePolicy, pages: int) -> PolicyView:
    found = policy.alarm
    alarm = None
    if found is not None and policy.alarm_at is not None:
        alarm = AlarmView(
            policy.alarm_at,
            found["audited"],
            found["wrong"],
            policy.acknowledged_at,
            policy.acknowledged_by,
            policy.acknowledged_why,
        )
    return PolicyView(
        id=policy.id,
        number=policy.number,
        one_in=policy.one_in,
        thresholds={(template, field): least for template, field, least in policy.thresholds},
        keyed=policy.evidence.get("keyed", 0),
        wrong=policy.evidence.get("wrong", 0),
        who=policy.who,
        why=policy.why,
        created_at=policy.created_at,
        pages=pages,
        alarm=alarm,
    )
