"""`counterfoil sign-in`. It opens the database itself, so it runs where the server is."""

from __future__ import annotations

import getpass
import json
from pathlib import Path

from rich.console import Console

from cli.database import server_database
from core.roles import Role
from core.settings import load_settings
from db.session import Database
from db.transitions.audit import record_audit
from db.transitions.people import ensure_person
from db.transitions.sessions import LINK_LASTS, create_sign_in_link
from db.transitions.tenants import ensure_tenant
from db.views import PersonView


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
    base = url or load_settings(home=home).url
    with server_database(home) as database:
        person, address = link_for(database, base, name or user_name(), role=role, tenant=tenant)
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


def link_for(
    database: Database, base: str, name: str, *, role: Role, tenant: str
) -> tuple[PersonView, str]:
    """Return the person of that name, added if it is new, and an address that signs her in once.

    `base` is the address of the server.
    """
    with database.transaction() as session:
        person = ensure_person(session, ensure_tenant(session, tenant).id, name, role)
        token = create_sign_in_link(session, person.id)
        record_audit(
            session,
            tenant_id=person.tenant_id,
            who=user_name(),
            person_id=None,
            action="command.sign-in",
            address="",
            about={"person_id": person.id, "name": person.name, "role": person.role},
        )
    return person, f"{base.rstrip('/')}/sign-in/{token}"


def user_name() -> str:
    """Return the name of the user of this computer; in a container she may have none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "local"
