"""The intake task: one uploaded file becomes its pages. May run twice, at once, or never."""

from __future__ import annotations

import io
import shutil
import tempfile
from pathlib import Path

from core.errors import CounterfoilError, InputError, TransientError
from core.log import get_logger
from db.transitions.documents import (
    ClaimedDocument,
    NewPage,
    claim_document,
    fail_document,
    open_document,
    release_document,
    renew_document,
)
from db.transitions.outbox import forget_objects
from pipeline.documents import DocumentPage
from storage.base import StorageFullError
from worker.child import Services
from worker.patience import Heartbeat, patiently

log = get_logger(__name__)

# One encoded image that a worker will hold in memory. A 50-megapixel scan in 16-bit colour,
# stored without compression, is 300 MB; nothing honest is larger.
MAX_IMAGE_BYTES = 320 << 20


def open_stored_document(services: Services, document_id: str) -> None:
    """Open a document, store the images of its pages and write their rows."""
    settings = services.settings
    with services.db.transaction() as s:
        claim = claim_document(
            s,
            document_id,
            lease_seconds=settings.lease_seconds,
            max_attempts=settings.max_attempts,
        )
    if claim is None:
        return

    def renew() -> bool:
        with services.db.transaction() as s:
            return renew_document(s, claim.document_id, claim.attempt, settings.lease_seconds)

    with Heartbeat(renew, settings.heartbeat_seconds):
        try:
            pages = _store_pages(services, claim)
        except InputError as exc:
            _fail(services, claim, exc.code, str(exc))
        except CounterfoilError as exc:  # a service, our own set-up, or an object that is gone
            _release(services, claim, exc.code, exc.message)
        except Exception as exc:
            log.exception("document.not-opened", document_id=document_id)
            message = f"Counterfoil failed on this file ({type(exc).__name__}: {exc})."
            _release(services, claim, "internal-error", message)
        else:
            if pages:
                write_pages(services, claim, pages)
            else:
                _fail(services, claim, "no-pages", "There is no page in this file.")


def _store_pages(services: Services, claim: ClaimedDocument) -> list[NewPage]:
    with tempfile.TemporaryDirectory(prefix="counterfoil-intake-") as folder:
        path = Path(folder) / "document"  # never the user's name
        patiently(lambda: _fetch(services, claim, path), what="store")
        return [
            _as_row(services, claim, ordinal, page)
            for ordinal, page in enumerate(services.opener.open(path, claim.filename), 1)
        ]


def _as_row(
    services: Services, claim: ClaimedDocument, ordinal: int, page: DocumentPage
) -> NewPage:
    error, sha256 = page.error, claim.sha256
    size = claim.size if page.data is None else len(page.data)
    if error is None and size > MAX_IMAGE_BYTES:
        error = InputError(
            f"This image is a file of {size >> 20} MB. "
            f"At most {MAX_IMAGE_BYTES >> 20} MB can be read.",
            code="image-too-large",
        )
    if error is not None:
        return NewPage(ordinal, page.label, None, page.media_type, page.dpi, error.code, str(error))
    if page.data is not None:
        sha256 = _store(services, claim.batch_id, page.data)
    return NewPage(ordinal, page.label, sha256, page.media_type, page.dpi)


def _fetch(services: Services, claim: ClaimedDocument, path: Path) -> None:
    try:
        with services.store.open(claim.object_key) as source, path.open("wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
    except OSError as exc:
        raise StorageFullError(f"There is no room to unpack this file ({exc.strerror}).") from exc


def _store(services: Services, batch_id: str, data: bytes) -> str:
    def step() -> str:
        return services.store.put(batch_id, io.BytesIO(data)).sha256

    return patiently(step, what="store")


def write_pages(services: Services, claim: ClaimedDocument, pages: list[NewPage]) -> None:
    """Write the rows of a document whose page images are stored."""

    def step() -> bool:
        with services.db.transaction() as s:
            taken = open_document(s, claim.document_id, claim.attempt, pages)
            if not taken:
                # The batch may have been deleted under us, and its objects before ours came.
                forget_objects(s, claim.batch_id)
            return taken

    if not patiently(step, what="database"):
        log.warning("document.late", document_id=claim.document_id)


def _fail(services: Services, claim: ClaimedDocument, code: str, message: str) -> None:
    def step() -> None:
        with services.db.transaction() as s:
            fail_document(s, claim.document_id, claim.attempt, code, message)

    patiently(step, what="database")


def _release(services: Services, claim: ClaimedDocument, code: str, message: str) -> None:
    def step() -> None:
        with services.db.transaction() as s:
            release_document(
                s,
                claim.document_id,
                claim.attempt,
                code,
                message,
                max_attempts=services.settings.max_attempts,
            )

    try:
        patiently(step, what="database")
    except TransientError:
        log.warning("document.not-released", document_id=claim.document_id)  # its lease runs out
