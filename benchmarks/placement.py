"""Is a number ever released from the wrong place, or called empty where it cannot be seen?

    python -m benchmarks.placement [--copies 56] [--seed 0] [--processes 1] [--data DIR] [--write]

Every bundled template's pages, and drawn forms of eight equal rows, are cut, slid, scaled, turned,
shadowed, folded, darkened and made faint, with a fixed seed for each page, and read with a release
threshold of 0.9. Where each field of the original went on a copy is known, so a released value that
is wrong is told apart: wrong by place (the box lies elsewhere, or part of the number is not on the
page), or wrong by ink (the right place, misread). `--data` adds real cheques to the drawn pages.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np

from benchmarks.data import add_data_option
from benchmarks.placement_copies import KINDS, Copy, copies
from core.policy import review_reason
from pipeline.files.documents import DocumentLimits, only_pages, open_document
from pipeline.files.page import decode_page
from pipeline.geometry import transform_box
from pipeline.placing.register import register
from pipeline.placing.template import Template, bundled_template, parse_template
from pipeline.read import read_pages
from pipeline.readers.loaded import Readers, load_readers
from pipeline.types import Box, FieldReading, Image, Page, PageReading
from training.evaluation.metrics import wilson
from training.synthesis.form import BOXES, HEIGHT, ROWS, WIDTH, render_form
from training.synthesis.hand import DigitSet, load_mnist

RESULTS = Path(__file__).parent / "results" / "placement.md"
SAMPLES = Path(__file__).parents[1] / "demo" / "samples"
RELEASE_AT = 0.9
EIGHT_ROWS = parse_template(
    f"name: eight-rows\npage: [{WIDTH}, {HEIGHT}]\nanchors: frames\nfields:\n"
    + "".join(
        f"  - {{name: {name}, grammar: 'digits(1,5)', required: false,"
        f" box: [{box.x / WIDTH:.5f}, {box.y / HEIGHT:.5f},"
        f" {box.w / WIDTH:.5f}, {box.h / HEIGHT:.5f}]}}\n"
        for name, box in BOXES.items()
        if name in dict(ROWS)
    )
)


@dataclass(frozen=True, slots=True)
class Original:
    """A page as it is, and what is known of it: `truth` is what is written, `boxes` are where."""

    name: str
    template: Template
    grey: Image
    truth: Mapping[str, str]
    boxes: Mapping[str, Box]  # in pixels of the page
    released: frozenset[str]  # fields that are released from the page as it is
    pitch: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one field on one copy."""

    original: str
    template: str
    kind: str
    note: str
    field: str
    fate: (
        str  # "wrong by place", "empty", "wrong by ink", "right", "review: REASON", "refused: CODE"
    )
    whole: bool  # the field is wholly on the copy
    was_released: bool
    same_value: bool  # the value is the one written, released or not
    shown: str


def originals(data: Path | None, readers: Readers, forms: int, seed: int) -> Iterator[Original]:
    """Yield every page that copies are made of; `seed` is that of the first form."""
    truth = json.loads((SAMPLES / "truth.json").read_text())
    for file in sorted({item["file"] for item in truth}):
        pages = open_document(SAMPLES / file, DocumentLimits())
        for number, page in enumerate(only_pages(pages), 1):
            known = next(t for t in truth if (t["file"], t["page"]) == (file, number))
            bytes_of = (SAMPLES / file).read_bytes() if page.data is None else page.data
            grey = decode_page(bytes_of).grey
            template = bundled_template(known["template"])
            yield _original(f"{file} {number}", template, grey, known["fields"], readers)
    digits = load_mnist(Path(__file__).parents[1] / "tests" / "data")
    for number in range(forms):
        grey, values = draw_form(digits, np.random.default_rng(seed + number))
        yield _original(f"eight rows {number + 1}", EIGHT_ROWS, grey, values, readers)
    if data is not None:
        for folder, name, most in (
            ("cheques_in/fullres", "cheque-in", 3),
            ("cheques_in/images", "cheque-in", 5),
            ("checks_us/images", "check-us", 8),
        ):
            for path in sorted((data / folder).glob("*.jpg"))[:most]:
                grey = decode_page(path.read_bytes()).grey
                yield _original(path.name, bundled_template(name), grey, {}, readers)


