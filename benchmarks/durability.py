"""What it costs that SQLite waits for the disk: `python -m benchmarks.durability [--folder DIR]`.

The same transactions with `synchronous` FULL, as Counterfoil sets it, and NORMAL, in turns: the
record of an upload of one file, and the results of a group of eight pages with ten fields each.
The database is in DIR, which should be on the disk in question; the ratio is what carries over.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from sqlalchemy import event

from db.migrate import upgrade
from db.session import Database
from db.transitions.batches import NewDocument, add_documents, close_batch, create_batch
from db.transitions.documents import NewPage, claim_document, open_document
from db.transitions.pages import claim_pages, complete_pages
from db.transitions.results import FieldResult, PageResult
from db.transitions.tenants import ensure_tenant

PAGES, FIELDS = 8, 10
RESULT = PageResult(
    width=1600,
    height=750,
    template_score=0.9,
    fields=tuple(
        FieldResult(
            name=f"field-{number}",
            value="253",
            raw="253",
            confidence=0.9,
            alternatives=[{"value": "253", "probability": 0.9}],
            box=(1.0, 2.0, 30.0, 40.0),
            rule=None,
            reader="glyph",
            model_sha256="f" * 64,
            reason=None,
        )
        for number in range(FIELDS)
    ),
)


class Work:
    """A database and the two transactions on it. Each call returns the seconds it took."""

    def __init__(self, path: Path, synchronous: str) -> None:
        url = f"sqlite:///{path}"
        upgrade(url)
        self.db = Database(url)

        @event.listens_for(self.db.engine, "connect")
        def _connect(connection: Any, _record: Any) -> None:
            connection.execute(f"PRAGMA synchronous = {synchronous}")

        with self.db.transaction() as s:
            self.tenant_id = ensure_tenant(s, "benchmark").id
        self._number = 0

    def _upload(self) -> str:
        self._number += 1
        with self.db.transaction() as s:
            batch, _ = create_batch(
                s, tenant_id=self.tenant_id, name="", template_id=None, release_threshold=0.5
            )
            file = NewDocument("a.pdf", f"{self._number:064x}", 1)
            ((document, _),) = add_documents(
                s, tenant_id=self.tenant_id, batch_id=batch.id, files=[file], template_id=None
            )
            close_batch(s, tenant_id=self.tenant_id, batch_id=batch.id)
            return document.id

    def upload(self) -> float:
        return _seconds(self._upload)

    def results(self) -> float:
        document_id = self._upload()
        with self.db.transaction() as s:
            claim = claim_document(s, document_id, lease_seconds=60, max_attempts=3)
            assert claim is not None
            new = [NewPage(number, "", None, "image/png") for number in range(1, PAGES + 1)]
            open_document(s, document_id, claim.attempt, new)
        with self.db.reading() as s:
            page_ids = [
                row[0]
                for row in s.connection().exec_driver_sql(
                    "SELECT id FROM page WHERE document_id = ?", (document_id,)
                )
            ]

        def group() -> None:
            with self.db.transaction() as s:
                claims = claim_pages(s, page_ids, worker="w", lease_seconds=60)
            with self.db.transaction() as s:
                complete_pages(s, [(page.page_id, page.attempt, RESULT) for page in claims])

        return _seconds(group)


def _seconds(act: Callable[[], object]) -> float:
    start = time.perf_counter()
    act()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path())
    parser.add_argument("--rounds", type=int, default=300)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        works = {name: Work(Path(folder) / name, name) for name in ("NORMAL", "FULL")}
        for act in ("upload", "results"):
            taken: dict[str, list[float]] = {name: [] for name in works}
            for _ in range(options.rounds):
                for name, work in works.items():
                    taken[name].append(getattr(work, act)())
            normal, full = (1000 * median(taken[name]) for name in works)
            print(f"{act}: {normal:.2f} ms NORMAL, {full:.2f} ms FULL, ratio {full / normal:.2f}")
        for work in works.values():
            work.db.dispose()


if __name__ == "__main__":
    main()
