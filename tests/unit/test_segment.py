"""Pieces of ink and the characters that they may form."""

from itertools import pairwise

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.cleaning.ink import Ink
from pipeline.grammar.automaton import FREE, Automaton
from pipeline.grammar.languages import checksum, digits, one_of
from pipeline.readers.lattice import best_paths, path_probabilities
from pipeline.readers.pieces import Piece, cut_columns
from pipeline.readers.priors import line_height, link_prior, skip_prior
from pipeline.readers.segment import Candidate, Segmentation, segment_glyphs
from pipeline.types import Box, Glyph, Image


def ink_of(mask: Image, stroke: float = 5) -> Ink:
    return Ink(mask, mask, 1.0, stroke, 0.8, 0.01, False)


def bars(*bars: tuple[int, int, int, int], shape: tuple[int, int] = (80, 300)) -> Ink:
    mask = np.zeros(shape, np.uint8)
    for x, y, w, h in bars:
        mask[y : y + h, x : x + w] = 255
    return ink_of(mask)


def piece(x: int, y: int, w: int, h: int, label: int = 1) -> Piece:
    return Piece(label, x, y, w, h, w * h, label)


def groups(found: Segmentation) -> set[tuple[int, int]]:
    return {(candidate.first, candidate.last) for candidate in found.candidates}


def lone_prior(found: Segmentation, place: int) -> float:
    (lone,) = [c.prior for c in found.candidates if (c.first, c.last) == (place, place + 1)]
    return lone


@settings(max_examples=40, deadline=None)
@given(
    xs=st.lists(st.integers(0, 13), min_size=1, max_size=8, unique=True),
    heights=st.lists(st.integers(28, 60), min_size=8, max_size=8),
)
def test_separate_bars_are_read_from_the_left_one_each(xs: list[int], heights: list[int]) -> None:
    tall = sorted(xs)
    found = segment_glyphs(
        bars(*[(20 * x + 5, 70 - heights[i], 5, heights[i]) for i, x in enumerate(tall)])
    )
    assert groups(found) == {(i, i + 1) for i in range(len(xs))}
    singles = sorted(found.candidates, key=lambda candidate: candidate.first)
    assert [round(single.glyph.box.x) for single in singles] == [20 * x + 5 for x in tall]
    assert all(single.glyph.image.shape == (28, 28) for single in singles)


def test_a_bar_above_a_body_may_be_one_digit() -> None:
    found = segment_glyphs(bars((20, 10, 25, 5), (18, 22, 25, 35), (90, 10, 6, 50)))
    assert (0, 2) in groups(found)
    assert not {(1, 3), (0, 3)} & groups(found)


def test_the_halves_of_a_broken_ring_may_be_one_digit() -> None:
    mask = np.zeros((80, 120), np.uint8)
    cv2.ellipse(mask, (50, 40), (20, 28), 0, -70, 70, 255, 5)
    cv2.ellipse(mask, (50, 40), (20, 28), 0, 110, 250, 255, 5)
    assert (0, 2) in groups(segment_glyphs(ink_of(mask)))


def test_parallel_bars_are_never_one_digit() -> None:
    assert groups(segment_glyphs(bars((20, 10, 6, 50), (34, 10, 6, 50)))) == {(0, 1), (1, 2)}


def test_specks_are_dirt_and_digits_are_not() -> None:
    line, stroke = 50, 6
    assert skip_prior(piece(0, 0, 4, 4), line, stroke) > -0.1
    assert skip_prior(piece(0, 0, 12, 20), line, stroke) < -1
    assert skip_prior(piece(0, 0, 8, 45), line, stroke) < -10


def test_a_hair_of_a_line_is_rather_a_rule_than_a_1() -> None:
    hair = segment_glyphs(bars((20, 10, 25, 50), (60, 10, 1, 45), (90, 10, 25, 50)))
    assert hair.skips[1] > lone_prior(hair, 1)
    one = segment_glyphs(bars((20, 10, 25, 50), (60, 10, 6, 45), (90, 10, 25, 50)))
    assert one.skips[1] < lone_prior(one, 1) - 10


def test_a_fragment_beside_a_digit_costs_and_a_small_digit_does_not() -> None:
    fragment = segment_glyphs(bars((20, 10, 25, 50), (60, 30, 6, 24)))
    small = segment_glyphs(bars((20, 10, 25, 50), (60, 20, 25, 39)))
    assert lone_prior(fragment, 1) < -1
    assert lone_prior(small, 1) == 0


def test_no_ink_has_no_pieces() -> None:
    assert segment_glyphs(ink_of(np.zeros((40, 90), np.uint8))).skips == ()


def test_the_texture_of_a_whole_page_is_no_number() -> None:
    mask = np.zeros((200, 400), np.uint8)
    mask[::8, ::8] = 255
    assert segment_glyphs(ink_of(cv2.dilate(mask, np.ones((5, 5), np.uint8)))).skips == ()


def test_two_touching_rings_may_be_cut_between_them() -> None:
    mask = np.zeros((80, 160), np.uint8)
    cv2.ellipse(mask, (50, 40), (20, 28), 0, 0, 360, 255, 5)
    cv2.ellipse(mask, (92, 40), (20, 28), 0, 0, 360, 255, 5)
    (cut, *_) = [c for c in cut_columns(mask[9:72, 27:116] > 0, 63, 1.25) if 30 < c < 60]
    assert cut == pytest.approx(44, abs=6)
    found = segment_glyphs(ink_of(mask))
    assert (0, len(found.skips)) in groups(found)
    assert len(found.skips) >= 2


