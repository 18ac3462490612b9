"""A template is edited in its text: what was asked for changes, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import TemplateError
from pipeline.placing.edit import FieldEdit, TemplateEdit, edit_template, rename_template
from pipeline.placing.template import Template, bundled_names, bundled_template
from pipeline.placing.template_set import parse_templates
from pipeline.types import Box

TEXT = """\
# Ours, measured by hand.
name: claim   # do not rename
page: [210, 297]
frames:
  - {name: table, box: [0.5, 0.5, 0.4, 0.4]}
  - {name: foot, box: [0.1, 0.9, 0.8, 0.05]}
fields:
  # The first one is stamped.
  - name: number      # of the claim
    grammar: digits(8)
    box: [0.1, 0.1, 0.3, 0.05]

  - name: total
    within: table
    box: [0.0, 0.0, 0.5, 0.5]   # its left upper quarter
    grammar: >-
      digits(1,9)
    required: false
  - {name: paid, within: foot, grammar: "date(DDMMYYYY)"}
"""


def asked(template: Template) -> list[FieldEdit]:
    return [
        FieldEdit(spec.name, spec.name, spec.box, spec.grammar.name, spec.required)
        for spec in template.fields
    ]


def only(text: str) -> Template:
    (template,) = parse_templates(text).templates
    return template


def test_nothing_asked_changes_nothing() -> None:
    for text in (TEXT, *(bundled_template(name).text for name in bundled_names())):
        assert edit_template(text, 0, TemplateEdit(tuple(asked(only(text))))) == text


def test_each_change_is_made_at_its_place() -> None:
    _number, _total, _paid = asked(only(TEXT))
    edit = TemplateEdit(
        (
            FieldEdit("number", "claim-number", Box(0.2, 0.1, 0.3, 0.05), "digits(6)", False),
            FieldEdit("total", "total", Box(0.5, 0.5, 0.4, 0.2), "amount(USD)", True),
            FieldEdit("paid", "paid", Box(0.5, 0.9, 0.4, 0.05), "date(DDMMYY)", True),
        ),
        title='Claims of "2026": all',
    )
    assert edit_template(TEXT, 0, edit) == TEXT.replace(
        "name: claim   # do not rename",
        'name: claim   # do not rename\ntitle: "Claims of \\"2026\\": all"',
    ).replace("name: number  ", "name: claim-number  ").replace(
        "grammar: digits(8)\n    box: [0.1, 0.1, 0.3, 0.05]",
        "grammar: digits(6)\n    box: [0.20000, 0.10000, 0.30000, 0.05000]\n    required: false",
    ).replace("[0.0, 0.0, 0.5, 0.5]", "[0.00000, 0.00000, 1.00000, 0.50000]").replace(
        ">-\n      digits(1,9)\n    required: false", "amount(USD)\n    required: true"
    ).replace(
        'within: foot, grammar: "date(DDMMYYYY)"',
        "within: foot, box: [0.50000, 0.00000, 0.50000, 1.00000], grammar: date(DDMMYY)",
    )


def test_fields_are_added_and_deleted() -> None:
    number, _total, paid = asked(only(TEXT))
    new = FieldEdit(None, "123", Box(0.1, 0.2, 0.3, 0.05), "one_of(10,20)", False)
    edited = edit_template(TEXT, 0, TemplateEdit((number, new, paid)))
    assert [spec.name for spec in only(edited).fields] == ["number", "paid", "123"]
    assert edited.startswith(TEXT[: TEXT.index("  - name: total")])
    assert '  - name: "123"\n    box: [0.10000, 0.20000, 0.30000, 0.05000]' in edited
    last_gone = edit_template(TEXT, 0, TemplateEdit((number, new)))
    assert [spec.name for spec in only(last_gone).fields] == ["number", "123"]
    all_new = edit_template(TEXT.replace("\n", "\r\n"), 0, TemplateEdit((new,)))
    assert [spec.name for spec in only(all_new).fields] == ["123"]
    assert "\n" not in all_new.replace("\r\n", "")


def test_fields_in_one_line() -> None:
    text = (
        "{name: a, page: [1, 1], fields: [{name: x, box: [0,0,1,1], grammar: digits},"
        " {name: y, box: [0,0,1,1], grammar: digits}]}"
    )
    x, y = asked(only(text))
    new = FieldEdit(None, "z", Box(0, 0, 0.5, 0.5), "digits(1,3)", True)
    added = edit_template(text, 0, TemplateEdit((x, y, new)))
    assert [spec.name for spec in only(added).fields] == ["x", "y", "z"]
    gone = edit_template(text, 0, TemplateEdit((y,)))
    assert [spec.name for spec in only(gone).fields] == ["y"]
    assert only(rename_template(text, "b")).name == "b"


def test_what_placed_the_page_still_does() -> None:
    before = bundled_template("demo-cheque")
    _date, amount, account = asked(before)
    moved = FieldEdit("date", "date", Box(0.1, 0.1, 0.2, 0.1), "date(DDMMYYYY)", True)
    for fields in ((moved, amount, account), (amount, account)):
        after = only(edit_template(before.text, 0, TemplateEdit(fields)))
        assert after.frames == before.frames


def test_frames_that_are_stated_are_not_stated_again() -> None:
    once = edit_template(
        bundled_template("demo-cheque").text,
        0,
        TemplateEdit(tuple(asked(bundled_template("demo-cheque"))[1:])),
    )
    again = only(edit_template(once, 0, TemplateEdit(tuple(asked(only(once))[1:]))))
    assert [spec.name for spec in again.fields] == ["account"]
    assert again.frames == bundled_template("demo-cheque").frames


def test_one_of_several_templates_is_edited() -> None:
    text = (
        "name: exam\npage: [210, 297]\npages:\n"
        "  - name: cover\n    anchors: frames\n"
        "    fields: [{name: mark, box: [0.1, 0.1, 0.2, 0.1], grammar: digits(2)}]\n"
        "  - {name: body, ignore: true, title: Pages to pass over}\n"
    )
    _cover, _body = parse_templates(text).templates
    edit = TemplateEdit((FieldEdit("mark", "grade", None, "digits(1,3)", True),), title="Cover")
    edited = edit_template(text, 0, edit)
    assert "  - name: cover\n    title: Cover\n    anchors" in edited
    assert '{name: grade, box: [0.1, 0.1, 0.2, 0.1], grammar: "digits(1,3)"}' in edited
    assert "title: Other" in edit_template(text, 1, TemplateEdit((), title="Other"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "a b"}, "line 9: a field's name cannot be 'a b'"),
        ({"name": "total"}, "two fields are named 'total'"),
        ({"grammar": "digit(8)"}, "Did you mean"),
        ({"grammar": "digits(2)\n    box: [0,0,1,1]"}, "is unknown"),
        ({"box": Box(0.9, 0.1, 0.3, 0.05)}, "reaches outside the page"),
        ({"was": "gone"}, "no field 'gone' any more"),
    ],
)
def test_what_is_wrong_is_said(change: dict[str, object], said: str) -> None:
    number, total, paid = asked(only(TEXT))
    values = {
        "was": number.was,
        "name": number.name,
        "box": number.box,
        "grammar": number.grammar,
        "required": number.required,
    } | change
    with pytest.raises(TemplateError) as caught:
        edit_template(TEXT, 0, TemplateEdit((FieldEdit(**values), total, paid)))  # type: ignore[arg-type]
    assert said in str(caught.value)


@given(
    st.lists(st.tuples(st.booleans(), st.booleans(), st.floats(0, 0.5)), min_size=3, max_size=3),
    st.integers(0, 3),
)
def test_the_text_states_what_was_asked(
    changes: list[tuple[bool, bool, float]], added: int
) -> None:
    fields = [
        FieldEdit(
            one.was,
            one.name,
            Box(0.1 + x / 2, 0.1, 0.3, 0.05) if one.was == "number" else one.box,
            one.grammar,
            required,
        )
        for one, (keep, required, x) in zip(asked(only(TEXT)), changes, strict=True)
        if keep
    ]
    fields += [
        FieldEdit(None, f"new-{n}", Box(0.1 * n, 0.2, 0.1, 0.1), "digits", bool(n % 2))
        for n in range(added)
    ]
    if not fields:
        return
    edited = edit_template(TEXT, 0, TemplateEdit(tuple(fields)))
    found = only(edited)
    assert [(spec.name, spec.required) for spec in found.fields] == [
        (one.name, one.required) for one in fields
    ]
    assert "# Ours, measured by hand." in edited
    assert found.frames == only(TEXT).frames
