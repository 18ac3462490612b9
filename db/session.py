"""Connections and transactions, with the same behaviour on SQLite and PostgreSQL."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:  # only PostgreSQL needs it, and it takes a quarter of a second to import
    import psycopg

__all__ = ["Database", "Session", "database_now", "make_engine", "url_without_password"]

# A connection with this option only reads, so it must not take the write lock of SQLite.
_READING = "counterfoil_reading"
# Long enough to wait for every writer ahead of us: a transaction takes milliseconds.
_BUSY_SECONDS = 10
# SQLSTATE of PostgreSQL's errors undefined_table and undefined_column.
_UNDEFINED = {"42P01", "42703"}


def make_engine(url: str, *, foreign_keys: bool = True) -> Engine:
    """Return an engine for a `sqlite:///` or `postgresql+psycopg://` URL. It does not connect yet.

    Without `foreign_keys` SQLite enforces none, as a migration needs it; PostgreSQL always does.
    Raises ConfigError for any other URL.
    """
    try:
        parsed = make_url(url)
        backend = parsed.get_backend_name()
        if backend == "sqlite":
            engine = create_engine(
                parsed, pool_size=32, max_overflow=32, connect_args={"timeout": _BUSY_SECONDS}
            )
            _configure_sqlite(engine, foreign_keys)
            return engine
        if backend == "postgresql":
            # After a restart of the server the pool holds dead connections: test each before use.
            engine = create_engine(
                parsed.set(drivername="postgresql+psycopg"),
                pool_size=8,
                max_overflow=32,
                pool_pre_ping=True,
                connect_args={"connect_timeout": 10, "application_name": "counterfoil"},
            )
            event.listen(engine, "connect", _wait_for_disk)
            return engine
    except (ArgumentError, NoSuchModuleError) as exc:
        raise ConfigError(
            "The database URL cannot be understood.", code="bad-database-url"
        ) from exc
    raise ConfigError(
        f"Counterfoil runs on SQLite and PostgreSQL, not on {backend}.", code="bad-database-url"
    )


def url_without_password(url: str) -> str:
    """Return a database URL with its password hidden."""
    return make_url(url).render_as_string(hide_password=True)


def _wait_for_disk(connection: psycopg.Connection, _record: Any) -> None:
    """Have COMMIT wait for the disk, also where the server, database or role is set not to."""
    connection.execute(
        "SELECT set_config('synchronous_commit', 'on', false)"
        " WHERE current_setting('synchronous_commit') = 'off'"
    )
    connection.commit()


def _configure_sqlite(engine: Engine, foreign_keys: bool) -> None:
    @event.listens_for(engine, "connect")
    def _connect(connection: sqlite3.Connection, _record: Any) -> None:
        connection.isolation_level = None  # `_begin` begins transactions, not the driver
        connection.execute(f"PRAGMA busy_timeout = {_BUSY_SECONDS * 1000}")
        _write_ahead(connection)
        # NORMAL would answer before a transaction is on the disk: a power cut could undo what a
        # client was told.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA foreign_keys = {foreign_keys:d}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # In SQLite a transaction that has read cannot wait for the write lock, because its snapshot
        # would be stale: it fails at once. So a writer takes the lock when it begins.
        reading = connection.get_execution_options().get(_READING)
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Switch to the write-ahead log. Processes that start together wait for one another.

    SQLite does not apply its busy timeout to this switch.
    """
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as exc:
            if exc.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.05)


class Database:
    """The connections of one process. Make it after the fork; threads may share it."""

    def __init__(self, url: str) -> None:
        # Called at the end of each transaction, before it commits; what it returns is called after
        # the commit. The audit log of a server hangs here.
        self.before_commit: Callable[[Session], Callable[[], None] | None] | None = None
        self.engine = make_engine(url)
        options: dict[str, Any] = {_READING: True}
        if self.engine.dialect.name == "postgresql":
            # All queries see one snapshot, so that counts add up while workers write.
            options |= {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        self._reader = self.engine.execution_options(**options)

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """Yield a session that commits at the end, or rolls back if the block raises.

        Raises TransientError if the database is away, busy or full, and ConfigError if tables or
        columns are missing.
        """
        committed: Callable[[], None] | None = None
        with (
            _translated(),
            Session(self.engine, expire_on_commit=False) as session,
            session.begin(),
        ):
            yield session
            if self.before_commit is not None:
                committed = self.before_commit(session)
        if committed is not None:
            committed()

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Yield a session that reads one consistent snapshot. Raises as `transaction` does."""
        with (
            _translated(),
            Session(self._reader, expire_on_commit=False, autoflush=False) as session,
        ):
            yield session

    def check(self) -> None:
        """Query one of our own tables. Raises as `transaction` does."""
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
                "The database does not have the tables of this version of Counterfoil.",
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
        # This code also stands for wrong SQL, but that would have failed in the tests.
        return exc.orig.sqlite_errorcode == sqlite3.SQLITE_ERROR
    return getattr(exc.orig, "sqlstate", None) in _UNDEFINED


def database_now(session: Session) -> datetime:
    """Return the time by the clock of the database, on which all leases are measured.

    On PostgreSQL it is the time of this call, not of the start of the transaction: a lease may have
    expired while the transaction waited for a lock.
    """
    if session.get_bind().dialect.name == "postgresql":
        now: datetime = session.execute(select(func.clock_timestamp())).scalar_one()
        return now.astimezone(UTC)
    moment = session.execute(text("SELECT strftime('%Y-%m-%d %H:%M:%f', 'now')")).scalar_one()
    return datetime.fromisoformat(moment).replace(tzinfo=UTC)
