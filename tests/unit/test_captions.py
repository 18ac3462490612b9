"""Captions printed in the cells of a comb go; what may be a digit stays."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from pipeline.cleaning.captions import erase_captions
from pipeline.cleaning.comb import Comb
from pipeline.cleaning.rules import Rule
from pipeline.types import Image

CELLS, PITCH, HEIGHT = 8, 60, 64


def comb() -> Comb:
    columns = 20 + PITCH * np.arange(CELLS + 1.0)
    top, bottom = (Rule(0, 540, np.full(540, row), 1.0) for row in (8.0, 8.0 + HEIGHT))
    nothing = np.zeros(0)
    return Comb(top, bottom, columns, np.ones(CELLS + 1, bool), 0.0, (True, True), nothing)


def shades(
    text: str, captions: str = "DDMMYYYY", *, tone: int = 110, size: float = 0.5, drop: int = 0
) -> tuple[Image, Image]:
    """Return the shades of digits and captions, a cell each, and those of the digits alone.

    The captions have the darkness `tone`; every second one stands `drop` pixels lower.
    """
    digits, print_ = (np.zeros((90, 540), np.uint8) for _ in range(2))
    for cell, char in enumerate(text):
        at = (20 + cell * PITCH + 18, 58)
        if char != " ":
            cv2.putText(digits, char, at, cv2.FONT_HERSHEY_SIMPLEX, 1.4, 255, 4)
    for cell, char in enumerate(captions):
        at = (20 + cell * PITCH + 4, 66 + drop * (cell % 2))
        if char != " ":
            cv2.putText(print_, char, at, cv2.FONT_HERSHEY_SIMPLEX, size, tone, 2)
    return np.maximum(digits, print_), digits


def erased(soft: Image) -> Image:
    mask = np.where(soft > 60, np.uint8(255), np.uint8(0))
    return erase_captions(mask, soft, comb())


@pytest.mark.parametrize("text", ["12      ", "1234    ", "0 8 2 1 ", "   7    "])
def test_captions_go_and_digits_stay(text: str) -> None:
    soft, digits = shades(
        text, "".join(c if d == " " else " " for c, d in zip("DDMMYYYY", text, strict=True))
    )
    np.testing.assert_array_equal(erased(soft) > 0, digits > 60)


def test_a_caption_that_a_digit_was_written_over_stays_with_it() -> None:
    soft, digits = shades("8       ")
    cv2.line(soft, (26, 62), (44, 40), 255, 4)  # the digit runs through its caption
    kept = erased(soft) > 0
    first_cell = np.s_[:, 20 : 20 + PITCH]
    np.testing.assert_array_equal(kept[first_cell], soft[first_cell] > 60)
    assert not kept[:, 20 + PITCH :].any()
    assert digits.any()


def test_print_as_dark_as_the_writing_stays() -> None:
    soft, _ = shades("     4  ", "DDMMY YY", tone=255)
    np.testing.assert_array_equal(erased(soft) > 0, soft > 60)


@pytest.mark.parametrize(("captions", "erased_cells"), [("DDM     ", 0), ("DDMM    ", 4)])
def test_captions_stand_in_half_of_the_cells_at_least(captions: str, erased_cells: int) -> None:
    soft, digits = shades("       4", captions)
    left = digits if erased_cells else soft
    np.testing.assert_array_equal(erased(soft) > 0, left > 60)


def test_captions_stand_at_one_height() -> None:
    level, digits = shades("       4", "DDMMY   ", size=0.4)
    np.testing.assert_array_equal(erased(level) > 0, digits > 60)
    uneven, _ = shades("       4", "DDMMY   ", size=0.4, drop=-14)
    np.testing.assert_array_equal(erased(uneven) > 0, uneven > 60)


def test_where_nothing_darker_is_written_all_stays() -> None:
    soft, _ = shades("", "DDMMYYYY")
    np.testing.assert_array_equal(erased(soft) > 0, soft > 60)


def test_an_empty_comb_stays_empty() -> None:
    assert not erased(np.zeros((90, 540), np.uint8)).any()
