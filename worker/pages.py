"""The page task: claim, fetch, read, write.

A group of pages may be run twice, by two workers at once, or never.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from core.errors import ConfigError, CounterfoilError, InputError, TransientError
from core.log import get_logger
from core.policy import review_reason
from db.session import Session
from db.transitions.pages import (
    ClaimedPage,
    claim_pages,
    complete_pages,
    fail_page,
    pass_over_page,
    release_page,
    renew_leases,
    tried_pages,
)
from db.transitions.results import FieldResult, PageResult
from pipeline.types import Alternative, EncodedPage, FieldReading, PageReading
from worker.backoff import OUTAGE_SECONDS, retry_with_backoff
from worker.child import Services
from worker.heartbeat import Heartbeat

if TYPE_CHECKING:
    from pipeline.readers.loaded import Readers

log = get_logger(__name__)

# The most bytes of encoded images in memory: a group of very large scans is read in parts.
_BYTES_AT_ONCE = 64 << 20


@dataclass(frozen=True, slots=True)
class NotRead:
    """Why a page has no reading. With `retry` its bytes are not at fault, and it is tried again.

    With `blame` the attempt counts against the page; it does not if a service was away.
    """

    code: str
    message: str
    retry: bool
    blame: bool = True


@dataclass(frozen=True, slots=True)
class PassedOver:
    """Why a page is not to be read: its template says to ignore it."""

    template: str
    reason: str


Outcome = PageResult | NotRead | PassedOver


def read_group(services: Services, page_ids: Sequence[str]) -> list[str]:
    """Read those of the pages that are queued, and write the outcome of each.

    Returns the ids of pages that must be sent again, each in a message of its own: a page that was
    tried before may be the one that killed its worker, and the others must not die with it again.
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
            outcomes += _read_part(services, part)
        _write(services, outcomes)
    return alone


@dataclass(frozen=True, slots=True)
class _Fetched:
    claim: ClaimedPage
    image: EncodedPage | NotRead


def _fetch(services: Services, claims: Iterable[ClaimedPage]) -> Iterator[_Fetched]:
    # One time limit for the whole group: if each of eight pages waited for so long, the task would
    # exceed its own time limit, and the pages would seem to have killed their worker.
    until = time.monotonic() + OUTAGE_SECONDS
    for claim in claims:
        image: EncodedPage | NotRead
        try:
            data = retry_with_backoff(
                lambda key=claim.object_key: services.store.read(key),  # type: ignore[misc]
                service="store",
                seconds=until - time.monotonic(),
            )
            image = EncodedPage(data, claim.media_type, claim.number)
        except CounterfoilError as exc:
            log.error("page.not-fetched", page_id=claim.page_id, error=str(exc))
            # An object that is gone or damaged is not an outage: without blame the page would wait
            # for ever.
            outage = isinstance(exc, TransientError | ConfigError)
            message = exc.message if outage else str(exc)
            image = NotRead(exc.code, message, retry=True, blame=not outage)
        yield _Fetched(claim, image)


def _in_parts(pages: Iterable[_Fetched]) -> Iterator[list[_Fetched]]:
    part: list[_Fetched] = []
    size = 0
    for page in pages:
        part.append(page)
        size += len(page.image.data) if isinstance(page.image, EncodedPage) else 0
        if size >= _BYTES_AT_ONCE:
            yield part
            part, size = [], 0
    if part:
        yield part


def _read_part(services: Services, pages: Sequence[_Fetched]) -> list[tuple[ClaimedPage, Outcome]]:
    """Read fetched pages, those of one template together. Returns one outcome a page."""
    outcomes: list[tuple[ClaimedPage, Outcome]] = []
    fetched: list[tuple[ClaimedPage, EncodedPage]] = []
    for page in pages:
        if isinstance(page.image, NotRead):
            outcomes.append((page.claim, page.image))
        else:
            fetched.append((page.claim, page.image))

    def template_of(item: tuple[ClaimedPage, EncodedPage]) -> str:
        return item[0].template_id or ""

    for _, items in groupby(sorted(fetched, key=template_of), template_of):
        outcomes += _read_same_template(services, list(items))
    return outcomes


