"""The demo form: the weekly tally of a fictional clinic, in framed boxes.

The boxes are those of `pipeline/templates/demo-form.yaml`; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from pipeline.types import Box
from training.synthesis.hand import DigitSet, Pen, write_comb, write_digits
from training.synthesis.paper import Colour, Picture, blank_paper
from training.synthesis.printing import frame, print_text, rule

WIDTH, HEIGHT = 1654, 2339  # A4 at 200 dpi
DPI = 200

ROWS = (
    ("visits", "Patients seen, all ages"),
    ("under_five", "of these, under five years"),
    ("vaccinated", "Doses of vaccine given"),
    ("tests_done", "Blood tests done"),
    ("tests_positive", "of these, positive"),
    ("referred", "Referred to the hospital"),
    ("births", "Births"),
    ("nets", "Bed nets handed out"),
)
"""Field name and printed label of each counted row, from the top."""

_ROW_TOP, _ROW_STEP = 860, 132
BOXES: Mapping[str, Box] = MappingProxyType(
    {
        "clinic": Box(330, 470, 480, 84),
        "week_ending": Box(990, 470, 560, 84),
        **{name: Box(1190, _ROW_TOP + i * _ROW_STEP, 360, 92) for i, (name, _) in enumerate(ROWS)},
    }
)
COMBS: Mapping[str, int] = MappingProxyType({"clinic": 6, "week_ending": 8})
"""Fields with one cell for each digit, and their number of cells."""

_BLACK: Colour = (30, 30, 34)
_GREY: Colour = (96, 96, 104)
_GREEN: Colour = (20, 84, 70)
_INKS: tuple[Colour, ...] = ((24, 30, 96), (20, 20, 24))


def render_form(values: Mapping[str, str], digits: DigitSet, rng: np.random.Generator) -> Picture:
    """Return one filled form, (2339, 1654, 3) uint8, straight and clean.

    `values` has one string of digits for each name in `BOXES`; "" leaves a box empty.
    """
    page = blank_paper(HEIGHT, WIDTH, (247, 247, 243), rng)
    page[110:250, 100:1554] = (page[110:250, 100:1554] * 0.1 + np.array(_GREEN) * 0.9).astype(
        np.uint8
    )
    print_text(page, "WEEKLY CLINIC TALLY", 140, 150, 60, (250, 252, 250), bold=True, spacing=4)
    print_text(page, "Form 7-B", 1510, 180, 34, (225, 240, 234), anchor="rm")
    print_text(page, "District of Port Linden  ·  Public Health Office", 100, 282, 34, _GREY)
    print_text(
        page,
        "One form a clinic and week. Write whole numbers, one digit in each cell.",
        100,
        340,
        30,
        _GREY,
    )
    for name, label in (("clinic", "Clinic"), ("week_ending", "Week ending")):
        box = BOXES[name]
        left = 100 if name == "clinic" else box.x
        top = box.y + 26 if name == "clinic" else box.y - 44
        print_text(page, label, left, top, 32, _BLACK, bold=True)
        frame(page, box, _BLACK, width=3, cells=COMBS[name], fill=(253, 253, 251))
    print_text(page, "D D M M Y Y Y Y", 1550, 430, 24, _GREY, anchor="rt")

    rule(page, 100, 680, 1554, _GREEN, 5)
    print_text(page, "Counted this week", 100, 712, 40, _GREEN, bold=True)
    print_text(page, "Number", 1190, 716, 34, _GREEN)
    rule(page, 100, 790, 1554, _GREEN, 2)
    for i, (name, label) in enumerate(ROWS):
        box = BOXES[name]
        indent = 60 if label.startswith("of these") else 0
        print_text(page, f"{i + 1}", 100, box.y + 30, 34, _GREY)
        print_text(page, label, 170 + indent, box.y + 28, 36, _BLACK)
        rule(page, 100, box.y + 112, 1120, (170, 176, 172), 1)
        frame(page, box, _BLACK, width=3, fill=(253, 253, 251))
    bottom = _ROW_TOP + len(ROWS) * _ROW_STEP + 60
    rule(page, 100, bottom, 1554, _GREEN, 5)
    print_text(
        page,
        "Send to the district office by Monday noon. Keep the copy.",
        100,
        bottom + 30,
        30,
        _GREY,
    )
    print_text(
        page,
        "Drawn by Counterfoil for its demonstration; no clinic, no patient.",
        100,
        2220,
        26,
        _GREY,
    )

    pen = Pen(_INKS[int(rng.integers(len(_INKS)))], width=float(rng.uniform(0.75, 1.0)))
    for name, box in BOXES.items():
        write = write_comb if name in COMBS else write_digits
        write(page, values[name], box, digits, pen, rng)
    return page
