"""The export task: write a batch into a file, and store it. It may run twice, or never."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from core.errors import CounterfoilError, NotFoundError, TransientError
from core.log import get_logger
from db import queries, queries_exports
from db.models import ENDED_BATCHES
from db.transitions import exporting
from db.transitions.exporting import ClaimedExport
from db.views import BatchProgress
from worker.child import Services
from worker.exports.rows import Row, headings, iter_rows, kinds
from worker.exports.writers import write_table
from worker.heartbeat import Heartbeat

log = get_logger(__name__)


def make_export(services: Services, export_id: str) -> None:
    """Make an export that nobody works on yet. Its state says what became of it.

    Raises TransientError while the store or the database is away; the reconciler sends it again.
    """
    settings = services.settings
    with services.db.transaction() as s:
        claim = exporting.claim_export(
            s,
            export_id,
            lease_seconds=settings.lease_seconds,
            max_attempts=settings.max_attempts,
        )
    if claim is None:
        return
    try:
        _Export(services, claim).make()
    except TransientError:
        raise
    except NotFoundError:  # the batch was deleted
        log.info("export.batch-gone", export=export_id)
    except CounterfoilError as exc:
        log.warning("export.failed", export=export_id, error=str(exc))
        with services.db.transaction() as s:
            exporting.fail_export(s, claim, str(exc))


class _Export:
    """One export, and how far it is."""

    def __init__(self, services: Services, claim: ClaimedExport) -> None:
        self._services = services
        self._claim = claim
        self._pages = self._rows = self._open_rows = 0

    def make(self) -> None:
        services, claim = self._services, self._claim
        with (
            tempfile.TemporaryDirectory(prefix="counterfoil-export-") as folder,
            Heartbeat(self._renew, services.settings.heartbeat_seconds),
        ):
            path = Path(folder) / f"export.{claim.format}"
            with services.db.reading() as s:
                batch = queries.batch_progress(s, claim.tenant_id, claim.batch_id)
                of_fields = queries_exports.fields_of_batch(s, claim.tenant_id, claim.batch_id)
                rows = iter_rows(
                    s, claim.tenant_id, claim.batch_id, claim.columns, of_fields, claim.base_url
                )
                write_table(
                    path,
                    claim.format,
                    headings(claim.columns),
                    kinds(claim.columns, of_fields),
                    (row.cells for row in self._counted(rows)),
                )
            with path.open("rb") as file:
                stored = services.store.put(claim.export_id, file)
        with services.db.transaction() as s:
            exporting.finish_export(
                s,
                claim,
                rows=self._rows,
                open_rows=self._open_rows,
                filename=_filename(batch, bool(self._open_rows), claim.format),
                sha256=stored.sha256,
                size=stored.size,
            )

    def _counted(self, rows: Iterator[Row]) -> Iterator[Row]:
        for row in rows:
            self._rows += 1
            self._open_rows += row.open
            self._pages += row.of_page
            yield row

    def _renew(self) -> bool:
        with self._services.db.transaction() as s:
            return exporting.renew_export(
                s,
                self._claim,
                pages_done=self._pages,
                lease_seconds=self._services.settings.lease_seconds,
            )


def _filename(batch: BatchProgress, anything_open: bool, ending: str) -> str:
    """Return what a person's file is called; it says if values are missing."""
    name = re.sub(r"[^\w.,() -]+", "_", batch.name).strip(" .")[:120] or "batch"
    complete = batch.state in ENDED_BATCHES and not anything_open
    return f"{name}{'' if complete else ' INCOMPLETE'}.{ending}"
