"""The whole of Counterfoil on one machine, as `counterfoil up`, the demo and tests run it."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from cli.local.supervisor import Child, Supervisor
from core.errors import ConfigError, ConflictError, TransientError
from core.settings import PREFIX, Settings
from storage.open import open_store
from worker.broker import broker_url, connect, server_command, wait_for_broker

TENANT = "default"
KEY_FILE = "api-key"
_LEAST_FREE_BYTES = 64 << 20
_READY_SECONDS = 60.0
_SERVICE_SECONDS = 15.0


class Stack:
    """Broker, API, workers and dispatcher, started and stopped together.

        with Stack(settings) as stack:
            httpx.get(stack.url + "/v1/batches", headers={"Authorization": ...})

    Servers that `settings` names (Redis, PostgreSQL, S3) are used; embedded ones take the place
    of the others. Raises ConfigError or ConflictError if it cannot start; nothing is left running
    then.
    """

    def __init__(self, settings: Settings, *, report: Callable[[str], None] | None = None) -> None:
        home = settings.home.expanduser().absolute()
        self.settings = settings.model_copy(update={"home": home})
        self.logs = home / "logs"
        self._temporary = home / "tmp"
        self.api_key = ""
        self.url = ""
        self._report = report or (lambda _line: None)
        self._exit = ExitStack()
        self._supervisor: Supervisor | None = None

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._start(stack)
            self._exit = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._exit.close()

    def pid(self, role: str) -> int | None:
        """Return the process id of a role (api, worker, …), or None if it is not running."""
        return self._supervisor.pid(role) if self._supervisor else None

    def sign_in_url(self) -> str:
        """Return an address that signs the user of this computer in, once."""
        from cli.people import link_for, user_name
        from core.roles import Role
        from db.session import Database

        database = Database(self.settings.resolved_database_url())
        try:
            return link_for(database, self.url, user_name(), role=Role.ADMIN, tenant=TENANT)[1]
        finally:
            database.dispose()

    def _start(self, stack: ExitStack) -> None:
        home = self.settings.home
        _make_home(home)
        stack.enter_context(_locked(home))
        _check_room(home)
        self.logs.mkdir(exist_ok=True)
        # Killed processes leave files here. It is in `home` because /tmp may be in memory, and
        # unpacking takes room.
        shutil.rmtree(self._temporary, ignore_errors=True)
        self._temporary.mkdir(mode=0o700)
        listener = stack.enter_context(_listen(self.settings.host, self.settings.port))
        port = int(listener.getsockname()[1])
        embedded_broker = self.settings.redis_url is None
        self.settings = self.settings.model_copy(
            update={"port": port, "redis_url": broker_url(self.settings)}
        )
        self.url = f"http://{_reachable(self.settings.host)}:{port}"

        supervisor = self._supervisor = Supervisor(self._report)
        stack.callback(supervisor.stop)
        if embedded_broker:
            _end_stale_broker(broker_url(self.settings))
            supervisor.start(self._child("broker", stage=3, stop_seconds=2))
        self._wait_for_services(embedded_broker=embedded_broker)
        self.api_key = self._prepare_database()
        supervisor.start(self._child("api", stage=1, stop_seconds=3, listener=listener.fileno()))
        supervisor.start(self._child("worker", stage=2, stop_seconds=4))
        supervisor.start(self._child("intake", stage=2, stop_seconds=4))
        supervisor.start(self._child("dispatcher", stage=1, stop_seconds=3))
        self._wait_until_ready()

    def _child(
        self, role: str, *, stage: int, stop_seconds: float, listener: int | None = None
    ) -> Child:
        # -P: never import from the current folder.
        command = [sys.executable, "-P", "-m"]
        if role == "broker":
            # Settings, which take a while to import, are not needed there.
            command += ["worker.parent", str(os.getpid()), *server_command(self.settings.home)]
        else:
            command += ["cli.local.roles", role, f"--parent={os.getpid()}"]
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(PREFIX)
        }
        environment |= self.settings.environment()
        root = str(Path(__file__).parents[2])
        environment["PYTHONPATH"] = os.pathsep.join(
            part for part in (root, environment.get("PYTHONPATH")) if part
        )
        environment["PYTHONUNBUFFERED"] = "1"
        environment["TMPDIR"] = str(self._temporary)
        if listener is not None:
            command.append(f"--listener={listener}")
        return Child(
            name=role,
            command=command,
            environment=environment,
            log=self.logs / f"{role}.log",
            stage=stage,
            stop_seconds=stop_seconds,
            pass_fds=() if listener is None else (listener,),
        )

    def _wait_for_services(self, *, embedded_broker: bool) -> None:
        try:
            wait_for_broker(broker_url(self.settings), _SERVICE_SECONDS)
        except TransientError as exc:
            hint = (
                f"See {self.logs / 'broker.log'}: {_last_line(self.logs / 'broker.log')}"
                if embedded_broker
                else "Check COUNTERFOIL_REDIS_URL."
            )
            raise ConfigError(exc.message, hint=hint, code="broker-away") from exc
        try:
            open_store(self.settings).check()
        except TransientError as exc:
            hint = "Check COUNTERFOIL_S3_ENDPOINT." if self.settings.s3_bucket else ""
            raise ConfigError(exc.message, hint=hint, code=exc.code) from exc

    def _prepare_database(self) -> str:
        """Bring the tables up to date and return a valid API key of the default tenant."""
        # They take a second to import: whatever refuses the start is said before.
        from db.migrate import upgrade
        from db.session import Database
        from db.transitions.tenants import authenticate, create_api_key, ensure_tenant

        url = self.settings.resolved_database_url()
        try:
            upgrade(url)
        except Exception as exc:  # SQLAlchemy's, psycopg's, Alembic's
            reason = str(getattr(exc, "orig", None) or exc).strip() or type(exc).__name__
            raise ConfigError(
                f"The database cannot be opened or brought up to date: {reason.splitlines()[0]}.",
                hint="Check COUNTERFOIL_DATABASE_URL." if self.settings.database_url else "",
                code="database-unavailable",
            ) from exc
        path = self.settings.home / KEY_FILE
        database = Database(url)
        try:
            with database.transaction() as s:
                tenant = ensure_tenant(s, TENANT)
                known = path.read_text().strip() if path.exists() else ""
                key = authenticate(s, known) if known else None
                if key is not None and key.tenant_id == tenant.id:
                    return known
                _, plaintext = create_api_key(s, tenant.id, "counterfoil up")
                # Inside the transaction: a key that cannot be written to the file is not created.
                _write_secret(path, plaintext)
                return plaintext
        finally:
            database.dispose()

    def _wait_until_ready(self) -> None:
        until = time.monotonic() + _READY_SECONDS
        answer = "no answer"
        while time.monotonic() < until:
            try:
                with urllib.request.urlopen(f"{self.url}/readyz", timeout=5) as response:  # noqa: S310
                    if response.status == 200:
                        return
            except urllib.error.HTTPError as exc:
                answer = exc.read(500).decode("utf-8", "replace")
            except OSError as exc:
                answer = str(exc)
            time.sleep(0.1)
        log = self.logs / "api.log"
        raise ConfigError(
            f"The API was not ready after {_READY_SECONDS:.0f} s: {answer}.",
            hint=f"See {log}: {_last_line(log)}",
            code="not-ready",
        )


def _make_home(home: Path) -> None:
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as exc:
        raise ConfigError(
            f"The data directory {home} cannot be made: {exc.strerror}.",
            hint="Choose another with --data or COUNTERFOIL_HOME.",
            code="data-directory",
        ) from exc


@contextmanager
def _locked(home: Path) -> Iterator[None]:
    """Lock the data directory. The kernel releases the lock when this process ends."""
    try:
        # Opened for appending, so that the process id of another holder can be read.
        file = (home / "up.lock").open("a+")
    except OSError as exc:
        raise _not_writable(home, exc) from exc
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            file.seek(0)
            who = file.read().strip() or "unknown"
            raise ConflictError(
                f"Another `counterfoil up` (process {who}) is using {home}.",
                hint="Stop it, or choose another directory with --data.",
                code="data-directory-locked",
            ) from exc
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        with suppress(OSError):  # _check_room reports a full disk
            file.flush()
        yield


def _check_room(home: Path) -> None:
    """Raise ConfigError now if the data directory is read-only or full.

    Otherwise the fault would show in the middle of a batch.
    """
    probe = home / ".room"
    try:
        free = shutil.disk_usage(home).free
        with probe.open("wb") as file:
            file.write(bytes(1 << 16))
            file.flush()
            os.fsync(file.fileno())
    except OSError as exc:
        raise _not_writable(home, exc) from exc
    finally:
        with suppress(OSError):
            probe.unlink(missing_ok=True)
    if free < _LEAST_FREE_BYTES:
        raise ConfigError(
            f"Only {free >> 20} MB are free on the disk of {home}.",
            hint="Make room, or choose another directory with --data.",
            code="disk-full",
        )


def _not_writable(home: Path, exc: OSError) -> ConfigError:
    return ConfigError(
        f"Nothing can be written to the data directory {home}: {exc.strerror}.",
        hint="Choose another with --data or COUNTERFOIL_HOME.",
        code="data-directory",
    )


def _listen(host: str, port: int) -> socket.socket:
    """Return the API's listening socket. We hold it, so connections wait while the API restarts."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=1024)
    except OSError as exc:
        raise ConfigError(
            f"The API cannot listen on {host} port {port}: {exc.strerror or exc}.",
            hint="If another program uses it, choose another with --port, or 0 for any free one.",
            code="port-unavailable",
        ) from exc


def _reachable(host: str) -> str:
    local = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "[::1]"}  # noqa: S104
    return local.get(host) or (f"[{host}]" if ":" in host else host)


def _end_stale_broker(url: str) -> None:
    """End a broker that outlived its `up`. We hold the lock, so nobody else uses it."""
    until = time.monotonic() + 5
    with connect(url, timeout=1) as client:
        while time.monotonic() < until:
            try:
                client.ping()  # `shutdown` returns as if it had worked where no broker answers
                client.shutdown(nosave=False)
            except Exception:  # no broker answers, as is normal
                return
            time.sleep(0.05)


def _write_secret(path: Path, secret: str) -> None:
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secret + "\n")
    new.replace(path)


def _last_line(path: Path) -> str:
    try:
        lines = path.read_text("utf-8", "replace").strip().splitlines()
    except OSError:
        return "the log is empty"
    return lines[-1] if lines else "the log is empty"
