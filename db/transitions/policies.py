"""Transitions of release policies: setting one, the alarm that ends it, and its acknowledgement.

Each function locks the row of the tenant's last policy first, if there is one. The number of a
policy is unique, so of two people who set one at once, one is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from core.errors import ConflictError, InputError
from core.limits import MAX_NOTE
from core.release import BUDGETS, Rules, look, watch
from core.text import checked_line
from db.evidence import audited, keyed_blindly, newest_keying
from db.models import ReleasePolicy, Tenant
from db.session import database_now

_LEAST_REASON: Final = 3  # characters: "ok." is a reason, "x" is none


@dataclass(frozen=True, slots=True)
class Alarm:
    """A policy whose budget was found broken."""

    policy_id: str
    tenant: str  # name
    number: int
    one_in: int
    audited: int  # released values that people keyed again
    wrong: int  # of these
    at: datetime


def set_policy(
    s: Session, *, tenant_id: str, one_in: int | None, who: str, why: str
) -> ReleasePolicy:
    """Release from now on what keeps "at most one wrong in `one_in`"; None: nothing.

    What that is follows from the evidence as it is now. Raises InputError for a budget that is not
    offered, and without a reason; ConflictError if an alarm was not acknowledged, if the evidence
    allows nothing, or if somebody else sets a policy at this moment.
    """
    why = _reason(why)
    last = _last(s, tenant_id, lock=True)
    if last is not None and last.alarm_at is not None and last.acknowledged_at is None:
        raise ConflictError(
            "There is an alarm that nobody has acknowledged.",
            hint="Look at it and say what was done, then set a policy.",
            code="alarm-open",
        )
    thresholds: list[Any] = []
    models: tuple[str, ...] = ()
    about: dict[str, Any] = {}
    if one_in is not None:
        if one_in not in BUDGETS:
            raise InputError(f"One in {one_in} is not offered.", code="bad-budget")
        evidence = keyed_blindly(s, tenant_id)
        chosen = look(evidence.fields, one_in).thresholds
        if not chosen:
            raise ConflictError(
                f"The evidence does not yet show that at most one in {one_in:,} would be wrong.",
                hint="Key more fields blindly.",
                code="too-little-evidence",
            )
        thresholds = [[*key, least] for key, least in sorted(chosen.items())]
        models, about = evidence.models, {"keyed": evidence.keyed, "wrong": evidence.wrong}
    policy = ReleasePolicy(
        tenant_id=tenant_id,
        number=1 if last is None else last.number + 1,
        one_in=one_in,
        thresholds=thresholds,
        models=list(models),
        evidence=about,
        who=who,
        why=why,
        created_at=database_now(s),
    )
    try:
        with s.begin_nested():
            s.add(policy)
    except IntegrityError as exc:
        raise ConflictError(
            "Somebody else has set a policy at this moment.", code="policy-changed"
        ) from exc
    return policy


def acknowledge_alarm(s: Session, *, tenant_id: str, who: str, why: str) -> None:
    """Record that a supervisor knows of the alarm. Until she sets a policy, nothing is released.

    Raises InputError without a reason, ConflictError if there is no alarm to acknowledge.
    """
    why = _reason(why)
    last = _last(s, tenant_id, lock=True)
    if last is None or last.alarm_at is None or last.acknowledged_at is not None:
        raise ConflictError("There is no alarm that waits for you.", code="no-alarm")
    last.acknowledged_at, last.acknowledged_by, last.acknowledged_why = database_now(s), who, why
    s.flush()


def policies_to_watch(s: Session) -> list[str]:
    """Return the tenants whose policy in force was not watched since the last keying."""
    found = []
    for tenant_id in s.scalars(select(Tenant.id).order_by(Tenant.id)).all():
        policy = _in_force(s, tenant_id)
        if policy is None or policy.one_in is None:
            continue
        if newest_keying(s, tenant_id) != policy.watched_to:
            found.append(tenant_id)
    return found


def watch_policy(s: Session, tenant_id: str) -> bool:
    """Test the policy in force on what people keyed of the values that it released.

    Returns whether an alarm was raised now. Safe to repeat, and to run many times at once.
    """
    policy = _last(s, tenant_id, lock=True)
    if policy is None or policy.one_in is None or policy.alarm_at is not None:
        return False
    policy.watched_to = newest_keying(s, tenant_id)
    found = watch(audited(s, policy), policy.one_in)
    if found.raised_after is not None:
        policy.alarm_at = database_now(s)
        policy.alarm = {"audited": found.audited, "wrong": found.wrong}
    s.flush()
    return policy.alarm_at is not None


def alarms_to_send(s: Session) -> list[Alarm]:
    """Return the alarms of which the webhook was not told, the oldest first."""
    query = (
        select(ReleasePolicy, Tenant.name)
        .join(Tenant, ReleasePolicy.tenant_id == Tenant.id)
        .where(ReleasePolicy.alarm_at.is_not(None), ReleasePolicy.alarm_sent_at.is_(None))
        .order_by(ReleasePolicy.alarm_at)
    )
    alarms = []
    for policy, tenant in s.execute(query):
        found, at, one_in = policy.alarm, policy.alarm_at, policy.one_in
        if found is not None and at is not None and one_in is not None:
            counts = (found["audited"], found["wrong"])
            alarms.append(Alarm(policy.id, tenant, policy.number, one_in, *counts, at))
    return alarms


def record_alarm_sent(s: Session, policy_id: str) -> None:
    """Record that the webhook knows of an alarm. Safe to repeat."""
    policy = s.get_one(ReleasePolicy, policy_id)
    policy.alarm_sent_at = database_now(s)
    s.flush()


def rules_in_force(s: Session, tenant_id: str) -> Rules | None:
    """Return the policy by which pages are read now; None: nothing is released by policy."""
    policy = _in_force(s, tenant_id)
    if policy is None or policy.one_in is None:
        return None
    thresholds = {(template, field): least for template, field, least in policy.thresholds}
    return Rules(policy.id, thresholds, frozenset(policy.models))


def _in_force(s: Session, tenant_id: str) -> ReleasePolicy | None:
    last = _last(s, tenant_id)
    return None if last is None or last.alarm_at is not None else last


def _last(s: Session, tenant_id: str, *, lock: bool = False) -> ReleasePolicy | None:
    query = select(ReleasePolicy).where(ReleasePolicy.tenant_id == tenant_id)
    query = query.order_by(ReleasePolicy.number.desc()).limit(1)
    if lock:
        query = query.with_for_update().execution_options(populate_existing=True)
    return s.scalar(query)


def _reason(why: str) -> str:
    why = checked_line(why, "The reason", longest=MAX_NOTE)
    if len(why) < _LEAST_REASON:
        raise InputError("Say why, in a few words.", code="reason-required")
    return why
