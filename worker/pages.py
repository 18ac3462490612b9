"""The page task: claim, fetch, read, write. Any group may be run twice, at once, or never."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from core.errors import ConfigError, InputError, NotFoundError, TransientError
from core.log import get_logger
from core.policy import review_reason
from db.session import Session
from db.transitions.pages import (
    ClaimedPage,
    FieldResult,
    PageResult,
    claim_pages,
    complete_pages,
    fail_page,
    release_page,
    renew_leases,
    tried_pages,
)
from pipeline.types import EncodedPage, FieldReading, PageReading
from worker.child import Services
from worker.patience import PATIENCE_SECONDS, Heartbeat, patiently

if TYPE_CHECKING:
    from pipeline.readers.loaded import Readers

log = get_logger(__name__)

# Encoded images held at once: a group of the largest scans is read in parts.
_BYTES_AT_ONCE = 64 << 20


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Why a page has no reading. With `retry`, the fault is not in its bytes.

    With `blame` the attempt counts against the page: it is not plain that a service was away.
    """

    code: str
    message: str
    retry: bool
    blame: bool = True


Outcome = PageResult | Unreadable


def read_group(services: Services, page_ids: Sequence[str]) -> list[str]:
    """Read those of the pages that are waiting, and write what came of each.

    Returns the pages that want a hint of their own: a page that was tried before may be the one
    that killed its worker, and must not take its neighbours along once more.
    """
    alone: list[str] = []
    if len(page_ids) > 1:
        with services.db.reading() as s:
            tried = tried_pages(s, page_ids)
        alone = [page_id for page_id in page_ids if page_id in tried]
        page_ids = [page_id for page_id in page_ids if page_id not in tried]
    with services.db.transaction() as s:
        claims = claim_pages(
            s, page_ids, worker=services.name, lease_seconds=services.settings.lease_seconds
        )
    if not claims:
        return alone

    def renew() -> bool:
        with services.db.transaction() as s:
            return bool(renew_leases(s, held, services.settings.lease_seconds))

    held = [(claim.page_id, claim.attempt) for claim in claims]
    with Heartbeat(renew, services.settings.heartbeat_seconds):
        outcomes: list[tuple[ClaimedPage, Outcome]] = []
        for part in _in_parts(_fetch(services, claims)):
            outcomes += read_part(services, part)
        write(services, outcomes)
    return alone


@dataclass(frozen=True, slots=True)
class Fetched:
    claim: ClaimedPage
    image: EncodedPage | Unreadable


def _fetch(services: Services, claims: Iterable[ClaimedPage]) -> Iterator[Fetched]:
    # One patience for the whole group: eight pages that each waited their own would outlast the
    # task's time limit, and be taken for killers of their worker.
    until = time.monotonic() + PATIENCE_SECONDS
    for claim in claims:
        image: EncodedPage | Unreadable
        try:
            data = patiently(
                lambda key=claim.object_key: services.store.read(key),  # type: ignore[misc]
                what="store",
                seconds=until - time.monotonic(),
            )
            image = EncodedPage(data, claim.media_type)
        except (TransientError, NotFoundError, ConfigError) as exc:
            log.error("page.not-fetched", page_id=claim.page_id, error=str(exc))
            # An object that is gone is no outage: it would be looked for for ever.
            gone = isinstance(exc, NotFoundError)
            image = Unreadable(exc.code, exc.message, retry=True, blame=gone)
        yield Fetched(claim, image)


def _in_parts(pages: Iterable[Fetched]) -> Iterator[list[Fetched]]:
    part: list[Fetched] = []
    size = 0
    for page in pages:
        part.append(page)
        size += len(page.image.data) if isinstance(page.image, EncodedPage) else 0
        if size >= _BYTES_AT_ONCE:
            yield part
            part, size = [], 0
    if part:
        yield part


def read_part(services: Services, pages: Sequence[Fetched]) -> list[tuple[ClaimedPage, Outcome]]:
    """Read fetched pages, those of one template together; one outcome for each page."""
    outcomes: list[tuple[ClaimedPage, Outcome]] = []
    fetched: list[tuple[ClaimedPage, EncodedPage]] = []
    for page in pages:
        if isinstance(page.image, Unreadable):
            outcomes.append((page.claim, page.image))
        else:
            fetched.append((page.claim, page.image))

    def template_of(item: tuple[ClaimedPage, EncodedPage]) -> str:
        return item[0].template_id or ""

    for _, items in groupby(sorted(fetched, key=template_of), template_of):
        outcomes += _read_alike(services, list(items))
    return outcomes