def draw_form(digits: DigitSet, rng: np.random.Generator) -> tuple[Image, dict[str, str]]:
    """Return a filled form, grey, and the values of its eight rows."""
    values = {
        name: "" if rng.random() < 0.1 else str(rng.integers(0, 10 ** int(rng.integers(1, 5))))
        for name, _ in ROWS
    }
    whole = {**values, "clinic": "123456", "week_ending": "01022026"}
    picture = render_form(whole, digits, rng)
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8), values


def _original(
    name: str, template: Template, grey: Image, truth: Mapping[str, str], readers: Readers
) -> Original:
    page = Page(grey)
    placement = register(page, template)
    (reading,) = read_pages([page], template, readers)
    if placement.turn:
        raise SystemExit(f"{name} is not upright")
    boxes = {
        spec.name: transform_box(placement.matrix, placement.box(spec)) for spec in template.fields
    }
    released = frozenset(field.name for field in reading.fields if _is_released(field))
    # Without labels, what is read from the page as it is counts as written.
    seen = {field.name: field.value or "" for field in reading.fields}
    tops = sorted({round(box.y) for box in boxes.values()})
    steps = [b - a for a, b in pairwise(tops) if b - a > 20]
    pitch = float(np.median(steps)) if steps else 0.1 * grey.shape[0]
    return Original(name, template, grey, {**seen, **truth}, boxes, released, pitch)


def _is_released(field: FieldReading) -> bool:
    return (
        review_reason(
            field.value,
            field.confidence,
            RELEASE_AT,
            required=field.required,
            blocked=field.blocked,
        )
        is None
    )


def outcomes(original: Original, count: int, seed: int, readers: Readers) -> list[Outcome]:
    """Read `count` copies of a page and return what became of each field."""
    rng = np.random.default_rng(seed)
    found = []
    for copy in copies(original.grey, original.pitch, count, rng):
        (reading,) = read_pages([Page(copy.grey)], original.template, readers)
        found += list(_compare(original, copy, reading))
    return found


def _compare(original: Original, copy: Copy, reading: PageReading) -> Iterator[Outcome]:
    fields = {field.name: field for field in reading.fields}
    for spec in original.template.fields:
        place = copy.place_of(original.boxes[spec.name])
        written = original.truth[spec.name]
        field = fields.get(spec.name)
        outcome = Outcome(
            original.name,
            original.template.name,
            copy.kind,
            copy.note,
            spec.name,
            f"refused: {reading.error.code}" if reading.error else "",
            place is not None,
            spec.name in original.released,
            field is not None and field.value == written,
            f"{written!r} as {field.value!r} at {field.confidence:.4f}" if field else "",
        )
        if field is not None:
            outcome = replace(outcome, fate=_fate(field, written, place))
        yield outcome


def _fate(field: FieldReading, written: str, place: np.ndarray | None) -> str:
    if not _is_released(field):
        if field.value == "" and written and field.confidence > RELEASE_AT:
            return "empty"
        reason = review_reason(
            field.value,
            field.confidence,
            RELEASE_AT,
            required=field.required,
            blocked=field.blocked,
        )
        return f"review: {reason}"
    if field.value == written:
        return "right"
    if field.value == "" and place is not None and _is_there(field, place):
        return "empty"
    return "wrong by ink" if place is not None and _is_there(field, place) else "wrong by place"


def _is_there(field: FieldReading, place: np.ndarray) -> bool:
    """Say whether the middle of a field's box is that of the place, to a third of its height."""
    middle = place.mean(axis=0)
    height = min(np.ptp(place[:, 0]), np.ptp(place[:, 1]))
    off = (field.box.x + field.box.w / 2 - middle[0], field.box.y + field.box.h / 2 - middle[1])
    return bool(np.abs(off).max() <= height / 3)


