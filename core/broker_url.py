"""The URL of the broker as Celery spells it (the setting `redis_url`), and as redis-py does."""

from __future__ import annotations

SOCKET_SCHEME = "redis+socket://"  # Celery's, for a Unix socket


def redis_py_url(url: str) -> str:
    """Return the URL for redis-py. The two differ for a Unix socket alone."""
    if not url.startswith(SOCKET_SCHEME):
        return url
    path = url.removeprefix(SOCKET_SCHEME).replace("?virtual_host=", "?db=")
    return f"unix://{path}"