def test_a_piece_of_the_width_of_a_digit_is_not_cut() -> None:
    assert cut_columns(np.ones((60, 60), np.bool_), 60, 1.25) == []


@settings(max_examples=60, deadline=None)
@given(
    a=st.tuples(st.integers(0, 60), st.integers(0, 20), st.integers(3, 40), st.integers(3, 60)),
    b=st.tuples(st.integers(0, 60), st.integers(0, 20), st.integers(3, 40), st.integers(3, 60)),
)
def test_links_do_not_depend_on_the_order(
    a: tuple[int, int, int, int], b: tuple[int, int, int, int]
) -> None:
    labels = np.zeros((100, 120), np.int32)
    first, second = piece(*a, label=1), piece(*b, label=2)
    forth = link_prior(first, second, 50, 5, labels)
    assert forth == link_prior(second, first, 50, 5, labels)
    assert forth is None or forth <= 0


@given(st.lists(st.integers(1, 100), min_size=1))
def test_the_line_is_as_high_as_its_tall_pieces(heights: list[int]) -> None:
    line = line_height([piece(20 * i, 0, 5, h) for i, h in enumerate(heights)], 5)
    assert max(heights) / 2 <= line <= max(heights)


def test_a_broken_line_is_as_high_as_a_whole_one() -> None:
    halves = [piece(30 * i, y, 20, 28) for i in range(4) for y in (0, 32)]
    assert line_height(halves, 5) == 60


def chain(*probabilities: list[float]) -> tuple[Segmentation, np.ndarray]:
    """Pieces that are one digit each."""
    blank = Glyph(Box(0, 0, 1, 1), np.zeros((28, 28), np.uint8))
    candidates = tuple(Candidate(i, i + 1, blank, 0.0) for i in range(len(probabilities)))
    skips = (-14.0,) * len(probabilities)
    return Segmentation(skips, candidates, 1.0), np.array(probabilities, np.float32)


def test_the_best_strings_come_with_their_probabilities() -> None:
    found, seen = chain([0.9, 0.1], [0.6, 0.4])
    paths = best_paths(found, seen, classes="01")
    assert [path.text for path in paths[:4]] == ["00", "01", "10", "11"]
    assert path_probabilities(paths)[:4] == pytest.approx([0.54, 0.36, 0.06, 0.04], abs=1e-4)
    assert sum(path_probabilities(paths)) <= 1 + 1e-9


def test_a_grammar_picks_the_best_legal_string() -> None:
    found, seen = chain([0.9, 0.1], [0.6, 0.4])
    paths = best_paths(found, seen, classes="01", automaton=one_of(("01", "11", "000")))
    assert [path.text for path in paths] == ["01", "11"]
    shorter = best_paths(found, seen, classes="01", automaton=digits(1, 1))
    assert {len(path.text) for path in shorter} == {1}
    assert path_probabilities(shorter)[0] < 1e-4
    assert best_paths(found, seen, classes="01", automaton=digits(3, 9)) == []


def all_strings(
    found: Segmentation, seen: np.ndarray, classes: str, automaton: Automaton
) -> dict[str, float]:
    """Return the score of every legal string, from all ways to read."""
    best: dict[str, float] = {}

    def walk(place: int, text: str, score: float) -> None:
        if place == len(found.skips):
            if automaton.accepts(text):
                best[text] = max(score, best.get(text, score))
            return
        walk(place + 1, text, score + found.skips[place])
        for candidate, row in zip(found.candidates, seen, strict=True):
            if candidate.first == place:
                for digit, p in zip(classes, row, strict=True):
                    walk(candidate.last, text + digit, score + candidate.prior + float(np.log(p)))

    walk(0, "", 0.0)
    return best


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    places=st.integers(1, 5),
    automaton=st.sampled_from(
        [FREE, digits(1, 9), digits(2, 3), one_of(("012", "2", "11")), checksum("luhn", 3)]
    ),
)
def test_the_search_agrees_with_brute_force(seed: int, places: int, automaton: Automaton) -> None:
    rng = np.random.default_rng(seed)
    blank = Glyph(Box(0, 0, 1, 1), np.zeros((28, 28), np.uint8))
    candidates = tuple(
        Candidate(first, last, blank, float(-rng.exponential()))
        for first in range(places)
        for last in range(first + 1, min(first + 2, places) + 1)
        if rng.random() < 0.8
    )
    found = Segmentation(tuple((-4 * rng.exponential(size=places)).tolist()), candidates, 1.0)
    seen = rng.dirichlet(np.ones(3), len(candidates)).astype(np.float32).reshape(-1, 3)
    seen = np.maximum(seen, 0.001)  # none so unlikely that it is not followed
    paths = best_paths(found, seen, classes="012", automaton=automaton)
    expected = all_strings(found, seen, "012", automaton)
    best = sorted(expected.values(), reverse=True)[:8]
    assert [path.score for path in paths] == pytest.approx(best)
    for path in paths:
        assert path.score == pytest.approx(expected[path.text])
        taken = [candidates[index] for index in path.candidates]
        assert len(taken) == len(path.text)
        assert all(a.last <= b.first for a, b in pairwise(taken))
    assert len({path.text for path in paths}) == len(paths)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.lists(st.floats(0.01, 1), min_size=10, max_size=10).map(
            lambda p: [x / sum(p) for x in p]
        ),
        max_size=6,
    )
)
def test_shares_never_exceed_one(rows: list[list[float]]) -> None:
    found, seen = chain(*rows)
    paths = best_paths(found, seen.reshape(-1, 10), classes="0123456789")
    assert 0 < sum(path_probabilities(paths)) <= 1 + 1e-6
    assert [path.score for path in paths] == sorted((path.score for path in paths), reverse=True)
