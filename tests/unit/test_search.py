"""The search of a posterior under a grammar, against all alignments one by one."""

from __future__ import annotations

from collections import defaultdict
from itertools import groupby, pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.grammar.base import ANY_DIGITS, Grammar
from pipeline.grammar.parse import parse_grammar
from pipeline.readers.ctc_search import Posterior, decode_greedily, likeliest_values

GRAMMARS = (
    "digits",
    "digits(2)",
    "digits(1,2)",
    "range(2,12)",
    "one_of(0,11,121)",
    "one_of(11)",
    "amount(USD,digits=4)",
    "amount(CLP,digits=4)",
    "checksum(mod11,3)",
)


def by_hand(
    posterior: NDArray[np.float64], grammar: Grammar, classes: str
) -> tuple[dict[str, float], float]:
    """Return the probability of every legal value, and of all legal strings, by enumeration."""
    values: defaultdict[str, float] = defaultdict(float)
    for path in product(range(len(classes) + 1), repeat=len(posterior)):
        text = "".join(classes[k] for k, _ in groupby(path) if k < len(classes))
        if grammar.accepts(text):
            values[grammar.value(text)] += float(np.prod(posterior[range(len(path)), path]))
    return dict(values), sum(values.values())


@given(st.lists(st.integers(0, 2), max_size=12), st.booleans())
def test_the_best_path_merges_repeats_and_drops_blanks(path: list[int], blank_first: bool) -> None:
    scores = np.full((len(path), 3), -9.0)
    scores[np.arange(len(path)), path] = 9
    characters = ("", "1", ".") if blank_first else ("1", ".", "")
    assert decode_greedily(scores, characters) == "".join(characters[k] for k, _ in groupby(path))


def legal_mass(posterior: Posterior, grammar: Grammar, *, classes: str) -> float:
    """Return the probability of all legal strings together, by the forward algorithm."""
    automaton = grammar.automaton
    states, size = len(automaton.table), len(classes)
    after = np.full((states, size), states)  # one state more, from which nothing is legal
    for k, c in enumerate(classes):
        if c in automaton.characters:
            column = automaton.table[:, automaton.characters.index(c)]
            after[:, k] = np.where(column >= 0, column, states)
    # By state: the probability of the prefixes that end in a class, and, last, in a blank.
    prefixes = np.zeros((states + 1, size + 1))
    prefixes[0, -1] = 1
    for frame in np.asarray(posterior, np.float64):
        following = np.zeros_like(prefixes)
        following[:, -1] = prefixes.sum(axis=1) * frame[-1]
        following[:, :-1] = prefixes[:, :-1] * frame[:-1]
        for k in range(size):
            entering = prefixes[:-1].sum(axis=1) - prefixes[:-1, k]
            np.add.at(following[:, k], after[:, k], entering * frame[k])
        prefixes = following
    return float(prefixes[:-1].sum(axis=1)[automaton.accepting].sum())


@st.composite
def posteriors(draw: st.DrawFn, frames: int, classes: int) -> NDArray[np.float64]:
    """Posteriors from flat to nearly certain, some with zeros."""
    seed = draw(st.integers(0, 2**32 - 1))
    sharp = draw(st.sampled_from([0.0, 1.0, 4.0, 12.0]))
    rng = np.random.default_rng(seed)
    weights = np.exp(sharp * rng.normal(size=(frames, classes + 1)))
    if draw(st.booleans()):
        weights[rng.random(weights.shape) < 0.3] = 0
        weights[:, -1] += 1e-6
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


