"""Templates: the form, the bundled ones, and mistakes told by line and field."""

from __future__ import annotations

import json
import re
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from cli.main import app
from core.errors import TemplateError
from core.keying import VerifyMode
from pipeline.grammar.parse import KNOWN_GRAMMARS
from pipeline.placing.template import (
    Anchors,
    Mark,
    bundled_names,
    bundled_template,
    parse_template,
)
from pipeline.placing.yaml_nodes import MAX_CHARACTERS
from pipeline.readers.micr_parts import MICR_PARTS
from pipeline.types import Box

ROOT = Path(__file__).parents[2]
GOOD = """\
name: claim
page: [210, 297]
fields:
  - name: amount
    box: [0.5, 0.25, 0.25, 0.05]
    grammar: digits(8)
  - name: paid-on
    box: [0.1, 0.25, 0.25, 0.05]
    grammar: date(DDMMYYYY)
    required: false
"""
SCHEMA: dict[str, Any] = json.loads(
    (resources.files("pipeline") / "templates" / "template.schema.json").read_text("utf-8")
)


def _refusal(text: str) -> str:
    with pytest.raises(TemplateError) as error:
        parse_template(text)
    return str(error.value)


def test_a_template_says_what_is_where() -> None:
    template = parse_template(GOOD)
    assert (template.name, template.title) == ("claim", "claim")
    assert (template.width, template.height, template.anchors) == (210, 297, Anchors.PAGE)
    assert template.frames == ()
    amount, paid_on = template.fields
    assert (amount.name, amount.box, amount.grammar.name, amount.required) == (
        *("amount", Box(0.5, 0.25, 0.25, 0.05), "digits(8)", True),
    )
    assert not paid_on.required


def test_fields_are_the_frames_when_there_are_no_others() -> None:
    template = parse_template(GOOD.replace("fields:", "anchors: frames\nfields:"))
    assert template.frames == tuple(field.box for field in template.fields)


def test_a_field_may_be_measured_in_a_frame() -> None:
    text = GOOD.replace(
        "fields:\n", "frames:\n  - {name: table, box: [0.5, 0.5, 0.4, 0.2]}\nfields:\n"
    )
    text += "  - {name: total, within: table, box: [0.5, 0.5, 0.5, 0.5], grammar: digits}\n"
    text += "  - {name: all, within: table, grammar: digits}\n"
    template = parse_template(text)
    assert template.anchors is Anchors.FRAMES
    assert template.frames == (Box(0.5, 0.5, 0.4, 0.2),)
    assert template.fields[2].box == Box(0.7, 0.6, 0.2, 0.1)
    assert template.fields[3].box == template.frames[0]
    assert "Did you mean 'table'?" in _refusal(text.replace("within: table,", "within: tabel,"))


LOOSE = """\
name: cheque
page: [8, 3.667]
anchors: loose
frames:
  - {name: comb, box: [0.7, 0.1, 0.2, 0.05], cells: 8}
micr: [0, 0.8, 1, 0.2]
fields:
  - {name: date, within: comb, grammar: date(DDMMYYYY)}
  - {name: number, micr: cheque_number, grammar: digits(6)}
"""


def test_marks_lie_loosely_and_fields_come_from_the_e13b_line() -> None:
    template = parse_template(LOOSE)
    assert (template.anchors, template.frames) == (Anchors.LOOSE, ())
    assert template.marks == (Mark("comb", Box(0.7, 0.1, 0.2, 0.05), 8),)
    date, number = template.fields
    assert (date.within, date.micr) == ("comb", None)
    assert (number.within, number.micr, number.box) == (None, "cheque_number", template.micr)
    jsonschema.validate(yaml.safe_load(LOOSE), SCHEMA)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("cheque_number", "cheque_numer",
         "line 9: field 'number': the E-13B line has no part 'cheque_numer'."),
        ("cheque_number", "cheque_numer", "Did you mean 'cheque_number'?"),
        ("micr: cheque_number", "micr: amount, box: [0, 0, 1, 1]", "so it cannot have a 'box'."),
        ("micr: cheque_number", "micr: amount, within: comb", "so it cannot have a 'within'."),
        ("micr: [0, 0.8, 1, 0.2]\n", "", "does not say where the E-13B line is."),
        ("cells: 8", "cells: 1", "line 5: frame 'comb': cells must be a whole number from 2 to"),
        ("cells: 8", "cells: [8]", "frame 'comb': cells must be text."),
        ("frames:\n  - {name: comb, box: [0.7, 0.1, 0.2, 0.05], cells: 8}\n", "",
         "there is no frame 'comb'. List it under 'frames'."),
    ],
)  # fmt: skip
def test_a_mistake_in_marks_or_line_is_told(old: str, new: str, says: str) -> None:
    assert old in LOOSE
    text = LOOSE.replace(old, new, 1)
    assert says in _refusal(text)
    if "there is no frame" not in says and "does not say where" not in says:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(yaml.safe_load(text), SCHEMA)


