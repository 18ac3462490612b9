"""Borders and ruled lines are found where they are; strokes of digits are no rules."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.cleaning.rules import (
    FieldBorders,
    Rule,
    StripRules,
    field_borders,
    find_strip_rules,
    transpose,
)


def level_rule(row: float, start: int = 0, stop: int = 300) -> Rule:
    return Rule(start, stop, np.full(stop - start, row), 2.0)


@settings(max_examples=50, deadline=None)
@given(
    left=st.integers(5, 20),
    top=st.integers(5, 14),
    width=st.integers(250, 420),
    height=st.integers(56, 120),
    thickness=st.integers(1, 5),
    lean=st.integers(-2, 2),
    text=st.text("0123456789", max_size=5),
)
def test_the_four_sides_of_a_frame_are_found(
    left: int, top: int, width: int, height: int, thickness: int, lean: int, text: str
) -> None:
    right, bottom = left + width, top + height
    ink = np.zeros((bottom + 9, right + 12), np.uint8)
    half = thickness // 2
    for column in range(left - half, right + half + 1):
        down = round(lean * (column - left) / width)
        for y in (top, bottom):
            ink[y + down - half : y + down - half + thickness, column] = 255
    for x in (left, right):
        ink[top : bottom + 1, x - half : x - half + thickness] = 255
    size = height / 50
    place = (left + 20, bottom - round(0.3 * height))
    cv2.putText(ink, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.8 * size, 255, 3)
    rules = find_strip_rules(ink)
    rows = sorted(rule.position for rule in rules.horizontal)
    columns = sorted(rule.position for rule in rules.vertical)
    np.testing.assert_allclose(rows, [top + lean / 2, bottom + lean / 2], atol=1.5)
    np.testing.assert_allclose(columns, [left, right], atol=1.5)
    assert all(abs(rule.thickness - thickness) <= 1 for rule in rules.horizontal)


@pytest.mark.parametrize("text", ["1", "111111", "7717", "2552", "4444"])
def test_digits_cut_closely_hold_no_rules(text: str) -> None:
    ink = np.zeros((120, 600), np.uint8)
    cv2.putText(ink, text, (30, 90), cv2.FONT_HERSHEY_SIMPLEX, 2.4, 255, 6)
    x, y, w, h = cv2.boundingRect(ink)
    assert not find_strip_rules(ink[y : y + h, x : x + w])


@pytest.mark.parametrize("thick", [20, 40])
def test_a_bar_is_too_thick_for_a_rule(thick: int) -> None:
    ink = np.zeros((100, 400), np.uint8)
    ink[30 : 30 + thick] = 255
    assert not find_strip_rules(ink).horizontal


@pytest.mark.parametrize("shape", [(1, 1), (11, 400), (400, 11)])
def test_tiny_strips_hold_no_rules(shape: tuple[int, int]) -> None:
    assert not find_strip_rules(np.full(shape, 255, np.uint8))


def test_a_strip_without_ink_holds_no_rules() -> None:
    assert not find_strip_rules(np.zeros((76, 300), np.uint8))


def test_the_lean_is_that_of_vertical_rules() -> None:
    assert StripRules().lean == 0
    leaning = Rule(0, 101, np.linspace(50, 53, 101), 2.0)
    assert StripRules((), (leaning,)).lean == pytest.approx(0.03)


def test_a_frame_bounds_the_field_wherever_it_stands() -> None:
    ink = np.zeros((160, 600), np.uint8)
    cv2.rectangle(ink, (120, 30), (460, 130), 255, 3)
    borders = field_borders(find_strip_rules(ink), (160, 600))
    for side, position in (
        (borders.top, 30),
        (borders.bottom, 130),
        (borders.left, 120),
        (borders.right, 460),
    ):
        assert side
        assert all(abs(rule.position - position) < 1 for rule in side)


def test_a_line_bounds_the_field_only_near_an_edge_of_the_strip() -> None:
    shape = (100, 300)
    near, middle, far = level_rule(10), level_rule(50), level_rule(90)
    borders = field_borders(StripRules((near, middle, far)), shape)
    assert borders == FieldBorders((near,), (far,))
    upright = Rule(0, 100, np.full(100, 150.0), 2.0)
    assert field_borders(StripRules((), (upright,)), shape) == FieldBorders()


@given(st.integers(0, 90), st.integers(2, 200), st.integers(1, 300))
def test_clipping_leaves_what_is_on_the_image(start: int, length: int, columns: int) -> None:
    middle = np.linspace(5, 9, length)
    rule = Rule(start, start + length, middle, 2.0)
    clipped = rule.clipped(columns)
    assert 0 <= clipped.start < clipped.stop <= max(columns, 1)
    assert len(clipped.middle) == clipped.stop - clipped.start
    if start + length <= columns:
        assert clipped is rule
    elif start < columns:
        np.testing.assert_allclose(clipped.middle, middle[: columns - start])


@given(st.floats(0.3, 3.0))
def test_scaling_moves_a_rule_with_its_pixels(scale: float) -> None:
    rule = Rule(20, 220, np.linspace(30, 34, 200), 3.0)
    scaled = rule.scaled(scale, round(300 * scale))
    assert scaled.thickness == pytest.approx(3 * scale)
    assert (scaled.start, scaled.stop) == (round(20 * scale), round(220 * scale))
    columns = np.array([60.0, 120.0, 180.0])
    there = (columns + 0.5) * scale - 0.5
    expected = (rule.middle_at(columns) + 0.5) * scale - 0.5
    # Between whole columns of a reduced image the middle is interpolated.
    np.testing.assert_allclose(scaled.middle_at(there), expected, atol=0.03)


def test_a_rule_goes_on_level_beyond_its_ends() -> None:
    rule = Rule(10, 13, np.array([4.0, 5.0, 6.0]), 1.0)
    assert rule.middle_at(np.array([0, 10, 11.5, 12, 99])).tolist() == [4, 4, 5.5, 6, 6]
    assert rule.position == 5


def test_transposing_exchanges_rows_and_columns() -> None:
    image = np.arange(6, dtype=np.uint8).reshape(2, 3)
    np.testing.assert_array_equal(transpose(image), image.T)
    assert transpose(image).flags.c_contiguous
