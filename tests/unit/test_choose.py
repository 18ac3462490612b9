"""Which template of several a page is of. Pages are drawn: printed frames on white paper."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import cv2
import numpy as np
import pytest

from core.errors import TemplateError
from pipeline.placing.choose import MARGIN, choose_template, evidence, resembling
from pipeline.placing.register import turn_page
from pipeline.placing.template import Template, bundled_template
from pipeline.placing.template_set import TemplateSet, combine, parse_templates
from pipeline.types import Box, Page

SIZE = (800, 1100)
ROWS = [Box(500, 200 + 100 * i, 220, 60) for i in range(8)]
CARD = [Box(60, 150, 300, 60), Box(480, 150, 260, 60)]
CARD += [Box(60 + 380 * j, 320 + 130 * i, 300, 70) for i in range(5) for j in range(2)]
OTHER = [Box(100, 300, 180, 300), Box(420, 180, 90, 90), Box(100, 800, 600, 200)]


def text_of(name: str, boxes: Sequence[Box], more: str = "") -> str:
    width, height = SIZE
    lines = [f"name: {name}", f"page: [{width}, {height}]", "anchors: frames", more, "fields:"]
    for i, box in enumerate(boxes):
        sides = [box.x / width, box.y / height, box.w / width, box.h / height]
        lines.append(f"  - {{name: f{i}, box: {[round(s, 5) for s in sides]}, grammar: digits}}")
    return "\n".join(line for line in lines if line) + "\n"


def draw(boxes: Sequence[Box], *, x: int = 0, y: int = 0) -> Page:
    page = np.full(SIZE[::-1], 245, np.uint8)
    for box in boxes:
        start = (round(box.x) + x, round(box.y) + y)
        end = (round(box.x + box.w) + x, round(box.y + box.h) + y)
        cv2.rectangle(page, start, end, 40, 2)
    return Page(page)


@cache
def pile() -> tuple[Template, ...]:
    return set_of(
        text_of("rows", ROWS), text_of("card", CARD), bundled_template("demo-cheque").text
    )


def set_of(*texts: str) -> tuple[Template, ...]:
    return combine([parse_templates(text) for text in texts]).templates


def refusal(page: Page, templates: Sequence[Template], number: int | None = None) -> TemplateError:
    with pytest.raises(TemplateError) as caught:
        choose_template(page, templates, number=number)
    return caught.value


@pytest.mark.parametrize(
    ("name", "boxes", "turns"), [("rows", ROWS, 0), ("card", CARD, 0), ("card", CARD, 2)]
)
def test_each_page_gets_the_template_that_fits(name: str, boxes: Sequence[Box], turns: int) -> None:
    template, placement = choose_template(turn_page(draw(boxes, x=9, y=-12), turns), pile())
    assert template.name == name
    assert placement is not None
    assert placement.turn == turns
    assert placement.score > 0.9


def test_a_page_that_none_fits_is_refused_with_every_template_and_its_score() -> None:
    error = refusal(draw(OTHER), pile())
    assert error.code == "no-template-fits"
    assert error.message.startswith("no template fits this page: ")
    for template in pile():
        assert f"'{template.name}' (" in error.message
    assert error.message.count("% of its printed frames found") == 3


@pytest.mark.parametrize(
    ("page", "why"),
    [
        (draw(CARD[2:]), "10 of its 12 printed frames found"),
        (draw(ROWS, y=400), "of its page would lie on the scan"),
        (draw([]), "about 0% of its printed frames found"),
    ],
    ids=["two boxes less", "moved down", "empty"],
)
def test_a_form_that_is_nearly_the_same_is_another_form(page: Page, why: str) -> None:
    error = refusal(page, pile())
    assert error.code == "no-template-fits"
    assert why in error.message


def test_rows_that_look_the_same_upside_down_are_told_by_where_they_lie_on_the_page() -> None:
    template, placement = choose_template(turn_page(draw(ROWS), 2), pile())
    assert template.name == "rows"
    assert placement is not None
    assert placement.turn == 2


@pytest.mark.parametrize("some", [ROWS[1:], ROWS[:-1]], ids=["the first", "the last"])
def test_a_row_less_among_rows_that_look_alike_is_any_row(some: Sequence[Box]) -> None:
    for templates in (pile(), pile()[:1]):
        error = refusal(draw(some), templates)
        assert error.code == "ambiguous-placement"
        assert "its rows look alike" in error.message


def test_a_template_alone_is_not_compared() -> None:
    (template, _) = choose_template(draw(CARD[2:]), pile()[1:2])
    assert template.name == "card"
    assert refusal(draw(OTHER), pile()[:1]).code == "template-mismatch"


def test_two_templates_that_fit_equally_well_are_not_told_apart() -> None:
    twins = set_of(text_of("rows", ROWS), text_of("rows-2026", ROWS))
    error = refusal(draw(ROWS), twins)
    assert error.code == "ambiguous-placement"
    assert "'rows' and 'rows-2026' about equally well" in error.message
    assert [(a.name, b.name) for a, b in resembling(twins)] == [
        ("rows", "rows-2026"),
        ("rows-2026", "rows"),
    ]


def test_templates_that_turned_look_alike_are_not_told_apart() -> None:
    width, height = SIZE
    turned = [Box(width - b.x - b.w, height - b.y - b.h, b.w, b.h) for b in ROWS]
    both = set_of(text_of("a", ROWS), text_of("b", turned))
    assert refusal(draw(ROWS), both).code == "ambiguous-placement"


def test_the_template_that_explains_more_of_the_page_wins() -> None:
    both = set_of(text_of("few", CARD[:2]), text_of("all", CARD))
    assert choose_template(draw(CARD), both).template.name == "all"
    assert choose_template(draw(CARD[:2]), both).template.name == "few"


def test_no_bundled_templates_resemble_one_another() -> None:
    names = ("demo-cheque", "demo-form", "nist-hsf")
    assert list(resembling([bundled_template(name) for name in names])) == []


def test_two_thirds_of_few_frames_prove_nothing() -> None:
    few, many = pile()[2], bundled_template("nist-hsf")
    assert evidence(few, 1.0) > MARGIN > 0 > evidence(few, 0.66)
    assert evidence(many, 0.75) > evidence(few, 1.0)


# --- documents of several kinds of page -----------------------------------------------------------

COVER = text_of("cover", CARD).replace("\n", "\n    ")

CARD_PAGE = text_of("card", CARD, "numbers: 2").replace("\n", "\n    ").rstrip()
EXAM_BY_NUMBER = f"""\
name: exam
pages:
  - name: cover
    page: [800, 1100]
    numbers: 1
    fields: [{{name: mark, box: [0.1, 0.1, 0.2, 0.1], grammar: digits}}]
  - {CARD_PAGE}
