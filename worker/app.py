"""The Celery application: `python -m worker.app pages` and `python -m worker.app intake`.

The database is the truth and a message only a hint, so Celery is used in its simplest form: JSON,
no results, no retries. A message is acknowledged when a child starts its task. What is lost after
that (a child is killed, the broker is flushed) is found by the reconciler when its lease expires;
with late acknowledgement a second child would only find that the lease is still held.

Documents to open and pages to read have queues and workers of their own, so that a file of five
thousand pages does not delay the pages of others.
"""

from __future__ import annotations

import argparse
import logging
import os
import socket
import sys
from collections.abc import Sequence
from typing import Any

from celery import Celery, signals
from kombu.entity import Queue

from core.log import configure_logging
from core.settings import Settings, load_settings
from worker import child
from worker.broker import broker_url

INTAKE_QUEUE = "intake"
PAGES_QUEUE = "pages"
INTAKE_TASK = "counterfoil.intake"
READ_TASK = "counterfoil.read_pages"
EXPORT_TASK = "counterfoil.export"

# The last resort against code that hangs: the child is killed, and its leases expire. Longer than a
# task waits for a store or a database that is away.
_READ_SECONDS = 600
_INTAKE_SECONDS = 3 * 3600
_EXPORT_SECONDS = 3600
# A child whose memory exceeds this (a scan of 50 megapixels is enough) is replaced after its task.
_CHILD_KIB = 700 * 1024


def make_celery(settings: Settings) -> Celery:
    """Return the application with its tasks. It does not connect yet."""
    app = Celery("counterfoil", broker=broker_url(settings), set_as_current=False)
    app.conf.update(
        accept_content=["json"],
        task_serializer="json",
        result_backend=None,
        task_ignore_result=True,
        task_store_errors_even_if_ignored=False,
        task_acks_late=False,
        task_queues=[Queue(name) for name in (INTAKE_QUEUE, PAGES_QUEUE)],  # type: ignore[no-untyped-call]
        task_create_missing_queues=False,
        task_default_queue=PAGES_QUEUE,
        task_routes={
            INTAKE_TASK: {"queue": INTAKE_QUEUE},
            EXPORT_TASK: {"queue": INTAKE_QUEUE},  # long work, as opening files is
            READ_TASK: {"queue": PAGES_QUEUE},
        },
        worker_disable_prefetch=True,
        worker_prefetch_multiplier=1,
        worker_max_memory_per_child=_CHILD_KIB,
        worker_proc_alive_timeout=60.0,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_connection_retry=True,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={
            # Tasks are acknowledged at their start, so a message that is not acknowledged after
            # this time was lost with its worker.
            "visibility_timeout": 600,
            "socket_connect_timeout": 5,
            "socket_timeout": 15,
            "socket_keepalive": True,
            # Who sends a message knows what to do if the broker is away: the outbox keeps the
            # message, or the reconciler sends it again. Left to itself, kombu would try for six
            # seconds.
            "max_retries": 1,
            "interval_start": 0.2,
        },
        enable_utc=True,
    )

    @app.task(name=INTAKE_TASK, time_limit=_INTAKE_SECONDS)  # type: ignore[untyped-decorator]
    def intake(document_ids: list[str]) -> None:
        from worker.intake import open_stored_documents

        for document_id in open_stored_documents(child.services(settings), document_ids):
            hint_intake(app, [document_id])

    @app.task(name=EXPORT_TASK, time_limit=_EXPORT_SECONDS)  # type: ignore[untyped-decorator]
    def export(export_id: str) -> None:
        from worker.exports.job import make_export

        make_export(child.services(settings), export_id)

    @app.task(name=READ_TASK, time_limit=_READ_SECONDS)  # type: ignore[untyped-decorator]
    def read_pages(page_ids: list[str]) -> None:
        from worker.pages import read_group

        for page_id in read_group(child.services(settings), page_ids):
            hint_pages(app, [page_id])

    return app


def hint_intake(app: Celery, document_ids: Sequence[str], **options: Any) -> None:
    """Send a message to open documents. Raises kombu's OperationalError if the broker is away."""
    app.send_task(INTAKE_TASK, [list(document_ids)], retry=False, **options)


def hint_pages(app: Celery, page_ids: Sequence[str], **options: Any) -> None:
    """Send a message to read pages together. Raises as `hint_intake`."""
    app.send_task(READ_TASK, [list(page_ids)], retry=False, **options)


def hint_export(app: Celery, export_id: str, **options: Any) -> None:
    """Send a message to make an export. Raises as `hint_intake`."""
    app.send_task(EXPORT_TASK, [export_id], retry=False, **options)


def run_worker(settings: Settings, queue: str, processes: int) -> None:
    """Work on one queue with this many processes, until SIGTERM."""
    # Set before any child is forked, so that all inherit it: each reader uses one core, and a
    # library that has started threads in the parent would hang in its children.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"
    _import_for(queue)
    app = make_celery(settings)

    def _logging(**_: Any) -> None:
        configure_logging(settings.log_level, json=settings.log_json)
        for name in ("celery.worker.strategy", "celery.app.trace"):  # they log two lines a task
            logging.getLogger(name).setLevel(max(logging.WARNING, logging.root.level))

    def _child(**_: Any) -> None:
        child.begin(settings, reads_pages=queue == PAGES_QUEUE)

    def _child_ends(exitcode: int, **_: Any) -> None:
        # Celery has taken its results by now. Its pool would have it sleep for a second, in case
        # the parent wants to kill it.
        os._exit(exitcode)

    signals.setup_logging.connect(_logging, weak=False)
    signals.worker_process_init.connect(_child, weak=False)
    signals.worker_process_shutdown.connect(_child_ends, weak=False)
    app.worker_main(
        [
            "worker",
            f"--queues={queue}",
            f"--concurrency={processes}",
            "--pool=prefork",
            f"--hostname={queue}-{os.getpid()}@{socket.gethostname()}",
            f"--loglevel={settings.log_level}",
            "--without-gossip",
            "--without-mingle",
            "--without-heartbeat",
        ]
    )


def _import_for(queue: str) -> None:
    """Import what the tasks need before the fork: the children share it, and start sooner."""
    if queue == PAGES_QUEUE:
        import pipeline.placing.template  # noqa: F401
        import worker.pages
    else:
        import worker.intake  # noqa: F401


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m worker.app", description=__doc__)
    parser.add_argument("queue", choices=[PAGES_QUEUE, INTAKE_QUEUE])
    parser.add_argument("--processes", type=int, help="default: COUNTERFOIL_WORKERS; intake: 1")
    chosen = parser.parse_args(arguments)
    settings = load_settings()
    default = settings.workers if chosen.queue == PAGES_QUEUE else 1
    run_worker(settings, chosen.queue, chosen.processes or default)


if __name__ == "__main__":
    main(sys.argv[1:])
