"""Uploading files: a form that works without scripts, and the bundled samples."""

from __future__ import annotations

from contextlib import ExitStack
from itertools import groupby
from pathlib import Path

from flask import Blueprint, jsonify, redirect, render_template, request, url_for
from pydantic import BaseModel, ConfigDict, Field, RootModel
from werkzeug.wrappers import Response

from api import uploads
from api.context import services
from api.json_body import read_body
from api.requests import BatchOptions
from api.templates import EVERY, known_templates, requested_templates
from api.upload_form import IncomingFile, file_label
from core.errors import ConflictError, InputError
from core.ids import new_id
from db import ledger, queries
from db.transitions import batches as transitions
from web import looking
from web.signing_in import person
from worker.preview.protocol import Task

blueprint = Blueprint("upload", __name__)

MAX_OFFERED = 100_000
MAX_OFFER_BYTES = 32 << 20

SAMPLES = Path(__file__).parent / "samples"
_FILES = ("cheques.zip", "cheque-3.jpg", "cheque-4.jpg", "clinic-forms.pdf")
_TEMPLATES = ("demo-cheque", "demo-form")
_RELEASE_AT = 0.99


class _Offered(BaseModel):
    """A file that a browser has: its hash, where the browser can tell it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(max_length=10_000)
    size: int = Field(ge=0)
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$")


class _Offer(RootModel[list[_Offered]]):
    root: list[_Offered] = Field(max_length=MAX_OFFERED)


@blueprint.get("/upload")
def form() -> str:
    """Show the form; with `?batch=`, to go on with an upload that was interrupted."""
    if "batch" in request.args:
        with services().db.reading() as session:
            batch = queries.batch_progress(session, person().tenant_id, request.args["batch"])
        if batch.closed:
            raise ConflictError("This upload is complete.", code="batch-closed")
        return render_template("upload_more.html", batch=batch)
    usable = [template for template in known_templates() if template.error is None]
    sets = [(name, list(of)) for name, of in groupby(usable, key=lambda template: template.set)]
    return render_template("upload.html", sets=sets, every=EVERY)


@blueprint.post("/upload")
def send() -> Response | tuple[Response, int]:
    """Take files, and go to their batch; a script gets the answer of the API."""
    answer = uploads.create_batch()
    if _for_script():
        return answer
    return redirect(url_for("web.batches.batch", batch_id=answer.get_json()["id"]))


@blueprint.post("/samples")
def read_samples() -> Response:
    """Make a batch of the bundled samples, for a first look."""
    uploads.refuse_when_full()
    batch_id = new_id()
    options = BatchOptions(name="Samples", template=[*_TEMPLATES], release_threshold=_RELEASE_AT)
    with uploads.receiving(batch_id) as received, ExitStack() as stack:
        files = [
            IncomingFile(name, stack.enter_context((SAMPLES / name).open("rb"))) for name in _FILES
        ]
        uploads.store_files(batch_id, files, received)
        uploads.record_batch(batch_id, options, requested_templates(options), False, received, None)
    return redirect(url_for("web.batches.batch", batch_id=batch_id))


@blueprint.post("/batches/<id:batch_id>/upload")
def send_more(batch_id: str) -> Response:
    """Take more files of a batch that is still open."""
    answer = uploads.add_documents(batch_id)
    if _for_script():
        return answer
    return redirect(url_for("web.batches.batch", batch_id=batch_id))


@blueprint.post("/batches/<id:batch_id>/have")
def have(batch_id: str) -> Response:
    """Say which of the files that a browser has are in the batch already, in their order."""
    offered = read_body(_Offer, MAX_OFFER_BYTES).root
    with services().db.reading() as session:
        there = ledger.files_of_batch(session, person().tenant_id, batch_id)
    by_hash = {(name, sha256) for name, _, sha256 in there}
    by_size = {(name, size) for name, size, _ in there}
    return jsonify(
        [
            (file_label(file.name), file.sha256) in by_hash
            if file.sha256
            else (file_label(file.name), file.size) in by_size
            for file in offered
        ]
    )


@blueprint.post("/upload/outline")
def outline() -> Response | tuple[Response, int]:
    """Find the sheet on a photograph that is about to be uploaded; nothing is kept."""
    try:
        with looking.uploaded("page") as files:
            if not files:
                raise InputError("There is no photograph in it.", code="no-file")
            return jsonify(looking.look(Task.OUTLINE, files[:1]))
    except InputError as exc:
        return jsonify(detail=str(exc)), 422


@blueprint.post("/batches/<id:batch_id>/close")
def close(batch_id: str) -> Response:
    """Say that all files are here."""
    with services().db.transaction() as session:
        transitions.close_batch(session, tenant_id=person().tenant_id, batch_id=batch_id)
    if _for_script():
        return jsonify(id=batch_id)
    return redirect(url_for("web.batches.batch", batch_id=batch_id))


def _for_script() -> bool:
    return "application/json" in request.headers.get("Accept", "")
