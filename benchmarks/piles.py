"""A mixed pile: 270 pages of six templates and 30 foreign pages, each to get the right template.

    python -m benchmarks.piles [--data DIR] [--write] [--save DIR | --pages DIR]

The templates are `demo-cheque`, `demo-form`, `nist-hsf` and three forms that are drawn here, one of
them with eight equal rows. Every page is distorted as scanners and people do. The foreign pages are
letters, tables, and forms of other layouts, some of them near ones: the eight rows one fewer, two
more, or moved. Everything is drawn from `SEED`. A page under a wrong template is the fault that
counts; a page of a template that is set apart costs a person a minute.

`--write` also writes the table to `benchmarks/results/piles.md`. `--save` writes the pages, which
take longer to draw than to place, and `--pages` takes them from there.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from benchmarks.data import add_data_option
from benchmarks.registration import Distortion, distort
from core.errors import TemplateError
from pipeline.placing.choose import choose_template
from pipeline.placing.register import register, turn_page
from pipeline.placing.template import Template, bundled_template
from pipeline.placing.template_set import TemplateSet, combine, parse_templates
from pipeline.types import Box, Image, Page
from training.evaluation.metrics import wilson
from training.synthesis import form
from training.synthesis.cheque import render_cheque
from training.synthesis.hand import DigitSet, Pen, load_mnist, write_comb, write_digits
from training.synthesis.paper import Picture, blank_paper
from training.synthesis.printing import frame, print_text, rule

RESULTS = Path(__file__).parent / "results" / "piles.md"
SEED: Final = 1506
EACH: Final = 45  # pages of each template
FOREIGN: Final = 30
INK = (34, 34, 40)


@dataclass(frozen=True, slots=True)
class Layout:
    """A form that is drawn here: its size in pixels, and its boxes with their cells."""

    name: str
    size: tuple[int, int]
    boxes: dict[str, tuple[Box, int]] = field(default_factory=dict)

    def template(self) -> str:
        """Return the YAML of its template."""
        width, height = self.size
        lines = [f"name: {self.name}", f"page: [{width}, {height}]", "anchors: frames", "fields:"]
        for name, (box, cells) in self.boxes.items():
            sides = (box.x / width, box.y / height, box.w / width, box.h / height)
            grammar = f"digits({cells})" if cells > 1 else '"digits(1,6)"'
            shown = ", ".join(f"{side:.5f}" for side in sides)
            lines.append(f"  - {{name: {name}, box: [{shown}], grammar: {grammar}}}")
        return "\n".join(lines) + "\n"


def rows_form(name: str, rows: int, *, left: int = 1040, top: int = 620) -> Layout:
    """Return a form of equal rows, 190 pixels apart."""
    boxes = {f"row-{i + 1}": (Box(left, top + 190 * i, 440, 96), 1) for i in range(rows)}
    return Layout(name, (1654, 2339), boxes)


EIGHT_ROWS = rows_form("eight-rows", 8)
STOCK_CARD = Layout(
    "stock-card",
    (1654, 2339),
    {
        "card": (Box(160, 360, 620, 90), 8),
        "month": (Box(1060, 360, 434, 90), 6),
        **{
            f"item-{2 * i + j + 1}": (Box(160 + 760 * j, 640 + 240 * i, 574, 110), 1)
            for i in range(6)
            for j in range(2)
        },
    },
)
METER_CARD = Layout(  # A5, landscape
    "meter-card",
    (1654, 1165),
    {
        "meter": (Box(120, 300, 700, 100), 9),
        "day": (Box(960, 300, 560, 100), 8),
        "old": (Box(120, 560, 560, 120), 1),
        "new": (Box(960, 560, 560, 120), 1),
        "used": (Box(540, 850, 560, 120), 1),
    },
)
DRAWN = (EIGHT_ROWS, STOCK_CARD, METER_CARD)


def templates() -> TemplateSet:
    """Return the six templates of the pile."""
    bundled = [bundled_template(name).text for name in ("demo-cheque", "demo-form", "nist-hsf")]
    return combine([parse_templates(text) for text in [*bundled, *(d.template() for d in DRAWN)]])


@dataclass(frozen=True, slots=True)
class PilePage:
    """A page of the pile; `template` is None for a foreign one."""

    kind: str
    template: str | None
    grey: Image


def draw_pile(data: Path, *, seed: int = SEED, each: int = EACH) -> list[PilePage]:
    """Return the pages of the pile, in a mixed order."""
    rng = np.random.default_rng(seed)
    digits = load_mnist(data)
    nist = cv2.imread(str(data / "forms" / "nist_hsf_w4164.png"), cv2.IMREAD_GRAYSCALE)
    if nist is None:
        raise SystemExit(f"There is no NIST form in {data / 'forms'}.")
    kinds: dict[str, Callable[[], Image]] = {
        "demo-cheque": lambda: _grey(_cheque(digits, rng)),
        "demo-form": lambda: _grey(_clinic_form(digits, rng)),
        "nist-hsf": lambda: np.asarray(nist, np.uint8),
        **{
            layout.name: lambda layout=layout: _grey(draw_form(layout, digits, rng))  # type: ignore[misc]
            for layout in DRAWN
        },
    }
    pages = [
        PilePage(kind, kind, _scanned(draw(), rng))
        for kind, draw in kinds.items()
        for _ in range(each)
    ]
    foreign = _foreign(digits, rng)
    pages += [PilePage(kind, None, _scanned(_grey(drawn), rng)) for kind, drawn in foreign]
    return [pages[i] for i in rng.permutation(len(pages))]


def load_pile(folder: Path) -> list[PilePage]:
    """Return the pages that `--save` wrote."""
    known = {template.name for template in templates().templates}
    pages = []
    for path in sorted(folder.glob("*.png")):
        kind = path.stem.partition("-")[2]
        grey = np.asarray(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), np.uint8)
        pages.append(PilePage(kind, kind if kind in known else None, grey))
    return pages


def draw_form(layout: Layout, digits: DigitSet, rng: np.random.Generator) -> Picture:
    """Return a filled form, (height, width, 3), straight and clean."""
    width, height = layout.size
    page = blank_paper(height, width, (247, 247, 243), rng)
    print_text(page, layout.name.replace("-", " ").upper(), 120, 120, 54, INK, bold=True)
    print_text(page, "Write one whole number in each box.", 120, 210, 30, (96, 96, 104))
    pen = Pen((24, 30, 96), width=float(rng.uniform(0.75, 1.0)))
    for name, (box, cells) in layout.boxes.items():
        print_text(page, name.replace("-", " ").capitalize(), box.x, box.y - 40, 28, INK)
        frame(page, box, INK, width=3, cells=cells)
        count = cells if cells > 1 else int(rng.integers(1, 6))
        if cells == 1 and rng.random() < 0.15:
            continue  # left empty
        text = "".join(map(str, rng.integers(0, 10, count)))
        write = write_comb if cells > 1 else write_digits
        write(page, text, box, digits, pen, rng)
    return page


def _foreign(digits: DigitSet, rng: np.random.Generator) -> list[tuple[str, Picture]]:
    near = [rows_form("seven-rows", 7), rows_form("ten-rows", 10, top=360)]
    near += [rows_form("rows-to-the-left", 8, left=300), rows_form("nine-narrow", 9, top=500)]
    near += [
        Layout("narrow-rows", (1654, 2339), {
            f"row-{i}": (Box(1040, 620 + 150 * i, 440, 80), 1) for i in range(8)
        }),
        Layout("another-meter-card", (1654, 1165), {
            **{name: METER_CARD.boxes[name] for name in ("meter", "old")},
            "tariff": (Box(820, 850, 280, 120), 1),
            "reader": (Box(1180, 420, 340, 90), 5),
        }),
    ]  # fmt: skip
    pages = [(layout.name, draw_form(layout, digits, rng)) for layout in near]
    pages += [("form", draw_form(_random_form(rng), digits, rng)) for _ in range(10)]
    pages += [("letter", _letter(rng)) for _ in range(8)]
    pages += [("table", _table(rng)) for _ in range(4)]
    pages += [("empty page", blank_paper(2339, 1654, (247, 247, 243), rng)) for _ in range(2)]
    assert len(pages) == FOREIGN
    return pages


def _random_form(rng: np.random.Generator) -> Layout:
    """Return a form of some boxes in a loose grid."""
    columns, rows = int(rng.integers(1, 4)), int(rng.integers(2, 8))
    wide, high = 1400 // columns, 1700 // rows
    boxes: dict[str, tuple[Box, int]] = {}
    for i in range(rows):
        for j in range(columns):
            if rng.random() < 0.25 and boxes:
                continue
            w, h = rng.uniform(0.4, 0.85) * wide, rng.uniform(0.3, 0.6) * high
            box = Box(130 + wide * j, 360 + high * i, int(w), int(min(h, 180)))
            boxes[f"box-{i}-{j}"] = (box, int(rng.choice([1, 1, 4, 6])))
    return Layout("another-form", (1654, 2339), boxes)


def _letter(rng: np.random.Generator) -> Picture:
    page = blank_paper(2339, 1654, (250, 250, 248), rng)
    words = ("the", "of", "and", "to", "is", "that", "was", "for", "with", "their", "letter")
    for y in range(300, int(rng.integers(1200, 2200)), 56):
        text = " ".join(rng.choice(words, int(rng.integers(8, 15))))
        print_text(page, text, 180, y, 34, INK)
    if rng.random() < 0.5:
        rule(page, 180, 250, 1474, INK, 3)
    return page


def _table(rng: np.random.Generator) -> Picture:
    page = blank_paper(2339, 1654, (250, 250, 248), rng)
    columns, rows = int(rng.integers(3, 7)), int(rng.integers(10, 26))
    for i in range(rows):
        for j in range(columns):
            w, h = 1400 // columns, 1800 // rows
            frame(page, Box(130 + w * j, 300 + h * i, w, h), INK, width=2)
    return page


def _cheque(digits: DigitSet, rng: np.random.Generator) -> Picture:
    amount = str(rng.integers(10, 10**6))
    return render_cheque(_date(rng), amount, f"{rng.integers(10**10):010d}", "004711", digits, rng)


def _clinic_form(digits: DigitSet, rng: np.random.Generator) -> Picture:
    values = {name: str(rng.integers(0, 2000)) for name, _ in form.ROWS}
    values |= {"clinic": f"{rng.integers(10**6):06d}", "week_ending": _date(rng)}
    return form.render_form(values, digits, rng)


def _date(rng: np.random.Generator) -> str:
    return f"{rng.integers(1, 29):02d}{rng.integers(1, 13):02d}{rng.integers(2019, 2027)}"


def _grey(picture: Picture) -> Image:
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8)


def _scanned(grey: Image, rng: np.random.Generator) -> Image:
    """Return a page as a scanner may give it; one in twelve lies upside down or on its side."""
    how = Distortion(
        turn=float(np.clip(rng.normal(0, 1.2), -4, 4)),
        scale=float(rng.choice([0.5, 0.67, 0.75, 1.0])),
        shift=(float(rng.uniform(-0.03, 0.03)), float(rng.uniform(-0.03, 0.03))),
        shrink=float(rng.choice([1.0, 1.0, 1.0, 0.9, 0.8])),
        blur=float(rng.uniform(0, 1.2)),
        noise=float(rng.uniform(0, 10)),
        paper=int(rng.integers(195, 256)),
        bitonal=bool(rng.random() < 0.15),
    )
    page = Page(distort(grey, how))
    turns = int(rng.choice([1, 2, 2, 3])) if rng.random() < 1 / 12 else 0
    return turn_page(page, turns).grey


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a page: the template that it got, or the code of its error."""

    page: PilePage
    template: str | None
    error: str
    seconds: float  # to choose and place
    alone: float  # to place the right template with no other to choose from; 0 for a foreign page


