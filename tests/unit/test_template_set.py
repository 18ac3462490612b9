"""Sets of templates: several in one text, several pages of a document, and what is refused."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

import jsonschema
import pytest
import yaml

from core.errors import TemplateError
from pipeline.placing.template import bundled_template
from pipeline.placing.template_set import MAX_NAME, combine, parse_templates, set_name

FRAMED = """\
name: {name}
page: [210, 297]
anchors: frames
fields:
  - {{name: total, box: [0.1, 0.2, 0.3, 0.05], grammar: digits}}
"""
EXAM = """\
name: exam
title: Physics, 2026
page: [210, 297]
pages:
  - name: cover
    anchors: frames
    numbers: 1
    fields:
      - {name: mark, box: [0.1, 0.2, 0.3, 0.05], grammar: "digits(1,3)"}
  - {name: body, ignore: true, numbers: 2-}
"""


def framed(name: str) -> str:
    return FRAMED.format(name=name)


@pytest.mark.parametrize(
    "texts",
    [
        [framed("a"), framed("b")],
        [framed("a").rstrip(), "---\n" + framed("b")],
        ["%YAML 1.1\n---\n" + framed("a") + "...\n", "%YAML 1.1\n---\n" + framed("b")],
        ["# first\n" + framed("a"), "\ufeff# second\n" + framed("b") + "---\n"],
    ],
    ids=["plain", "with a start", "with directives", "with comments"],
)
def test_texts_of_templates_become_one_text(texts: list[str]) -> None:
    both = combine([parse_templates(text) for text in texts])
    assert both.name == "a, b"
    again = parse_templates(both.text)
    assert [template.name for template in again.templates] == ["a", "b"]
    assert [template.fields for template in again.templates] == [
        template.fields for template in both.templates
    ]


def test_one_template_stays_as_it_is() -> None:
    text = bundled_template("nist-hsf").text
    one = combine([parse_templates(text)])
    assert one.text == text
    assert one.name == "nist-hsf"
    assert one.templates == (bundled_template("nist-hsf"),)


def test_a_template_of_several_pages() -> None:
    cover, body = parse_templates(EXAM).templates
    assert (cover.name, cover.width, cover.numbers) == ("exam/cover", 210, (1, 1))
    assert (body.name, body.ignored, body.fields, body.numbers) == (
        "exam/body",
        True,
        (),
        (2, None),
    )
    assert [n for n in range(1, 5) if body.may_be_page(n)] == [2, 3, 4]
    assert body.may_be_page(None)
    assert parse_templates(EXAM).name == "exam"


def test_the_name_of_a_long_set_is_cut_short() -> None:
    templates = [
        template
        for number in range(40)
        for template in parse_templates(framed(f"template-{number}")).templates
    ]
    name = set_name(templates)
    assert len(name) <= MAX_NAME
    assert name.startswith("template-0, template-1, ")
    assert name.endswith(" more")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (framed("a") + "---\n" + framed("a"), "two templates are named 'a'"),
        (
            framed("a") + "---\n" + framed("b").replace("frames", "page"),
            "nothing tells the pages of 'b' from those of another template",
        ),
        (EXAM.replace("anchors: frames\n    numbers: 1", "anchors: page"), "for example"),
        (EXAM.replace("numbers: 1", "numbers: 3-2"), "line 7: numbers: 2 comes before 3"),
        (EXAM.replace("numbers: 1", "numbers: first"), "line 7: numbers: 'first' is not like"),
        (EXAM.replace("name: body", "name: cover"), "two templates are named 'exam/cover'"),
        (EXAM.replace("ignore: true", "ignore: maybe"), "ignore must be true or false"),
        (EXAM.replace("ignore: true", "ignore: true, fields: []"), "has no fields"),
        (EXAM.replace("pages:", "fields: []\npages:"), "the key 'fields' is unknown"),
        ("\n---\n".join(framed(f"t{n}") for n in range(51)), "has at most 50"),
        (framed("a") + "---\n- b\n", "must begin with a line such as"),
        ("---\n---\n", "the template is empty"),
    ],
)
def test_what_cannot_be_a_set_is_refused_in_words(text: str, words: str) -> None:
    with pytest.raises(TemplateError) as caught:
        parse_templates(text)
    assert words in str(caught.value)


def test_a_set_of_ignored_pages_alone_is_refused() -> None:
    only = parse_templates("name: leaflet\nignore: true\n")
    with pytest.raises(TemplateError, match="every page would be passed over"):
        combine([only])
    both = combine([only, parse_templates(framed("a"))])
    assert both.name == "leaflet, a"


SCHEMA = json.loads(
    (resources.files("pipeline") / "templates" / "template.schema.json").read_text("utf-8")
)


def test_the_documented_template_of_several_pages_is_right() -> None:
    page = (Path(__file__).parents[2] / "docs" / "templates.md").read_text("utf-8")
    examples = [part.split("```")[0] for part in page.split("```yaml\n")[1:]]
    (example,) = [text for text in examples if "\npages:" in text]
    assert [template.name for template in parse_templates(example).templates] == [
        "exam/cover",
        "exam/body",
    ]
    jsonschema.validate(yaml.safe_load(example), SCHEMA)


def test_the_schema_agrees_with_the_parser_on_pages() -> None:
    for right in (EXAM, framed("a"), "name: leaflet\nignore: true\n"):
        parse_templates(right)
        jsonschema.validate(yaml.safe_load(right), SCHEMA)
    for old, new in (
        ("pages:", "fields: []\npages:"),
        ("numbers: 2-", "numbers: last"),
        ("ignore: true", "ignore: true, fields: []"),
        ("ignore: true", "ignore: false"),
        ("name: cover", "nmae: cover"),
        ("pages:", "sides:"),
    ):
        text = EXAM.replace(old, new, 1)
        with pytest.raises(TemplateError):
            parse_templates(text)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(yaml.safe_load(text), SCHEMA)
