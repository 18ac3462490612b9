"""The templates: those that came with Counterfoil, files on the server, and those saved here."""

from __future__ import annotations

import base64
import io
import re
from pathlib import PurePath
from typing import Any

from flask import Blueprint, Response, redirect, render_template, request, url_for
from werkzeug.exceptions import BadRequest
from werkzeug.wrappers import Response as BaseResponse

from api.context import services
from api.pages import scaled_jpeg
from core.errors import CounterfoilError, InputError
from core.ids import new_id
from core.roles import Role
from db import saved_templates
from db.transitions import templates as transitions
from pipeline.placing.edit import rename_template
from pipeline.placing.template import bundled_names
from pipeline.placing.template_set import parse_templates
from storage.site_templates import SiteTemplates
from web import looking
from web.signing_in import needs, person
from web.template_texts import (
    Known,
    check_free_name,
    find_template,
    plain,
    templates_of,
)
from worker.preview.protocol import Task

blueprint = Blueprint("template_list", __name__)

MAX_YAML_BYTES = 8 << 20


@blueprint.get("/templates")
@needs(Role.SUPERVISOR)
def overview() -> str:
    """List the templates, each with a small picture."""
    with services().db.reading() as session:
        saved = saved_templates.current_templates(session, person().tenant_id, drafts=True)
    own = [Known(one.name, one.text, "saved", (one,)) for one in saved]
    taken = {one.name for one in own}
    files = SiteTemplates(services().settings.home)
    others = [*((name, "file") for name in files.names())]
    others += [(name, "bundled") for name in bundled_names()]
    found: list[tuple[Known, str]] = [(one, "") for one in own]
    for name, kind in others:
        if name in taken:
            continue
        try:
            found.append((find_template(name), ""))
        except CounterfoilError as exc:
            found.append((Known(name, "", kind), exc.message))
    rows = [(one, templates_of(one.text), error) for one, error in found]
    return render_template("templates.html", rows=rows)


@blueprint.get("/templates/new")
@needs(Role.SUPERVISOR)
def ask_page() -> str:
    """Ask for a page to start a template from."""
    return render_template("template_new.html", error="")


@blueprint.post("/templates/new")
@needs(Role.SUPERVISOR)
def start() -> BaseResponse | tuple[str, int]:
    """Propose a template for the uploaded page, and show it; it is a draft until it is saved."""
    try:
        with looking.uploaded("page") as files:
            if not files:
                raise InputError("Choose a scan of the page, or a PDF.", code="no-file")
            name = request.form.get("name", "").strip() or _name_of(files[0].filename)
            check_free_name(name)
            found = looking.look(Task.DRAFT, files, number=_number("number"), name=name)
    except CounterfoilError as exc:
        return render_template("template_new.html", error=plain(exc)), 422
    picture_id = keep_picture(found["picture"])
    _save(name, found["text"], picture_id, draft=True)
    return redirect(url_for("web.template_edit.edit", name=name))


@blueprint.post("/templates/import")
@needs(Role.SUPERVISOR)
def take_in() -> BaseResponse | tuple[str, int]:
    """Save templates from a YAML file."""
    request.max_content_length = MAX_YAML_BYTES
    file = request.files.get("yaml")
    try:
        if file is None or not file.filename:
            raise InputError("Choose a YAML file.", code="no-file")
        found = parse_templates(file.read())
        name = request.form.get("name", "").strip() or found.templates[0].name.partition("/")[0]
        check_free_name(name)
        _save(name, rename_template(found.text, name), None)
    except CounterfoilError as exc:
        said = plain(exc)
        return render_template("template_new.html", error=said), 422
    return redirect(url_for("web.template_edit.edit", name=name))


@blueprint.get("/templates/<name>/yaml")
@needs(Role.SUPERVISOR)
def give_out(name: str) -> Response:
    """Download a template, in its newest version or the one of `?version=`."""
    known = find_template(name)
    text = known.text
    if "version" in request.args:
        text = _version(known, request.args["version"]).text
    response = Response(text, content_type="application/yaml; charset=utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="{name}.yaml"'
    return response


@blueprint.post("/templates/<name>/back")
@needs(Role.SUPERVISOR)
def go_back(name: str) -> BaseResponse:
    """Make an earlier version the newest one again."""
    known = find_template(name)
    version = _version(known, request.form.get("version", ""))
    with services().db.transaction() as session:
        transitions.save_version(
            session,
            tenant_id=person().tenant_id,
            name=name,
            text=version.text,
            who=person().name,
            picture_id=version.picture_id,
            seen=known.versions[0].number,
            draft=version.draft,
        )
    return redirect(url_for("web.template_edit.edit", name=name))


@blueprint.post("/templates/<name>/remove")
@needs(Role.SUPERVISOR)
def remove(name: str) -> BaseResponse:
    """Take a saved template out of use; what was read with it stays as it is."""
    with services().db.transaction() as session:
        transitions.remove_template(session, tenant_id=person().tenant_id, name=name)
    return redirect(url_for("web.template_list.overview"))


@blueprint.get("/templates/pictures/<id:picture_id>")
@needs(Role.SUPERVISOR)
def picture(picture_id: str) -> Response:
    """Return the page that a template was drawn on; with `?width=`, a smaller copy."""
    with services().db.reading() as session:
        found = saved_templates.get_picture(session, person().tenant_id, picture_id)
    width = _number("width", request.args) if "width" in request.args else found.width
    return scaled_jpeg(found.key, found.sha256, min(width, found.width))


@blueprint.get("/pages/<id:page_id>/template")
def of_page(page_id: str) -> str:
    """Show the text that a page was read with, as it was then."""
    with services().db.reading() as session:
        used = saved_templates.template_of_page(session, person().tenant_id, page_id)
    return render_template("template_used.html", used=used, page_id=page_id)


def keep_picture(made: dict[str, Any]) -> str:
    """Store a picture that a child made, and return its id."""
    picture_id = new_id()
    stored = services().store.put(picture_id, io.BytesIO(base64.b64decode(made["jpeg"])))
    with services().db.transaction() as session:
        return transitions.add_picture(
            session,
            tenant_id=person().tenant_id,
            picture_id=picture_id,
            sha256=stored.sha256,
            width=made["width"],
            height=made["height"],
        )


def _save(name: str, text: str, picture_id: str | None, *, draft: bool = False) -> None:
    with services().db.transaction() as session:
        transitions.save_version(
            session,
            tenant_id=person().tenant_id,
            name=name,
            text=text,
            who=person().name,
            picture_id=picture_id,
            seen=None,
            draft=draft,
        )


def _version(known: Known, number: str) -> saved_templates.SavedTemplate:
    for version in known.versions:
        if str(version.number) == number:
            return version
    raise BadRequest("There is no such version of this template.")


def _number(name: str, among: Any = None) -> int:
    text = (request.form if among is None else among).get(name, "") or "1"
    if not re.fullmatch("[1-9][0-9]{0,5}", text, re.ASCII):
        raise InputError(f"'{text[:20]}' is no number.", code="no-number")
    return int(text)


def _name_of(filename: str) -> str:
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", PurePath(filename).stem).strip("-_.")[:64]
    return name or "new-template"
