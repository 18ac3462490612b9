"""The demo cheque of a fictional bank: its print and its handwritten fields.

The boxes are those of `pipeline/templates/demo-cheque.yaml`; a test compares the two.
"""

from __future__ import annotations

from types import MappingProxyType

import numpy as np

from pipeline.types import Box
from training.synthesis.hand import DigitSet, Pen, sign, write_comb, write_digits
from training.synthesis.paper import Colour, Picture, blank_paper, guilloche
from training.synthesis.printing import frame, print_text, rule

WIDTH, HEIGHT = 1600, 750  # 8 by 3.75 inches at 200 dpi
DPI = 200

BOXES = MappingProxyType(
    {
        "date": Box(1120, 62, 416, 60),
        "amount": Box(1180, 296, 356, 84),
        "account": Box(96, 452, 560, 60),
    }
)
_NAVY: Colour = (28, 42, 92)
_GREY: Colour = (88, 92, 104)
_INKS: tuple[Colour, ...] = ((22, 34, 120), (18, 18, 26), (28, 50, 150), (40, 30, 90))
_PAYEES = ("Harbour Lights Bakery", "Ines Okafor", "Northgate Bicycle Works", "Tidewater Piano Co.")
# fmt: off
_ONES = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen",
    "nineteen",
)
_TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
# fmt: on


def render_cheque(
    date: str, amount: str, account: str, number: str, digits: DigitSet, rng: np.random.Generator
) -> Picture:
    """Return one filled cheque, (750, 1600, 3) uint8, straight and clean.

    `date` (DDMMYYYY), `amount` (whole crowns without separators) and `account` (ten digits) are
    handwritten; `number` is printed.
    """
    page = blank_paper(HEIGHT, WIDTH, (238, 242, 235), rng)
    guilloche(page, (120, 170, 168), rng, depth=0.38)
    frame(page, Box(22, 22, WIDTH - 44, HEIGHT - 44), _NAVY, width=3)
    frame(page, Box(30, 30, WIDTH - 60, HEIGHT - 60), (150, 170, 190), width=1)

    frame(page, Box(64, 58, 74, 74), _NAVY, width=4, fill=(214, 226, 232))
    print_text(page, "L", 101, 96, 58, _NAVY, anchor="mm", bold=True)
    print_text(page, "LINDEN & QUAY", 158, 60, 40, _NAVY, bold=True, spacing=4)
    print_text(page, "Mutual Savings Bank  ·  12 Quay Street, Port Linden", 160, 110, 21, _GREY)
    print_text(page, f"No. {number}", 760, 84, 26, _NAVY, spacing=2)

    _labelled(page, "DATE", "D D M M Y Y Y Y", BOXES["date"])
    frame(page, BOXES["date"], _NAVY, cells=8, fill=(250, 251, 248))

    print_text(page, "Pay to", 66, 226, 24, _NAVY)
    rule(page, 160, 254, 1536, _NAVY)
    print_text(page, str(rng.choice(_PAYEES)), 190, 214, 32, (38, 38, 44))
    print_text(page, "The sum of", 66, 318, 24, _NAVY)
    rule(page, 210, 346, 1060, _NAVY)
    print_text(page, f"{_in_words(int(amount))} crowns", 230, 312, 24, (38, 38, 44))
    print_text(page, "Cr", 1116, 338, 40, _NAVY, anchor="lm", bold=True)
    frame(page, BOXES["amount"], _NAVY, width=3, fill=(252, 252, 250))

    _labelled(page, "ACCOUNT", "", BOXES["account"])
    frame(page, BOXES["account"], _NAVY, cells=10, fill=(250, 251, 248))

    rule(page, 1040, 560, 1536, _NAVY)
    print_text(page, "Authorised signature", 1290, 570, 18, _GREY, anchor="mt")
    print_text(page, f"||  {number}  ||   072 119 04 :   31", 240, 640, 34, (30, 30, 34), spacing=7)
    print_text(page, "SPECIMEN  ·  drawn by Counterfoil, not money", 66, 560, 18, _GREY)

    pen = Pen(_INKS[int(rng.integers(len(_INKS)))], width=float(rng.uniform(0.7, 1.0)))
    write_comb(page, date, BOXES["date"], digits, pen, rng)
    write_digits(page, amount, BOXES["amount"], digits, pen, rng)
    write_comb(page, account, BOXES["account"], digits, pen, rng)
    sign(page, Box(1100, 456, 380, 110), pen, rng)
    return page


def _labelled(page: Picture, label: str, hint: str, box: Box) -> None:
    print_text(page, label, box.x, box.y - 24, 17, _GREY)
    if hint:
        print_text(page, hint, box.x + box.w, box.y - 24, 17, _GREY, anchor="rt")


def _in_words(amount: int) -> str:
    """Return an amount below a million in English words, capitalised."""
    thousands, rest = divmod(amount, 1000)
    words = ([*_below_thousand(thousands), "thousand"] if thousands else []) + (
        _below_thousand(rest) if rest or not thousands else []
    )
    return " ".join(words).capitalize()


def _below_thousand(number: int) -> list[str]:
    hundreds, rest = divmod(number, 100)
    words = [_ONES[hundreds], "hundred"] if hundreds else []
    if rest >= 20:
        tens, ones = divmod(rest, 10)
        words.append(_TENS[tens] + (f"-{_ONES[ones]}" if ones else ""))
    elif rest or not hundreds:
        words.append(_ONES[rest])
    return words
