"""`counterfoil sign-in`. It opens the database itself, so it runs where the server is."""

from __future__ import annotations

import getpass
import json
from pathlib import Path

from rich.console import Console

from cli.database import server_database
from core.roles import Role
from core.settings import load_settings
from db.transitions.people import LINK_LASTS, create_sign_in_link, ensure_person
from db.transitions.tenants import ensure_tenant


def sign_in(
    name: str | None,
    *,
    role: Role,
    tenant: str,
    url: str | None,
    home: Path | None,
    as_json: bool,
) -> int:
    """Print an address that signs a person in once; add the person if the name is new."""
    with server_database(home) as database, database.transaction() as session:
        owner = ensure_tenant(session, tenant)
        person = ensure_person(session, owner.id, name or getpass.getuser(), role)
        token = create_sign_in_link(session, person.id)
    address = f"{(url or load_settings(home=home).url).rstrip('/')}/sign-in/{token}"
    if as_json:
        print(json.dumps({"name": person.name, "role": person.role, "url": address}))
        return 0
    print(address)
    Console(stderr=True, highlight=False).print(
        f"Open it within {LINK_LASTS.seconds // 60} minutes. It signs {person.name}"
        f" ({person.role}) in, once.",
        markup=False,
    )
    return 0
