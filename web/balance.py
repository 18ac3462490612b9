"""Whether a batch comes to its control total and count, and where to look if it does not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from api.context import services
from core.balance import (
    Suspicion,
    control_total,
    decimal_text,
    minor_units,
    places_of,
    suspicions,
)
from core.errors import InputError
from core.limits import MAX_NAME
from core.misreads import Instead, instead_of
from core.roles import Role
from db import queries
from db.amounts import AmountView, batch_amounts, field_names
from db.models import LOST_PAGES, UNREAD_PAGES, FieldState, PageState
from db.transitions.asking import Counted, ask_again, count_batch
from db.views import BatchProgress
from web.signing_in import needs, person

blueprint = Blueprint("balance", __name__)

SUSPECTS = 10
MOST_SEARCHED = 20_000  # values: the search takes seconds
MAX_FORM_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True)
class Suspect:
    """One value that may be wrong, as the page shows it."""

    field: AmountView
    now: str
    then: str
    why: str


@dataclass(frozen=True, slots=True)
class Sum:
    """What the values of a batch come to, as the page shows it."""

    total: str
    found: str
    difference: str
    is_over: bool  # there is too much
    balances: bool
    counted: int  # values that were added up
    waiting: int  # of these, proposed by the machine and still to be decided
    missing: tuple[AmountView, ...]  # fields without a number
    suspects: tuple[tuple[Suspect, ...], ...]  # each such changes together would make it balance
    too_many: bool  # values to search


@blueprint.get("/batches/<id:batch_id>/balance")
def balance(batch_id: str) -> str:
    """Show whether a batch balances, and what to look at if it does not."""
    tenant_id = person().tenant_id
    with services().db.reading() as session:
        batch = queries.batch_progress(session, tenant_id, batch_id)
        names = field_names(session, tenant_id, batch_id)
        amounts = (
            batch_amounts(session, tenant_id, batch_id, batch.control_field)
            if batch.control_field is not None
            else []
        )
    return render_template(
        "balance.html",
        batch=batch,
        names=names,
        sum=_sum(batch, amounts),
        pages=sum(batch.pages.values()) - batch.pages[PageState.PASSED_OVER],
        documents=sum(batch.documents.values()),
        unread=sum(batch.pages[state] for state in UNREAD_PAGES),
        lost=sum(batch.pages[state] for state in LOST_PAGES),
    )


@blueprint.post("/batches/<id:batch_id>/balance")
@needs(Role.VERIFIER)
def count(batch_id: str) -> Response:
    """Record what the batch should come to."""
    request.max_content_length = MAX_FORM_BYTES
    form = request.form
    total, field = form.get("control_total", "").strip(), form.get("control_field", "").strip()
    counted = Counted(
        control_total=control_total(total) if total else None,
        control_field=field[:MAX_NAME] if total and field else None,
        expected_pages=_count_of("expected_pages"),
        expected_documents=_count_of("expected_documents"),
    )
    if total and not field:
        raise InputError("Say which field the control total is the sum of.")
    with services().db.transaction() as session:
        count_batch(
            session,
            tenant_id=person().tenant_id,
            batch_id=batch_id,
            who=person().name,
            counted=counted,
        )
    return redirect(url_for("web.balance.balance", batch_id=batch_id))


@blueprint.post("/fields/<id:field_id>/again")
@needs(Role.VERIFIER)
def again(field_id: str) -> Response:
    """Have a value looked at again."""
    version = request.form.get("version", "")
    if not (version.isascii() and version.isdigit() and len(version) < 10):
        raise InputError("Say which version of the field you saw.", code="version-required")
    with services().db.transaction() as session:
        batch_id = ask_again(
            session,
            tenant_id=person().tenant_id,
            field_id=field_id,
            who=person().name,
            seen={int(version)},
        )
    return redirect(url_for("web.balance.balance", batch_id=batch_id))


def _count_of(name: str) -> int | None:
    text = request.form.get(name, "").strip()
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 9):
        raise InputError(f"'{text[:40]}' is no number of pages or files.")
    return int(text)


def _sum(batch: BatchProgress, amounts: Sequence[AmountView]) -> Sum | None:
    """Return what the batch comes to; None if it has no control total."""
    if batch.control_total is None:
        return None
    numbers = [one.value or "" for one in amounts if minor_units(one.value, 4) is not None]
    places = max(map(places_of, [batch.control_total, *numbers]))
    target = minor_units(batch.control_total, places) or 0
    units = [minor_units(one.value, places) for one in amounts]
    found = sum(unit for unit in units if unit is not None)
    difference = target - found
    too_many = len(amounts) > MOST_SEARCHED
    suspected: list[Suspicion] = []
    if difference and not too_many:
        suspected = suspicions(_entries(amounts, units, places), difference, most=SUSPECTS)
    return Sum(
        total=decimal_text(target, places),
        found=decimal_text(found, places),
        difference=decimal_text(abs(difference), places),
        is_over=difference < 0,
        balances=difference == 0,
        counted=sum(unit is not None for unit in units),
        waiting=sum(one.state == FieldState.REVIEW for one in amounts),
        missing=tuple(
            one
            for one, unit in zip(amounts, units, strict=True)
            if unit is None and one.value != ""
        ),
        suspects=tuple(
            tuple(_suspect(amounts[change.entry], change.after, places) for change in one.changes)
            for one in suspected
        ),
        too_many=too_many,
    )


def _entries(
    amounts: Sequence[AmountView], units: Sequence[int | None], places: int
) -> Iterator[tuple[int, dict[int, float]]]:
    for one, unit in zip(amounts, units, strict=True):
        others: dict[int, float] = {}
        for instead in _instead(one) if unit is not None else ():
            after = minor_units(instead.value, places)
            if after is not None:
                others[after] = max(others.get(after, instead.log_odds), instead.log_odds)
        yield unit or 0, others


def _instead(field: AmountView) -> list[Instead]:
    shares = {one["value"]: one["probability"] for one in field.alternatives}
    return instead_of(
        field.value or "", field.confidence, shares, keyed=field.state == FieldState.VERIFIED
    )


def _suspect(field: AmountView, after: int, places: int) -> Suspect:
    likeliest = max(
        (one for one in _instead(field) if minor_units(one.value, places) == after),
        key=lambda one: one.log_odds,
    )
    now = minor_units(field.value, places) or 0
    return Suspect(field, decimal_text(now, places), decimal_text(after, places), likeliest.why)
