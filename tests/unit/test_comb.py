"""A comb is found by its borders and separators, and what only looks like one is not."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.cleaning.comb import Comb, find_comb
from pipeline.cleaning.rules import Rule
from pipeline.types import Image
from tests.drawing_strips import comb_shades

COLUMNS = 30 + 40.0 * np.arange(7)


def rule(row: float, start: int, stop: int) -> Rule:
    return Rule(start, stop, np.full(stop - start, row), 1.0)


def borders(columns: np.ndarray, *rows: float) -> tuple[Rule, ...]:
    first, last = round(columns[0]), round(columns[-1]) + 1
    return tuple(rule(row, first, last) for row in rows)


def write(shades: Image, text: str, x: int, y: int = 44, size: float = 1.0) -> None:
    cv2.putText(shades, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, size, 255, 3)


@settings(max_examples=60, deadline=None)
@given(
    first=st.integers(10, 60),
    pitch=st.floats(26, 43),
    cells=st.integers(4, 10),
    separator=st.integers(50, 255),  # a pixel wide: blurred by three, a third of it is left
    lean=st.floats(-0.08, 0.08),
    known=st.booleans(),
)
def test_the_separators_are_found_to_a_pixel(
    first: int, pitch: float, cells: int, separator: int, lean: float, known: bool
) -> None:
    columns = first + pitch * np.arange(cells + 1)
    shades = comb_shades(columns.tolist(), width=720, separator=separator, lean=lean)
    comb = find_comb(shades, borders(columns, 12, 52), lean, cells if known else None)
    assert comb is not None
    assert comb.cells == cells
    np.testing.assert_allclose(comb.separators, columns, atol=1.1)
    assert comb.seen.all()
    assert comb.height == 40
    assert comb.closed == (True, True)


def test_digits_in_the_cells_change_nothing() -> None:
    shades = comb_shades(COLUMNS.tolist(), width=320)
    for cell, digit in enumerate("104711"):
        write(shades, digit, round(COLUMNS[cell]) + 10)
    comb = find_comb(shades, borders(COLUMNS, 12, 52), 0.0, None)
    assert comb is not None
    np.testing.assert_allclose(comb.separators, COLUMNS, atol=1)


def test_faint_borders_are_found_where_the_number_of_cells_is_known() -> None:
    shades = comb_shades(COLUMNS.tolist(), width=320, border=25, separator=50)
    assert find_comb(shades, (), 0.0, None) is None
    comb = find_comb(shades, (), 0.0, 6)
    assert comb is not None
    np.testing.assert_allclose(comb.separators, COLUMNS, atol=1)
    assert comb.top.position == pytest.approx(12, abs=1)
    assert comb.bottom.position == pytest.approx(52, abs=1)


@pytest.mark.parametrize("upper", [True, False])
def test_the_edge_of_the_strip_stands_for_a_border_that_was_cut_off(upper: bool) -> None:
    shades = comb_shades(COLUMNS.tolist(), width=320)
    cut = np.ascontiguousarray(shades[16:] if upper else shades[:49])
    known = borders(COLUMNS, 52 - 16) if upper else borders(COLUMNS, 12)
    comb = find_comb(cut, known, 0.0, 6)
    assert comb is not None
    edge = comb.top if upper else comb.bottom
    assert edge.thickness == 0
    assert edge.position == (0 if upper else 48)
    np.testing.assert_allclose(comb.separators, COLUMNS, atol=1)


def test_a_missing_separator_stands_where_the_others_say() -> None:
    columns = np.delete(COLUMNS, 3)
    shades = comb_shades(columns.tolist(), width=320)
    comb = find_comb(shades, borders(COLUMNS, 12, 52), 0.0, 6)
    assert comb is not None
    assert comb.seen.tolist() == [True, True, True, False, True, True, True]
    np.testing.assert_allclose(comb.separators, COLUMNS, atol=1)


def test_boxes_with_gaps_have_inner_sides() -> None:
    columns = sorted([*COLUMNS.tolist(), *(COLUMNS[1:] - 6).tolist()])
    shades = comb_shades(columns, width=320)
    comb = find_comb(shades, borders(COLUMNS, 12, 52), 0.0, 6)
    assert comb is not None
    lines = sorted([*comb.separators.tolist(), *comb.inner_sides.tolist()])
    np.testing.assert_allclose(lines, columns, atol=1.5)


def test_an_end_is_open_where_one_more_digit_may_stand_beside_it() -> None:
    # The borders go on for a seventh cell whose outer separator is missing.
    shades = comb_shades(COLUMNS.tolist(), width=340)
    shades[[12, 52], round(COLUMNS[-1]) : round(COLUMNS[-1]) + 40] = 255
    write(shades, "8", round(COLUMNS[-1]) + 10, 46, 1.2)
    first, last = round(COLUMNS[0]), round(COLUMNS[-1]) + 40
    comb = find_comb(shades, (rule(12, first, last), rule(52, first, last)), 0.0, 6)
    assert comb is not None
    assert comb.closed == (True, False)


def test_a_heavier_line_of_writing_below_is_what_the_strip_is_about() -> None:
    shades = np.zeros((130, 320), np.uint8)
    shades[:65] = comb_shades(COLUMNS.tolist(), width=320)
    known = borders(COLUMNS, 12, 52)
    assert find_comb(shades, known, 0.0, 6) is not None
    write(shades, "87654321", 30, 112, 1.9)
    assert find_comb(shades, known, 0.0, 6) is None


def test_strokes_between_two_rules_are_no_comb() -> None:
    # They stop short of the rules, as a row of 1s does.
    shades = np.zeros((65, 320), np.uint8)
    shades[[12, 52], 30:271] = 255
    shades[24:42, COLUMNS.astype(int)] = 255
    assert find_comb(shades, borders(COLUMNS, 12, 52), 0.0, None) is None
    assert find_comb(shades, borders(COLUMNS, 12, 52), 0.0, 6) is None


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**16), st.integers(10, 90), st.integers(10, 400))
def test_any_shades_can_be_searched_and_are_never_written_to(
    seed: int, height: int, width: int
) -> None:
    shades = np.random.default_rng(seed).integers(0, 256, (height, width)).astype(np.uint8)
    before = shades.copy()
    comb = find_comb(shades, (rule(2, 0, width), rule(height - 3, 0, width)), 0.01, 5)
    np.testing.assert_array_equal(shades, before)
    assert comb is None or comb.cells == 5


def some_comb(lean: float = 0.0) -> Comb:
    top, bottom = borders(COLUMNS, 12, 52)
    return Comb(top, bottom, COLUMNS, np.ones(7, bool), lean, (True, True), np.zeros(0))


@given(st.floats(0.3, 4))
def test_a_comb_scaled_up_and_down_again_is_the_same(scale: float) -> None:
    width = 320
    comb = some_comb()
    there = comb.scaled(scale, max(1, round(width * scale)))
    back = there.scaled(1 / scale, width)
    np.testing.assert_allclose(there.separators, (COLUMNS + 0.5) * scale - 0.5)
    np.testing.assert_allclose(back.separators, COLUMNS)
    assert back.height == pytest.approx(comb.height)
    assert there.height == pytest.approx(comb.height * scale)


@given(st.floats(-0.1, 0.1), st.floats(30, 270))
def test_a_vertical_rule_crosses_the_middle_at_its_column_and_leans(
    lean: float, column: float
) -> None:
    drawn = some_comb(lean).vertical_rule(column, 2.0)
    assert (drawn.start, drawn.stop) == (12, 53)
    assert drawn.middle_at(np.array([32]))[0] == pytest.approx(column)
    np.testing.assert_allclose(np.diff(drawn.middle), lean, atol=1e-9)
