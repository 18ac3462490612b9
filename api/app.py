"""The WSGI application, thin: writes are in `db.transitions`, reads in `db.queries`."""

from __future__ import annotations

import threading

import structlog
from flask import Blueprint, Flask, Response, request

from api import (
    auth,
    batches,
    context,
    events,
    fields,
    openapi,
    pages,
    problems,
    templates,
    uploads,
)
from api.exports import routes as exports
from api.health import routes as health
from api.health.readiness import StoreCheck
from api.page_images import PageImages
from core.settings import Settings
from db.session import Database
from pipeline.files.page import decode_page
from pipeline.types import Image
from storage.base import ObjectStore
from storage.open import open_store

# Bounds the memory: a page of 50 megapixels takes 50 MB and more while it is decoded.
DECODING_AT_ONCE = 2
# Decoded pages that one process keeps: some 50 cheques, or 7 pages of A4 at 300 dpi.
PAGE_IMAGES_BYTES = 64 << 20
# So much of a refused upload is read and dropped, so that its sender gets to see the answer.
# After that the connection is closed.
DRAINED_BYTES = 64 << 20
CHUNK = 256 * 1024

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
_DOCS_POLICY = "default-src 'none'; style-src 'self'; frame-ancestors 'none'; base-uri 'none'"


def create_app(settings: Settings) -> Flask:
    """Return the application. It connects to nothing before the first request."""
    app = Flask("api", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = settings.max_request_bytes
    app.url_map.converters["id"] = openapi.IdConverter
    app.url_map.strict_slashes = False
    store = open_store(settings)
    context.install(
        app.extensions,
        context.Services(
            settings=settings,
            db=Database(settings.resolved_database_url()),
            store=store,
            store_check=StoreCheck(store.check),
            page_images=_page_images(settings, store),
            streams=threading.BoundedSemaphore(max(1, settings.api_threads // 2)),
        ),
    )
    problems.install(app)
    app.before_request(_begin)
    app.after_request(_finish)
    v1 = Blueprint("v1", __name__, url_prefix="/v1")
    v1.before_request(auth.authenticate)
    for module in (uploads, batches, events, pages, fields, exports, templates):
        v1.register_blueprint(module.blueprint)
    app.register_blueprint(v1)
    app.register_blueprint(health.blueprint)
    app.register_blueprint(openapi.blueprint)
    return app


def _page_images(settings: Settings, store: ObjectStore) -> PageImages:
    def decode(key: str, media_type: str) -> Image:
        data = store.read(key)
        return decode_page(data, media_type, max_pixels=settings.max_page_pixels).grey

    # A decoded pixel is one byte, so that the largest allowed page fits.
    max_bytes = max(PAGE_IMAGES_BYTES, settings.max_page_pixels)
    return PageImages(decode, max_bytes=max_bytes, at_once=DECODING_AT_ONCE)


def _begin() -> None:
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=problems.request_id())


def _finish(response: Response) -> Response:
    response.headers["X-Request-ID"] = problems.request_id()
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    if request.endpoint in ("openapi.docs", "openapi.static"):
        response.headers["Content-Security-Policy"] = _DOCS_POLICY
    elif "Cache-Control" not in response.headers:
        response.headers["Cache-Control"] = "no-store"
    if response.status_code >= 400 and request.method in ("POST", "PUT", "PATCH"):
        _drain(response)
    return response


def _drain(response: Response) -> None:
    """Read the rest of a refused upload, because a client that still sends reads no answer."""
    source = request.environ["wsgi.input"]
    terminated = request.environ.get("wsgi.input_terminated", False)
    if request.content_length is None and not terminated:
        return
    left = DRAINED_BYTES
    try:
        while left > 0 and (chunk := source.read(min(CHUNK, left))):
            left -= len(chunk)
    except (OSError, ValueError):
        left = 0
    if left <= 0:
        response.headers["Connection"] = "close"