def _read_same_template(
    services: Services, items: list[tuple[ClaimedPage, EncodedPage]]
) -> list[tuple[ClaimedPage, Outcome]]:
    from pipeline.read import read_pages  # loads the inference runtime: never in the parent

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
    except InputError as exc:  # the template is wrong
        return [(claim, NotRead(exc.code, str(exc), retry=False)) for claim in claims]
    except Exception as exc:
        if len(items) > 1:  # find the page at fault
            return [outcome for item in items for outcome in _read_same_template(services, [item])]
        log.exception("page.not-read", page_id=first.page_id)
        message = f"Counterfoil failed on this page ({type(exc).__name__}: {exc})."
        return [(first, NotRead("internal-error", message, retry=True))]
    return [
        (claim, _outcome(reading, claim, services.readers))
        for claim, reading in zip(claims, readings, strict=True)
    ]


def _outcome(reading: PageReading, claim: ClaimedPage, readers: Readers) -> Outcome:
    """Return what to write for a page that was read, with the decisions of policy."""
    if reading.error is not None:
        return NotRead(reading.error.code, str(reading.error), retry=False)
    if reading.passed_over is not None:
        return PassedOver(reading.template or "", reading.passed_over)

    policy = claim.policy

    def result_of(field: FieldReading) -> FieldResult:
        model, threshold = readers.sha256(field.reader), claim.release_threshold
        if policy is not None:
            threshold = policy.threshold(reading.template, field.name, model)
        return FieldResult(
            name=field.name,
            value=field.value,
            raw=field.raw,
            confidence=field.confidence,
            alternatives=_alternatives(field.alternatives),
            characters=[
                {
                    "text": one.text,
                    "probability": round(one.probability, 6),
                    "box": [
                        round(side, 1) for side in (one.box.x, one.box.y, one.box.w, one.box.h)
                    ],
                    "alternatives": _alternatives(one.alternatives),
                }
                for one in field.characters
            ],
            box=(field.box.x, field.box.y, field.box.w, field.box.h),
            rule=field.rule,
            reader=field.reader,
            model_sha256=model,
            reason=review_reason(
                field.value,
                field.confidence,
                threshold,
                required=field.required,
                blocked=field.blocked,
            ),
            grammar=field.grammar,
            # Of a line that was found without a template, nobody said that a number must be there.
            required=field.required and reading.template is not None,
            verify=field.verify,
        )

    return PageResult(
        width=reading.width,
        height=reading.height,
        turn=reading.turn,
        template=reading.template,
        template_score=reading.template_score,
        policy_id=None if policy is None else policy.policy_id,
        fields=tuple(result_of(field) for field in reading.fields),
    )


def _alternatives(some: Sequence[Alternative]) -> list[dict[str, Any]]:
    return [{"value": one.value, "probability": one.probability} for one in some]


def _write(services: Services, outcomes: Sequence[tuple[ClaimedPage, Outcome]]) -> None:
    """Write all outcomes in one fenced transaction.

    If that fails, each outcome is written alone, so that one page that cannot be written does not
    keep the others from being written.
    """
    max_attempts = services.settings.max_attempts

    def step(some: Sequence[tuple[ClaimedPage, Outcome]]) -> Callable[[], None]:
        def run() -> None:
            with services.db.transaction() as s:
                _write_outcomes(s, some, max_attempts)

        return run

    try:
        retry_with_backoff(step(outcomes), service="database")
        return
    except TransientError:
        raise  # the leases expire, and other workers claim the pages
    except Exception:
        log.exception("group.not-written", pages=len(outcomes))
    for claim, outcome in outcomes:
        try:
            retry_with_backoff(step([(claim, outcome)]), service="database")
        except TransientError:
            raise
        except Exception as exc:
            message = f"The readings of this page could not be stored ({type(exc).__name__})."
            refused = NotRead("internal-error", message, retry=True)
            retry_with_backoff(step([(claim, refused)]), service="database")


def _write_outcomes(
    s: Session, outcomes: Sequence[tuple[ClaimedPage, Outcome]], max_attempts: int
) -> None:
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
        if isinstance(outcome, PassedOver):
            pass_over_page(s, claim.page_id, claim.attempt, outcome.template, outcome.reason)
            continue
        page = (claim.page_id, claim.attempt, outcome.code, outcome.message)
        if outcome.retry:
            release_page(s, *page, max_attempts=max_attempts, blame=outcome.blame)
        else:
            fail_page(s, *page)
