"""Pages and documents that wait: when they may be tried, and when they are hinted again."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, or_, select, update
from sqlalchemy.orm import Session

from db.models import Document, Page

_FIRST_SECONDS = 5.0
# An attempt itself waits minutes for the service, so this need not be long. Once the service is
# back, work goes on within a minute.
_LONGEST_SECONDS = 60.0


def back_off(excused: int) -> timedelta:
    """Return the pause after this many attempts (from 1) that failed because of a service."""
    doublings = min(max(excused, 1) - 1, 16)
    return timedelta(seconds=min(_FIRST_SECONDS * 2**doublings, _LONGEST_SECONDS))


def may_be_tried(table: type[Page | Document], now: datetime) -> ColumnElement[bool]:
    """Return the condition that a row is not backing off."""
    return or_(table.not_before.is_(None), table.not_before <= now)


def take_to_hint(
    s: Session,
    table: type[Page | Document],
    waits: ColumnElement[bool],
    now: datetime,
    *,
    older_than_seconds: float,
    limit: int,
) -> list[str]:
    """Return ids of rows that wait and were not hinted lately, and mark them as hinted now.

    `waits` is the condition that a row waits. The last hint is missing (these rows come first) or
    at least `older_than_seconds` old. Rows that another transaction has locked are left out.
    """
    hinted = table.hinted_at
    unhinted = or_(hinted.is_(None), hinted <= now - timedelta(seconds=older_than_seconds))
    ids = list(
        s.scalars(
            select(table.id)
            .where(and_(waits, may_be_tried(table, now), unhinted))
            .order_by(hinted.asc().nulls_first(), table.id)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
    )
    s.execute(
        update(table)
        .where(table.id.in_(ids))
        .values(hinted_at=now)
        .execution_options(synchronize_session=False)
    )
    return ids
