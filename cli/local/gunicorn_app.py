"""The API in gunicorn: one process with threads, since it mostly waits for database and store."""

from __future__ import annotations

from typing import Any

from gunicorn.app.base import BaseApplication  # type: ignore[import-untyped]

from core.settings import Settings
from worker.parent import die_with_parent


class Gunicorn(BaseApplication):  # type: ignore[misc]
    """gunicorn with our options. It listens on the settings' address or on an inherited socket."""

    def __init__(self, settings: Settings, listener: int | None) -> None:
        self._settings = settings
        self._listener = listener
        super().__init__()

    def load_config(self) -> None:
        host = f"[{self._settings.host}]" if ":" in self._settings.host else self._settings.host
        address = f"{host}:{self._settings.port}"
        options = {
            "bind": address if self._listener is None else f"fd://{self._listener}",
            "worker_class": "gthread",
            "workers": 1,
            "threads": self._settings.api_threads,
            "timeout": 60,
            "graceful_timeout": 3,
            "keepalive": 15,
            "post_fork": _after_fork,
            "proc_name": "counterfoil-api",
            "control_socket_disable": True,  # its path is the same for every stack of a user
            "loglevel": self._settings.log_level.lower(),
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        from web.app import make_app

        return make_app()


def _after_fork(_server: object, _worker: object) -> None:
    die_with_parent()
