"""The JSON object of a page is a contract: its keys, their order, their types."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from typing import Any

from jsonschema import Draft202012Validator
from rich.console import Console

from cli.output import (
    json_line,
    page_not_read,
    page_of_api,
    page_of_reading,
    page_table,
    percent,
    write_csv,
)
from core.checks import InList
from core.errors import InputError
from core.policy import ReviewReason
from pipeline.types import Alternative, Box, FieldReading, PageReading

NUMBER = {"type": "number"}
PAGE_SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["file", "page", "template", "fields", "checks", "error"],
    "properties": {
        "file": {"type": "string"},
        "page": {"type": "integer", "minimum": 1},
        "template": {"type": ["string", "null"]},
        "error": {"type": ["string", "null"]},
        "checks": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["name", "fields", "state", "message"],
                "properties": {
                    "name": {"type": "string"},
                    "fields": {"type": "array", "items": {"type": "string"}},
                    "state": {"enum": ["holds", "fails", "unknown"]},
                    "message": {"type": "string"},
                },
            },
        },
        "fields": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": [
                    "name",
                    "value",
                    "raw",
                    "confidence",
                    "alternatives",
                    "box",
                    "decision",
                    "reason",
                ],
                "properties": {
                    "name": {"type": "string"},
                    "value": {"type": ["string", "null"]},
                    "raw": {"type": "string"},
                    "confidence": {"type": "number", "minimum": 0, "maximum": 1},
                    "alternatives": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "additionalProperties": False,
                            "required": ["value", "probability"],
                            "properties": {"value": {"type": "string"}, "probability": NUMBER},
                        },
                    },
                    "box": {"type": "array", "items": NUMBER, "minItems": 4, "maxItems": 4},
                    "decision": {"enum": ["accepted", "review"]},
                    "reason": {"enum": [None, *ReviewReason]},
                },
            },
        },
    },
}


def reading(confidence: float = 0.997, value: str | None = "253") -> PageReading:
    field = FieldReading(
        name="amount",
        value=value,
        raw="253",
        confidence=confidence,
        alternatives=(Alternative("253", 0.9970001234), Alternative("258", 0.002)),
        box=Box(10.126, 20, 300, 40.5),
    )
    return PageReading(width=800, height=600, template="demo-cheque", fields=(field,))


def test_a_blocked_field_is_reviewed_at_any_threshold_and_says_why() -> None:
    found = reading(confidence=1.0)
    blocked = replace(found.fields[0], blocked=ReviewReason.CUT)
    field = page_of_reading("a.png", 1, replace(found, fields=(blocked,)), 0.0)["fields"][0]
    assert (field["value"], field["decision"], field["reason"]) == ("253", "review", "cut")


def test_the_object_of_a_reading_is_the_contract() -> None:
    page = page_of_reading("a.png", 2, reading(), 0.99)
    Draft202012Validator(PAGE_SCHEMA).validate(page)
    assert json_line(page) == (
        '{"file": "a.png", "page": 2, "template": "demo-cheque", "fields": [{"name": "amount", '
        '"value": "253", "raw": "253", "confidence": 0.997, "alternatives": [{"value": "253", '
        '"probability": 0.997}, {"value": "258", "probability": 0.002}], "box": [10.13, 20.0, '
        '300.0, 40.5], "decision": "accepted", "reason": null}], "checks": [], "error": null}'
    )


def test_a_field_in_a_check_that_fails_is_reviewed_and_the_check_is_shown() -> None:
    listed = InList("known", ("amount",), frozenset({"254"}), "amounts.csv")
    for known, decision, reason in (("254", "review", "check-fails"), ("253", "accepted", None)):
        check = replace(listed, values=frozenset({known}))
        page = page_of_reading("a.png", 1, replace(reading(), checks=(check,)), 0.99)
        Draft202012Validator(PAGE_SCHEMA).validate(page)
        (field,) = page["fields"]
        assert (field["decision"], field["reason"]) == (decision, reason)
    failing = page_of_reading("a.png", 1, replace(reading(), checks=(listed,)), 0.99)["checks"]
    assert failing == [
        {
            "name": "known",
            "fields": ["amount"],
            "state": "fails",
            "message": "253 is not in amounts.csv.",
        }
    ]


def test_without_a_threshold_nothing_is_accepted() -> None:
    page = page_of_reading("a.png", 1, reading(1.0), None)
    assert page["fields"][0]["decision"] == "review"
    assert page["fields"][0]["reason"] == "no-threshold"


def test_an_empty_field_may_be_accepted_if_it_is_optional() -> None:
    (field,) = reading(value="").fields
    for required, expected in ((True, ("review", "required-empty")), (False, ("accepted", None))):
        one = replace(reading(), fields=(replace(field, required=required),))
        (shown,) = page_of_reading("a.png", 1, one, 0.99)["fields"]
        assert (shown["value"], shown["decision"], shown["reason"]) == ("", *expected)


def test_an_error_is_a_sentence_and_leaves_no_fields() -> None:
    failed = PageReading(0, 0, None, error=InputError("The file is empty.", hint="Scan it again."))
    page = page_of_reading("a.png", 1, failed, None)
    Draft202012Validator(PAGE_SCHEMA).validate(page)
    assert page["error"] == "The file is empty. Scan it again."
    assert page_not_read("a.png", 1, None, "The file is empty. Scan it again.") == page


def api_page(**changes: Any) -> dict[str, Any]:
    field = page_of_reading("a.png", 1, reading(), None)["fields"][0]
    page = {
        "id": "p",
        "document_id": "d",
        "label": "",
        "state": "read",
        "file": "a.png",
        "page": 1,
        "template": "demo-cheque",
        "fields": [{"id": "f", "state": "review", "rule": None} | field],
        "checks": [],
        "error": None,
    }
    return page | changes


def test_a_page_of_the_api_becomes_the_same_object() -> None:
    assert json_line(page_of_api(api_page())) == json_line(
        page_of_reading("a.png", 1, reading(), None)
    )
    failed = page_of_api(api_page(fields=[], error={"code": "truncated", "message": "It is cut."}))
    Draft202012Validator(PAGE_SCHEMA).validate(failed)
    assert failed["error"] == "It is cut."


def test_names_outside_ascii_stay_readable() -> None:
    assert '"Überweisung[1].png"' in json_line(page_not_read("Überweisung[1].png", 1, None, "x"))


def test_csv_has_one_row_a_page_and_the_fields_of_all() -> None:
    out = io.StringIO()
    good = page_of_reading("a.png", 1, reading(value=None), None)
    write_csv([page_not_read('b,"x".png', 1, None, "It is cut."), good], out)
    rows = list(csv.DictReader(io.StringIO(out.getvalue())))
    assert [row["file"] for row in rows] == ['b,"x".png', "a.png"]
    assert rows[0]["error"] == "It is cut."
    assert rows[0]["amount"] == ""
    assert rows[1]["amount"] == ""
    assert rows[1]["amount_confidence"] == "0.997"
    assert rows[1]["amount_decision"] == "review"


def test_the_table_shows_values_errors_and_brackets_in_names() -> None:
    pages = [
        page_of_reading("scan[1].png", 1, reading(), 0.9),
        page_not_read("b.png", 1, None, "It is cut."),
        page_of_reading("c.png", 1, PageReading(10, 10, None), None),
    ]
    console = Console(file=io.StringIO(), width=120)
    console.print(page_table(pages))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    for text in ("scan[1].png", "253", "99.7 %", "accepted", "It is cut.", "no handwritten number"):
        assert text in shown


def test_the_table_says_why_a_sure_value_is_reviewed() -> None:
    found = reading(confidence=0.997)
    struck = replace(found.fields[0], blocked=ReviewReason.STRUCK_OUT)
    console = Console(file=io.StringIO(), width=120)
    pages = [page_of_reading("a.png", 1, replace(found, fields=(struck,)), 0.9)]
    pages.append(page_of_reading("b.png", 1, reading(confidence=0.5), 0.9))
    console.print(page_table(pages))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "review: struck-out" in shown
    assert "below-threshold" not in shown  # the confidence beside it says so


def test_percent_is_never_rounded_up_to_certainty() -> None:
    assert percent(0.9996).plain == "99.9 %"
    assert percent(1.0).plain == "100.0 %"


def test_json_lines_are_single_lines() -> None:
    line = json_line(page_not_read("a\nb.png", 1, None, "x\ny"))
    assert "\n" not in line
    assert json.loads(line)["file"] == "a\nb.png"
