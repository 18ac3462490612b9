"""What has changed, for pages that stay open: one small stream for all batches of a browser.

A page does not ask again and again for what it shows. It listens here for a mark that changes
whenever anything happens to a batch of the tenant, and asks for the new rows only then. Rows that
many people have open are drawn once for each mark.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from typing import cast

from flask import Blueprint, Flask, Response, current_app, jsonify, stream_with_context

from api.context import Services, services
from api.events import Stream
from core.errors import TransientError
from db import queries
from web.signing_in import person

blueprint = Blueprint("live", __name__)

LOOK_SECONDS = 1.0  # between two looks into the database, for all who listen to a tenant
HEARTBEAT_SECONDS = 15.0
LONGEST_SECONDS = 600.0  # then the browser connects again
DRAWN_SECONDS = 20.0  # rows also say how long ago something was
DRAWN_AT_MOST = 200

_EXTENSION = "counterfoil-live"


class Live:
    """The marks of the tenants, and rows that are drawn already. Safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._marks: dict[str, tuple[float, str]] = {}
        self._drawn: dict[Hashable, tuple[float, str]] = {}

    def mark(self, found: Services, tenant_id: str) -> str:
        """Return what changes with every event of the tenant's batches. Raises TransientError."""
        now = time.monotonic()
        with self._lock:
            looked, mark = self._marks.get(tenant_id, (0.0, ""))
            if mark and now - looked < LOOK_SECONDS:
                return mark
            with found.db.reading() as session:
                mark = queries.change_mark(session, tenant_id)
            self._marks[tenant_id] = (now, mark)
            return mark

    def drawn(self, key: Hashable, draw: Callable[[], str]) -> str:
        """Return what `draw` returned for this key a few seconds ago, or draw it."""
        now = time.monotonic()
        with self._lock:
            at, html = self._drawn.get(key, (0.0, ""))
            if html and now - at < DRAWN_SECONDS:
                return html
        html = draw()
        with self._lock:
            if len(self._drawn) >= DRAWN_AT_MOST:
                self._drawn.clear()
            self._drawn[key] = (now, html)
        return html


def install(app: Flask) -> None:
    app.extensions[_EXTENSION] = Live()


def live() -> Live:
    return cast(Live, current_app.extensions[_EXTENSION])


def drawn_once(what: Hashable, draw: Callable[[], str]) -> str:
    """Return rows that look alike for everybody of this tenant and role, drawn once a change."""
    who = person()
    mark = live().mark(services(), who.tenant_id)
    return live().drawn((who.tenant_id, who.role, mark, what), draw)


@blueprint.get("/live")
def listen() -> Response:
    """Stream the mark whenever it changes; where no stream is free, return it."""
    found, tenant_id = services(), person().tenant_id
    if not found.streams.acquire(blocking=False):
        return jsonify(mark=live().mark(found, tenant_id))
    events = stream_with_context(_marks(live(), found, tenant_id))
    response = Response(Stream(found, events), content_type="text/event-stream; charset=utf-8")
    response.headers["X-Accel-Buffering"] = "no"  # else nginx delays events
    return response


@blueprint.get("/live/mark")
def now() -> Response:
    """Return the mark, for browsers that have no stream."""
    return jsonify(mark=live().mark(services(), person().tenant_id))


def _marks(shared: Live, found: Services, tenant_id: str) -> Iterator[str]:
    began = sent_at = time.monotonic()
    sent = ""
    yield "retry: 3000\n\n"
    while time.monotonic() - began < LONGEST_SECONDS:
        try:
            mark = shared.mark(found, tenant_id)
        except TransientError:
            return  # the browser connects again by itself
        if mark != sent:
            sent, sent_at = mark, time.monotonic()
            yield f"data: {json.dumps(mark)}\n\n"
        elif time.monotonic() - sent_at >= HEARTBEAT_SECONDS:
            sent_at = time.monotonic()
            yield ": heartbeat\n\n"
        time.sleep(LOOK_SECONDS)