def test_loose_anchors_need_frames_and_frames_need_a_place() -> None:
    text = GOOD.replace("fields:", "anchors: loose\nfields:")
    assert "line 3: 'anchors: loose' needs 'frames' to look for." in _refusal(text)
    text = LOOSE.split("anchors:")[0] + "anchors: frames\nmicr: [0, 0.8, 1, 0.2]\nfields:\n"
    text += LOOSE.splitlines()[-1] + "\n"
    assert "'anchors: frames' needs 'frames' to look for." in _refusal(text)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("digits(8)", "digit(8)",
         "line 6: field 'amount': the grammar 'digit(8)' is unknown. Did you mean 'digits(8)'?"),
        ("digits(8)", "digits(0)", "line 6: field 'amount': the grammar 'digits(0)' is wrong:"),
        ("digits(8)", "[digits]", "line 6: field 'amount': grammar must be text."),
        ("    grammar: digits(8)\n", "", "line 4: field 'amount' has no 'grammar'."),
        ("    box: [0.5, 0.25, 0.25, 0.05]\n", "", "line 4: field 'amount' has no 'box'."),
        ("[0.5, 0.25,", "[0.9, 0.25,",
         "line 5: field 'amount': the box reaches outside the page. State it in fractions of"),
        ("[0.5, 0.25,", "[-0.1, 0.25,", "line 5: field 'amount': the box reaches outside"),
        ("0.25, 0.05]\n    grammar: digits", "0.25, 0]\n    grammar: digits",
         "the width and height of the box must be above 0"),
        ("[0.5, 0.25, 0.25, 0.05]", "[0.5, 0.25]",
         "line 5: field 'amount': box must be 4 numbers, [x, y, width, height]."),
        ("[0.5, 0.25,", "[.nan, 0.25,", "line 5: field 'amount': box: '.nan' is not a number."),
        ("[0.5, 0.25,", "[1e999, 0.25,", "is not a number"),
        ("name: paid-on", "name: amount", "line 7: two fields are named 'amount'."),
        ("required: false", "required: maybe",
         "line 10: field 'paid-on': required must be true or false."),
        ("required: false", "requierd: false",
         "line 10: a field: the key 'requierd' is unknown. Did you mean 'required'?"),
        ("required: false", "verify: twice",
         "line 10: field 'paid-on': verify cannot be 'twice'. Known are: confirm, blind, double."),
        ("required: false", "name: x", "line 10: a field: the key 'name' is given twice."),
        ("name: claim", "nam: claim",
         "line 1: the template: the key 'nam' is unknown. Did you mean 'name'?"),
        ("name: claim\n", "", "the template has no 'name'."),
        ("name: claim", "name: ../../etc/passwd",
         "the template's name cannot be '../../etc/passwd'. Use at most 64 letters"),
        ("name: claim", "name:", "line 1: the template's name must be text."),
        ("page: [210, 297]\n", "", "the template has no 'page'."),
        ("[210, 297]", "[210, 0]", "line 2: page: width and height must be above 0"),
        ("[210, 297]", "[1, 297]", "neither more than 20 times the other"),
        ("fields:", "anchors: stars\nfields:",
         "line 3: anchors: 'stars' is unknown. Known are: page, frames"),
        ("fields:", "frames: []\nfields:", "line 3: there must be 1 to 500 frames, not 0."),
        ("digits(8)", "digits(8", "the grammar 'digits(8' is unknown."),
        ("digits(8)", "&a digits(8)", "line 6: a template may not use YAML anchors and aliases"),
        ("digits(8)", "!!python/object/apply:os.system [x]", "grammar must be text."),
        ("digits(8)", "[digits", "this is not YAML"),
        ("digits(8)", "digits\t(8)\x07", "this is not YAML"),
        ("digits(8)", "[[[[[[[[[[1]]]]]]]]]]", "line 6: lists are nested deeper than 8 levels."),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_line_and_field(old: str, new: str, says: str) -> None:
    assert old in GOOD
    assert says in _refusal(GOOD.replace(old, new, 1))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing\n",
        "- a\n- b\n",
        "just a sentence",
        "name: a\n---\nname: b\n",
        "\x00",
        "\ud800",
        "{" * 5000,
        "a: " * 2000,
        "? " * 3000,
        "%TAG ! tag:x,2000:\n--- !x\n",
        "a: &a [b]\n" + "".join(f"k{i}: [*a, *a, *a, *a]\n" for i in range(50)),
        "x" * (MAX_CHARACTERS + 1),
        "fields:\n" + "  - {}\n" * 20_000,
        GOOD + "  - {name: f, box: [0, 0, 1, 1], grammar: digits}\n" * 501,
    ],
)
def test_naughty_yaml_is_refused_in_a_sentence(text: str) -> None:
    assert 0 < len(_refusal(text)) < 300


@given(st.text(max_size=60), st.integers(0, len(GOOD)), st.integers(0, 30))
def test_any_damage_is_a_template_error_or_none(noise: str, at: int, cut: int) -> None:
    text = GOOD[:at] + noise + GOOD[at + cut :]
    try:
        template = parse_template(text)
    except TemplateError:
        return
    assert template.fields


