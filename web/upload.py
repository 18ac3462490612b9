"""Uploading files: a form that works without scripts, and the bundled samples."""

from __future__ import annotations

from contextlib import ExitStack
from itertools import groupby
from pathlib import Path

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from api import uploads
from api.context import services
from api.requests import BatchOptions
from api.templates import known_templates, requested_templates
from api.upload_form import IncomingFile
from core.errors import NotFoundError
from core.ids import new_id
from db.transitions import batches as transitions
from web.signing_in import person

blueprint = Blueprint("upload", __name__)

SAMPLES = Path(__file__).parents[1] / "demo" / "samples"  # in a checkout
_FILES = ("cheques.zip", "cheque-3.jpg", "cheque-4.jpg", "clinic-forms.pdf")
_TEMPLATES = ("demo-cheque", "demo-form")
_RELEASE_AT = 0.99


@blueprint.get("/upload")
def form() -> str:
    """Show the form."""
    usable = [template for template in known_templates() if template.error is None]
    sets = [(name, list(of)) for name, of in groupby(usable, key=lambda template: template.set)]
    return render_template("upload.html", sets=sets, samples=SAMPLES.is_dir())


@blueprint.post("/upload")
def send() -> Response | tuple[Response, int]:
    """Take files, and go to their batch; a script gets the answer of the API."""
    answer = uploads.create_batch()
    if "application/json" in request.headers.get("Accept", ""):
        return answer
    return redirect(url_for("web.batches.batch", batch_id=answer.get_json()["id"]))


@blueprint.post("/samples")
def read_samples() -> Response:
    """Make a batch of the bundled samples, for a first look."""
    if not SAMPLES.is_dir():
        raise NotFoundError("This installation has no samples.", code="no-samples")
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
    """Take more files of a batch that is still open, for a script."""
    return uploads.add_documents(batch_id)


@blueprint.post("/batches/<id:batch_id>/close")
def close(batch_id: str) -> Response:
    """Say that all files are here."""
    with services().db.transaction() as session:
        transitions.close_batch(session, tenant_id=person().tenant_id, batch_id=batch_id)
    return redirect(url_for("web.batches.batch", batch_id=batch_id))
