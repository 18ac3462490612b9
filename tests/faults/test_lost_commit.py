"""The connection to PostgreSQL ends around the COMMIT of an upload: no acknowledged byte is lost.

A proxy between the application and a real server cuts it at an exact moment, which a killed server
hits only by chance.
"""

from __future__ import annotations

import select
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from pathlib import Path

import pytest
import sqlalchemy
from sqlalchemy import make_url

from core.ids import object_key
from core.settings import Settings
from db.models import Batch, Document
from tests.api_under_test import Api, api_under_test, png
from tests.servers import PostgresServer

FILES = {f"{number}.png": png(number) for number in range(3)}
KEY = {"Idempotency-Key": "monday"}


class Cut(Enum):
    BEFORE_COMMIT = "the server never gets the COMMIT"
    BEFORE_ANSWER = "the server commits, and its answer is lost"
    AFTER_ANSWER = "the server commits and answers, and then it is away"


class Proxy:
    """Forwards connections to a PostgreSQL server, and cuts one that commits documents."""

    def __init__(self, folder: Path, server: str) -> None:
        self.cut: Cut | None = None
        self.away = False
        self._server = server
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / ".s.PGSQL.5432"))
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._forward, args=[client], daemon=True).start()

    def _forward(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as server, suppress(OSError):
            if self.away:
                return
            server.connect(self._server)
            wrote = False
            while True:
                ready, _, _ = select.select([client, server], [], [])
                source, target = (client, server) if client in ready else (server, client)
                data = source.recv(1 << 16)
                if not data:
                    return
                wrote |= source is client and b"INSERT INTO document" in data
                if wrote and source is client and self.cut is not None and b"COMMIT" in data:
                    self._meet(self.cut, data, client, server)
                    return
                target.sendall(data)

    def _meet(self, cut: Cut, data: bytes, client: socket.socket, server: socket.socket) -> None:
        if cut is Cut.BEFORE_COMMIT:
            return
        server.sendall(data)
        answer = server.recv(1 << 16)
        if cut is Cut.AFTER_ANSWER:
            self.away = True
            client.sendall(answer)


@contextmanager
def proxied(server: PostgresServer) -> Iterator[tuple[Proxy, str]]:
    """Yield a proxy of a server and the folder of its socket."""
    with tempfile.TemporaryDirectory(prefix="cf-proxy-") as folder:
        proxy = Proxy(Path(folder), f"{server.host}/.s.PGSQL.{server.port}")
        try:
            yield proxy, folder
        finally:
            proxy.close()


def every_document_has_its_bytes(api: Api) -> int:
    """Read the object of every document; return how many there are."""
    with api.db.reading() as s:
        named = s.execute(sqlalchemy.select(Document.batch_id, Document.sha256)).all()
    for batch_id, sha256 in named:
        assert api.store.read(object_key(batch_id, sha256)) in FILES.values()
    return len(named)


@pytest.mark.parametrize("cut", Cut, ids=lambda cut: cut.name.lower())
def test_a_repeated_upload_finds_its_bytes(
    postgres_server: PostgresServer, postgres_url: str, tmp_path: Path, cut: Cut
) -> None:
    with proxied(postgres_server) as (proxy, folder):
        url = make_url(postgres_url).update_query_dict({"host": folder, "port": "5432"})
        settings = Settings(home=tmp_path, database_url=url.render_as_string(hide_password=False))
        with api_under_test(settings) as api:
            proxy.cut = cut
            failed = api.upload(FILES.items(), headers=KEY)
            assert (failed.status_code, failed.json()["code"]) == (503, "database-unavailable")
            proxy.cut, proxy.away = None, False
            assert every_document_has_its_bytes(api) == (0 if cut is Cut.BEFORE_COMMIT else 3)
            repeated = api.upload(FILES.items(), headers=KEY)
            assert repeated.status_code == 202
            assert every_document_has_its_bytes(api) == 3
            with api.db.reading() as s:
                assert list(s.scalars(sqlalchemy.select(Batch.id))) == [repeated.json()["id"]]