@pytest.mark.parametrize("name", bundled_names())
def test_bundled_templates_parse_and_keep_their_schema(name: str) -> None:
    template = bundled_template(name)
    assert template.name == name
    jsonschema.validate(yaml.safe_load(bundled_template(name).text), SCHEMA)


def test_the_nist_form_has_28_fields() -> None:
    lengths = [str(field.grammar.max_length) for field in bundled_template("nist-hsf").fields]
    assert " ".join(lengths) == "10 10 10 2 3 4 5 6 3 4 5 6 2 4 5 6 2 3 5 6 2 3 4 6 2 3 4 5"


@pytest.mark.parametrize("name", ["../secrets", "nist-hsf.yaml", ""])
def test_an_unknown_bundled_name_lists_the_known(name: str) -> None:
    with pytest.raises(TemplateError, match="nist-hsf") as error:
        bundled_template(name)
    assert error.value.code == "unknown-template"


def test_text_and_bytes_with_or_without_a_byte_order_mark_are_one_template() -> None:
    expected = parse_template(GOOD)
    assert expected.text == GOOD
    for source in ("\ufeff" + GOOD, GOOD.encode(), GOOD.encode("utf-8-sig")):
        assert parse_template(source) == expected
    for source in (GOOD.encode("utf-16"), b"\xff\xfe\x00"):
        with pytest.raises(TemplateError, match="not a text file in UTF-8"):
            parse_template(source)


def test_the_schema_agrees_with_the_parser_on_what_is_wrong() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(yaml.safe_load(GOOD), SCHEMA)
    for old, new in (
        ("digits(8)", "digit(8)"),
        ("digits(8)", "amount(decimals)"),
        ("digits(8)", "date(DDMM)"),
        ("digits(8)", "date(DDMMYYYY,2000)"),
        ("digits(8)", "checksum(luhn)"),
        ("digits(8)", "one_of()"),
        ("digits(8)", "range(1)"),
        ("box: [0.5, 0.25, 0.25, 0.05]", "box: [1.5, 0.25, 0.25, 0.05]"),
        ("required: false", "requierd: false"),
        ("required: false", "verify: twice"),
        ("name: claim\n", ""),
        ("fields:", "anchors: stars\nfields:"),
    ):
        text = GOOD.replace(old, new, 1)
        _refusal(text)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(yaml.safe_load(text), SCHEMA)


def test_a_field_says_how_people_verify_it() -> None:
    (first, last) = parse_template(GOOD).fields
    assert (first.verify, last.verify) == ("confirm", "confirm")
    text = GOOD.replace("required: false", "verify: double")
    assert parse_template(text).fields[1].verify is VerifyMode.DOUBLE
    jsonschema.validate(yaml.safe_load(text), SCHEMA)


def test_the_schema_knows_the_parts_of_the_e13b_line() -> None:
    field = SCHEMA["properties"]["fields"]["items"]["properties"]
    assert tuple(field["micr"]["enum"]) == MICR_PARTS


def test_known_and_documented_grammars_keep_the_schema() -> None:
    table = (ROOT / "docs" / "templates.md").read_text("utf-8").split("| Grammar |")[1]
    documented = re.findall(r"^\| `([^`]*)` \|", table.split("\n\n")[0], re.MULTILINE)
    known = [name.replace("(n)", "(6)").replace("min,max", "1,8") for name in KNOWN_GRAMMARS]
    assert {name.partition("(")[0] for name in known} == {n.partition("(")[0] for n in documented}
    for name in (*known, *documented, "amount(EUR,grouping=lakhs,decimals=0)"):
        text = GOOD.replace("digits(8)", name, 1)
        assert parse_template(text).fields[0].grammar.name == name
        jsonschema.validate(yaml.safe_load(text), SCHEMA)


def test_the_documented_example_is_right() -> None:
    page = (ROOT / "docs" / "templates.md").read_text("utf-8")
    example = page.split("```yaml\n")[1].split("```")[0]
    template = parse_template(example)
    assert [field.name for field in template.fields] == ["claim-number", "total", "paid-on"]
    jsonschema.validate(yaml.safe_load(example), SCHEMA)


def test_the_command_lists_fields_or_names_the_mistake(tmp_path: Path) -> None:
    file = tmp_path / "claim.yaml"
    file.write_text(GOOD, "utf-8")
    done = CliRunner().invoke(app, ["template", "check", str(file)])
    assert done.exit_code == 0
    assert "2 fields, no mistakes" in done.output
    assert "paid-on  date(DDMMYYYY)  (may be empty)" in done.output
    file.write_text(GOOD.replace("digits(8)", "digit(8)"), "utf-8")
    done = CliRunner().invoke(app, ["template", "check", str(file)])
    assert done.exit_code == TemplateError.exit_code
    assert "line 6: field 'amount': the grammar 'digit(8)' is unknown" in done.stderr
    for other in (tmp_path / "none.yaml", tmp_path):
        done = CliRunner().invoke(app, ["template", "check", str(other)])
        assert done.exit_code == 3
        assert done.stderr.startswith("counterfoil: ")
    file.write_bytes(b"\xff\xfe\x00")
    done = CliRunner().invoke(app, ["template", "check", str(file)])
    assert "not a text file in UTF-8" in done.stderr
