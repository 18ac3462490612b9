"""The world of the workers' tasks, on each kind of database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from core.settings import Settings
from db.session import Database
from db.transitions.batches import create_batch
from db.transitions.tenants import ensure_tenant
from storage.open import open_store
from tests.world import World
from worker.child import Services


@pytest.fixture
def world(database_url: str, tmp_path: Path) -> Iterator[World]:
    settings = Settings(home=tmp_path, database_url=database_url, reconcile_seconds=0.001)
    services = Services(settings, Database(database_url), open_store(settings), "test:1")
    with services.db.transaction() as s:
        tenant = ensure_tenant(s, "default")
        batch, _ = create_batch(
            s, tenant_id=tenant.id, name="", template_id=None, release_threshold=0.5
        )
        made = World(services, tenant.id, batch.id)
    yield made
    if "opener" in vars(services):
        services.opener.close()
    services.db.dispose()
