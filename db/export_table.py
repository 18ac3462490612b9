"""Write the rows of a batch into a table of another database, which the operator has configured.

Exporting a batch again replaces its rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from itertools import islice

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Engine,
    Float,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    delete,
    insert,
    inspect,
)
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, NoSuchModuleError
from sqlalchemy.pool import NullPool

from core.clock import utcnow
from core.errors import ConfigError, ConflictError, TransientError
from db.types import UtcDateTime
from db.views import ExportRow

ROWS_AT_ONCE = 1000


def export_table(url: str, table_name: str, batch_id: str, rows: Iterable[ExportRow]) -> int:
    """Replace the rows of one batch in a table, in one transaction; return how many were written.

    The table is created if it does not exist. Raises ConflictError if a table of that name lacks a
    column, or if the same batch is being exported at the same time; TransientError if the database
    does not answer or refuses the rows; ConfigError for a URL that cannot be used.
    """
    try:
        engine = create_engine(url, poolclass=NullPool)
    except (ArgumentError, NoSuchModuleError, ImportError) as exc:
        raise ConfigError("The URL of an export target cannot be used.") from exc
    try:
        table = _table(table_name)
        _prepare(engine, table)
        with engine.begin() as connection:
            return _replace(connection, table, batch_id, rows)
    except IntegrityError as exc:
        raise ConflictError(
            "Another export of this batch into this table is running.", code="export-running"
        ) from exc
    except DBAPIError as exc:
        raise TransientError(
            "The export target does not answer, or it refused the rows. Nothing was written.",
            hint="Try again. If that does not help, the log of the server has the reason.",
            code="export-target-unavailable",
        ) from exc
    finally:
        engine.dispose()


def _table(name: str) -> Table:
    return Table(
        name,
        MetaData(),
        Column("row_id", String(32), primary_key=True),
        Column("batch", String(32), nullable=False, index=True),
        Column("file", Text, nullable=False),
        Column("page", Integer),
        Column("label", Text, nullable=False),
        Column("template", Text),
        Column("field", Text),
        Column("value", Text),
        Column("raw", Text),
        Column("confidence", Float),
        Column("state", String(32)),
        Column("decision", String(32)),
        Column("reason", String(32)),
        Column("released_by", Text),
        Column("released_at", UtcDateTime),
        Column("forced", Boolean),
        Column("note", Text),
        Column("box", Text),
        Column("page_state", String(32), nullable=False),
        Column("error", Text),
        Column("document_id", String(32), nullable=False),
        Column("page_id", String(32)),
        Column("field_id", String(32)),
        Column("exported_at", UtcDateTime, nullable=False),
    )


def _prepare(engine: Engine, table: Table) -> None:
    if not inspect(engine).has_table(table.name):
        try:
            table.create(engine)
        except DBAPIError:
            if not inspect(engine).has_table(table.name):  # else another export just created it
                raise
    there = {column["name"] for column in inspect(engine).get_columns(table.name)}
    missing = sorted(set(table.columns.keys()) - there)
    if missing:
        raise ConflictError(
            f"There is another table named '{table.name}', without a column '{missing[0]}'.",
            hint="Choose another name.",
            code="table-differs",
        )


def _replace(connection: Connection, table: Table, batch_id: str, rows: Iterable[ExportRow]) -> int:
    now = utcnow()
    connection.execute(delete(table).where(table.c.batch == batch_id))
    count = 0
    for chunk in _chunked(rows):
        connection.execute(
            insert(table),
            [asdict(row) | {"exported_at": now} for row in chunk],
        )
        count += len(chunk)
    return count


def _chunked(rows: Iterable[ExportRow]) -> Iterator[list[ExportRow]]:
    left = iter(rows)
    while chunk := list(islice(left, ROWS_AT_ONCE)):
        yield chunk
