"""The grid of a comb's separators is found in a profile, also where lines are faint or missing."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.cleaning.comb_grid import (
    FAINT,
    MAX_CELLS,
    MIN_CELLS,
    ColumnProfile,
    best_grid,
    column_profile,
    refine_grid,
)

WIDTH, HEIGHT = 700, 40.0


def profile_of(lines: dict[float, float], width: int = WIDTH) -> ColumnProfile:
    """A profile that is as dark at each column as `lines` says, and light elsewhere."""
    darkness = np.zeros(width, np.float32)
    for column, dark in lines.items():
        darkness[round(column)] = dark
    return column_profile(darkness)


def cover_of(first: float, last: float, width: int = WIDTH) -> np.ndarray:
    cover = np.zeros(width)
    cover[round(first) : round(last)] = 1
    return cover


@given(
    first=st.floats(5, 60),
    pitch=st.floats(24, 43),  # wider cells may also be read as twice as many of half the width
    cells=st.integers(MIN_CELLS, 12),
    dark=st.floats(2 * FAINT, 255),
    known=st.booleans(),
)
def test_a_plain_grid_is_found_to_a_pixel(
    first: float, pitch: float, cells: int, dark: float, known: bool
) -> None:
    lines = first + pitch * np.arange(cells + 1)
    profile = profile_of(dict.fromkeys(lines.tolist(), dark))
    cover = cover_of(lines[0], lines[-1])
    score, found = best_grid(profile, cover, HEIGHT, cells if known else None)
    assert found is not None
    np.testing.assert_allclose(refine_grid(found, profile), lines, atol=1)
    # All lines and cells, and one more column of borders; the lines are rounded to columns, so the
    # pitch that was found may be up to a pixel shorter than the true one.
    assert 0 < score <= 0.5 * (cells + 1) + 0.5 * cells + 1 / (pitch - 1)


@given(
    missing=st.sets(st.integers(1, 7), max_size=2), strokes=st.sets(st.integers(0, 7), max_size=3)
)
def test_missing_lines_and_strokes_in_cells_do_not_mislead(
    missing: set[int], strokes: set[int]
) -> None:
    lines = 30 + 40.0 * np.arange(9)
    marks = {column: 120.0 for number, column in enumerate(lines) if number not in missing}
    marks |= {lines[cell] + 13.0: 90.0 for cell in strokes}
    profile = profile_of(marks)
    _, found = best_grid(profile, cover_of(lines[0], lines[-1]), HEIGHT, 8)
    assert found is not None
    np.testing.assert_allclose(found, lines, atol=1)


@given(
    columns=st.sets(st.integers(0, WIDTH - 1), min_size=3, max_size=15),
    cells=st.none() | st.integers(MIN_CELLS, 9),
)
def test_cells_are_never_much_narrower_or_wider_than_high(
    columns: set[int], cells: int | None
) -> None:
    profile = profile_of({float(column): 200.0 for column in columns})
    _, found = best_grid(profile, np.ones(WIDTH), HEIGHT, cells)
    if found is not None:
        assert cells is None or len(found) == cells + 1
        pitches = np.diff(found)
        assert (pitches >= 0.55 * HEIGHT - 1e-6).all()
        assert (pitches <= 2.4 * HEIGHT + 1e-6).all()
        assert np.ptp(pitches) < 1e-6


def test_two_lines_too_close_for_a_cell_are_no_grid() -> None:
    profile = profile_of({100.0: 200.0, 115.0: 200.0})
    assert best_grid(profile, np.ones(WIDTH), HEIGHT, None) == (0.0, None)


def test_the_grid_ends_where_its_borders_end() -> None:
    # Fainter lines go on at the same distance on either side, without borders.
    lines = 30 + 40.0 * np.arange(12)
    marks = {column: 200.0 if 2 <= number <= 8 else FAINT for number, column in enumerate(lines)}
    profile = profile_of(marks)
    _, found = best_grid(profile, cover_of(lines[2], lines[8]), HEIGHT, None)
    assert found is not None
    np.testing.assert_allclose(found, lines[2:9], atol=1)


def test_peaks_are_the_strongest_and_a_plateau_is_one() -> None:
    darkness = np.zeros(WIDTH, np.float32)
    darkness[100:103] = 80
    strong = np.arange(200, 200 + 10 * (MAX_CELLS + 5), 10)
    darkness[strong] = np.linspace(50, 150, len(strong))
    profile = column_profile(darkness)
    assert list(column_profile(darkness[:150]).peaks) == [100]
    assert list(profile.peaks) == [100, *strong[6:].tolist()]  # the others are lighter


def test_texture_of_the_paper_raises_what_a_separator_must_be() -> None:
    assert column_profile(np.full(50, 1.0, np.float32)).separator == FAINT
    assert column_profile(np.full(50, 30.0, np.float32)).separator == 120


def test_refining_moves_lines_to_dark_columns_and_unseen_ones_to_the_fit() -> None:
    dark = {20.0: 200.0, 61.0: 200.0, 102.0: 200.0, 184.0: 200.0}  # 143 is missing
    rough = np.array([19.0, 60.0, 103.0, 141.0, 185.0])
    refined = refine_grid(rough, profile_of(dark))
    np.testing.assert_allclose(refined, [20, 61, 102, 143, 184], atol=1e-6)


def test_refining_leaves_a_stroke_beside_its_place() -> None:
    lines = 20 + 40.0 * np.arange(6)
    marks = dict.fromkeys(lines.tolist(), 200.0)
    del marks[lines[3]]
    marks[lines[3] + 3] = 200.0  # a stroke of a digit, three pixels off
    refined = refine_grid(lines, profile_of(marks))
    assert abs(refined[3] - lines[3]) < 1
