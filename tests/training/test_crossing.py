"""Crossed strips: where characters stand, where strips may be cut, what the joined ones say."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.readers.ctc_align import align
from pipeline.readers.normalise import normalise_strip
from pipeline.readers.runtime import Model
from training.adaptation.crossing import cross, find_gaps
from training.strip.export import pool_logits, read_greedily
from training.strip.pool import Pool, join_strips
from training.strip.train import min_ctc_steps
from training.synthesis.amounts import Line, Token
from training.synthesis.strings import draw_hand, write


@pytest.fixture(scope="module")
def reader() -> Model:
    return Model.bundled("strip")


def write_numbers(gap: float) -> Pool:
    """Forty numbers by as many pens, `gap` heights between their digits, plain on white."""
    rng = np.random.default_rng(5)
    strips = []
    for _ in range(40):
        text = "".join(map(str, rng.integers(0, 10, 4)))
        line = Line(tuple(Token(digit, digit) for digit in text), frozenset())
        hand = replace(draw_hand(None, rng), gap=gap, ligature=0.0)
        cover = np.pad(write(line, hand, 40.0, rng).cover, 6)
        strips.append((normalise_strip(255 - cover), text))
    return join_strips(strips)


@pytest.fixture(scope="module")
def numbers() -> Pool:
    return write_numbers(0.3)


def said(path: tuple[int, ...]) -> list[int]:
    return [label for label, _ in itertools.groupby(path) if label]


@given(
    labels=st.lists(st.integers(1, 2), max_size=3), seed=st.integers(0, 99), spare=st.integers(0, 2)
)
def test_alignment_is_that_of_the_likeliest_path(labels: list[int], seed: int, spare: int) -> None:
    steps = max(1, min_ctc_steps("".join(map(str, labels))) + spare)
    logits = np.random.default_rng(seed).normal(0, 2, (steps, 3)).astype(np.float32)
    ways = itertools.product(range(3), repeat=steps)
    best = max(
        (way for way in ways if said(way) == labels),
        key=lambda way: sum(float(logits[step, label]) for step, label in enumerate(way)),
    )
    runs, at = [], 0
    for label, own in itertools.groupby(best):
        length = len(list(own))
        if label:
            runs.append((at, at + length - 1))
        at += length
    assert align(logits, labels, blank=0) == runs


# With little between them, digits lean over each other, and a gap may be that of a neighbour.
@pytest.mark.parametrize(("gap", "share"), [(0.3, 0.4), (0.2, 0.3)])
def test_gaps_between_plain_digits_are_found(gap: float, share: float, reader: Model) -> None:
    numbers = write_numbers(gap)
    gaps = find_gaps(numbers, reader)
    assert [len(own) for own in gaps] == [3] * len(numbers)
    found = [column for own in gaps for column in own if column is not None]
    assert len(found) > share * 3 * len(numbers)
    for index, own in enumerate(gaps):
        strip = numbers.strip(index)
        cut = [column for column in own if column is not None]
        assert cut == sorted(cut)
        for before, after in itertools.pairwise([0, *cut, strip.shape[1]]):
            assert (strip[:, before:after] > 128).any()  # some character on either side


def test_crossed_strips_are_read_as_they_are_labelled(numbers: Pool, reader: Model) -> None:
    gaps = find_gaps(numbers, reader)
    crossed = cross(numbers, gaps, 200, np.random.default_rng(1))
    again = cross(numbers, gaps, 200, np.random.default_rng(1))
    assert np.array_equal(crossed.pixels, again.pixels)
    assert len(set(crossed.texts)) > 100  # of 40 that were written
    own, made = (
        np.mean(np.array(read_greedily(pool_logits(reader, pool))) == pool.texts)
        for pool in (numbers, crossed)
    )
    assert made > own - 0.1


def test_strips_that_cannot_be_cut_come_back_whole(numbers: Pool) -> None:
    none = [(None, None, None)] * len(numbers)
    crossed = cross(numbers, none, 10, np.random.default_rng(1))
    assert len(crossed) == 10
    assert set(crossed.texts) <= set(numbers.texts)
