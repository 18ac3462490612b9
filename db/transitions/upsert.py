"""Insert a row unless its unique key exists, without a race, on both databases."""

from __future__ import annotations

from typing import Any

from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from core.ids import new_id
from db.models import Base


def insert_or_ignore(s: Session, model: type[Base], unique: list[str], **values: Any) -> str | None:
    """Insert a row of `model` and return its id, or None if the `unique` columns clash.

    The id is new unless `values` has one. A concurrent insert of the same key is waited for, so the
    row exists in either case.
    """
    insert = postgresql.insert if s.get_bind().dialect.name == "postgresql" else sqlite.insert
    row_id: str | None = s.execute(
        insert(model)
        .values({"id": new_id()} | values)
        .on_conflict_do_nothing(index_elements=unique)
        .returning(model.__table__.c.id)
    ).scalar()
    return row_id
