"""The checks of a template: what is understood, what is refused, and lists in files beside it."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

import jsonschema
import pytest
import yaml

from cli.arguments import load_templates
from core.checks import NUMBER, CheckDigit, Equal, InList, Sum, Unique
from core.errors import TemplateError
from pipeline.placing.check_lists import MAX_LIST_BYTES, with_lists
from pipeline.placing.template import parse_template
from pipeline.placing.template_set import named_templates
from storage.site_templates import SiteTemplates

SCHEMA = json.loads(
    (resources.files("pipeline") / "templates" / "template.schema.json").read_text("utf-8")
)
HEAD = """\
name: slip
page: [210, 297]
fields:
  - {name: a, box: [0.1, 0.1, 0.2, 0.05], grammar: amount}
  - {name: b, box: [0.1, 0.2, 0.2, 0.05], grammar: "digits(1,9)", required: false}
  - {name: routing, box: [0.1, 0.3, 0.2, 0.05], grammar: checksum(aba)}
  - {name: paid, box: [0.1, 0.4, 0.2, 0.05], grammar: date(DDMMYYYY)}
  - {name: due, box: [0.1, 0.5, 0.2, 0.05], grammar: date(DDMMYY)}
checks:
"""


def template(*checks: str) -> str:
    return HEAD + "".join(f"  - {check}\n" for check in checks)


def test_each_rule_is_understood() -> None:
    text = (
        template(
            "{name: same, equal: [a, b]}",
            "{name: total, sum: [b], is: a, empty: 0}",
            "{name: order, in_order: [b, a]}",
            "{name: window, date: paid, from: '2024-01-01'}",
            "{name: since, days: [paid, due2], to: 90}",
            "{name: digit, check_digit: routing, scheme: aba}",
            "{name: known, in_list: routing, values: ['021000021', '011000015']}",
            "{name: once, unique: [routing, b]}",
        )
        .replace("due2", "due")
        .replace("date(DDMMYY)", '"date(DDMMYY,2000-2035)"')
    )
    jsonschema.validate(yaml.safe_load(text), SCHEMA)
    checks = {check.name: check for check in parse_template(text).checks}
    assert checks["same"] == Equal("same", ("a", "b"), (NUMBER, NUMBER))
    assert checks["total"] == Sum("total", ("b", "a"), "0")
    assert checks["digit"] == CheckDigit("digit", ("routing",), "aba")
    listed = frozenset({"021000021", "011000015"})
    assert checks["known"] == InList("known", ("routing",), listed, "the list")
    assert checks["once"] == Unique("once", ("routing", "b"))
    assert len(checks) == 8


@pytest.mark.parametrize(
    ("check", "says"),
    [
        ("{equal: [a, b]}", "line 10: a check has no 'name'."),
        ("{name: x}", "check 'x' must state one rule, not 0. The rules are: equal, sum,"),
        ("{name: x, equal: [a, b], unique: [a]}", "check 'x' must state one rule, not 2."),
        ("{name: x, eqal: [a, b]}", "the key 'eqal' is unknown. Did you mean 'equal'?"),
        ("{name: x, equal: [a, bb]}", "check 'x': there is no field 'bb'. Did you mean 'b'?"),
        ("{name: x, equal: [a]}", "check 'x' takes 2 to 50 fields, not 1."),
        ("{name: x, equal: [a, a]}", "check 'x': the field 'a' is named twice."),
        ("{name: x, equal: [a, paid]}", "check 'x': 'a' (amount) is no date."),
        ("{name: x, equal: [a, routing]}", "'routing' (checksum(aba)) is no number to calculate"),
        ("{name: x, sum: [a, b]}", "check 'x' has no 'is'."),
        ("{name: x, sum: [a, b], is: a}", "'a' is both a part and the total."),
        ("{name: x, sum: [a, b], is: paid}", "'paid' (date(DDMMYYYY)) is no number"),
        ("{name: x, sum: [b], is: a, empty: none}", "'empty' is a number, usually 0."),
        ("{name: x, equal: [a, b], empty: 0}", "'empty' does not belong to 'equal'."),
        ("{name: x, in_order: [paid, paid]}", "the field 'paid' is named twice."),
        ("{name: x, date: paid}", "check 'x' needs 'from', 'to' or both"),
        ("{name: x, date: paid, from: 2024-02-30}", "'2024-02-30' is no day such as 2024-04-01."),
        ("{name: x, date: paid, from: 2024-02-02, to: 2024-01-01}", "'to' is before 'from'."),
        ("{name: x, date: due, from: 2024-02-02}", "leave the century of 'due' open. State a"),
        ("{name: x, days: [paid, a], to: 3}", "'a' (amount) is no date."),
        ("{name: x, check_digit: a, scheme: lun}", "'lun' is unknown. Did you mean 'luhn'?"),
        ("{name: x, in_list: a}", "needs a list: 'csv: FILE' or 'values: [10, 20]'."),
        ("{name: x, in_list: a, values: ['1,5']}", "'1,5' is no value: use letters, digits"),
        ("{name: x, in_list: a, values: [1], column: c}", "a 'column' is one of a 'csv' file."),
        ("{name: x, in_list: a, csv: ../x.csv}", "'../x.csv' cannot be the name of a list."),
        ("{name: x, in_list: a, csv: x.csv}", "the values of x.csv are not in this text."),
        ("{name: x, unique: [a]}\n  - {name: x, unique: [b]}", "two checks are named 'x'."),
    ],
)  # fmt: skip
def test_a_mistake_is_told_in_plain_words(check: str, says: str) -> None:
    with pytest.raises(TemplateError) as caught:
        parse_template(template(check))
    assert says in str(caught.value)
    assert str(caught.value).startswith("line ")


LISTS = {
    "banks.csv": b"\xef\xbb\xbfname;routing\r\nFirst;021000021\r\nSecond;011000015\r\n",
    "plain.csv": b"021000021\n\n011000015\n021000021\n",
}


@pytest.mark.parametrize(
    "check",
    [
        "{name: known, in_list: routing, csv: banks.csv, column: routing}",
        "name: known\n    csv: banks.csv   # ours\n    column: routing\n    in_list: routing",
        '{name: known, in_list: routing, csv: "plain.csv"}',
    ],
)
def test_the_values_of_a_list_become_part_of_the_text(check: str) -> None:
    whole = with_lists(template(check), LISTS.__getitem__)
    (known,) = parse_template(whole).checks
    assert isinstance(known, InList)
    assert known.values == {"021000021", "011000015"}
    assert with_lists(whole, LISTS.__getitem__) == whole, "nothing is read twice"
    jsonschema.validate(yaml.safe_load(whole), SCHEMA)


def test_the_kinds_of_page_of_a_document_have_lists_too() -> None:
    kind = template("{name: known, in_list: routing, csv: plain.csv}").replace("name: slip", "")
    lines = [line for line in kind.splitlines() if line and not line.startswith("page")]
    text = "name: doc\npage: [210, 297]\npages:\n  - name: slip\n" + "\n".join(
        "    " + line for line in lines
    )
    assert 'csv: plain.csv, values: "021000021 011000015"}' in with_lists(text, LISTS.__getitem__)


@pytest.mark.parametrize(
    ("data", "column", "says"),
    [
        (None, "", "the list x.csv cannot be read (No such file or directory)."),
        (b"", "", "the list x.csv is empty."),
        (b"\xff\xfe1\x002\x00", "", "is not text in UTF-8. Excel saves it so as 'CSV UTF-8"),
        (b"a,b\n1,2\n", "", "has several columns. Say which is meant: 'column: a'."),
        (b"a,b\n1,2\n", ", column: c", "the list x.csv has no column 'c'."),
        (b"a\n", ", column: a", "the list x.csv has 0 values; 1 to 20,000 are possible."),
        (b"1 2\n", "", "'1 2' is no value"),
        (b"1\n" * (MAX_LIST_BYTES // 2 + 1), "", "the list x.csv is larger than 1 MiB."),
        ("\n".join(map(str, range(20_001))).encode(), "", "has 20,001 values"),
    ],
)
def test_what_is_wrong_with_a_list_is_said(
    tmp_path: Path, data: bytes | None, column: str, says: str
) -> None:
    if data is not None:
        (tmp_path / "x.csv").write_bytes(data)
    file = tmp_path / "slip.yaml"
    file.write_text(template(f"{{name: known, in_list: routing, csv: x.csv{column}}}"))
    with pytest.raises(TemplateError) as caught:
        load_templates([str(file)])
    assert says in str(caught.value)
    assert str(caught.value).startswith(f"{file}: line 10: ")


def test_a_stored_template_finds_its_list_beside_it(tmp_path: Path) -> None:
    stored = SiteTemplates(tmp_path)
    stored.folder.mkdir()
    (stored.folder / "slip.yaml").write_text(
        template("{name: known, in_list: routing, csv: banks.csv, column: routing}")
    )
    with pytest.raises(
        TemplateError, match=r"stored template 'slip', slip.yaml: line 10: the list"
    ):
        named_templates("slip", stored)
    (stored.folder / "banks.csv").write_bytes(LISTS["banks.csv"])
    assert '"021000021 011000015"' in named_templates("slip", stored).text
    with pytest.raises(FileNotFoundError):
        stored.read_list("slip", "../secret")
