"""Models and migrations agree, on both databases."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import func, inspect, select

from core.errors import ConfigError, TransientError
from core.policy import Decision
from db.migrate import MIGRATIONS, alembic_config, upgrade
from db.models import Base, Field, Page, Reading
from db.session import Database, make_engine
from db.transitions.tenants import ensure_tenant
from tests.contract.acts import claimed, complete_page, queued, result


def is_current(url: str) -> bool:
    """Tell whether the database has the newest schema."""
    engine = make_engine(url)
    with engine.connect() as connection:
        revision = MigrationContext.configure(connection).get_current_revision()
    engine.dispose()
    return revision == ScriptDirectory(str(MIGRATIONS)).get_current_head()


def test_models_and_migrations_agree(database_url: str) -> None:
    engine = make_engine(database_url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
    engine.dispose()


def test_down_and_up_again(database_url: str) -> None:
    assert is_current(database_url)
    engine = make_engine(database_url)
    with engine.begin() as connection:
        command.downgrade(alembic_config(connection), "base")
    assert not is_current(database_url)
    with engine.connect() as connection:
        assert inspect(connection).get_table_names() == ["alembic_version"]
    engine.dispose()
    upgrade(database_url)
    assert is_current(database_url)


@pytest.mark.parametrize("revision", ["0002", "0001"])
def test_readings_survive_a_change_of_the_table_of_pages(
    database: Database, database_url: str, revision: str
) -> None:
    """SQLite changes some columns only by dropping the table, which would cascade."""
    _, _, page_ids = queued(database, pages=1)
    (claim,) = claimed(database, page_ids)
    with database.transaction() as s:
        assert complete_page(s, claim.page_id, claim.attempt, result(Decision.REVIEW))
    engine = make_engine(database_url)
    with engine.begin() as connection:
        command.downgrade(alembic_config(connection), revision)
    upgrade(database_url)
    with engine.connect() as connection:
        rows = [connection.scalar(select(func.count(table.id))) for table in (Page, Field, Reading)]
    engine.dispose()
    assert rows == [1, 1, 1]


def test_processes_that_start_together_migrate_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'new' / 'counterfoil.sqlite3'}"
    # Threads here, each with its own connection: SQLite's lock is between connections.
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(upgrade, [url] * 4))
    assert is_current(url)


def test_a_database_without_tables_is_a_fault_of_the_setup(tmp_path: Path) -> None:
    db = Database(f"sqlite:///{tmp_path / 'empty.sqlite3'}")
    with pytest.raises(ConfigError), db.transaction() as s:
        ensure_tenant(s, "default")
    with pytest.raises(ConfigError):
        db.check()
    db.dispose()


def test_a_database_with_its_tables_is_ready(database: Database) -> None:
    database.check()


def test_a_database_that_is_away_is_a_passing_fault(tmp_path: Path) -> None:
    for url in (
        f"sqlite:///{tmp_path / 'no' / 'such' / 'folder' / 'x.sqlite3'}",
        f"postgresql://postgres@/x?host={tmp_path}",
    ):
        db = Database(url)
        with pytest.raises(TransientError), db.reading() as s:
            ensure_tenant(s, "default")
        db.dispose()


@pytest.mark.parametrize("url", ["", "nonsense", "mysql://host/db", "sqlite+unknown:///x"])
def test_a_url_of_another_database_is_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        make_engine(url)
