"""The settings: one frozen object per process, built from `COUNTERFOIL_*` and passed in.

`docs/settings.md` describes each setting; a test compares the two.
"""

from __future__ import annotations

import base64
import binascii
import difflib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import platformdirs
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

from core.errors import ConfigError
from core.limits import MAX_PAGE_PIXELS, MAX_PAGES, MAX_UNPACKED_BYTES
from core.roles import Role

PREFIX = "COUNTERFOIL_"


class Settings(BaseModel):
    """Typed settings. Sizes are bytes, times are seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    home: Path = Field(
        default_factory=lambda: Path(platformdirs.user_data_dir("counterfoil", appauthor=False)),
        description="Data directory: stored templates; of the embedded stack also database,"
        " objects, broker, local key.",
    )
    data: Path | None = Field(
        None, description="Folder of the real data sets (development and tests only)."
    )

    redis_url: str | None = Field(
        None, description="URL of the Redis-compatible broker. Unset: the embedded one, in `home`."
    )
    database_url: str | None = Field(
        None, description="SQLAlchemy URL, such as postgresql+psycopg://… Unset: SQLite in `home`."
    )
    s3_endpoint: str | None = Field(
        None, description="URL of the S3 server. Unset: that of Amazon."
    )
    s3_bucket: str | None = Field(
        None, description="Bucket for scans and page images. Unset: objects are files in `home`."
    )
    s3_region: str = Field("us-east-1", description="Region of the bucket.")
    s3_access_key: str | None = Field(
        None, description="Access key. Unset: boto3 looks for credentials in its usual places."
    )
    s3_secret_key: SecretStr | None = Field(None, description="Secret key of `s3_access_key`.")

    host: str = Field("127.0.0.1", description="Address on which the API listens.")
    port: int = Field(8321, ge=0, le=65535, description="Port of the API. 0: any free port.")
    workers: int = Field(2, ge=1, le=256, description="Worker processes that read pages.")
    api_threads: int = Field(16, ge=1, le=512, description="Threads that serve the API.")

    url: str = Field(
        "http://127.0.0.1:8321",
        description="URL of the API for `submit`, `status` and other commands.",
    )
    api_key: SecretStr | None = Field(
        None, description="Key for the API. Unset: the local key that `counterfoil up` wrote."
    )

    max_request_bytes: int = Field(2 << 30, gt=0, description="Size of one upload request.")
    max_file_bytes: int = Field(512 << 20, gt=0, description="Size of one uploaded file.")
    max_files_per_request: int = Field(1000, gt=0, description="Files in one upload request.")
    max_pages_per_document: int = Field(MAX_PAGES, gt=0, description="Pages of one file.")
    max_page_pixels: int = Field(MAX_PAGE_PIXELS, gt=0, description="Pixels of one page image.")
    max_unpacked_bytes: int = Field(
        MAX_UNPACKED_BYTES, gt=0, description="Size of what one ZIP file may unpack to."
    )
    max_queued_pages: int = Field(
        500_000,
        gt=0,
        description="Unread pages of one tenant. Above this, uploads are refused (429).",
    )
    decode_seconds: float = Field(60, gt=0, description="Time to open one page of a document.")
    decode_memory: int = Field(
        2 << 30, gt=0, description="Memory of the process that opens documents."
    )

    group_size: int = Field(8, ge=1, le=64, description="Pages that a worker reads together.")
    lease_seconds: float = Field(
        60, gt=0, description="How long a claim lasts unless it is renewed."
    )
    heartbeat_seconds: float = Field(15, gt=0, description="Time between two renewals of a claim.")
    max_attempts: int = Field(3, ge=1, description="Failed attempts before a page is set aside.")
    reconcile_seconds: float = Field(
        15, gt=0, description="Time between two searches for lost or expired work."
    )
    dispatch_seconds: float = Field(0.2, gt=0, description="Time between two looks at the outbox.")

    proxies: int = Field(
        0,
        ge=0,
        le=8,
        description="Reverse proxies in front of the API, whose `X-Forwarded-For` and"
        " `X-Forwarded-Proto` are believed.",
    )
    oidc_issuer: str | None = Field(
        None, description="Address of an OpenID Connect provider that signs people in."
    )
    oidc_client_id: str | None = Field(None, description="What the provider calls Counterfoil.")
    oidc_client_secret: SecretStr | None = Field(
        None, description="Secret of `oidc_client_id`. Unset: a public client, by PKCE alone."
    )
    oidc_name: str = Field(
        "your organisation", description="What the sign-in button calls the provider."
    )
    oidc_scopes: str = Field(
        "openid profile email", description="Scopes to ask for; `oidc_claim` may need one more."
    )
    oidc_claim: str = Field(
        "groups", description="Claim of the ID token that says who may come in, such as `email`."
    )
    oidc_roles: dict[str, Role] = Field(
        default_factory=dict,
        description='Value of that claim and role, as JSON: {"clerks": "verifier"}. `*`: everybody.'
        " The highest role counts; whoever has none stays outside.",
    )
    oidc_tenant: str = Field("default", description="Organisation of those who come in so.")

    alarm_webhook_url: str | None = Field(
        None,
        pattern="^https?://",
        description="Address to which an alarm of the release policy is posted.",
    )
    alarm_webhook_secret: SecretStr | None = Field(
        None, description="Key that signs what is posted: `whsec_` and Base64."
    )
    export_targets: dict[str, SecretStr] = Field(
        default_factory=dict,
        description='Databases into which exports may write, as JSON: {"name": "SQLAlchemy URL"}.',
    )
    log_level: str = Field("INFO", description="DEBUG, INFO, WARNING or ERROR.")
    log_json: bool = Field(False, description="Log JSON objects, one per line.")

    @field_validator("export_targets", "oidc_roles", mode="before")
    @classmethod
    def _from_json(cls, value: Any) -> Any:
        return json.loads(value) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        if self.heartbeat_seconds * 2 > self.lease_seconds:
            raise ValueError("heartbeat_seconds must be at most half of lease_seconds")
        if self.s3_endpoint and not self.s3_bucket:
            raise ValueError("s3_endpoint is set but s3_bucket is not")
        local = ("http://127.0.0.1:", "http://localhost:")
        if self.oidc_issuer and not self.oidc_issuer.startswith(("https://", *local)):
            raise ValueError("oidc_issuer must begin with https://")
        if self.oidc_issuer and not (self.oidc_client_id and self.oidc_roles):
            raise ValueError("oidc_issuer needs oidc_client_id and oidc_roles")
        if (self.s3_access_key is None) != (self.s3_secret_key is None):
            raise ValueError("s3_access_key and s3_secret_key must be set together")
        if self.alarm_webhook_secret is not None:
            key = self.alarm_webhook_secret.get_secret_value().removeprefix("whsec_")
            try:
                base64.b64decode(key, validate=True)
            except binascii.Error as exc:
                raise ValueError("alarm_webhook_secret must be `whsec_` and Base64") from exc
        return self

    def resolved_database_url(self) -> str:
        """Return the URL of the database: the setting, or the embedded SQLite database."""
        return self.database_url or f"sqlite:///{self.home / 'counterfoil.sqlite3'}"

    def environment(self) -> dict[str, str]:
        """Return the `COUNTERFOIL_*` variables that rebuild these settings in a child process."""
        variables: dict[str, str] = {}
        for name in type(self).model_fields:
            value = getattr(self, name)
            if value is None:
                continue
            variables[PREFIX + name.upper()] = _as_text(value)
        return variables


def load_settings(environ: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
    """Build the settings from the environment; `overrides` (command-line options) take precedence.

    Raises ConfigError for an unknown `COUNTERFOIL_*` name, with the nearest known one as a hint,
    and for a value that is not valid.
    """
    environ = os.environ if environ is None else environ
    known = {PREFIX + name.upper(): name for name in Settings.model_fields}
    values: dict[str, Any] = {}
    for variable, text in environ.items():
        if not variable.startswith(PREFIX):
            continue
        if variable not in known:
            near = difflib.get_close_matches(variable, known, n=1, cutoff=0)
            raise ConfigError(
                f"Unknown setting {variable}.",
                hint=f"Did you mean {near[0]}?",
                code="unknown-setting",
            )
        if text:
            values[known[variable]] = text
    values |= {name: value for name, value in overrides.items() if value is not None}
    try:
        return Settings(**values)
    except ValidationError as exc:
        first = exc.errors()[0]
        where = PREFIX + str(first["loc"][0]).upper() if first["loc"] else "Settings"
        raise ConfigError(f"{where}: {first['msg']}.", code="bad-setting") from exc


def _as_text(value: Any) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, dict):
        return json.dumps({name: _as_text(item) for name, item in value.items()})
    return str(value)
