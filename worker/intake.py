"""The intake task: open uploaded files and write their pages.

It may run twice, in two workers at once, or never.
"""

from __future__ import annotations

import io
import shutil
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.errors import ConfigError, CounterfoilError, InputError, TransientError
from core.log import get_logger
from db.transitions.documents import (
    ClaimedDocument,
    NewPage,
    NewPassedOver,
    OpenedDocument,
    UnopenedDocument,
    claim_document,
    claim_documents,
    fail_document,
    open_document,
    open_documents,
    release_document,
    renew_document,
    unopened_documents,
)
from db.transitions.outbox import forget_objects
from pipeline.files.documents import DocumentPage
from pipeline.files.following import behind_image
from pipeline.files.media import HEAD_BYTES, JPEG, PNG, sniff
from pipeline.files.passed_over import PassedOver
from storage.base import StorageFullError
from worker.backoff import retry_with_backoff
from worker.child import Services
from worker.heartbeat import Heartbeat

log = get_logger(__name__)

# The largest encoded image that a worker holds in memory. An uncompressed scan of 50 megapixels in
# 16-bit colour is 300 MB; no real scan is larger.
MAX_IMAGE_BYTES = 320 << 20
_MAX_DIRECT_BYTES = 32 << 20  # of an image that is looked at in this process, whole in memory
_NO_ROOM = "no-room-to-unpack"


def open_stored_documents(services: Services, document_ids: Sequence[str]) -> list[str]:
    """Open documents: JPEG and PNG files all in one transaction, other kinds one at a time.

    Returns the ids of those that must be sent again, each in a message of its own: opening a PDF,
    a TIFF or a ZIP may take hours or kill its process, and must not take its neighbours along. A
    document that comes alone is opened whatever its kind. In a group, one that was tried before
    is left to the reconciler, which sends it alone.
    """
    with services.db.reading() as s:
        waiting = unopened_documents(s, document_ids)
    images = _open_images(services, waiting)
    if len(document_ids) == 1:
        if document_ids[0] not in images:
            open_stored_document(services, document_ids[0])
        return []
    return [document.document_id for document in waiting if document.document_id not in images]


def _open_images(services: Services, documents: Sequence[UnopenedDocument]) -> Collection[str]:
    """Open those of the documents that are a JPEG or a PNG, and return their ids.

    Returns none if the transaction fails: then each is opened alone, to find the one at fault.
    Raises TransientError while the database is away; the reconciler sends the documents again.
    """
    images: dict[str, _Image] = {}
    for document in documents:
        if document.size > _MAX_DIRECT_BYTES:
            continue
        image = _image(services, document.object_key)
        if image is not None:
            images[document.document_id] = image
    if not images:
        return ()
    try:
        retry_with_backoff(lambda: _write_own_pages(services, images), service="database")
    except TransientError:
        raise
    except Exception:
        log.exception("images.not-opened", documents=len(images))
        return ()
    return images


@dataclass(frozen=True, slots=True)
class _Image:
    """A document that is itself a page image, and what follows the image in it."""

    media_type: str
    passed_over: Sequence[NewPassedOver]


def _image(services: Services, key: str) -> _Image | None:
    """Return a stored JPEG or PNG; None for another file, or one that cannot be read now."""
    try:
        with services.store.open(key) as source:
            head = source.read(HEAD_BYTES)
            kind = sniff(head)
            if kind not in (JPEG, PNG):
                return None
            found = behind_image(head + source.read(), kind)
    except (CounterfoilError, OSError) as exc:
        log.warning("document.not-fetched", error=str(exc))
        return None
    return _Image(kind, [_passed_over_row(item) for item in found])


def _passed_over_row(item: PassedOver) -> NewPassedOver:
    return NewPassedOver(item.name, item.code, item.reason)


def _write_own_pages(services: Services, images: Mapping[str, _Image]) -> None:
    """Write the one page of each document that is itself a page image. Nothing is decoded here.

    The documents are claimed and opened in one transaction, so no lease has to be renewed.
    """
    settings = services.settings
    with services.db.transaction() as s:
        claims = claim_documents(
            s, images, lease_seconds=settings.lease_seconds, max_attempts=settings.max_attempts
        )
        open_documents(
            s,
            [
                OpenedDocument(
                    claim.document_id,
                    claim.attempt,
                    [_own_page(images[claim.document_id].media_type)],
                    images[claim.document_id].passed_over,
                )
                for claim in claims
            ],
        )


