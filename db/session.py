"""Connections and transactions, alike on SQLite and PostgreSQL."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from psycopg import errors as postgres_errors
from sqlalchemy import Connection, Engine, create_engine, event, func, make_url, select, text
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    InterfaceError,
    NoSuchModuleError,
    OperationalError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session

from core.errors import ConfigError, TransientError

__all__ = ["Database", "Session", "database_now", "make_engine", "url_without_password"]

# A connection with this option only reads, and so must not take SQLite's one write lock.
_READING = "counterfoil_reading"
# Long enough for every writer in the queue before us: a transaction takes milliseconds.
_BUSY_SECONDS = 10


def make_engine(url: str) -> Engine:
    """Return an engine for a `sqlite:///` or `postgresql+psycopg://` URL. Connects to nothing yet.

    Raises ConfigError for a URL that is neither.
    """
    try:
        parsed = make_url(url)
        backend = parsed.get_backend_name()
        if backend == "sqlite":
            engine = create_engine(
                parsed, pool_size=32, max_overflow=32, connect_args={"timeout": _BUSY_SECONDS}
            )
            _configure_sqlite(engine)
            return engine
        if backend == "postgresql":
            # A restarted server leaves dead connections in the pool: each is tried before use.
            return create_engine(
                parsed.set(drivername="postgresql+psycopg"),
                pool_size=8,
                max_overflow=32,
                pool_pre_ping=True,
                connect_args={"connect_timeout": 10, "application_name": "counterfoil"},
            )
    except (ArgumentError, NoSuchModuleError) as exc:
        raise ConfigError(
            "The database URL cannot be understood.", code="bad-database-url"
        ) from exc
    raise ConfigError(
        f"Counterfoil runs on SQLite and PostgreSQL, not on {backend}.", code="bad-database-url"
    )


def url_without_password(url: str) -> str:
    """Return a database URL as people may see it."""
    return make_url(url).render_as_string(hide_password=True)


def _configure_sqlite(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def _connect(connection: sqlite3.Connection, _record: Any) -> None:
        connection.isolation_level = None  # transactions are begun below, not by the driver
        # Another process may be switching the same new file to WAL: wait for it.
        connection.execute(f"PRAGMA busy_timeout = {_BUSY_SECONDS * 1000}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA foreign_keys = ON")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A transaction that reads first and writes later cannot wait for the lock in SQLite
        # (its snapshot would be stale) and fails at once, so a writer takes it at the start.
        reading = connection.get_execution_options().get(_READING)
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


class Database:
    """One process's way to the database. Make it after the fork; threads may share it."""

    def __init__(self, url: str) -> None:
        self.engine = make_engine(url)
        options: dict[str, Any] = {_READING: True}
        if self.engine.dialect.name == "postgresql":
            # One snapshot for all queries of a reading: counts add up while workers write.
            options |= {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        self._reader = self.engine.execution_options(**options)

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """Yield a session that commits at the end, or rolls back if the block raises.

        Raises TransientError where the database is away, busy or full; ConfigError where its
        tables are missing.
        """
        with (
            _translated(),
            Session(self.engine, expire_on_commit=False) as session,
            session.begin(),
        ):
            yield session

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Yield a session for reading one consistent snapshot. Nothing is committed."""
        with (
            _translated(),
            Session(self._reader, expire_on_commit=False, autoflush=False) as session,
        ):
            yield session

    def check(self) -> None:
        """Ask for one row of our own tables. Raises TransientError, ConfigError as above."""
        with self.reading() as session:
            session.execute(text("SELECT 1 FROM tenant LIMIT 1"))

    def dispose(self) -> None:
        self.engine.dispose()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except PoolTimeoutError as exc:
        raise _unavailable() from exc
    except DBAPIError as exc:
        if _tables_missing(exc):
            raise ConfigError(
                "The database has no tables of Counterfoil, or old ones.",
                hint="Start `counterfoil up`, or run `python -m db.migrate`.",
                code="database-not-migrated",
            ) from exc
        if exc.connection_invalidated or isinstance(exc, OperationalError | InterfaceError):
            raise _unavailable() from exc
        raise


def _unavailable() -> TransientError:
    return TransientError("The database is away, busy or full.", code="database-unavailable")


def _tables_missing(exc: DBAPIError) -> bool:
    if isinstance(exc.orig, sqlite3.OperationalError):
        # Any other fault of a statement would have shown in the first test that ran it.
        return exc.orig.sqlite_errorcode == sqlite3.SQLITE_ERROR
    return isinstance(exc.orig, postgres_errors.UndefinedTable | postgres_errors.UndefinedColumn)


def database_now(session: Session) -> datetime:
    """Return the time by the database's clock, the only one that leases are measured on.

    On PostgreSQL this is the time now, not of the transaction's start: a transaction that
    waited for a lock must not take a lease for fresh that has passed meanwhile.
    """
    if session.get_bind().dialect.name == "postgresql":
        now: datetime = session.execute(select(func.clock_timestamp())).scalar_one()
        return now.astimezone(UTC)
    moment = session.execute(text("SELECT strftime('%Y-%m-%d %H:%M:%f', 'now')")).scalar_one()
    return datetime.fromisoformat(moment).replace(tzinfo=UTC)
