"""One page: the scan, the field boxes on it, what was read and why, and each value's history."""

from __future__ import annotations

from flask import Blueprint, render_template

from api.context import services
from db import queries, saved_templates
from db.views import EventView
from web.signing_in import person

blueprint = Blueprint("pages", __name__)

WIDTH = 1400  # pixels of the scan as shown
# For each number of quarter turns clockwise, what brings the scan upright, as SVG writes it.
_TURNED = (
    "",
    "rotate(90) translate(0 -{high})",
    "rotate(180) translate(-{wide} -{high})",
    "rotate(270) translate(-{wide} 0)",
)


@blueprint.get("/pages/<id:page_id>")
def page(page_id: str) -> str:
    """Show a page with its fields."""
    tenant_id = person().tenant_id
    with services().db.reading() as session:
        found = queries.page_with_fields(session, tenant_id, page_id)
        events = queries.page_events(session, tenant_id, found.batch_id, page_id)
        batch = queries.batch_progress(session, tenant_id, found.batch_id)
        used = saved_templates.template_of_page(session, tenant_id, page_id)
    wide, high = found.width or 0, found.height or 0
    view = (high, wide) if found.turn % 2 else (wide, high)
    names = {field.id: field.name for field in found.fields}
    histories: dict[str, list[EventView]] = {field.id: [] for field in found.fields}
    for event in events:
        if event.payload.get("field_id") in histories:
            histories[event.payload["field_id"]].append(event)
    return render_template(
        "page.html",
        page=found,
        batch=batch,
        histories=histories,
        names=names,
        width=WIDTH,
        version=used.versions[-1].number if used and used.versions else None,
        view=f"0 0 {view[0]} {view[1]}",
        turned=_TURNED[found.turn % 4].format(wide=wide, high=high),
    )
