"""A transaction waits for the disk before anybody is told that it has happened."""

from __future__ import annotations

from sqlalchemy import make_url, text

from db.session import Database
from tests.servers import PostgresServer

FULL = 2


def test_sqlite_waits_for_the_disk(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    with database.transaction() as s:
        assert s.execute(text("PRAGMA synchronous")).scalar_one() == FULL
        assert s.execute(text("PRAGMA journal_mode")).scalar_one() == "wal"
    database.dispose()


def test_postgresql_waits_for_the_disk_whatever_its_default(
    postgres_server: PostgresServer, postgres_url: str
) -> None:
    name = make_url(postgres_url).database
    for default, used in [("off", "on"), ("remote_apply", "remote_apply"), ("local", "local")]:
        postgres_server.execute(f"ALTER DATABASE {name} SET synchronous_commit = {default}")
        database = Database(postgres_url)
        with database.transaction() as s:
            assert s.execute(text("SHOW synchronous_commit")).scalar_one() == used
        database.dispose()
