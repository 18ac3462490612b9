"""The dispatcher: from the outbox to the queue, and the reconciler. `python -m worker.dispatch`.

Any number may run at once. Nothing is ever kept here: it may be killed at any moment.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from celery import Celery
from kombu.exceptions import OperationalError
from redis import RedisError

from core.errors import CounterfoilError
from core.log import configure_logging, get_logger
from core.settings import Settings, load_settings
from db.session import Database
from db.transitions.documents import documents_to_hint, release_expired_documents, tried_documents
from db.transitions.outbox import OutboxKind, OutboxMessage, delete_outbox, take_outbox
from db.transitions.pages import pages_to_hint, reap_expired, tried_pages
from storage.base import ObjectStore
from storage.open import open_store
from worker.app import INTAKE_QUEUE, PAGES_QUEUE, hint_intake, hint_pages, make_celery

log = get_logger(__name__)

_OUTBOX_AT_ONCE = 500
_HINTS_AT_ONCE = 2000
# Files in one message to intake: all that are images become pages in one transaction.
_DOCUMENTS_AT_ONCE = 32
_LONGEST_PAUSE = 5.0
# While a queue still holds messages, a page with an old hint most likely waits in it: telling
# again would only make the queue longer. Once it is empty, whatever still waits was lost.
_HINT_KEPT_SECONDS = 3600.0
_BROKER_ERRORS = (OperationalError, RedisError, OSError)


@dataclass
class Dispatcher:
    settings: Settings
    db: Database
    store: ObjectStore
    app: Celery
    seen: float = field(default_factory=time.time)  # the database; a machine may have slept
    _complaints: set[str] = field(default_factory=set)

    def run(self, stop: threading.Event) -> None:
        """Dispatch until `stop` is set; the reconciler runs at the start and then regularly."""
        pause, reconciled = self.settings.dispatch_seconds, float("-inf")
        while not stop.is_set():
            try:
                sent = self.drain()
                if time.monotonic() - reconciled >= self.settings.reconcile_seconds:
                    self.reconcile()
                    reconciled = time.monotonic()
                self._recovered()
                # At once only for what is left over: what trickles in makes fuller groups.
                more = sent == _OUTBOX_AT_ONCE
                pause = 0.0 if more else self.settings.dispatch_seconds
            except (*_BROKER_ERRORS, CounterfoilError) as exc:
                self._complain(exc)
                pause = min(max(pause, 0.1) * 2, _LONGEST_PAUSE)
            except Exception:
                log.exception("dispatch.failed")
                pause = _LONGEST_PAUSE
            stop.wait(pause)

    def drain(self) -> int:
        """Send the oldest messages of the outbox and return how many.

        What cannot be sent stays. Raises kombu's OperationalError, TransientError.
        """
        with self.db.reading() as s:
            messages = take_outbox(s, _OUTBOX_AT_ONCE)
        if not messages:
            return 0
        reads = [message for message in messages if message.kind == OutboxKind.READ]
        intakes = [message for message in messages if message.kind == OutboxKind.INTAKE]
        others = [
            message
            for message in messages
            if message.kind not in (OutboxKind.READ, OutboxKind.INTAKE)
        ]
        done: list[int] = []
        try:
            with self.app.producer_pool.acquire(block=True, timeout=10) as producer:
                done += [message.id for message in others if self._serve(message)]
                document_ids = [message.payload["document_id"] for message in intakes]
                for group in _groups(document_ids, _DOCUMENTS_AT_ONCE):
                    hint_intake(self.app, group, producer=producer)
                done += [message.id for message in intakes]
                # Files of one page each make groups together.
                page_ids = [page_id for read in reads for page_id in read.payload["page_ids"]]
                for group in _groups(page_ids, self.settings.group_size):
                    hint_pages(self.app, group, producer=producer)
                done += [message.id for message in reads]
        finally:
            if done:
                with self.db.transaction() as s:
                    delete_outbox(s, done)
        return len(done)

    def _serve(self, message: OutboxMessage) -> bool:
        """Do what a message asks that is not for the queue; return whether it is done."""
        if message.kind != OutboxKind.DELETE_OBJECTS:
            log.error("outbox.unknown", kind=message.kind, id=message.id)
            return False
        try:
            self.store.delete_namespace(message.payload["namespace"])
        except CounterfoilError as exc:  # hints do not wait for the store
            self._complain(exc)
            return False
        return True

    def reconcile(self) -> None:
        """Take back what dead workers held, and hint again whatever no queue knows of."""
        with self.db.transaction() as s:
            # Where we could not reach the database, neither could they who had leases to renew.
            blind = time.time() - self.seen > (
                self.settings.lease_seconds - self.settings.heartbeat_seconds
            )
            if blind:
                release_expired_documents(s)
            max_attempts = self.settings.max_attempts
            if reaped := reap_expired(s, max_attempts=max_attempts, blame=not blind):
                log.warning("pages.taken-back", pages=len(reaped))
        self.seen = time.time()
        older_than = self._kept_hint_seconds(PAGES_QUEUE)
        with self.db.transaction() as s:
            page_ids = pages_to_hint(s, older_than_seconds=older_than, limit=_HINTS_AT_ONCE)
            tried = tried_pages(s, page_ids)
        older_than = self._kept_hint_seconds(INTAKE_QUEUE)
        with self.db.transaction() as s:
            document_ids = documents_to_hint(s, older_than_seconds=older_than, limit=_HINTS_AT_ONCE)
            tried |= tried_documents(s, document_ids)
        # Sent after the commit, like every message. What a failing broker does not take is
        # marked as hinted all the same, and hinted once more when its queue is empty.
        with self.app.producer_pool.acquire(block=True, timeout=10) as producer:
            # One that was tried before may be what killed its worker: it goes alone.
            for group in _apart(page_ids, tried, self.settings.group_size):
                hint_pages(self.app, group, producer=producer)
            for group in _apart(document_ids, tried, _DOCUMENTS_AT_ONCE):
                hint_intake(self.app, group, producer=producer)
        if page_ids or document_ids:
            log.info("hinted-again", pages=len(page_ids), documents=len(document_ids))

    def _kept_hint_seconds(self, queue: str) -> float:
        with self.app.connection_for_write() as connection:
            waiting = int(connection.default_channel.client.llen(queue))
        return _HINT_KEPT_SECONDS if waiting else self.settings.reconcile_seconds

    def _complain(self, exc: Exception) -> None:
        """Log a fault that lasts once, not five times a second."""
        what = f"{type(exc).__name__}: {exc}"
        if what not in self._complaints:
            self._complaints.add(what)
            log.warning("dispatch.waiting", error=what)

    def _recovered(self) -> None:
        if self._complaints:
            log.info("dispatch.recovered")
            self._complaints.clear()


def _groups(ids: Sequence[str], size: int) -> Iterator[list[str]]:
    for start in range(0, len(ids), size):
        yield list(ids[start : start + size])


def _apart(ids: Sequence[str], alone: Collection[str], size: int) -> Iterator[list[str]]:
    yield from _groups([item for item in ids if item not in alone], size)
    yield from ([item] for item in ids if item in alone)


def main() -> None:
    settings = load_settings()
    configure_logging(settings.log_level, json=settings.log_json)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    db = Database(settings.resolved_database_url())
    log.info("dispatcher.started")
    try:
        Dispatcher(settings, db, open_store(settings), make_celery(settings)).run(stop)
    finally:
        db.dispose()
    log.info("dispatcher.stopped")


if __name__ == "__main__":
    main()
