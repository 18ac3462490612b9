"""One process of the system: `counterfoil serve ROLE`, as containers and `counterfoil up` run it.

migrate      brings the database to the newest schema, then ends
api          the HTTP API
worker       reads pages, in COUNTERFOIL_WORKERS processes
intake       opens uploaded files
dispatcher   puts work into the queue; finds lost work
broker       the embedded broker
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from typing import NoReturn

from core.errors import ConfigError
from core.settings import Settings, load_settings
from worker.parent import die_with_parent


def _api(settings: Settings, listener: int | None) -> None:
    from cli.local.gunicorn_app import Gunicorn

    Gunicorn(settings, listener).run()


def _worker(settings: Settings, _listener: int | None) -> None:
    from worker.app import PAGES_QUEUE, run_worker

    run_worker(settings, PAGES_QUEUE, settings.workers)


def _intake(settings: Settings, _listener: int | None) -> None:
    from worker.app import INTAKE_QUEUE, run_worker

    run_worker(settings, INTAKE_QUEUE, 1)


def _dispatcher(_settings: Settings, _listener: int | None) -> None:
    from worker.dispatch import main

    main()


def _migrate(settings: Settings, _listener: int | None) -> None:
    from db.migrate import upgrade

    upgrade(settings.resolved_database_url())


def _broker(settings: Settings, _listener: int | None) -> NoReturn:
    from worker.broker import server_command

    command = server_command(settings.home)
    os.execv(command[0], command)  # noqa: S606 (the parent-death signal survives exec)


ROLES: dict[str, Callable[[Settings, int | None], None]] = {
    "migrate": _migrate,
    "api": _api,
    "worker": _worker,
    "intake": _intake,
    "dispatcher": _dispatcher,
    "broker": _broker,
}


def serve(role: str, *, parent: int | None = None, listener: int | None = None) -> None:
    """Run one role until SIGTERM.

    With `parent`, a process id, it also ends when that process ends. `listener` is the file
    descriptor of an inherited socket for the API. Raises ConfigError for an unknown role.
    """
    if role not in ROLES:
        raise ConfigError(
            f"There is no role {role}.", hint=f"Roles: {', '.join(ROLES)}.", code="unknown-role"
        )
    if parent is not None:
        die_with_parent(parent=parent)  # at once: nothing that it holds could be lost
    ROLES[role](load_settings(), listener)


def main() -> None:
    """Run a role as a child of `counterfoil up`, which passes two more arguments."""
    parser = argparse.ArgumentParser(prog="python -m cli.local.roles")
    parser.add_argument("role", choices=list(ROLES))
    parser.add_argument("--parent", type=int)
    parser.add_argument("--listener", type=int)
    chosen = parser.parse_args()
    serve(chosen.role, parent=chosen.parent, listener=chosen.listener)
    # The role has closed what it held. To free all modules besides takes Python a third of a
    # second, for which whoever stops `counterfoil up` would wait.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