@settings(max_examples=150, deadline=None)
@given(st.data(), st.sampled_from(GRAMMARS), st.integers(1, 5))
def test_it_agrees_with_brute_force(data: st.DataObject, name: str, frames: int) -> None:
    grammar, classes = parse_grammar(name), "012,.-"[: data.draw(st.integers(2, 6))]
    posterior = data.draw(posteriors(frames, len(classes)))
    values, mass = by_hand(posterior, grammar, classes)
    found = likeliest_values(posterior, grammar, classes=classes, most=4)
    assert found.exact
    assert legal_mass(posterior, grammar, classes=classes) == pytest.approx(mass, rel=1e-9)
    expected = sorted(values.values(), reverse=True)[:4]
    wanted = [p for p in expected if p > 1.001e-4 * expected[0]]
    probabilities = [alternative.probability for alternative in found.values]
    assert probabilities[: len(wanted)] == pytest.approx(wanted, rel=1e-9)
    for alternative in found.values:
        assert alternative.probability == pytest.approx(values[alternative.value], rel=1e-9)
    assert len({alternative.value for alternative in found.values}) == len(found.values)
    assert sum(probabilities) <= 1 + 1e-9


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(10, 30), st.from_regex(r"[0-9]{1,9}", fullmatch=True))
def test_of_one_legal_string_it_is_that_string(data: st.DataObject, frames: int, text: str) -> None:
    posterior = np.maximum(data.draw(posteriors(frames, 10)), 1e-9)
    found = likeliest_values(posterior, parse_grammar(f"one_of({text})"), classes="0123456789")
    repeats = sum(a == b for a, b in pairwise(text))
    fits = len(text) + repeats <= frames
    assert [alternative.value for alternative in found.values] == [text] * fits
    assert found.exact


@settings(max_examples=60, deadline=None)
@given(
    st.data(),
    st.integers(1, 40),
    st.sampled_from(
        ["digits(3)", "date(DDMMYYYY,2000-2035)", "amount(INR)", "checksum(luhn,6)", "range(7,812)"]
    ),
)
def test_what_is_found_is_legal(data: st.DataObject, frames: int, name: str) -> None:
    grammar, classes = parse_grammar(name), "0123456789,./"
    posterior = data.draw(posteriors(frames, len(classes)))
    found = likeliest_values(posterior, grammar, classes=classes)
    probabilities = [alternative.probability for alternative in found.values]
    assert all(grammar.accepts(alternative.value) for alternative in found.values)
    assert probabilities == sorted(probabilities, reverse=True)
    assert sum(probabilities) <= legal_mass(posterior, grammar, classes=classes) * (1 + 1e-9)
    assert (len(found.values) == 0) == (legal_mass(posterior, grammar, classes=classes) == 0)


def test_a_search_cut_short_says_so_and_is_legal_still(monkeypatch: pytest.MonkeyPatch) -> None:
    flat = np.full((30, 11), 1 / 11)
    grammar = parse_grammar("date(DDMMYYYY)")
    monkeypatch.setattr("pipeline.readers.ctc_search.MAX_EXPANSIONS", 3)
    found = likeliest_values(flat, grammar, classes="0123456789")
    assert not found.exact
    assert found.values
    assert all(grammar.accepts(alternative.value) for alternative in found.values)


def test_the_ways_to_write_a_value_count_together() -> None:
    # The comma and the dash are there or not, both as likely.
    posterior, classes = np.zeros((8, 5)), "01,-"
    for frame, c in enumerate("1,0 0 0-"):
        posterior[frame, (classes + " ").index(c)] = 1
    posterior[1, 4] = posterior[7, 4] = 1
    (only,) = likeliest_values(posterior, parse_grammar("amount(USD)"), classes=classes).values
    assert (only.value, only.probability) == ("1000", pytest.approx(1))


@pytest.mark.parametrize(
    "posterior",
    [np.ones(3), np.ones((3, 10)), np.ones((0, 11)), np.zeros((3, 11)), np.full((3, 11), np.nan),
     -np.ones((3, 11))],
)  # fmt: skip
def test_what_is_no_posterior_is_refused(posterior: NDArray[np.float64]) -> None:
    with pytest.raises(ValueError, match="posterior"):
        likeliest_values(posterior, ANY_DIGITS, classes="0123456789")
