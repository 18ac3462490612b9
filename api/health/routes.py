"""Whether the process is alive, and whether the services that it needs answer."""

from __future__ import annotations

from http import HTTPStatus

import redis
from flask import Blueprint, Response

from api import serializers
from api.answers import Health, Readiness, ServiceState
from api.context import services
from api.health.readiness import probe
from api.openapi import operation
from core.broker_url import redis_py_url
from core.clock import utcnow
from core.errors import CounterfoilError
from db.policies import count_open_alarms
from db.transitions.outbox import oldest_message

blueprint = Blueprint("health", __name__)

BROKER_SECONDS = 2.0


@blueprint.get("/healthz")
@operation("service", {200: Health}, public=True)
def healthz() -> Response:
    """Report that the process is alive."""
    return serializers.json_response(Health())


@blueprint.get("/readyz")
@operation("service", {200: Readiness, 503: Readiness}, public=True)
def readyz() -> Response:
    """Report whether database, store and broker answer."""
    found = services()
    states = {
        "database": probe("database", found.db.check),
        "store": found.store_check.state(),
        "broker": _broker(found.settings.redis_url),
    }
    ready = all(state.state != "away" for state in states.values())
    status = HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE
    # A backlog does not make the API unready: it takes files all the same.
    backlog = _backlog_seconds() if states["database"].state == "ok" else None
    response = serializers.json_response(
        Readiness(ready=ready, backlog_seconds=backlog, **states), status
    )
    if not ready:
        response.headers["Retry-After"] = "5"
    return response


@blueprint.get("/metrics")
@operation("service", {200: ("text/plain",)}, public=True)
def metrics() -> Response:
    """Return figures for Prometheus. They name no tenant, since this address needs no key."""
    with services().db.reading() as session:
        alarms = count_open_alarms(session)
    lines = [
        "# HELP counterfoil_policy_alarms Release policies whose alarm nobody has acknowledged.",
        "# TYPE counterfoil_policy_alarms gauge",
        f"counterfoil_policy_alarms {alarms}",
        "# HELP counterfoil_backlog_seconds How long the oldest message waits for a dispatcher.",
        "# TYPE counterfoil_backlog_seconds gauge",
        f"counterfoil_backlog_seconds {_backlog_seconds() or 0.0}",
    ]
    return Response("\n".join(lines) + "\n", content_type="text/plain; version=0.0.4")


def _backlog_seconds() -> float | None:
    try:
        with services().db.reading() as session:
            oldest = oldest_message(session)
    except CounterfoilError:
        return None
    return 0.0 if oldest is None else round(max((utcnow() - oldest).total_seconds(), 0.0), 1)


def _broker(url: str | None) -> ServiceState:
    if url is None:
        return ServiceState(state="not configured")

    def ping() -> None:
        client = redis.Redis.from_url(
            redis_py_url(url), socket_timeout=BROKER_SECONDS, socket_connect_timeout=BROKER_SECONDS
        )
        with client:
            client.ping()

    return probe("broker", ping)