def table(found: list[Outcome], pages: int, seed: int) -> str:
    """Return the outcomes as Markdown."""
    lines = [
        "# Numbers from the wrong place, or called empty",
        "",
        f"`python -m benchmarks.placement --seed {seed} --write`",
        "",
        f"{pages} copies; released at {RELEASE_AT}. Whole: the field is wholly on a copy that was"
        " accepted, and is released from the page as it is.",
        "",
        "| copies | fields | page refused | released | wrong by place | called empty |"
        " wrong by ink | whole | of these released | of these the same value |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    groups: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in found:
        groups[outcome.kind].append(outcome)
        groups[outcome.template].append(outcome)
    order = [*KINDS, *sorted({o.template for o in found})]
    lines += [_row(name, groups[name]) for name in order if name in groups]
    lines.append(_row("all", found))
    reasons = Counter(o.fate for o in found if o.whole and o.was_released and o.fate != "right")
    lines += ["", "Of fields that are whole and were released from the page as it is:", ""]
    lines += [f"- {count} {fate}" for fate, count in reasons.most_common()]
    wrong = [o for o in found if o.fate in ("wrong by place", "empty", "wrong by ink")]
    lines += ["", "Every one that was wrong:", ""]
    lines += [
        f"- {o.fate}: {o.original}, {o.kind} ({o.note}), {o.field} {o.shown}" for o in wrong
    ] or ["none"]
    return "\n".join(lines) + "\n"


def _row(name: str, found: list[Outcome]) -> str:
    fates = Counter(o.fate for o in found)
    refused = sum(count for fate, count in fates.items() if fate.startswith("refused"))
    wrong = [fates[fate] for fate in ("wrong by place", "empty", "wrong by ink")]
    released = fates["right"] + sum(wrong)
    whole = [o for o in found if o.whole and o.was_released and not o.fate.startswith("refused")]
    kept = sum(o.fate == "right" for o in whole)
    same = sum(o.same_value for o in whole)
    low, high = wilson(wrong[0], max(released, 1))
    return (
        f"| {name} | {len(found)} | {refused} | {released} | {wrong[0]} ({low:.2%} to {high:.2%})"
        f" | {wrong[1]} | {wrong[2]} | {len(whole)} | {kept} ({kept / max(len(whole), 1):.1%})"
        f" | {same} ({same / max(len(whole), 1):.1%}) |"
    )


@cache
def _readers() -> Readers:
    cv2.setNumThreads(1)
    return load_readers()


def _outcomes_of(task: tuple[Original, int, int]) -> list[Outcome]:
    original, count, seed = task
    return outcomes(original, count, seed, _readers())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_data_option(parser, required=False)
    parser.add_argument("--copies", type=int, default=56, metavar="N", help="of each page")
    parser.add_argument("--forms", type=int, default=8, metavar="N", help="forms of eight rows")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the first page")
    parser.add_argument("--processes", type=int, default=1, metavar="N")
    parser.add_argument("--only", default="", help="pages whose name or template contains this")
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS}")
    arguments = parser.parse_args()
    readers = _readers()
    chosen = [
        (original, arguments.copies, seed)
        for seed, original in enumerate(
            originals(arguments.data, readers, arguments.forms, arguments.seed), arguments.seed
        )
        if arguments.only in original.name or arguments.only in original.template.name
    ]
    found: list[Outcome] = []
    pages = 0
    with multiprocessing.get_context("spawn").Pool(arguments.processes) as pool:
        for own in pool.imap(_outcomes_of, chosen, chunksize=1):
            found += own
            pages += arguments.copies
            print(f"{pages} copies, the last of {own[-1].original}", file=sys.stderr, flush=True)
    text = table(found, pages, arguments.seed)
    print(text)
    if arguments.write:
        RESULTS.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
