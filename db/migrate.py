"""Migrate a database to the newest schema: `python -m db.migrate`, or `upgrade(url)`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text

from core.settings import load_settings
from db.session import make_engine

MIGRATIONS = Path(__file__).parent / "migrations"
# An arbitrary number. It names the advisory lock under which processes migrate one at a time.
_LOCK = 6_251_404_119


def alembic_config(connection: Connection) -> Config:
    """Return Alembic's configuration for an open connection; there is no `alembic.ini`."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def upgrade(url: str) -> None:
    """Create or upgrade the tables in one transaction. Many processes may call it at once."""
    with migrating(url) as connection:
        command.upgrade(alembic_config(connection), "head")


@contextmanager
def migrating(url: str) -> Iterator[Connection]:
    """Yield a connection to migrate on, in a transaction that keeps other migrations waiting.

    On SQLite foreign keys are off: a migration that copies a table drops the old one, and with
    foreign keys on that would delete every row that refers to it.
    """
    engine = make_engine(url, foreign_keys=False)
    if engine.dialect.name == "sqlite" and engine.url.database:
        Path(engine.url.database).parent.mkdir(parents=True, exist_ok=True)
    try:
        # On SQLite, BEGIN IMMEDIATE is the lock.
        with engine.begin() as connection:
            if engine.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
            yield connection
    finally:
        engine.dispose()


if __name__ == "__main__":
    upgrade(load_settings().resolved_database_url())