"""


def exam(body: str) -> TemplateSet:
    return parse_templates(f"name: exam\npages:\n  - {COVER.rstrip()}\n  - {{{body}}}\n")


def test_pages_that_are_named_to_be_ignored_need_no_marks() -> None:
    templates = exam("name: body, ignore: true").templates
    assert [template.name for template in templates] == ["exam/cover", "exam/body"]
    assert choose_template(draw(CARD), templates).template.name == "exam/cover"
    for page in (draw([]), draw(OTHER[:1])):
        choice = choose_template(page, templates)
        assert choice.template.name == "exam/body"
        assert choice.template.ignored
        assert choice.placement is None


def test_what_may_be_a_damaged_page_is_not_ignored() -> None:
    templates = exam("name: body, ignore: true").templates
    error = refusal(draw(CARD[:8]), templates)
    assert error.code == "no-template-fits"
    assert "'exam/cover' (" in error.message


def test_pages_are_ignored_by_their_number_in_the_document() -> None:
    templates = exam("name: body, ignore: true, numbers: 2-6").templates
    assert choose_template(draw([]), templates, number=2).template.name == "exam/body"
    assert refusal(draw([]), templates, 7).code == "no-template-fits"
    assert refusal(draw([]), templates).code == "no-template-fits"  # no number is known
    assert choose_template(draw(CARD), templates, number=3).template.name == "exam/cover"


def test_an_ignored_page_is_known_by_its_frames() -> None:
    frames = "".join(
        f"  - {{name: m{i}, box: [{b.x / 800}, {b.y / 1100}, {b.w / 800}, {b.h / 1100}]}}\n"
        for i, b in enumerate(OTHER)
    )
    leaflet = f"name: leaflet\npage: [800, 1100]\nframes:\n{frames}ignore: true\n"
    both = set_of(text_of("card", CARD), leaflet)
    assert choose_template(draw(OTHER), both).template.ignored


def test_a_page_is_read_only_where_its_number_allows() -> None:
    numbered = set_of(text_of("first", ROWS, "numbers: 1"), text_of("card", CARD))
    assert choose_template(draw(ROWS), numbered, number=1).template.name == "first"
    error = refusal(draw(ROWS), numbered, 2)
    assert error.code == "no-template-fits"
    assert "'first'" in error.message


def test_a_page_without_frames_is_known_by_its_number_and_shape() -> None:
    templates = parse_templates(EXAM_BY_NUMBER).templates
    assert choose_template(draw([]), templates, number=1).template.name == "exam/cover"
    assert choose_template(draw(CARD), templates, number=2).template.name == "exam/card"
    for page, number in ((Page(draw([]).grey[:600]), 1), (draw([]), 2), (draw([]), None)):
        assert refusal(page, templates, number).code == "no-template-fits"
