"""The services of the application, built once in `create_app`, and the caller of a request."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import cast

from flask import current_app, g

from api.health.readiness import StoreCheck
from api.page_images import PageImages
from core.settings import Settings
from db.session import Database
from storage.base import ObjectStore

_EXTENSION = "counterfoil"


@dataclass(frozen=True, slots=True)
class Services:
    settings: Settings
    db: Database
    store: ObjectStore
    store_check: StoreCheck
    page_images: PageImages
    streams: threading.BoundedSemaphore  # event streams must not occupy every thread


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever sent the request. Every query carries this tenant."""

    tenant_id: str
    key_name: str


def install(app_extensions: dict[str, object], services: Services) -> None:
    app_extensions[_EXTENSION] = services


def services() -> Services:
    return cast(Services, current_app.extensions[_EXTENSION])


def caller() -> Caller:
    return cast(Caller, g.caller)
