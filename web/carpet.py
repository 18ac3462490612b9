"""Digit carpets: all characters of one kind in a batch on one screen, most doubtful first.

The page is a shell with the characters to choose from; its script asks for the cells of one screen
and for their pictures, forty in one image, and sends what the person said of each.
"""

from __future__ import annotations

import hashlib
from http import HTTPStatus
from typing import Any, Final

from flask import Blueprint, Response, jsonify, render_template, request, url_for
from pydantic import BaseModel, ConfigDict, Field

from api.context import services
from api.fields import check_value
from api.json_body import read_body
from api.pages import cacheable, encoded, image_key
from api.problems import ProblemError
from core.ids import is_id
from core.roles import Role
from db import carpet as queries
from db.queries import batch_progress, get_batch, get_fields, get_pages
from db.session import Session
from db.transitions import carpet as transitions
from db.views import FieldView
from web import words
from web.signing_in import needs, person
from web.tiles import cut_tile, sprite

blueprint = Blueprint("carpet", __name__)

SCREEN: Final = 200  # cells
IN_A_SPRITE: Final = 40  # cells whose pictures come as one image
SAMPLES: Final = (100, 300, 1000)  # fields that an audit can draw
MAX_JSON_BYTES: Final = 128 * 1024


class _Said(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    field: str = Field(pattern=r"^[0-9a-f]{32}$")
    version: int = Field(ge=1)
    place: int = Field(ge=0, le=200)
    shown: str = Field(min_length=1, max_length=1)
    said: str | None = Field(min_length=1, max_length=1)  # None: it seems odd


class _Screen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    audit: bool
    cells: list[_Said] = Field(min_length=1, max_length=2 * SCREEN)


class _Undo(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    screen: str = Field(pattern=r"^[0-9a-f]{32}$")


@blueprint.get("/batches/<id:batch_id>/carpet")
@needs(Role.VERIFIER)
def carpet(batch_id: str) -> str:
    """Show the characters to choose from; the script fills in the cells."""
    with services().db.reading() as session:
        batch = batch_progress(session, person().tenant_id, batch_id)
        found, audit = _look(session, batch_id)
    chosen = _asked_text()
    if chosen not in found.left:
        chosen = max(found.left, key=lambda text: found.left[text], default="")
    return render_template(
        "carpet.html",
        batch=batch,
        left=found.left,
        chosen=chosen,
        audit=audit,
        sample=_asked_sample(),
        samples=SAMPLES,
    )


@blueprint.get("/batches/<id:batch_id>/carpet/cells")
@needs(Role.VERIFIER)
def cells(batch_id: str) -> Response:
    """Return the cells of the next screen of one character, most doubtful first."""
    with services().db.reading() as session:
        found, audit = _look(session, batch_id)
    skip = request.args.get("skip", 0, type=int)
    screen = found.cells[skip : skip + SCREEN]
    groups = [screen[at : at + IN_A_SPRITE] for at in range(0, len(screen), IN_A_SPRITE)]
    return jsonify(
        cells=[
            {
                "field": cell.field_id,
                "version": cell.version,
                "place": cell.place,
                "shown": cell.text,
                "name": words.label(cell.name),
                "sure": words.percent(cell.probability),
            }
            for cell in screen
        ],
        sprites=[
            {
                "count": len(group),
                "path": url_for(
                    "web.carpet.tiles",
                    batch_id=batch_id,
                    of=[f"{cell.field_id}.{cell.place}" for cell in group],
                ),
            }
            for group in groups
        ],
        left=found.left,
        audit=None if audit is None else words.audit(audit),
    )


@blueprint.get("/batches/<id:batch_id>/carpet/tiles")
@needs(Role.VERIFIER)
def tiles(batch_id: str) -> Response:
    """Return the pictures of some characters side by side, one TILE_WIDTH each."""
    asked = [_place(one) for one in request.args.getlist("of")[:IN_A_SPRITE]]
    with services().db.reading() as session:
        tenant_id = person().tenant_id
        fields = get_fields(session, tenant_id, list({one for one, _ in asked}))
        views = {field.id: field for field in fields if field.batch_id == batch_id}
        pages = get_pages(session, tenant_id, list({field.page_id for field in views.values()}))
    wanted = [(views[one], place) for one, place in asked if _has(views.get(one), place)]
    if len(wanted) != len(asked) or not wanted:
        raise ProblemError(HTTPStatus.NOT_FOUND, "crop-not-found", "There is no such character.")

    def draw() -> Response:
        # By page, so that each is decoded once even if the cache is too small for all.
        order = sorted(range(len(wanted)), key=lambda index: wanted[index][0].page_id)
        drawn: dict[int, Any] = {}
        for index in order:
            field, place = wanted[index]
            page = pages[field.page_id]
            image = services().page_images.get(image_key(page), page.media_type)
            drawn[index] = cut_tile(image, field, place, page.turn)
        return encoded(sprite([drawn[index] for index in range(len(wanted))]), ".jpg")

    where = [(pages[field.page_id].sha256, field.characters, place) for field, place in wanted]
    return cacheable(hashlib.sha256(repr(where).encode()).hexdigest(), draw)


@blueprint.post("/batches/<id:batch_id>/carpet/confirm")
@needs(Role.VERIFIER)
def confirm(batch_id: str) -> Response:
    """Record what a person said of the characters of one screen."""
    said = read_body(_Screen, MAX_JSON_BYTES)
    with services().db.transaction() as session:
        outcome = transitions.confirm_screen(
            session,
            tenant_id=person().tenant_id,
            batch_id=batch_id,
            person=person(),
            audit=said.audit,
            seen=[
                transitions.Seen(one.field, one.version, one.place, one.shown, one.said)
                for one in said.cells
            ],
            check=check_value,
        )
    return jsonify(
        screen=outcome.screen_id,
        said=words.outcome(outcome),
        refused=_named(outcome.refused),
    )


@blueprint.post("/batches/<id:batch_id>/carpet/undo")
@needs(Role.VERIFIER)
def undo(batch_id: str) -> Response:
    """Take all back that the person said on one screen."""
    said = read_body(_Undo, MAX_JSON_BYTES)
    with services().db.transaction() as session:
        refused = transitions.take_back_screen(
            session,
            tenant_id=person().tenant_id,
            batch_id=batch_id,
            person=person(),
            screen_id=said.screen,
        )
    return jsonify(refused=_named(refused))


def _look(session: Session, batch_id: str) -> tuple[queries.Carpet, queries.Audit | None]:
    tenant_id, text, sample = person().tenant_id, _asked_text(), _asked_sample()
    get_batch(session, tenant_id, batch_id)
    if sample is None:
        found = queries.waiting_carpet(session, tenant_id, batch_id, person().id, text)
        return found, None
    return queries.audit_carpet(session, tenant_id, batch_id, text, sample)


def _asked_text() -> str:
    return request.args.get("text", "")[:1]


def _asked_sample() -> int | None:
    """Return how many fields an audit is to draw; None: the fields that wait."""
    asked = request.args.get("sample", "")
    return int(asked) if asked.isascii() and asked.isdigit() and 0 < int(asked) <= 10_000 else None


def _place(text: str) -> tuple[str, int]:
    field_id, _, place = text.partition(".")
    good = is_id(field_id) and place.isascii() and place.isdigit() and len(place) < 4
    return (field_id, int(place)) if good else ("", 0)


def _has(field: FieldView | None, place: int) -> bool:
    return field is not None and field.box is not None and place < len(field.characters or ())


def _named(refused: list[transitions.Refused]) -> list[dict[str, Any]]:
    return [
        {
            "field": one.field_id,
            "name": words.label(one.name) or "A field",
            "value": one.value,
            "why": one.why,
        }
        for one in refused
    ]
