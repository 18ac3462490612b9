"""Scans of pages and crops of fields, as the API makes them."""

from __future__ import annotations

from flask import Blueprint, Response

from api import pages

blueprint = Blueprint("images", __name__)


@blueprint.get("/pages/<id:page_id>/image")
def page(page_id: str) -> Response:
    """Return the scan of a page; with `?width=`, a smaller copy."""
    return pages.page_image(page_id)


@blueprint.get("/fields/<id:field_id>/crop")
def field(field_id: str) -> Response:
    """Return a field, cut out of its page."""
    return pages.field_crop(field_id)
