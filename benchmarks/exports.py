"""Time and memory of exports: `python -m benchmarks.exports --pages 10000`.

Fills a new SQLite database with a batch whose pages have five fields each, and makes an export of
it in every format, each in a process of its own. Prints the seconds and the peak of the resident
memory, beside those of a batch of a tenth of the pages: memory must not grow with the batch.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sqlalchemy import insert

from core.exporting import ExportColumn, ExportFormat
from core.ids import new_id
from core.settings import Settings
from db.migrate import upgrade
from db.models import Document, Field, Page, Reading
from db.session import Database
from db.transitions.batches import create_batch
from db.transitions.exporting import create_export
from db.transitions.tenants import ensure_tenant
from storage.open import open_store
from worker.child import Services
from worker.exports.job import make_export

_GRAMMARS = {
    "account": ("0071234", "digits(7)"),
    "amount": ("1234.50", "amount(INR)"),
    "date": ("28022026", "date(DDMMYYYY)"),
    "number": ("000123", "digits(6)"),
    "sort-code": ("560002001", "digits(9)"),
}
_AT_ONCE = 1000


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.exports", description=__doc__)
    parser.add_argument("--pages", type=int, default=10_000)
    parser.add_argument("--make", nargs=2, metavar=("HOME", "EXPORT"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.make:
        _make(Path(chosen.make[0]), chosen.make[1])
        return
    print("| pages | format | seconds | peak MB | file MB |\n|---|---|---|---|---|")
    for pages in (chosen.pages // 10, chosen.pages):
        with tempfile.TemporaryDirectory() as folder:
            for export_format, export_id in _filled(Path(folder), pages).items():
                command = [sys.executable, "-m", "benchmarks.exports", "--make", folder, export_id]
                said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                print(f"| {pages:,} | {export_format} | {said.strip()} |", flush=True)


def _make(home: Path, export_id: str) -> None:
    settings = _settings(home)
    services = Services(
        settings, Database(settings.resolved_database_url()), open_store(settings), ""
    )
    began = time.perf_counter()
    make_export(services, export_id)
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    size = sum(
        file.stat().st_size for file in (home / "objects" / export_id).rglob("*") if file.is_file()
    )
    print(f"{seconds:.1f} | {peak:.0f} | {size / 1e6:.1f}")


def _settings(home: Path) -> Settings:
    return Settings(home=home)


def _filled(home: Path, pages: int) -> dict[ExportFormat, str]:
    settings = _settings(home)
    upgrade(settings.resolved_database_url())
    db = Database(settings.resolved_database_url())
    with db.transaction() as s:
        tenant_id = ensure_tenant(s, "default").id
        batch, _ = create_batch(
            s, tenant_id=tenant_id, name="Benchmark", template_id=None, release_threshold=0.9
        )
        document = Document(
            tenant_id=tenant_id,
            batch_id=batch.id,
            filename="a.pdf",
            sha256="a",
            size=1,
            state="opened",
        )
        s.add(document)
        s.flush()
    ids = {"tenant_id": tenant_id, "batch_id": batch.id}
    for start in range(0, pages, _AT_ONCE):
        made = [new_id() for _ in range(min(_AT_ONCE, pages - start))]
        page_rows = [
            ids
            | {
                "id": one,
                "document_id": document.id,
                "ordinal": start + n + 1,
                "state": "read",
                "attempt": 1,
            }
            for n, one in enumerate(made)
        ]
        fields = [
            ids
            | {
                "id": new_id(),
                "page_id": page,
                "ordinal": n,
                "name": name,
                "state": "accepted",
                "value": value,
                "grammar": grammar,
            }
            for page in made
            for n, (name, (value, grammar)) in enumerate(_GRAMMARS.items(), 1)
        ]
        readings = [
            {
                "id": new_id(),
                "tenant_id": tenant_id,
                "field_id": field["id"],
                "attempt": 1,
                "reader": "strip",
                "model_sha256": "0" * 64,
                "raw": field["value"],
                "value": field["value"],
                "confidence": 0.999,
                "alternatives": [{"value": field["value"], "probability": 0.999}] * 5,
                "x": 1.0,
                "y": 2.0,
                "w": 3.0,
                "h": 4.0,
            }
            for field in fields
        ]
        with db.transaction() as s:
            for table, rows in ((Page, page_rows), (Field, fields), (Reading, readings)):
                s.execute(insert(table), rows)
    columns = [ExportColumn("file", "File"), ExportColumn("page", "Page")]
    columns += [
        ExportColumn(key, f"{name} {key}", name)
        for name in _GRAMMARS
        for key in ("value", "confidence", "model", "released_by")
    ]
    with db.transaction() as s:
        exports = {
            one: create_export(
                s,
                **ids,
                who="benchmark",
                export_format=one,
                columns=columns,
                base_url="http://localhost/",
            )
            for one in ExportFormat
        }
    db.dispose()
    return exports


if __name__ == "__main__":
    main()