def choose_all(pages: Sequence[PilePage], chosen: TemplateSet) -> list[Outcome]:
    """Choose the template of every page."""
    known = {template.name: template for template in chosen.templates}
    outcomes = []
    for number, page in enumerate(pages, 1):
        start = time.process_time()
        template, error = None, ""
        try:
            template = choose_template(Page(page.grey), chosen.templates).template.name
        except TemplateError as exc:
            error = exc.code
            if page.template:
                print(page.kind, exc.message, file=sys.stderr)
        seconds = time.process_time() - start
        alone = _alone(page, known[page.template]) if page.template else 0.0
        outcomes.append(Outcome(page, template, error, seconds, alone))
        if template != page.template:
            print(f"{number}: {page.kind}: {template} {error}", file=sys.stderr, flush=True)
    return outcomes


def _alone(page: PilePage, template: Template) -> float:
    start = time.process_time()
    try:
        register(Page(page.grey), template)
    except TemplateError as exc:
        print(f"alone: {page.kind}: {exc.message}", file=sys.stderr)
    return time.process_time() - start


def report(outcomes: Sequence[Outcome]) -> str:
    """Return the outcomes as Markdown."""
    wrong = [o for o in outcomes if o.template is not None and o.template != o.page.template]
    lines = [
        "# A mixed pile of six templates",
        "",
        f"`python -m benchmarks.piles --write`, seed {SEED}",
        "",
        "| pages of | pages | right template | set apart | wrong template |",
        "|---|---:|---:|---:|---:|",
    ]
    kinds = list(dict.fromkeys(sorted(o.page.template or "~" for o in outcomes)))
    for kind in kinds:
        own = [o for o in outcomes if (o.page.template or "~") == kind]
        apart = Counter(o.error for o in own if o.template is None)
        bad = sum(o in wrong for o in own)
        right = len(own) - sum(apart.values()) - bad
        name = "none of them (foreign)" if kind == "~" else f"`{kind}`"
        shown = "".join(f", {code}: {count}" for code, count in sorted(apart.items()))
        lines.append(
            f"| {name} | {len(own)} | {'-' if kind == '~' else right} |"
            f" {sum(apart.values())}{shown} | {bad} |"
        )
    own = [o for o in outcomes if o.page.template]
    apart_wrongly = sum(o.template is None for o in own)
    for title, count, total in (
        ("Under a wrong template", len(wrong), len(outcomes)),
        ("Set apart wrongly", apart_wrongly, len(own)),
    ):
        low, high = wilson(count, total)
        lines += ["", f"{title}: {count} of {total} ({low:.1%} to {high:.1%})."]
    usual = 1000 * float(np.median([o.seconds for o in own]))
    alone = 1000 * float(np.median([o.alone for o in own]))
    foreign = 1000 * float(np.median([o.seconds for o in outcomes if not o.page.template]))
    lines += [
        "",
        f"CPU, median: to choose among six and place {usual:.0f} ms, to place the right template"
        f" alone {alone:.0f} ms; a foreign page {foreign:.0f} ms.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_data_option(parser)
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS}")
    parser.add_argument("--save", type=Path, metavar="DIR", help="write the pages there")
    parser.add_argument("--pages", type=Path, metavar="DIR", help="take the pages from there")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--each", type=int, default=EACH, help="pages of each template")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    if arguments.pages:
        pages = load_pile(arguments.pages)
    else:
        pages = draw_pile(arguments.data, seed=arguments.seed, each=arguments.each)
    if arguments.save:
        arguments.save.mkdir(parents=True, exist_ok=True)
        for number, page in enumerate(pages, 1):
            cv2.imwrite(str(arguments.save / f"{number:03d}-{page.kind}.png"), page.grey)
    text = report(choose_all(pages, templates()))
    print(text)
    if arguments.write:
        RESULTS.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
