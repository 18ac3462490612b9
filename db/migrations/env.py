"""Alembic's entry: runs on the connection that `db.migrate` hands over, in its transaction.

On SQLite it refuses a connection that enforces foreign keys (see `db.migrate.migrating`), and
checks them itself after each migration.
"""

from __future__ import annotations

from typing import Any, Literal

from alembic import context
from alembic.runtime.migration import MigrationContext, MigrationInfo
from sqlalchemy import Connection

import db.models_exports
import db.models_people  # noqa: F401 (its tables are part of the metadata)
from core.errors import ConfigError
from db.models import Base
from db.types import PlainText, UtcDateTime


def _render(kind: str, item: Any, _context: Any) -> str | Literal[False]:
    """Write our column types as what they are in the database: a migration imports no model."""
    if kind == "type" and isinstance(item, PlainText):
        return "sa.Text()" if item.length is None else f"sa.String({item.length})"
    if kind == "type" and isinstance(item, UtcDateTime):
        return "sa.DateTime(timezone=True)"
    return False


def _check_foreign_keys(ctx: MigrationContext, step: MigrationInfo, *_: Any, **__: Any) -> None:
    if ctx.dialect.name != "sqlite":
        return
    broken = {row[0] for row in connection.exec_driver_sql("PRAGMA foreign_key_check")}
    if broken:
        raise ConfigError(
            f"Migration {step.up_revision_id} was undone: rows of {', '.join(sorted(broken))} "
            "would refer to rows that do not exist.",
            hint="Look with SQLite's PRAGMA foreign_key_check; start the version used before.",
            code="migration-refused",
        )


connection: Connection = context.config.attributes["connection"]
if (
    connection.dialect.name == "sqlite"
    and connection.exec_driver_sql("PRAGMA foreign_keys").scalar_one()
):
    raise RuntimeError("migrations need a connection of db.migrate.migrating: foreign keys are on")
context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    compare_type=True,
    render_item=_render,
    render_as_batch=True,  # SQLite alters a table only by copying it
    transactional_ddl=True,
    on_version_apply=_check_foreign_keys,
)
with context.begin_transaction():
    context.run_migrations()
