"""Batches and their contents: show, list, close, cancel, retry, delete."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import TypeVar

from flask import Blueprint, Response
from pydantic import BaseModel

from api import serializers
from api.answers import (
    BatchField,
    BatchList,
    BatchObject,
    DocumentList,
    DocumentObject,
    FieldList,
    PageList,
    PageObject,
    Retried,
    RetryReceipt,
)
from api.context import caller, services
from api.openapi import operation, parse_query
from api.requests import FieldsQuery, ListQuery, PagesQuery
from db import queries
from db.models import WORKING_BATCHES
from db.transitions import batches as transitions
from db.transitions import retry

blueprint = Blueprint("batches", __name__)

_View = TypeVar("_View")
_Object = TypeVar("_Object", BatchObject, DocumentObject, PageObject, BatchField)


@blueprint.get("/batches")
@operation("batches", {200: BatchList}, query=ListQuery)
def list_batches() -> Response:
    """List the batches, newest first."""
    return _list(queries.list_batches, serializers.batch_object, BatchList, ListQuery)


@blueprint.get("/batches/<id:batch_id>")
@operation("batches", {200: BatchObject})
def get_batch(batch_id: str) -> Response:
    """Return a batch: its state, its counts and its progress."""
    return _batch(batch_id)


@blueprint.get("/batches/<id:batch_id>/documents")
@operation("batches", {200: DocumentList}, query=ListQuery)
def list_documents(batch_id: str) -> Response:
    """List the files of a batch in the order of their upload."""
    return _list(
        queries.list_documents, serializers.document_object, DocumentList, ListQuery, batch_id
    )


@blueprint.get("/batches/<id:batch_id>/pages")
@operation("results", {200: PageList}, query=PagesQuery)
def list_pages(batch_id: str) -> Response:
    """List the pages of a batch with their fields and readings."""
    return _list(queries.list_pages, serializers.page_object, PageList, PagesQuery, batch_id)


@blueprint.get("/batches/<id:batch_id>/fields")
@operation("results", {200: FieldList}, query=FieldsQuery)
def list_fields(batch_id: str) -> Response:
    """List the fields of a batch; with `state=review`, those that wait for a person."""
    return _list(queries.list_fields, serializers.batch_field, FieldList, FieldsQuery, batch_id)


@blueprint.post("/batches/<id:batch_id>/close")
@operation("batches", {202: BatchObject}, problems=(409,))
def close_batch(batch_id: str) -> Response:
    """Declare that no more files will come, so that the batch can end. Safe to repeat."""
    with services().db.transaction() as session:
        transitions.close_batch(session, tenant_id=caller().tenant_id, batch_id=batch_id)
    return _batch(batch_id, HTTPStatus.ACCEPTED)


@blueprint.post("/batches/<id:batch_id>/cancel")
@operation("batches", {200: BatchObject}, problems=(409,))
def cancel_batch(batch_id: str) -> Response:
    """End a batch now. Pages that were read stay, the others are not read. Safe to repeat."""
    with services().db.transaction() as session:
        transitions.cancel_batch(session, tenant_id=caller().tenant_id, batch_id=batch_id)
    return _batch(batch_id)


@blueprint.post("/batches/<id:batch_id>/retry")
@operation("batches", {202: RetryReceipt}, problems=(409,))
def retry_batch(batch_id: str) -> Response:
    """Retry the pages and files that the server failed on, with all their attempts.

    These are pages in state `quarantined`, and files that could not be opened through a fault of
    the server. Pages and files that failed because their bytes are bad stay failed.
    """
    with services().db.transaction() as session:
        retried = retry.retry_batch(session, tenant_id=caller().tenant_id, batch_id=batch_id)
    with services().db.reading() as session:
        batch = queries.batch_progress(session, caller().tenant_id, batch_id)
    receipt = RetryReceipt(
        **dict(serializers.batch_object(batch)),
        retried=Retried(documents=retried.documents, pages=retried.pages),
    )
    response = serializers.json_response(receipt, HTTPStatus.ACCEPTED)
    response.headers["Retry-After"] = "1"
    return response


@blueprint.delete("/batches/<id:batch_id>")
@operation("batches", {204: None})
def delete_batch(batch_id: str) -> Response:
    """Delete a batch with its scans and readings. The stored scans are deleted shortly after."""
    with services().db.transaction() as session:
        transitions.delete_batch(session, tenant_id=caller().tenant_id, batch_id=batch_id)
    response = Response(status=HTTPStatus.NO_CONTENT)
    response.headers.pop("Content-Type", None)
    return response


def _list(
    find: Callable[..., Sequence[_View]],
    as_object: Callable[[_View], _Object],
    answer: Callable[..., BaseModel],
    query: type[ListQuery],
    *of: str,
) -> Response:
    """Answer one list. `of` is the id of the batch, for what is listed within a batch."""
    asked = parse_query(query)
    with services().db.reading() as session:
        found = find(session, caller().tenant_id, *of, **asked.model_dump())
    items = [as_object(one) for one in found]
    more = len(items) == asked.limit
    return serializers.json_response(answer(items=items, next=items[-1].id if more else None))


def _batch(batch_id: str, status: HTTPStatus = HTTPStatus.OK) -> Response:
    with services().db.reading() as session:
        batch = queries.batch_progress(session, caller().tenant_id, batch_id)
    response = serializers.json_response(serializers.batch_object(batch), status)
    if batch.state in WORKING_BATCHES:
        response.headers["Retry-After"] = "1"
    return response
