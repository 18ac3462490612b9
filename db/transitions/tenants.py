"""Tenants and their API keys."""

from __future__ import annotations

import hashlib
import hmac
import secrets

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.errors import InputError, NotFoundError
from core.limits import MAX_NAME
from core.text import checked_line
from db.models import ApiKey, Tenant
from db.session import database_now
from db.transitions.upsert import insert_or_ignore
from db.views import ApiKeyView

# Compared when no key has the prefix, so that the answer takes equally long.
_NO_HASH = hashlib.sha256(b"").hexdigest()


def ensure_tenant(s: Session, name: str) -> Tenant:
    """Return the tenant of that name, and create it if there is none.

    Raises InputError for a name that is not one line of text, or is too long to be kept: cut off,
    it could be the name of another tenant.
    """
    name = _checked_name(name, "The name of a tenant")
    insert_or_ignore(s, Tenant, ["name"], name=name)
    return s.scalars(select(Tenant).where(Tenant.name == name)).one()


def create_api_key(s: Session, tenant_id: str, name: str) -> tuple[ApiKey, str]:
    """Create a key; return it with its plaintext `cf_<prefix>_<secret>`, which is not stored.

    Raises InputError for a name that is not one line of text or too long.
    """
    name = _checked_name(name, "The name of a key")
    prefix, secret = secrets.token_hex(4), secrets.token_urlsafe(32)
    key = ApiKey(tenant_id=tenant_id, name=name, prefix=prefix, secret_hash=_hash(secret))
    s.add(key)
    s.flush()
    return key, f"cf_{prefix}_{secret}"


def list_api_keys(s: Session) -> list[ApiKeyView]:
    """Return the keys of all tenants, oldest first. For the operator of the server."""
    query = select(ApiKey, Tenant.name).join(Tenant, Tenant.id == ApiKey.tenant_id)
    return [
        ApiKeyView(
            id=key.id,
            tenant=tenant,
            name=key.name,
            prefix=key.prefix,
            created_at=key.created_at,
            revoked_at=key.revoked_at,
        )
        for key, tenant in s.execute(query.order_by(ApiKey.id))
    ]


def revoke_api_key(s: Session, tenant_id: str, key_id: str) -> None:
    """Revoke a key. Safe to repeat. Raises NotFoundError."""
    key = s.scalar(
        select(ApiKey).where(ApiKey.id == key_id, ApiKey.tenant_id == tenant_id).with_for_update()
    )
    if key is None:
        raise NotFoundError("There is no such key.", code="key-not-found")
    key.revoked_at = key.revoked_at or database_now(s)
    s.flush()


def authenticate(s: Session, plaintext: str) -> ApiKey | None:
    """Return the key of a plaintext, or None if it is unknown, wrong or revoked."""
    mark, _, rest = plaintext.partition("_")
    prefix, _, secret = rest.partition("_")
    if mark != "cf" or not prefix.isalnum() or not secret:
        return None
    key = s.scalar(select(ApiKey).where(ApiKey.prefix == prefix))
    matches = hmac.compare_digest(key.secret_hash if key else _NO_HASH, _hash(secret))
    return key if key and matches and key.revoked_at is None else None


def _checked_name(name: str, what: str) -> str:
    name = checked_line(name, what, longest=MAX_NAME)
    if not name:
        raise InputError(f"{what} must not be empty.", code="bad-text")
    return name


def _hash(secret: str) -> str:
    # A fast hash is enough: a secret of 256 random bits, unlike a password, cannot be guessed.
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()
