"""The database of the server, for commands that run where it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.settings import load_settings
from db.migrate import upgrade
from db.session import Database


@contextmanager
def server_database(home: Path | None) -> Iterator[Database]:
    """Open the database of the settings, or of the data folder `home`, with the newest tables."""
    settings = load_settings(home=home)
    if settings.database_url is None:
        settings.home.mkdir(parents=True, exist_ok=True)
    url = settings.resolved_database_url()
    upgrade(url)
    database = Database(url)
    try:
        yield database
    finally:
        database.dispose()
