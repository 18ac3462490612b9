"""Reading pages over a real database, store and readers, without processes."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import cv2
from sqlalchemy import select, update

from cli.output import page_of_reading
from db.models import Page, PageState
from db.queries import page_with_fields
from db.transitions.batches import add_template
from db.transitions.pages import claim_pages
from pipeline.placing.template import bundled_template
from pipeline.placing.template_set import combine, parse_templates
from pipeline.read import read_pages
from pipeline.readers.loaded import Readers
from pipeline.types import Page as PageImage
from tests.world import World, page_image
from worker.intake import open_stored_document
from worker.pages import read_group

ROOT = Path(__file__).parents[2]


def test_a_file_becomes_a_page_and_the_page_a_reading(world: World) -> None:
    (page_id,) = world.pages("4711")
    assert read_group(world.services, [page_id]) == []
    assert world.page(page_id).state == PageState.READ
    assert read_group(world.services, [page_id]) == [], "a second hint finds nothing to do"


def test_a_template_that_is_wrong_fails_its_pages_alone(world: World) -> None:
    with world.db.transaction() as s:
        template = add_template(
            s, tenant_id=world.tenant_id, name="broken", text="fields: [nonsense"
        )
        template_id = template.id
    (bad,) = world.pages("12", template_id=template_id)
    (good,) = world.pages("34")
    read_group(world.services, [bad, good])
    assert world.page(bad).state == PageState.FAILED
    assert world.page(good).state == PageState.READ


def clinic_form(readers: Readers, *, blank: Collection[str]) -> bytes:
    """Return a form of the demonstration in which these fields were left empty."""
    done, frames = cv2.imreadmulti(
        str(ROOT / "demo/samples/clinic-forms.tif"), flags=cv2.IMREAD_GRAYSCALE
    )
    assert done
    form = frames[0]
    (page,) = read_pages([PageImage(form)], bundled_template("demo-form"), readers)
    for field in page.fields:
        if field.name in blank:
            box = field.box
            x, y, w, h = (round(side) for side in (box.x, box.y, box.w, box.h))
            form[y + 14 : y + h - 14, x + 14 : x + w - 14] = 255  # the printed box stays
    return cv2.imencode(".png", form)[1].tobytes()


def test_an_empty_field_is_released_only_if_it_is_optional(world: World) -> None:
    data = clinic_form(world.services.readers, blank=("clinic", "visits"))  # of which visits is
    template = bundled_template("demo-form")
    with world.db.transaction() as s:
        kept = add_template(s, tenant_id=world.tenant_id, name=template.name, text=template.text)
    document_id = world.document(data, "form.png", template_id=kept.id)
    open_stored_document(world.services, document_id)
    with world.db.reading() as s:
        (page_id,) = s.scalars(select(Page.id)).all()
    read_group(world.services, [page_id])
    with world.db.reading() as s:
        fields = page_with_fields(s, world.tenant_id, page_id).fields
    clinic, week, visits, *rest = fields
    assert (clinic.value, clinic.state, clinic.reason) == ("", "review", "required-empty")
    assert clinic.released_by is None
    assert (visits.value, visits.state, visits.reason) == ("", "accepted", None)
    assert visits.released_by == "policy"
    assert visits.confidence is not None
    assert visits.confidence >= 0.5
    assert {(field.state, field.reason) for field in (week, *rest)} == {("accepted", None)}
    for field in rest:
        assert "".join(one["text"] for one in field.characters or []) == field.value
    # `counterfoil read` decides alike.
    (reading,) = read_pages([data], template, world.services.readers)
    shown = page_of_reading("form.png", 1, reading, 0.5)["fields"]
    assert [(one["name"], one["value"], one["decision"], one["reason"]) for one in shown] == [
        (field.name, field.value, field.decision, field.reason) for field in fields
    ]


def test_each_page_of_a_mixed_batch_gets_its_template(world: World) -> None:
    texts = [bundled_template(name).text for name in ("demo-cheque", "demo-form")]
    templates = combine([parse_templates(text) for text in texts])
    with world.db.transaction() as s:
        kept = add_template(s, tenant_id=world.tenant_id, name=templates.name, text=templates.text)
    done, forms = cv2.imreadmulti(
        str(ROOT / "demo/samples/clinic-forms.tif"), flags=cv2.IMREAD_GRAYSCALE
    )
    assert done
    form = cv2.imencode(".png", forms[0])[1].tobytes()
    pile = [(ROOT / "demo/samples/cheque-1.jpg").read_bytes(), form, page_image("4711")]
    for number, data in enumerate(pile):
        document_id = world.document(data, str(number), template_id=kept.id)
        open_stored_document(world.services, document_id)
    with world.db.reading() as s:
        page_ids = list(s.scalars(select(Page.id).order_by(Page.document_id)))
    read_group(world.services, page_ids)
    with world.db.reading() as s:
        cheque, form_page, foreign = (page_with_fields(s, world.tenant_id, p) for p in page_ids)
    assert (cheque.template, len(cheque.fields)) == ("demo-cheque", 3)
    assert (form_page.template, len(form_page.fields)) == ("demo-form", 10)
    assert (foreign.state, foreign.error_code) == ("failed", "no-template-fits")
    assert foreign.template == "demo-cheque, demo-form"
    assert foreign.error_message is not None
    assert "'demo-form' (" in foreign.error_message


def test_pages_tried_before_are_handed_back_to_go_alone(world: World) -> None:
    first, second = world.pages("12", "34")
    with world.db.transaction() as s:
        s.execute(update(Page).where(Page.id == second).values(attempt=1))
    assert read_group(world.services, [first, second]) == [second]
    assert world.page(first).state == PageState.READ
    assert world.page(second).state == PageState.QUEUED
    assert read_group(world.services, [second]) == []
    assert world.page(second).state == PageState.READ


def test_a_worker_whose_page_was_taken_by_another_writes_nothing(world: World) -> None:
    (page_id,) = world.pages("12")
    with world.db.transaction() as s:
        claim_pages(s, [page_id], worker="other", lease_seconds=60)
    read_group(world.services, [page_id])
    assert world.page(page_id).worker == "other"
