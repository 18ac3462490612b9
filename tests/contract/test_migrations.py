"""Models and migrations agree, on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Column, Connection, Integer, delete, inspect, select, text

from core.errors import ConfigError, TransientError
from core.exporting import ExportColumn, ExportFormat
from core.policy import Decision
from core.roles import Role
from db.migrate import MIGRATIONS, alembic_config, migrating, upgrade
from db.models import Base, Batch, Page, PageKey, Tenant
from db.session import Database, Session, make_engine
from db.transitions.attempts import begin_attempt
from db.transitions.batches import NewDocument, add_documents, add_template
from db.transitions.carpet import Seen, confirm_screen
from db.transitions.deciding import decide_field
from db.transitions.documents import NewPassedOver
from db.transitions.exporting import create_export
from db.transitions.keyings import Keyed
from db.transitions.people import ensure_person
from db.transitions.policies import set_policy
from db.transitions.reviewing import hold_next, take_back
from db.transitions.sessions import create_sign_in_link, sign_in
from db.transitions.templates import add_picture, save_version
from db.transitions.tenants import create_api_key, ensure_tenant
from db.views import PersonView
from tests.contract.acts import (
    as_typed,
    claimed,
    complete_page,
    new_batch,
    new_tenant,
    queued,
    result,
)


def is_current(url: str) -> bool:
    """Tell whether the database has the newest schema."""
    with reading(url) as connection:
        revision = MigrationContext.configure(connection).get_current_revision()
    return revision == _scripts().get_current_head()


def _scripts() -> ScriptDirectory:
    return ScriptDirectory(str(MIGRATIONS))


def test_models_and_migrations_agree(database_url: str) -> None:
    with reading(database_url) as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_down_and_up_again(database_url: str) -> None:
    assert is_current(database_url)
    with migrating(database_url) as connection:
        command.downgrade(alembic_config(connection), "base")
    assert not is_current(database_url)
    with reading(database_url) as connection:
        assert inspect(connection).get_table_names() == ["alembic_version"]
    upgrade(database_url)
    assert is_current(database_url)


def test_every_migration_keeps_every_row(database: Database, database_url: str) -> None:
    fill(database)
    revisions = [script.revision for script in _scripts().walk_revisions()]  # the newest first
    before = ids(database_url)
    assert all(before.values()), "every table has a row to lose"
    for revision in revisions[1:]:
        with migrating(database_url) as connection:
            command.downgrade(alembic_config(connection), revision)
        kept = ids(database_url)
        assert kept == {table: before[table] for table in kept}, f"down to {revision}"
    lasting = set(kept)  # a table that came later goes on the way down, and comes back empty
    for revision in reversed(revisions):
        with migrating(database_url) as connection:
            command.upgrade(alembic_config(connection), revision)
        kept = {table: rows for table, rows in ids(database_url).items() if table in lasting}
        assert kept == {table: before[table] for table in lasting}, f"up to {revision}"
    assert is_current(database_url)


def test_before_copies_were_documents_there_was_one_of_each(
    database: Database, database_url: str
) -> None:
    """Only the copy, which has no pages, is deleted by the migration down."""
    tenant_id = new_tenant(database)
    files = [NewDocument(name, "a" * 64, 9) for name in ("a.jpg", "b.jpg")]
    batch_id = new_batch(database, tenant_id)
    with database.transaction() as s:
        added = add_documents(
            s, tenant_id=tenant_id, batch_id=batch_id, files=files, template_id=None
        )
        first, copy = (document.id for document, _ in added)
    before = ids(database_url)["document"]
    with migrating(database_url) as connection:
        command.downgrade(alembic_config(connection), "0006")
    assert ids(database_url)["document"] == before - {copy}
    assert first in ids(database_url)["document"]
    upgrade(database_url)


def test_a_migration_may_copy_tables(sqlite_url: str) -> None:
    """Alembic changes some columns on SQLite only by copying the table and dropping the old one."""
    database = Database(sqlite_url)
    fill(database)
    database.dispose()
    before = ids(sqlite_url)
    with migrating(sqlite_url) as connection:
        operations = Operations(MigrationContext.configure(connection))
        for table in Base.metadata.tables:
            with operations.batch_alter_table(table, recreate="always") as batch:
                batch.add_column(Column("more", Integer))
    assert ids(sqlite_url) == before
    with database.transaction() as s:  # on a new connection, where they are on
        s.execute(delete(Tenant))
    database.dispose()
    left = {table for table, rows in ids(sqlite_url).items() if rows}
    assert left == {"outbox", "audit_event", "sign_in_attempt"}


def test_a_migration_that_leaves_rows_without_their_parents_is_undone(
    sqlite_url: str,
) -> None:
    database = Database(sqlite_url)
    fill(database)
    database.dispose()
    before = ids(sqlite_url)

    def lose_pages() -> None:
        with migrating(sqlite_url) as connection:
            connection.execute(delete(Page))
            command.downgrade(alembic_config(connection), "-1")

    with pytest.raises(ConfigError, match="field"):
        lose_pages()
    assert ids(sqlite_url) == before
    assert is_current(sqlite_url)


def test_a_connection_that_enforces_foreign_keys_is_refused(sqlite_url: str) -> None:
    engine = make_engine(sqlite_url)
    with engine.begin() as connection, pytest.raises(RuntimeError, match="foreign keys"):
        command.downgrade(alembic_config(connection), "-1")
    engine.dispose()
    assert is_current(sqlite_url)


def fill(db: Database) -> None:
    """Write a row into every table."""
    thumbnail = NewPassedOver("frame 2", "thumbnail", "It is small.")
    tenant_id, _, page_ids = queued(db, pages=1, passed_over=[thumbnail])
    (claim,) = claimed(db, page_ids)
    with db.transaction() as s:
        assert complete_page(
            s, claim.page_id, claim.attempt, result(Decision.REVIEW, Decision.REVIEW)
        )
        create_api_key(s, tenant_id, "key")
        add_template(s, tenant_id=tenant_id, name="t", text="fields: []")
        picture = {"picture_id": "e" * 32, "sha256": "b" * 64, "width": 9, "height": 9}
        add_picture(s, tenant_id=tenant_id, **picture)
        version = {"name": "t", "text": "fields: []", "who": "Ada", "seen": None}
        save_version(s, tenant_id=tenant_id, picture_id="e" * 32, **version)
        key = "a" * 40
        s.add(PageKey(tenant_id=tenant_id, page_id=claim.page_id, check_name="once", key=key))
        person = ensure_person(s, tenant_id, "Ada", Role.VERIFIER)
        assert sign_in(s, create_sign_in_link(s, person.id))
        begin_attempt(s, "Ada", "192.0.2.1")
        set_policy(s, tenant_id=tenant_id, one_in=None, who="Ada", why="A first look.")
        batch_id = s.scalars(select(Batch.id)).one()
        question, _ = hold_next(s, tenant_id=tenant_id, batch_id=batch_id, person=person, count=2)
        create_export(
            s,
            tenant_id=tenant_id,
            batch_id=batch_id,
            who="Ada",
            export_format=ExportFormat.CSV,
            columns=[ExportColumn("file", "File")],
            base_url="",
        )
        decide_field(
            s,
            tenant_id=tenant_id,
            field_id=question.field_id,
            person=person,
            keyed=Keyed("17"),
            check=as_typed,
            version=1,
        )
        _look_at_a_character(s, tenant_id, batch_id, question.field_id, person)


def _look_at_a_character(
    s: Session, tenant_id: str, batch_id: str, field_id: str, person: PersonView
) -> None:
    """Write what a person says of a character that she sees in a carpet."""
    take_back(s, tenant_id=tenant_id, field_id=field_id, person=person, version=2)
    outcome = confirm_screen(
        s,
        tenant_id=tenant_id,
        batch_id=batch_id,
        person=person,
        audit=False,
        seen=[Seen(field_id, 3, 0, "2", "2")],
        check=as_typed,
    )
    assert outcome.confirmed == 1


def ids(url: str) -> dict[str, frozenset[Any]]:
    """Return the ids of the rows of every table."""
    with reading(url) as connection:
        return {
            table: frozenset(connection.scalars(text(f'SELECT id FROM "{table}"')))
            for table in inspect(connection).get_table_names()
            if table != "alembic_version"
        }


@contextmanager
def reading(url: str) -> Iterator[Connection]:
    engine = make_engine(url)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


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
