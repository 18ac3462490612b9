"""Labelled sets of every form, read by the real glyph reader, and the report of it."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from cli.evaluate import parse_part
from core.errors import ConfigError, InputError
from pipeline.grammar.base import ANY_DIGITS
from pipeline.placing.template import bundled_template
from pipeline.readers.loaded import load_readers
from pipeline.types import Box
from training.evaluation.labelled import Example, Part, load_labelled
from training.evaluation.machine import machine
from training.evaluation.measure import Comparison, Figures, Outcome, read_fields, read_with_rival
from training.evaluation.readers import Reads, readers_by_name
from training.evaluation.report import Evaluation, report
from training.evaluation.rivals import Answer

SAMPLES = Path(__file__).parents[2] / "demo" / "samples"
CHEQUE = next(
    page
    for page in json.loads((SAMPLES / "truth.json").read_text())
    if page["file"] == "cheque-1.jpg"
)

CHEQUE_TEMPLATE = bundled_template("demo-cheque")


@pytest.fixture(scope="module")
def glyph() -> Reads:
    return readers_by_name(load_readers())["glyph"]


def picture(path: Path, value: int = 255) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((40, 120), value, np.uint8))


def truths(found: Sequence[Example]) -> list[tuple[str, str, str]]:
    return [(example.file.name, example.field, example.truth) for example in found]


def test_images_with_texts(tmp_path: Path) -> None:
    for number in range(5):
        picture(tmp_path / "images" / f"{number}.png")
    entries = [{"file": f"images/{n}.png", "text": str(n), "boxes": []} for n in range(5)]
    (tmp_path / "labels.json").write_text(json.dumps(entries))
    found = load_labelled(tmp_path, part=Part(1, 2))
    assert truths(found.examples) == [("1.png", "", "1"), ("3.png", "", "3")]
    assert load_labelled(tmp_path, part=Part(limit=1)).examples[0].box is None
    (tmp_path / "images" / "3.png").unlink()
    with pytest.raises(InputError, match=r"3\.png"):
        load_labelled(tmp_path)


def test_whole_pages_with_boxes_or_a_template(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    entry = {"file": "a.png", "amount": "700", "date": None, "boxes": {"amount": [5, 6, 70, 20]}}
    (tmp_path / "labels.json").write_text(json.dumps([entry]))
    [cut] = load_labelled(tmp_path).examples
    assert (cut.field, cut.truth, cut.box) == ("amount", "700", Box(5, 6, 70, 20))
    whole = load_labelled(tmp_path, template=CHEQUE_TEMPLATE)
    assert [(e.field, e.box) for e in whole.examples] == [("amount", None)]
    assert "1 fields" in whole.remarks[0]
    del entry["boxes"]
    (tmp_path / "labels.json").write_text(json.dumps([entry]))
    with pytest.raises(InputError, match="--template"):
        load_labelled(tmp_path)


def test_images_named_without_their_ending(tmp_path: Path) -> None:
    picture(tmp_path / "0001.png")
    (tmp_path / "labels.json").write_text('{"0001": {"amount": "7", "date": "01012026"}}')
    found = load_labelled(tmp_path, template=CHEQUE_TEMPLATE).examples
    assert truths(found) == [("0001.png", "amount", "7"), ("0001.png", "date", "01012026")]


def test_a_csv_with_and_without_fields(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        picture(tmp_path / name)
    labels = tmp_path / "labels.csv"
    labels.write_text("file,text\na.png,0012\nb.png,\n")
    found = load_labelled(tmp_path)
    assert truths(found.examples) == [("a.png", "", "0012"), ("b.png", "", "")]
    with pytest.raises(InputError, match="field"):
        load_labelled(labels, template=CHEQUE_TEMPLATE)
    labels.write_text("file,field,text\na.png,amount,1\nb.png,amount,2\na.png,date,3\n")
    of_pages = load_labelled(labels, template=CHEQUE_TEMPLATE, part=Part(0, 2))
    assert truths(of_pages.examples) == [("a.png", "amount", "1"), ("a.png", "date", "3")]


def test_labels_of_fields_that_the_template_lacks_are_left_out_and_named(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    labels = tmp_path / "labels.csv"
    labels.write_text("file,field,text\na.png,amount,1\na.png,words,one\n")
    found = load_labelled(labels, template=CHEQUE_TEMPLATE)
    assert truths(found.examples) == [("a.png", "amount", "1")]
    assert "words" in found.remarks[0]
    labels.write_text("file,field,text\na.png,words,one\n")
    with pytest.raises(InputError, match=r"demo-cheque.*words"):
        load_labelled(labels, template=CHEQUE_TEMPLATE)


def test_of_an_export_only_what_a_person_verified_counts(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    rows = [
        {"file": "a.png", "page": "1", "field": "sum", "value": "12", "state": "verified"},
        {"file": "a.png", "page": "1", "field": "day", "value": "34", "state": "accepted"},
        {"file": "a.png", "page": "1", "field": "no", "value": "4A", "state": "verified"},
    ]
    rows[2]["forced"] = "true"
    with (tmp_path / "export.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(
            stream, ["file", "page", "field", "value", "state", "box", "forced"]
        )
        writer.writeheader()
        writer.writerows(row | {"box": "[1.0, 2.0, 30.0, 20.0]"} for row in rows)
    found = load_labelled(tmp_path / "export.csv")
    assert truths(found.examples) == [("a.png", "sum", "12")]
    assert found.examples[0].box == Box(1, 2, 30, 20)
    assert "1 fields that no person" in found.remarks[0]
    assert "1 values that their grammar does not allow" in found.remarks[1]


@pytest.mark.parametrize("text", ["{}", '{"a": 1}', "[1]", '[{"text": "1"}]', "not json"])
def test_what_is_no_labels_file_is_said_to_be_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "labels.json").write_text(text)
    with pytest.raises(InputError):
        load_labelled(tmp_path)


def test_nothing_is_overlooked_unless_it_is_said() -> None:
    assert Comparison().plain("0012.50") == "0012.50"
    assert Comparison(".,").plain("1,012.50") == "101250"
    assert Comparison(leading_zeros=True).plain("0012") == "12"
    assert Comparison(leading_zeros=True).plain("000") == "0"
    assert Comparison(leading_zeros=True).plain("") == ""
    whole = Comparison(no_minor=True)
    assert [whole.plain(text) for text in ("12.00", "12.50", "1200", "")] == [
        "12",
        "12.50",
        "1200",
        "",
    ]


def test_a_page_is_read_whole_and_a_bad_one_is_counted(tmp_path: Path, glyph: Reads) -> None:
    fields = CHEQUE["fields"]
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    sound = [Example(SAMPLES / CHEQUE["file"], text, name) for name, text in fields.items()]
    examples = [*sound, Example(tmp_path / "bad.jpg", "1", "amount")]
    target = bundled_template(CHEQUE["template"])
    outcomes = read_fields(glyph, examples, target, Comparison())
    assert [outcome.right for outcome in outcomes] == [True] * len(fields) + [False]
    assert outcomes[-1].error
    assert outcomes[0].milliseconds == outcomes[1].milliseconds
    with pytest.raises(InputError, match="amount"):
        read_fields(glyph, [Example(sound[0].file, "1", "total")], target, Comparison())


def test_a_rival_is_only_asked_for_characters_that_can_be_right(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    examples = [Example(tmp_path / "a.png", "2250", box=Box(2, 2, 50, 30))]

    def rival(paths: Sequence[Path]) -> Iterator[Answer]:
        for path in paths:
            assert cv2.imread(str(path)).shape == (30, 50, 3)
            yield Answer("R$ 2.250-", 0.5, 1.0)

    [outcome] = read_with_rival(rival, examples, Comparison())
    assert (outcome.read, outcome.right) == ("2250", True)


def test_an_empty_reading_is_never_released() -> None:
    outcomes = (
        Outcome(Example(Path("a"), "1"), "", 0.9, False),
        Outcome(Example(Path("b"), "1"), "1", 0.8, True),
        Outcome(Example(Path("c"), ""), None, 0.0, True),
    )
    figures = Figures("it", outcomes, Comparison())
    assert [(r.released, r.wrong, r.count) for r in figures.curve()] == [(1, 0, 3)]
    assert figures.as_json()["released"]["0.01"]["observed"]["coverage"] == pytest.approx(1 / 3)
    assert [outcome.example.file.name for outcome in figures.mistakes()] == ["a"]


def test_the_report_needs_nothing_beside_it(tmp_path: Path, glyph: Reads) -> None:
    picture(tmp_path / "<b>.png")
    (tmp_path / "labels.csv").write_text("file,text\n<b>.png,12\n")
    labelled = load_labelled(tmp_path)
    outcomes = read_fields(glyph, labelled.examples, ANY_DIGITS, Comparison())
    evaluation = Evaluation(
        labelled=labelled,
        part="all",
        target="digits",
        pages=False,
        comparison=Comparison(),
        ours=(Figures("Counterfoil, glyph reader", outcomes, Comparison()),),
        rivals=(),
        absent=("Not measured: Tesseract.",),
        about=machine() | {"command": "counterfoil evaluate <it>", "weights": "ab" * 32},
    )
    page = report(evaluation)
    assert "http" not in page
    assert not re.search(r"(src|href)=['\"](?!data:)", page)
    assert "<b>" not in page, "names are text, not markup"
    assert "Not measured: Tesseract." in page
    assert len(re.findall("<img ", page)) == len(re.findall("<img [^>]*alt='[^']+'", page)) > 0
    assert json.loads(json.dumps(evaluation.as_json()))["systems"]


def test_a_part_is_start_and_step() -> None:
    assert str(parse_part("1:2", None)) == "odd half"
    assert str(parse_part(None, 5)) == "all, the first 5"
    for wrong in ("2", "0:0", "a:b", "1:"):
        with pytest.raises(ConfigError):
            parse_part(wrong, None)