def _read_alike(
    services: Services, items: list[tuple[ClaimedPage, EncodedPage]]
) -> list[tuple[ClaimedPage, Outcome]]:
    from pipeline.read import read_pages  # with the inference runtime: never in the parent

    claims = [claim for claim, _ in items]
    first = claims[0]
    try:
        template = (
            services.template(first.template_id, first.template_text)
            if first.template_id is not None and first.template_text is not None
            else None
        )
        readings = read_pages(
            [image for _, image in items],
            template,
            services.readers,
            max_pixels=services.settings.max_page_pixels,
        )
    except InputError as exc:  # the template
        return [(claim, Unreadable(exc.code, str(exc), retry=False)) for claim in claims]
    except Exception as exc:
        if len(items) > 1:  # find out whose fault it is
            return [outcome for item in items for outcome in _read_alike(services, [item])]
        log.exception("page.not-read", page_id=first.page_id)
        message = f"Counterfoil failed on this page ({type(exc).__name__}: {exc})."
        return [(first, Unreadable("internal-error", message, retry=True))]
    return [
        (claim, as_outcome(reading, claim.release_threshold, services.readers))
        for claim, reading in zip(claims, readings, strict=True)
    ]


def as_outcome(reading: PageReading, release_threshold: float | None, readers: Readers) -> Outcome:
    """Return what is to be written for a page that was read, policy's decisions included."""
    if reading.error is not None:
        return Unreadable(reading.error.code, str(reading.error), retry=False)

    def as_result(field: FieldReading) -> FieldResult:
        return FieldResult(
            name=field.name,
            value=field.value,
            raw=field.raw,
            confidence=field.confidence,
            alternatives=[
                {"value": item.value, "probability": item.probability}
                for item in field.alternatives
            ],
            box=(field.box.x, field.box.y, field.box.w, field.box.h),
            rule=field.rule,
            reader=field.reader,
            model_sha256=readers.sha256(field.reader),
            reason=review_reason(
                field.value, field.confidence, release_threshold, required=field.required
            ),
        )

    return PageResult(
        width=reading.width,
        height=reading.height,
        turn=reading.turn,
        template_score=reading.template_score,
        fields=tuple(as_result(field) for field in reading.fields),
    )


def write(services: Services, outcomes: Sequence[tuple[ClaimedPage, Outcome]]) -> None:
    """Write all outcomes in one fenced transaction.

    Where the database refuses them as a whole, each is tried alone, so that one page that cannot
    be written leaves its neighbours theirs.
    """
    max_attempts = services.settings.max_attempts

    def step(some: Sequence[tuple[ClaimedPage, Outcome]]) -> Callable[[], None]:
        def run() -> None:
            with services.db.transaction() as s:
                _write(s, some, max_attempts)

        return run

    try:
        patiently(step(outcomes), what="database")
        return
    except TransientError:
        raise  # the leases run out, and others take the pages
    except Exception:
        log.exception("group.not-written", pages=len(outcomes))
    for claim, outcome in outcomes:
        try:
            patiently(step([(claim, outcome)]), what="database")
        except TransientError:
            raise
        except Exception as exc:
            message = f"What was read could not be stored ({type(exc).__name__})."
            refused = Unreadable("internal-error", message, retry=True)
            patiently(step([(claim, refused)]), what="database")


def _write(s: Session, outcomes: Sequence[tuple[ClaimedPage, Outcome]], max_attempts: int) -> None:
    read = [
        (claim.page_id, claim.attempt, outcome)
        for claim, outcome in outcomes
        if isinstance(outcome, PageResult)
    ]
    if read:
        taken = complete_pages(s, read)
        if len(taken) < len(read):
            log.warning("group.late", pages=len(read) - len(taken))
    for claim, outcome in outcomes:
        if isinstance(outcome, PageResult):
            continue
        page = (claim.page_id, claim.attempt, outcome.code, outcome.message)
        if outcome.retry:
            release_page(s, *page, max_attempts=max_attempts, blame=outcome.blame)
        else:
            fail_page(s, *page)
