"""The broker's URL: redis-py gets the address that Celery gets."""

from __future__ import annotations

import pytest
from redis.connection import parse_url

from core.broker_url import redis_py_url


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("redis+socket:///srv/my%20scans/b.sock", {"path": "/srv/my scans/b.sock"}),
        ("redis+socket://:p%40w@/a.sock?virtual_host=2", {"password": "p@w", "db": 2}),
        ("redis://:secret@host:6379/1", {"host": "host", "port": 6379, "db": 1}),
        ("rediss://host/0", {"host": "host", "db": 0}),
    ],
)
def test_redis_py_understands_every_spelling(url: str, parts: dict[str, object]) -> None:
    assert parts.items() <= parse_url(redis_py_url(url)).items()