def _own_page(media_type: str) -> NewPage:
    return NewPage(1, "", None, media_type)


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
            pages, passed_over = _store_pages(services, claim)
        except InputError as exc:
            _fail(services, claim, exc.code, str(exc))
        except (TransientError, ConfigError) as exc:  # a service, or how it is set up
            # A file that there is no room to unpack may always be too large.
            blame = exc.code == _NO_ROOM
            _release(services, claim, exc.code, exc.message, blame=blame)
        except CounterfoilError as exc:  # an object that is gone or damaged
            log.error("document.not-fetched", document_id=document_id, error=str(exc))
            _release(services, claim, exc.code, str(exc))
        except Exception as exc:
            log.exception("document.not-opened", document_id=document_id)
            message = f"Counterfoil failed on this file ({type(exc).__name__}: {exc})."
            _release(services, claim, "internal-error", message)
        else:
            if pages:
                write_pages(services, claim, pages, passed_over)
            else:
                _fail(services, claim, "no-pages", "There is no page in this file.")


def _store_pages(
    services: Services, claim: ClaimedDocument
) -> tuple[list[NewPage], list[NewPassedOver]]:
    with tempfile.TemporaryDirectory(prefix="counterfoil-intake-") as folder:
        path = Path(folder) / "document"  # never the user's name
        retry_with_backoff(lambda: _fetch(services, claim, path), service="store")
        pages: list[NewPage] = []
        passed_over: list[NewPassedOver] = []
        for found in services.opener.open(path):
            if isinstance(found, PassedOver):
                passed_over.append(_passed_over_row(found))
            else:
                pages.append(_as_row(services, claim, len(pages) + 1, found))
        return pages, passed_over


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
        return NewPage(ordinal, page.label, None, page.media_type, error.code, str(error))
    if page.data is not None:
        sha256 = _store(services, claim.batch_id, page.data)
    return NewPage(ordinal, page.label, sha256, page.media_type)


def _fetch(services: Services, claim: ClaimedDocument, path: Path) -> None:
    try:
        with services.store.open(claim.object_key) as source, path.open("wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
    except OSError as exc:
        raise StorageFullError(
            f"There is no room to unpack this file ({exc.strerror}).", code=_NO_ROOM
        ) from exc


def _store(services: Services, batch_id: str, data: bytes) -> str:
    def step() -> str:
        return services.store.put(batch_id, io.BytesIO(data)).sha256

    return retry_with_backoff(step, service="store")


def write_pages(
    services: Services,
    claim: ClaimedDocument,
    pages: Sequence[NewPage],
    passed_over: Sequence[NewPassedOver] = (),
) -> None:
    """Write the rows of a document whose page images are stored."""

    def step() -> bool:
        with services.db.transaction() as s:
            taken = open_document(s, claim.document_id, claim.attempt, pages, passed_over)
            if not taken:
                # The batch may have been deleted, and its objects before we stored ours.
                forget_objects(s, claim.batch_id)
            return taken

    if not retry_with_backoff(step, service="database"):
        log.warning("document.late", document_id=claim.document_id)


def _fail(services: Services, claim: ClaimedDocument, code: str, message: str) -> None:
    def step() -> None:
        with services.db.transaction() as s:
            fail_document(s, claim.document_id, claim.attempt, code, message)

    retry_with_backoff(step, service="database")


def _release(
    services: Services, claim: ClaimedDocument, code: str, message: str, *, blame: bool = True
) -> None:
    def step() -> None:
        with services.db.transaction() as s:
            release_document(
                s,
                claim.document_id,
                claim.attempt,
                code,
                message,
                max_attempts=services.settings.max_attempts,
                blame=blame,
            )

    try:
        retry_with_backoff(step, service="database")
    except TransientError:
        log.warning("document.not-released", document_id=claim.document_id)  # its lease expires
