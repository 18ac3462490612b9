"""One page, its image, its fields and their crops; and what a person says about a field."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from http import HTTPStatus
from typing import BinaryIO

import cv2
import numpy as np
from flask import Blueprint, Response, request
from pydantic import ValidationError

from api import serializers
from api.context import Services, caller, services
from api.openapi import operation, parse_query
from api.problems import ProblemError
from api.schemas import BatchField, ImageQuery, PageObject, Unreadable, Verification
from core.errors import NotFoundError
from db import queries
from db.models import PageState
from db.transitions import fields as transitions
from db.views import PageView
from pipeline.files.page import decode_page
from pipeline.types import Image

blueprint = Blueprint("pages", __name__)

SHOWN_AS_IT_IS = frozenset({"image/jpeg", "image/png"})
CHUNK = 256 * 1024
MAX_JSON_BYTES = 64 * 1024
MARGIN = 0.35  # of the field's height, on each side: a stroke may leave its box
JPEG_QUALITY = 85

# An image belongs to its id for good: pages and readings are added, never changed.
_CACHE = "private, max-age=31536000, immutable"


@blueprint.get("/pages/<id:page_id>")
@operation("results", {200: PageObject})
def get_page(page_id: str) -> Response:
    """Return a page with its fields and readings."""
    return serializers.answer(serializers.page_object(_page(page_id)))


@blueprint.get("/pages/<id:page_id>/image")
@operation("results", {200: "image/jpeg|image/png", 304: None}, query=ImageQuery)
def page_image(page_id: str) -> Response:
    """Return the scan of a page, as browsers show it.

    The original bytes, or with `width` a smaller grey copy once the page has been read.
    """
    width = parse_query(ImageQuery).width
    page = _page(page_id)
    key = _image_key(page)
    # Bytes that the pipeline has not got through are never decoded here.
    if page.state != PageState.READ or width is None or (page.width or 0) <= width:
        width = None
    if width is None and page.media_type in SHOWN_AS_IT_IS:
        response = _fresh(f"{page.sha256}")
        if response is None:
            response = _streamed(services(), key, page.media_type)
    else:
        response = _fresh(f"{page.sha256}-{width}")
        if response is None:
            response = _drawn(_scaled(page, width), ".jpg", "image/jpeg")
    return _tagged(response, f"{page.sha256}" if width is None else f"{page.sha256}-{width}")


@blueprint.get("/fields/<id:field_id>")
@operation("results", {200: BatchField})
def get_field(field_id: str) -> Response:
    """Return a field with its current reading."""
    return _field(field_id)


@blueprint.get("/fields/<id:field_id>/crop")
@operation("results", {200: "image/png", 304: None})
def field_crop(field_id: str) -> Response:
    """Return the image of a field, cut out of its page with a margin, upright."""
    with services().db.reading() as session:
        field = queries.get_field(session, caller().tenant_id, field_id)
        page = queries.page_with_fields(session, caller().tenant_id, field.page_id)
    if field.box is None:
        raise NotFoundError("This field has no place on its page.", code="crop-not-found")
    tag = hashlib.sha256(f"{page.sha256} {field.box} {page.turn}".encode()).hexdigest()
    response = _fresh(tag)
    if response is None:
        with services().decoding:
            grey = _decoded(page)
            crop = _cut(grey, field.box, page.turn)
        response = _drawn(crop, ".png", "image/png")
    return _tagged(response, tag)


@blueprint.post("/fields/<id:field_id>/verify")
@operation("results", {200: BatchField}, body=Verification, problems=(409, 413))
def verify_field(field_id: str) -> Response:
    """Release a value in a person's name, or say that nobody can read it.

    A later one corrects it; the batch's events keep both. The name is that of the API key.
    """
    request.max_content_length = MAX_JSON_BYTES
    try:
        said = Verification.model_validate_json(request.get_data(cache=False)).root
    except ValidationError as exc:
        raise ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "invalid-request",
            "Send either 'value', of 1 to 1,000 characters, or 'unreadable': true.",
        ) from exc
    tenant_id, who = caller().tenant_id, caller().key_name
    with services().db.transaction() as session:
        if isinstance(said, Unreadable):
            transitions.mark_unreadable(session, tenant_id=tenant_id, field_id=field_id, who=who)
        else:
            transitions.verify_field(
                session, tenant_id=tenant_id, field_id=field_id, value=said.value, who=who
            )
    return _field(field_id)


def _field(field_id: str) -> Response:
    with services().db.reading() as session:
        field = queries.get_field(session, caller().tenant_id, field_id)
    return serializers.answer(serializers.batch_field(field))


def _page(page_id: str) -> PageView:
    with services().db.reading() as session:
        return queries.page_with_fields(session, caller().tenant_id, page_id)


def _image_key(page: PageView) -> str:
    key = page.object_key
    if key is None:
        raise NotFoundError("There is no image of this page.", code="image-not-found")
    return key


# --- bytes --------------------------------------------------------------------------------------


def _fresh(tag: str) -> Response | None:
    """Return a 304 where the caller has this image already."""
    if request.if_none_match.contains_weak(tag):
        return Response(status=HTTPStatus.NOT_MODIFIED)
    return None


def _tagged(response: Response, tag: str) -> Response:
    response.set_etag(tag)
    response.headers["Cache-Control"] = _CACHE
    return response


def _streamed(found: Services, key: str, media_type: str) -> Response:
    size = found.store.size(key)
    body = () if request.method == "HEAD" else _chunks(found, key)
    response = Response(body, content_type=media_type)
    response.content_length = size
    return response


def _chunks(found: Services, key: str) -> Iterator[bytes]:
    with found.store.open(key) as stream:
        yield from _read_all(stream)


def _read_all(stream: BinaryIO) -> Iterator[bytes]:
    while chunk := stream.read(CHUNK):
        yield chunk


def _scaled(page: PageView, width: int | None) -> Image:
    with services().decoding:
        grey = _decoded(page)
        if width is None:
            return grey
        height = max(1, round(grey.shape[0] * width / grey.shape[1]))
        return np.asarray(cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _decoded(page: PageView) -> Image:
    data = services().store.read(_image_key(page))
    return decode_page(data, max_pixels=services().settings.max_page_pixels).grey


def _cut(grey: Image, box: tuple[float, float, float, float], turn: int) -> Image:
    """Cut `box` (x, y, w, h in pixels) out of a page with a margin, within the page.

    What is cut out makes so many quarter turns clockwise.
    """
    x, y, w, h = box
    margin = MARGIN * (w if turn % 2 else h) + 4
    left, top = max(0, int(x - margin)), max(0, int(y - margin))
    cut = grey[top : max(top + 1, int(y + h + margin)), left : max(left + 1, int(x + w + margin))]
    if cut.size == 0:
        raise NotFoundError("This field has no place on its page.", code="crop-not-found")
    return np.ascontiguousarray(np.rot90(cut, -turn))


def _drawn(image: Image, suffix: str, media_type: str) -> Response:
    options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY] if suffix == ".jpg" else []
    done, data = cv2.imencode(suffix, image, options)
    if not done:
        raise RuntimeError(f"OpenCV could not write a {suffix} of {image.shape}")
    return Response(data.tobytes(), content_type=media_type)
