"""`counterfoil keys`: API keys. It opens the database itself, so it runs where the server is."""

from __future__ import annotations

import json
from pathlib import Path

from rich.console import Console
from rich.table import Table

from cli.database import server_database
from db.transitions.tenants import create_api_key, ensure_tenant, list_api_keys, revoke_api_key


def create(name: str, *, tenant: str, home: Path | None, as_json: bool) -> int:
    """Create a key and print it, which is possible only now; create the tenant too if it is new."""
    with server_database(home) as database, database.transaction() as session:
        owner = ensure_tenant(session, tenant)
        key, plaintext = create_api_key(session, owner.id, name)
        made = {"id": key.id, "name": key.name, "tenant": tenant, "key": plaintext}
    if as_json:
        print(json.dumps(made))
    else:
        print(plaintext)
        Console(stderr=True, highlight=False).print(
            "Keep this key: it cannot be shown again, because only its hash is stored."
        )
    return 0


def list_all(*, home: Path | None, as_json: bool) -> int:
    """Print every key of every tenant, without its secret part."""
    with server_database(home) as database, database.reading() as session:
        rows = [
            {
                "id": key.id,
                "name": key.name,
                "tenant": key.tenant,
                "prefix": f"cf_{key.prefix}_…",
                "created_at": key.created_at.isoformat(timespec="seconds"),
                "revoked_at": key.revoked_at and key.revoked_at.isoformat(timespec="seconds"),
            }
            for key in list_api_keys(session)
        ]
    if as_json:
        print(json.dumps(rows))
        return 0
    table = Table("id", "tenant", "name", "key", "created", "revoked")
    for row in rows:
        columns = ("id", "tenant", "name", "prefix", "created_at", "revoked_at")
        table.add_row(*(str(row[column] or "") for column in columns))
    Console(highlight=False, markup=False).print(table)
    return 0


def revoke(key_id: str, *, tenant: str, home: Path | None) -> int:
    """Revoke a key at once. Raises NotFoundError if the tenant has no such key."""
    with server_database(home) as database, database.transaction() as session:
        revoke_api_key(session, ensure_tenant(session, tenant).id, key_id)
    print(f"Revoked {key_id}.")
    return 0
