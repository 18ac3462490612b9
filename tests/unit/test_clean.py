"""A field without its print: digits survive, borders and separators go, combs fall into cells."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.cleaning.clean import CleanStrip, cell_count, clean_strip
from pipeline.cleaning.ink import separate_ink
from pipeline.grammar.parse import parse_grammar
from pipeline.readers.segment import segment_cells
from pipeline.types import Glyph, Image
from tests.drawing_strips import INK, PAPER, draw_comb


def _overlap(clean: CleanStrip, plain: Image) -> float:
    """Return intersection over union of the ink of the clean grey strip and of the digits."""
    level = (PAPER + INK) / 2
    a, b = clean.grey < level, plain < level
    return float((a & b).sum() / max(1, (a | b).sum()))


@pytest.mark.parametrize("line", [60.0, 120.0, 165.0, 195.0])
@pytest.mark.parametrize("text", ["15032016", "11111111", "08082022"])
def test_a_comb_goes_whatever_its_tone(text: str, line: float) -> None:
    grey, plain = draw_comb(text, line=line)
    clean = clean_strip(grey, cells=8)
    assert _overlap(clean, plain) > 0.93
    if line < 190:
        assert clean.comb is not None
        assert clean.comb.cells == 8
        np.testing.assert_allclose(clean.comb.separators, 20 + 42 * np.arange(9), atol=1.5)


def test_a_dotted_comb_goes() -> None:
    grey, plain = draw_comb("31122019", dotted=True)
    clean = clean_strip(grey, cells=8)
    assert clean.comb is not None
    assert _overlap(clean, plain) > 0.93


def test_a_comb_whose_lower_border_was_cut_off_goes() -> None:
    grey, plain = draw_comb("31122019", line=60.0)
    clean = clean_strip(grey[:57], cells=8)
    assert clean.comb is not None
    assert _overlap(clean, plain[:57]) > 0.9


def test_separated_boxes_go() -> None:
    grey, plain = draw_comb("31122019", gap=6, line=70.0)
    clean = clean_strip(grey, cells=8)
    assert clean.comb is not None
    assert _overlap(clean, plain) > 0.9


@pytest.mark.parametrize("cells", [None, 6])
def test_a_plain_comb_needs_no_count(cells: int | None) -> None:
    clean = clean_strip(draw_comb("402917", line=60.0)[0], cells=cells)
    assert clean.comb is not None
    assert clean.comb.cells == 6


def _filled(clean: CleanStrip) -> dict[int, Glyph]:
    """The glyph of each cell that holds ink."""
    assert clean.comb is not None
    edges = clean.comb.scaled(clean.ink.scale, clean.ink.mask.shape[1]).separators
    glyphs = [candidate.glyph for candidate in segment_cells(clean.ink, edges).candidates]
    middles = [glyph.box.x + glyph.box.w / 2 for glyph in glyphs]
    cells = np.searchsorted(clean.comb.separators, middles) - 1
    assert len(set(cells.tolist())) == len(glyphs)
    return dict(zip(cells.tolist(), glyphs, strict=True))


def test_each_cell_has_its_own_digit() -> None:
    clean = clean_strip(draw_comb("4 2917", line=60.0)[0], cells=6)
    assert list(_filled(clean)) == [0, 2, 3, 4, 5]


def test_ink_across_a_separator_stays_in_one_cell() -> None:
    grey, plain = draw_comb("  8   ", line=60.0, shift=-17)  # its left part lies in the second cell
    whole, _ = draw_comb("  8   ", line=60.0)
    (found,) = _filled(clean_strip(grey, cells=6)).values()
    (wanted,) = _filled(clean_strip(whole, cells=6)).values()
    box = found.box
    inside = plain[round(box.y) : round(box.y + box.h), round(box.x) : round(box.x + box.w)]
    assert (inside < 130).sum() > 0.85 * (plain < 130).sum()
    share = (
        np.minimum(found.image, wanted.image).sum() / np.maximum(found.image, wanted.image).sum()
    )
    assert share > 0.6  # where the separator crossed it a little is lost


def test_two_digits_joined_across_a_separator_are_parted() -> None:
    grey, _ = draw_comb(" 77   ", line=60.0)
    cv2.line(grey, (75, 32), (125, 32), INK, 3)
    assert list(_filled(clean_strip(grey, cells=6))) == [1, 2]


def test_print_around_the_comb_goes_and_nothing_else() -> None:
    grey, plain = draw_comb("15032016", line=60.0)
    for cell, letter in enumerate("DDMMYYYY"):
        at = (30 + cell * 42, 78)
        cv2.putText(grey, letter, at, cv2.FONT_HERSHEY_SIMPLEX, 0.4, INK, 1, cv2.LINE_AA)
    cv2.putText(grey, "VALID FOR THREE MONTHS", (30, 9), cv2.FONT_HERSHEY_SIMPLEX, 0.3, INK, 1)
    assert _overlap(clean_strip(grey, cells=8), plain) > 0.93


@pytest.mark.parametrize("text", ["1503    ", "1 0 2 1 "])
def test_captions_in_the_cells_go_and_digits_stay(text: str) -> None:
    grey, plain = draw_comb(text, line=60.0)
    for cell, letter in enumerate("DDMMYYYY"):
        tile = np.full(grey.shape, 255, np.uint8)
        at = (54 + cell * 42 - 12, 57)
        cv2.putText(tile, letter, at, cv2.FONT_HERSHEY_SIMPLEX, 0.4, 140.0, 2, cv2.LINE_AA)
        grey = np.minimum(grey, tile)
    clean = clean_strip(grey, cells=8)
    assert clean.comb is not None
    assert _overlap(clean, plain) > 0.8
    assert list(_filled(clean)) == [cell for cell, char in enumerate(text) if char != " "]


def test_a_row_of_ones_between_two_lines_is_nodraw_comb() -> None:
    grey = np.full((80, 420), PAPER, np.uint8)
    for y in (12, 66):
        cv2.line(grey, (0, y), (419, y), INK, 2)
    for x in range(40, 400, 42):
        cv2.line(grey, (x, 22), (x, 56), INK, 3)
    clean = clean_strip(grey, cells=8)
    assert clean.comb is None
    assert int((clean.grey[24:55] < 100).any(axis=0).sum()) >= 9 * 3


@settings(max_examples=25, deadline=None)
@given(
    text=st.text("0123456789", min_size=1, max_size=8),
    seed=st.integers(0, 2**16),
    dark=st.booleans(),
)
def test_a_strip_without_rules_comes_back_as_it_is(text: str, seed: int, dark: bool) -> None:
    grey = np.full((80, 40 + 34 * len(text)), PAPER, np.uint8)
    for place, char in enumerate(text):  # no hand sets the bars of all its 4s on one line
        at = (16 + 34 * place, 52 + 5 * (place % 3))
        cv2.putText(grey, char, at, cv2.FONT_HERSHEY_SIMPLEX, 1.5, INK, 4, cv2.LINE_AA)
    noisy = grey + np.random.default_rng(seed).normal(0, 3, grey.shape)
    strip = np.clip(noisy, 0, 255).astype(np.uint8)
    strip = 255 - strip if dark else strip
    clean = clean_strip(strip)
    np.testing.assert_array_equal(clean.grey, strip)
    np.testing.assert_array_equal(clean.ink.mask, separate_ink(strip).mask)


@pytest.mark.parametrize("shape", [(1, 1), (0, 5), (3, 400), (12, 12), (400, 3), (256, 1600)])
@pytest.mark.parametrize("value", [0, 128, 255])
def test_flat_strips_of_any_shape_hold_no_comb(shape: tuple[int, int], value: int) -> None:
    clean = clean_strip(np.full(shape, value, np.uint8), cells=8)
    assert clean.grey.shape == shape
    assert clean.comb is None


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**16), st.integers(8, 90), st.integers(8, 500))
def test_noise_and_stripes_give_a_strip_of_the_same_size(
    seed: int, height: int, width: int
) -> None:
    rng = np.random.default_rng(seed)
    grey = rng.integers(0, 256, (height, width)).astype(np.uint8)
    grey[:, :: int(rng.integers(5, 30))] = 20
    grey[:: int(rng.integers(5, 30))] = 20
    before = grey.copy()
    clean = clean_strip(grey, cells=8)
    np.testing.assert_array_equal(grey, before)
    assert clean.grey.shape == grey.shape
    if clean.comb is not None:
        assert all(b > a for a, b in pairwise(clean.comb.separators))
        edges = clean.comb.scaled(clean.ink.scale, clean.ink.mask.shape[1]).separators
        assert clean.comb.cells == 8
        assert len(segment_cells(clean.ink, edges).candidates) <= 8


@pytest.mark.parametrize(
    ("grammar", "count"),
    [
        ("date(DDMMYYYY)", 8),
        ("date(DDMMYY)", 6),
        ("digits(5)", 5),
        ("digits", None),
        ("amount(INR)", None),
    ],
)
def test_the_grammar_says_how_many_cells(grammar: str, count: int | None) -> None:
    assert cell_count(parse_grammar(grammar)) == count


def test_real_digits_keep_their_strokes_under_rules(digits_dir: Path) -> None:
    with np.load(digits_dir / "mnist.npz") as mnist:
        digits = mnist["x_train"][:600]
    rng = np.random.default_rng(4)
    level, overlaps = (PAPER + INK) / 2, []
    for start in range(0, 240, 6):
        cover = np.zeros((80, 330), np.float32)
        for place, digit in enumerate(digits[start : start + 6]):
            x, y = 22 + 48 * place, 16 + int(rng.integers(-4, 7))
            frame = cv2.resize(digit, (48, 48), interpolation=cv2.INTER_CUBIC) / 255
            cover[y : y + 48, x : x + 48] = np.maximum(cover[y : y + 48, x : x + 48], frame)
        plain = PAPER - (PAPER - INK) * cover
        ruled = plain.copy()
        cv2.rectangle(ruled, (8, 10), (321, 66), 60.0, 2)  # some rest on it, some cross it
        ruled = cv2.GaussianBlur(ruled, (0, 0), 0.6) + rng.normal(0, 2, cover.shape)
        clean = clean_strip(np.clip(ruled, 0, 255).astype(np.uint8)).grey < level
        written = plain < level
        overlaps.append((clean & written).sum() / (clean | written).sum())
    assert np.median(overlaps) > 0.93
    assert min(overlaps) > 0.85
