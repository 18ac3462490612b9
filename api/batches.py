"""Batches and what is in them: look, list, close, cancel, retry, delete."""

from __future__ import annotations

from http import HTTPStatus

from flask import Blueprint, Response

from api import serializers
from api.context import caller, services
from api.openapi import operation, parse_query
from api.schemas import (
    BatchList,
    BatchObject,
    DocumentList,
    FieldList,
    FieldsQuery,
    ListQuery,
    PageList,
    PagesQuery,
    Retried,
    RetryReceipt,
)
from db import queries
from db.models import WORKING_BATCHES
from db.transitions import batches as transitions
from db.transitions import retry

blueprint = Blueprint("batches", __name__)


@blueprint.get("/batches")
@operation("batches", {200: BatchList}, query=ListQuery)
def list_batches() -> Response:
    """List the batches, newest first."""
    query = parse_query(ListQuery)
    with services().db.reading() as session:
        found = queries.list_batches(
            session, caller().tenant_id, after=query.after, limit=query.limit
        )
    items = [serializers.batch_object(batch) for batch in found]
    return serializers.answer(BatchList(items=items, next=serializers.cursor(items, query.limit)))


@blueprint.get("/batches/<id:batch_id>")
@operation("batches", {200: BatchObject})
def get_batch(batch_id: str) -> Response:
    """Return a batch: its state, its counts, how far it is."""
    return _batch(batch_id)


@blueprint.get("/batches/<id:batch_id>/documents")
@operation("batches", {200: DocumentList}, query=ListQuery)
def list_documents(batch_id: str) -> Response:
    """List the files of a batch in the order in which they came."""
    query = parse_query(ListQuery)
    with services().db.reading() as session:
        found = queries.list_documents(
            session, caller().tenant_id, batch_id, after=query.after, limit=query.limit
        )
    items = [serializers.document_object(document) for document in found]
    return serializers.answer(
        DocumentList(items=items, next=serializers.cursor(items, query.limit))
    )


@blueprint.get("/batches/<id:batch_id>/pages")
@operation("results", {200: PageList}, query=PagesQuery)
def list_pages(batch_id: str) -> Response:
    """List the pages of a batch with their fields and readings."""
    query = parse_query(PagesQuery)
    with services().db.reading() as session:
        found = queries.list_pages(
            session,
            caller().tenant_id,
            batch_id,
            after=query.after,
            limit=query.limit,
            state=query.state,
        )
    items = [serializers.page_object(page) for page in found]
    return serializers.answer(PageList(items=items, next=serializers.cursor(items, query.limit)))


@blueprint.get("/batches/<id:batch_id>/fields")
@operation("results", {200: FieldList}, query=FieldsQuery)
def list_fields(batch_id: str) -> Response:
    """List the fields of a batch; with `state=review` those that wait for a person."""
    query = parse_query(FieldsQuery)
    with services().db.reading() as session:
        found = queries.list_fields(
            session,
            caller().tenant_id,
            batch_id,
            after=query.after,
            limit=query.limit,
            state=query.state,
        )
    items = [serializers.batch_field(field) for field in found]
    return serializers.answer(FieldList(items=items, next=serializers.cursor(items, query.limit)))


@blueprint.post("/batches/<id:batch_id>/close")
@operation("batches", {202: BatchObject}, problems=(409,))
def close_batch(batch_id: str) -> Response:
    """Say that no more files will come, so that the batch can end. Safe to repeat."""
    with services().db.transaction() as session:
        transitions.close_batch(session, tenant_id=caller().tenant_id, batch_id=batch_id)
    return _batch(batch_id, HTTPStatus.ACCEPTED)


@blueprint.post("/batches/<id:batch_id>/cancel")
@operation("batches", {200: BatchObject}, problems=(409,))
def cancel_batch(batch_id: str) -> Response:
    """End a batch now. What was read stays, the rest will not be read. Safe to repeat."""
    with services().db.transaction() as session:
        transitions.cancel_batch(session, tenant_id=caller().tenant_id, batch_id=batch_id)
    return _batch(batch_id)


@blueprint.post("/batches/<id:batch_id>/retry")
@operation("batches", {202: RetryReceipt}, problems=(409,))
def retry_batch(batch_id: str) -> Response:
    """Try again what was set aside, with all its attempts. Bad files and pages stay failed.

    Set aside are pages in state `quarantined`, and files that failed through a fault of the
    server.
    """
    with services().db.transaction() as session:
        retried = retry.retry_batch(session, tenant_id=caller().tenant_id, batch_id=batch_id)
    with services().db.reading() as session:
        batch = queries.batch_progress(session, caller().tenant_id, batch_id)
    receipt = RetryReceipt(
        **dict(serializers.batch_object(batch)),
        retried=Retried(documents=retried.documents, pages=retried.pages),
    )
    response = serializers.answer(receipt, HTTPStatus.ACCEPTED)
    response.headers["Retry-After"] = "1"
    return response


@blueprint.delete("/batches/<id:batch_id>")
@operation("batches", {204: None})
def delete_batch(batch_id: str) -> Response:
    """Delete a batch with its scans and readings. The scans go within moments."""
    with services().db.transaction() as session:
        transitions.delete_batch(session, tenant_id=caller().tenant_id, batch_id=batch_id)
    response = Response(status=HTTPStatus.NO_CONTENT)
    response.headers.pop("Content-Type", None)
    return response


def _batch(batch_id: str, status: HTTPStatus = HTTPStatus.OK) -> Response:
    with services().db.reading() as session:
        batch = queries.batch_progress(session, caller().tenant_id, batch_id)
    response = serializers.answer(serializers.batch_object(batch), status)
    if batch.state in WORKING_BATCHES:
        response.headers["Retry-After"] = "1"
    return response
