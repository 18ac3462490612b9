"""Alembic's entry: runs on the connection that `db.migrate` hands over, in its transaction."""

from __future__ import annotations

from typing import Any, Literal

from alembic import context

from db.models import Base
from db.types import PlainText, UtcDateTime


def _render(kind: str, item: Any, _context: Any) -> str | Literal[False]:
    """Write our column types as what they are in the database: a migration imports no model."""
    if kind == "type" and isinstance(item, PlainText):
        return "sa.Text()" if item.length is None else f"sa.String({item.length})"
    if kind == "type" and isinstance(item, UtcDateTime):
        return "sa.DateTime(timezone=True)"
    return False


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    compare_type=True,
    render_item=_render,
    render_as_batch=True,  # SQLite alters a table only by copying it
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
