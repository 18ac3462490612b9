"""The list of batches, one batch with its pages and its ledger, and what can be done to it."""

from __future__ import annotations

from dataclasses import replace

from flask import Blueprint, Response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from api import audit
from api.context import services
from api.exports import routes as exports
from core.policy import ReviewReason
from core.roles import Role
from db import queries
from db.models import LOST_PAGES, FieldState, PageState
from db.page_filters import PageFilter, filter_choices
from db.transitions import batches as transitions
from db.transitions import retry
from web.live import drawn_once
from web.signing_in import needs, person

blueprint = Blueprint("batches", __name__)

BATCHES_AT_ONCE = 50
PAGES_AT_ONCE = 60
DOCUMENTS_AT_ONCE = 200

# What the pages of a batch can be filtered by at a click.
FILTERS = {
    "": PageFilter(),
    "review": PageFilter(field_state=FieldState.REVIEW),
    PageState.READ: PageFilter(state=PageState.READ),
    PageState.FAILED: PageFilter(state=PageState.FAILED),
    PageState.QUARANTINED: PageFilter(state=PageState.QUARANTINED),
    PageState.QUEUED: PageFilter(state=PageState.QUEUED),
}
FILTER_NAMES = {
    "": "All",
    "review": "Wait for a person",
    PageState.READ: "Read",
    PageState.FAILED: "Could not be read",
    PageState.QUARANTINED: "Set aside",
    PageState.QUEUED: "Wait to be read",
}
# By what is on them: the names in the address, and what may be chosen there.
UNSURE = ("0.5", "0.9", "0.99")


@blueprint.get("/")
def overview() -> str:
    """List the batches, newest first. Scripts ask for the rows alone."""
    after = request.args.get("after") or None

    def draw(page: str) -> str:
        with services().db.reading() as session:
            found = queries.list_batches(
                session, person().tenant_id, after=after, limit=BATCHES_AT_ONCE
            )
        more = found[-1].id if len(found) == BATCHES_AT_ONCE else None
        return render_template(page, batches=found, more=more, after=after)

    if request.headers.get("HX-Request"):
        return drawn_once(("batches", after), lambda: draw("batch_rows.html"))
    return draw("batches.html")


@blueprint.get("/batches/<id:batch_id>")
def batch(batch_id: str) -> str:
    """Show a batch and its pages. Scripts ask for its progress alone."""
    tenant_id = person().tenant_id
    if request.headers.get("HX-Request"):
        return drawn_once(("batch", batch_id), lambda: _draw_progress(batch_id))
    with services().db.reading() as session:
        progress = queries.batch_progress(session, tenant_id, batch_id)
        chosen = request.args.get("show", "")
        chosen = chosen if chosen in FILTERS else ""
        asked = _asked(FILTERS[chosen])
        pages = queries.list_pages(
            session,
            tenant_id,
            batch_id,
            after=request.args.get("after") or None,
            limit=PAGES_AT_ONCE,
            asked=asked,
        )
        # They are looked up in every field of the batch, so only for whoever wants them.
        wanted = asked != FILTERS[chosen] or "filters" in request.args
        choices = filter_choices(session, tenant_id, batch_id) if wanted else None
    more = pages[-1].id if len(pages) == PAGES_AT_ONCE else None
    return render_template(
        "batch.html",
        batch=progress,
        pages=pages,
        more=more,
        filters=FILTER_NAMES,
        chosen=chosen,
        asked=asked,
        choices=choices,
        unsure=UNSURE,
        narrowed=asked != FILTERS[chosen],
    )


def _draw_progress(batch_id: str) -> str:
    with services().db.reading() as session:
        progress = queries.batch_progress(session, person().tenant_id, batch_id)
    return render_template("batch_progress.html", batch=progress)


def _asked(shown: PageFilter) -> PageFilter:
    """Return the filter of the address; what is not known is not asked."""
    given = {name: request.args.get(name) or None for name in ("field", "template", "person")}
    states, reasons = tuple(FieldState), tuple(ReviewReason)
    state, reason = request.args.get("field_state"), request.args.get("reason")
    unsure = request.args.get("unsure")
    return replace(
        shown,
        **given,
        field_state=state if state in states else shown.field_state,
        reason=reason if reason in reasons else None,
        unsure=float(unsure) if unsure in UNSURE else None,
    )


@blueprint.get("/batches/<id:batch_id>/files")
def ledger(batch_id: str) -> str:
    """Show what came in, and what became of each file: nothing goes missing."""
    tenant_id = person().tenant_id
    with services().db.reading() as session:
        progress = queries.batch_progress(session, tenant_id, batch_id)
        documents = queries.list_documents(
            session,
            tenant_id,
            batch_id,
            after=request.args.get("after") or None,
            limit=DOCUMENTS_AT_ONCE,
        )
        lost = [
            page
            for state in sorted(LOST_PAGES)
            for page in queries.list_pages(
                session, tenant_id, batch_id, state=state, limit=DOCUMENTS_AT_ONCE
            )
        ]
    more = documents[-1].id if len(documents) == DOCUMENTS_AT_ONCE else None
    return render_template("ledger.html", batch=progress, documents=documents, lost=lost, more=more)


@blueprint.get("/batches/<id:batch_id>/export")
@needs(Role.SUPERVISOR)
def export(batch_id: str) -> Response:
    """Download the batch as CSV, XLSX or JSON Lines."""
    return exports.export_file(batch_id)


@blueprint.post("/batches/<id:batch_id>/retry")
@needs(Role.SUPERVISOR)
def try_again(batch_id: str) -> BaseResponse:
    """Read again what was set aside."""
    with services().db.transaction() as session:
        retry.retry_batch(session, tenant_id=person().tenant_id, batch_id=batch_id)
    return redirect(url_for("web.batches.batch", batch_id=batch_id))


@blueprint.post("/batches/<id:batch_id>/cancel")
@needs(Role.SUPERVISOR)
def cancel(batch_id: str) -> BaseResponse:
    """End the batch; what was read stays."""
    with services().db.transaction() as session:
        transitions.cancel_batch(session, tenant_id=person().tenant_id, batch_id=batch_id)
    return redirect(url_for("web.batches.batch", batch_id=batch_id))


@blueprint.route("/batches/<id:batch_id>/delete", methods=["GET", "POST"])
@needs(Role.SUPERVISOR)
def delete(batch_id: str) -> BaseResponse | str:
    """Say what is lost, and delete the batch once that is confirmed."""
    tenant_id = person().tenant_id
    if request.method == "GET":
        with services().db.reading() as session:
            progress = queries.batch_progress(session, tenant_id, batch_id)
        return render_template("delete.html", batch=progress)
    with services().db.reading() as session:
        audit.note(name=queries.batch_progress(session, tenant_id, batch_id).name)
    with services().db.transaction() as session:
        transitions.delete_batch(session, tenant_id=tenant_id, batch_id=batch_id)
    return redirect(url_for("web.batches.overview"))
