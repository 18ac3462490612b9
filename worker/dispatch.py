"""The dispatcher: sends messages of the outbox to the queue, and finds lost work.

Run it by `python -m worker.dispatch`. Any number may run at once, and each may be killed at any
time, since it keeps no state.
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
from db.transitions.exporting import expire_exports, exports_to_hint
from db.transitions.outbox import OutboxKind, OutboxMessage, delete_outbox, take_outbox
from db.transitions.pages import pages_to_hint, reap_expired, tried_pages
from db.transitions.sessions import delete_ended
from storage.base import ObjectStore
from storage.open import open_store
from worker.alarms import watch_releases
from worker.app import (
    INTAKE_QUEUE,
    PAGES_QUEUE,
    hint_export,
    hint_intake,
    hint_pages,
    make_celery,
)

log = get_logger(__name__)

_OUTBOX_AT_ONCE = 500
_HINTS_AT_ONCE = 2000
# Files in one message to intake, which opens all images among them in one transaction.
_DOCUMENTS_AT_ONCE = 32
_LONGEST_PAUSE = 5.0
# While a queue holds messages, a page with an old hint is most likely among them, and another hint
# would only make the queue longer. Once the queue is empty, the hint of what still waits was lost.
_HINT_LASTS_SECONDS = 3600.0
_BROKER_ERRORS = (OperationalError, RedisError, OSError)


@dataclass
class Dispatcher:
    settings: Settings
    db: Database
    store: ObjectStore
    app: Celery
    # When the database was last reached. Wall-clock time, because the machine may have slept.
    database_reached: float = field(default_factory=time.time)
    _logged_faults: set[str] = field(default_factory=set)

    def run(self, stop: threading.Event) -> None:
        """Dispatch until `stop` is set; reconcile at the start and then regularly."""
        pause, reconciled = self.settings.dispatch_seconds, float("-inf")
        while not stop.is_set():
            try:
                sent = self.drain()
                if time.monotonic() - reconciled >= self.settings.reconcile_seconds:
                    self.reconcile()
                    reconciled = time.monotonic()
                self._recovered()
                # Go on at once only if messages are left over: waiting makes fuller groups.
                more = sent == _OUTBOX_AT_ONCE
                pause = 0.0 if more else self.settings.dispatch_seconds
            except (*_BROKER_ERRORS, CounterfoilError) as exc:
                self._log_once(exc)
                pause = min(max(pause, 0.1) * 2, _LONGEST_PAUSE)
            except Exception:
                log.exception("dispatch.failed")
                pause = _LONGEST_PAUSE
            stop.wait(pause)

    def drain(self) -> int:
        """Send the oldest messages of the outbox, and return how many were sent.

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
            if message.kind not in (OutboxKind.READ, OutboxKind.INTAKE, OutboxKind.EXPORT)
        ]
        done: list[int] = []
        try:
            with self.app.producer_pool.acquire(block=True, timeout=10) as producer:
                done += [message.id for message in others if self._delete_objects(message)]
                for message in messages:
                    if message.kind == OutboxKind.EXPORT:
                        hint_export(self.app, message.payload["export_id"], producer=producer)
                        done.append(message.id)
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

    def _delete_objects(self, message: OutboxMessage) -> bool:
        """Delete the objects that a message names, and return whether that is done."""
        if message.kind != OutboxKind.DELETE_OBJECTS:
            log.error("outbox.unknown", kind=message.kind, id=message.id)
            return False
        try:
            self.store.delete_namespace(message.payload["namespace"])
        except CounterfoilError as exc:  # hints do not wait for the store
            self._log_once(exc)
            return False
        return True

    def reconcile(self) -> None:
        """Take back what dead workers held, hint again what no queue holds, delete what is old."""
        with self.db.transaction() as s:
            # If we could not reach the database for so long, workers could not renew their leases.
            outage = time.time() - self.database_reached > (
                self.settings.lease_seconds - self.settings.heartbeat_seconds
            )
            if outage:
                release_expired_documents(s)
            max_attempts = self.settings.max_attempts
            if reaped := reap_expired(s, max_attempts=max_attempts, blame=not outage):
                log.warning("pages.taken-back", pages=len(reaped))
            delete_ended(s)
            expire_exports(s)
        self.database_reached = time.time()
        older_than = self._hint_lasts_seconds(PAGES_QUEUE)
        with self.db.transaction() as s:
            page_ids = pages_to_hint(s, older_than_seconds=older_than, limit=_HINTS_AT_ONCE)
            tried = tried_pages(s, page_ids)
        older_than = self._hint_lasts_seconds(INTAKE_QUEUE)
        with self.db.transaction() as s:
            document_ids = documents_to_hint(s, older_than_seconds=older_than, limit=_HINTS_AT_ONCE)
            tried |= tried_documents(s, document_ids)
            export_ids = exports_to_hint(s, older_than_seconds=older_than, limit=_HINTS_AT_ONCE)
        # Send after the commit, as always. What a failing broker does not accept is marked as
        # hinted all the same; it is hinted again when its queue is empty.
        with self.app.producer_pool.acquire(block=True, timeout=10) as producer:
            # What was tried before may have killed its worker, so it goes alone.
            for group in _groups_or_alone(page_ids, tried, self.settings.group_size):
                hint_pages(self.app, group, producer=producer)
            for group in _groups_or_alone(document_ids, tried, _DOCUMENTS_AT_ONCE):
                hint_intake(self.app, group, producer=producer)
            for export_id in export_ids:
                hint_export(self.app, export_id, producer=producer)
        if page_ids or document_ids:
            log.info("hinted-again", pages=len(page_ids), documents=len(document_ids))
        watch_releases(self.db, self.settings)

    def _hint_lasts_seconds(self, queue: str) -> float:
        with self.app.connection_for_write() as connection:
            waiting = int(connection.default_channel.client.llen(queue))
        return _HINT_LASTS_SECONDS if waiting else self.settings.reconcile_seconds

    def _log_once(self, exc: Exception) -> None:
        """Log a fault when it begins, not five times a second while it lasts."""
        fault = f"{type(exc).__name__}: {exc}"
        if fault not in self._logged_faults:
            self._logged_faults.add(fault)
            log.warning("dispatch.waiting", error=fault)

    def _recovered(self) -> None:
        if self._logged_faults:
            log.info("dispatch.recovered")
            self._logged_faults.clear()


def _groups(ids: Sequence[str], size: int) -> Iterator[list[str]]:
    for start in range(0, len(ids), size):
        yield list(ids[start : start + size])


def _groups_or_alone(ids: Sequence[str], alone: Collection[str], size: int) -> Iterator[list[str]]:
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
