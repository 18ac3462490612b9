"""A page with its fields, its image, and the crops of its fields."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator
from http import HTTPStatus
from itertools import chain

import cv2
from flask import Blueprint, Response, request

from api import serializers
from api.answers import PageObject
from api.context import Services, caller, services
from api.openapi import operation, parse_query
from api.page_images import crop, scale_to_width
from api.requests import ImageQuery
from core.errors import NotFoundError
from db import queries
from db.models import PageState
from db.views import PageView
from pipeline.types import Image

blueprint = Blueprint("pages", __name__)

CHUNK = 256 * 1024
JPEG_QUALITY = 85

_MEDIA_TYPES = {".jpg": "image/jpeg", ".png": "image/png"}
_ENCODING = {".jpg": [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY], ".png": []}

# The image of an id never changes: pages and readings are only added.
_CACHE = "private, max-age=31536000, immutable"


@blueprint.get("/pages/<id:page_id>")
@operation("results", {200: PageObject})
def get_page(page_id: str) -> Response:
    """Return a page with its fields and readings."""
    with services().db.reading() as session:
        page = queries.page_with_fields(session, caller().tenant_id, page_id)
    return serializers.json_response(serializers.page_object(page))


@blueprint.get("/pages/<id:page_id>/image")
@operation("results", {200: ("image/jpeg", "image/png"), 304: None}, query=ImageQuery)
def page_image(page_id: str) -> Response:
    """Return the scan of a page as an image that browsers show.

    These are the original bytes; with `width`, once the page has been read, a smaller grey copy.
    """
    width = parse_query(ImageQuery).width
    with services().db.reading() as session:
        page = queries.get_page(session, caller().tenant_id, page_id)
    key = image_key(page)
    # Only bytes that the pipeline has decoded before are decoded here.
    if width is None or page.state != PageState.READ or (page.width or 0) <= width:
        return cacheable(f"{page.sha256}", lambda: _streamed(services(), key, page.media_type))

    def small() -> Response:
        image = services().page_images.get(key, page.media_type)
        return encoded(scale_to_width(image, width), ".jpg")

    return cacheable(f"{page.sha256}-{width}", small)


@blueprint.get("/fields/<id:field_id>/crop")
@operation("results", {200: ("image/png",), 304: None})
def field_crop(field_id: str) -> Response:
    """Return the image of a field, cut out of its page with a margin and turned upright."""
    with services().db.reading() as session:
        field = queries.get_field(session, caller().tenant_id, field_id)
        page = queries.get_page(session, caller().tenant_id, field.page_id)
    if field.box is None:
        raise NotFoundError("This field has no place on its page.", code="crop-not-found")
    key, box, turn = image_key(page), field.box, page.turn

    def cut() -> Response:
        image = services().page_images.get(key, page.media_type)
        return encoded(crop(image, box, turn), ".png")

    tag = hashlib.sha256(f"{page.sha256} {box} {turn}".encode()).hexdigest()
    return cacheable(tag, cut)


def scaled_jpeg(key: str, tag: str, width: int) -> Response:
    """Return an image of the store that we made ourselves, `width` pixels wide, as JPEG."""

    def small() -> Response:
        image = services().page_images.get(key, "image/jpeg")
        return encoded(scale_to_width(image, width), ".jpg")

    return cacheable(f"{tag}-{width}", small)


def image_key(page: PageView) -> str:
    """Return the key of a page's image in the store. Raises NotFoundError if it has none."""
    key = page.object_key
    if key is None:
        raise NotFoundError("There is no image of this page.", code="image-not-found")
    return key


# --- bytes --------------------------------------------------------------------------------------


def cacheable(tag: str, make: Callable[[], Response]) -> Response:
    """Return the image that `make` makes, or 304 if the caller has the one of this tag already."""
    known = request.if_none_match.contains_weak(tag)
    response = Response(status=HTTPStatus.NOT_MODIFIED) if known else make()
    response.set_etag(tag)
    response.headers["Cache-Control"] = _CACHE
    return response


def _streamed(found: Services, key: str, media_type: str) -> Response:
    size = found.store.size(key)
    if request.method == "HEAD":
        response = Response(content_type=media_type)
    else:
        chunks = _chunks(found, key)
        # A damaged image that is smaller than a chunk is answered with the error itself. A larger
        # one ends before its last bytes, which the client notices by the Content-Length.
        response = Response(chain([next(chunks, b"")], chunks), content_type=media_type)
        response.call_on_close(chunks.close)
    response.content_length = size
    return response


def _chunks(found: Services, key: str) -> Generator[bytes]:
    with found.store.open(key) as stream:
        while chunk := stream.read(CHUNK):
            yield chunk


def encoded(image: Image, suffix: str) -> Response:
    """Return an image as `.jpg` or `.png`."""
    done, data = cv2.imencode(suffix, image, _ENCODING[suffix])
    if not done:
        raise RuntimeError(f"OpenCV could not write a {suffix} of {image.shape}")
    return Response(data.tobytes(), content_type=_MEDIA_TYPES[suffix])
