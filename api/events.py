"""The history and progress of a batch as Server-Sent Events, read from the event table."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from http import HTTPStatus

from flask import Blueprint, Response, request, stream_with_context

from api import serializers
from api.context import Services, caller, services
from api.openapi import Header, operation
from api.problems import ProblemError
from core.errors import NotFoundError, TransientError
from db import queries
from db.models import WORKING_BATCHES
from db.views import BatchProgress

blueprint = Blueprint("events", __name__)

POLL_SECONDS = 0.5
HEARTBEAT_SECONDS = 15.0  # below the idle limit of any proxy
LONGEST_SECONDS = 600.0  # then the client reconnects with its Last-Event-ID
EVENTS_AT_ONCE = 500


@blueprint.get("/batches/<id:batch_id>/events")
@operation(
    "batches",
    {200: ("text/event-stream",)},
    headers=(Header("Last-Event-ID", "Send only the events after this one."),),
)
def stream_events(batch_id: str) -> Response:
    """Follow a batch by Server-Sent Events.

    Every event of the batch's history has an id. A `progress` event carries the batch object each
    time it has changed. When no page is left to read, the stream ends with an `end` event. Where
    no stream is available (503), poll the batch.
    """
    found = services()
    tenant_id = caller().tenant_id
    with found.db.reading() as session:
        queries.get_batch(session, tenant_id, batch_id)
    given = request.headers.get("Last-Event-ID", "")
    after = int(given) if given.isascii() and given.isdigit() and len(given) < 19 else 0
    if not found.streams.acquire(blocking=False):
        raise ProblemError(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "too-many-streams",
            "Too many progress streams are open.",
            hint="Poll the batch instead, or try again later.",
            headers={"Retry-After": "5"},
        )
    events = stream_with_context(_events(found, tenant_id, batch_id, after))
    response = Response(Stream(found, events), content_type="text/event-stream; charset=utf-8")
    response.headers["X-Accel-Buffering"] = "no"  # else nginx delays events
    return response


class Stream:
    """The body of the answer. It frees its place among the streams even if it is never read."""

    def __init__(self, found: Services, events: Iterator[str]) -> None:
        self._found = found
        self._events = events
        self._open = True

    def __iter__(self) -> Iterator[str]:
        try:
            yield from self._events
        finally:
            self.close()

    def close(self) -> None:
        if self._open:
            self._open = False
            self._found.streams.release()


def _events(found: Services, tenant_id: str, batch_id: str, after: int) -> Iterator[str]:
    began = sent_at = time.monotonic()
    sent = ""
    yield "retry: 2000\n\n"
    while time.monotonic() - began < LONGEST_SECONDS:
        try:
            with found.db.reading() as session:
                batch = queries.batch_progress(session, tenant_id, batch_id)
                events = queries.events_after(session, tenant_id, batch_id, after, EVENTS_AT_ONCE)
        except NotFoundError:
            yield _event("end", json.dumps({"deleted": True}))
            return
        except TransientError:
            return  # the client reconnects by itself
        for event in events:
            after = event.id
            payload = event.payload | {"at": event.created_at.isoformat()}
            yield _event(event.kind, json.dumps(payload), event.id)
        progress = _progress(batch)
        if progress != sent:
            sent = progress
            yield _event("progress", progress)
            sent_at = time.monotonic()
        elif time.monotonic() - sent_at >= HEARTBEAT_SECONDS:
            yield ": heartbeat\n\n"
            sent_at = time.monotonic()
        if len(events) == EVENTS_AT_ONCE:
            continue
        if batch.state not in WORKING_BATCHES:
            yield _event("end", progress)
            return
        time.sleep(POLL_SECONDS)


def _progress(batch: BatchProgress) -> str:
    return serializers.batch_object(batch).model_dump_json()


def _event(kind: str, data: str, event_id: int | None = None) -> str:
    head = "" if event_id is None else f"id: {event_id}\n"
    return f"{head}event: {kind}\ndata: {data}\n\n"
