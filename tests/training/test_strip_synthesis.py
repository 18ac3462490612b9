"""Synthetic strips: repeatable, labelled as drawn, of permitted digits, with every option."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import ConfigError
from pipeline.cleaning.clean import clean_strip
from pipeline.readers.normalise import normalise_glyph
from pipeline.readers.runtime import Model
from training.datasets import ORIGINS, DigitSet
from training.strip import contact_sheet
from training.synthesis.allographs import CHARACTERS, allographs_of
from training.synthesis.amounts import (
    ALPHABET,
    LONGEST,
    Line,
    Token,
    draw_amount,
    draw_line,
    draw_words,
)
from training.synthesis.strings import Hand, Handwriting, draw_hand, write
from training.synthesis.strips import HEIGHTS, StripSynthesizer
from training.synthesis.strokes import PenHand
from training.synthesis.writers import Archive, go_over

SEEDS = st.integers(0, 2**32)


@pytest.fixture(scope="module")
def mnist(digits_dir: Path) -> DigitSet:
    with np.load(digits_dir / "mnist.npz") as stored:
        writers = stored["writer_train"]
        index = np.flatnonzero(np.isin(writers, np.unique(writers)[:12]))
        images, labels = stored["x_train"][index], stored["y_train"][index]
        return DigitSet("mnist", images, labels, writers[index].astype(np.int32))


@pytest.fixture(scope="module")
def synthesizer(mnist: DigitSet) -> StripSynthesizer:
    return StripSynthesizer([mnist], empties=0.25)


def careful(seed: int) -> Hand:
    """A pen that writes upright, apart, and lifts between digits."""
    pen = PenHand(seed)
    return Hand(
        pen,
        archive=None,
        drawn=frozenset("0123456789"),
        redrawn=False,
        nib=0.06,
        press=0.3,
        slant=0.0,
        gap=0.3,
        unevenness=0.0,
        zero=1.0,
        wander=0.0,
        slope=0.0,
        ligature=0.0,
    )


def plain(text: str) -> Line:
    return Line(tuple(Token(c, c) for c in text), frozenset())


def runs(ink: Handwriting) -> int:
    """How many pieces stand apart, seen from above."""
    filled = (ink.cover > 40).any(axis=0).astype(int)
    return int((np.diff(filled, prepend=0) == 1).sum())


def test_the_same_seed_draws_the_same_strip(mnist: DigitSet) -> None:
    first, second = (StripSynthesizer([mnist], seed=5) for _ in range(2))
    one, other = np.random.default_rng(11), np.random.default_rng(11)
    for _ in range(12):
        a, b = first(one), second(other)
        assert (a.text, a.traits) == (b.text, b.traits)
        np.testing.assert_array_equal(a.grey, b.grey)


def test_a_strip_does_not_depend_on_those_drawn_before(synthesizer: StripSynthesizer) -> None:
    before = synthesizer(np.random.default_rng(3))
    synthesizer(np.random.default_rng(4))
    np.testing.assert_array_equal(before.grey, synthesizer(np.random.default_rng(3)).grey)


@given(text=st.text("0123456789", min_size=1, max_size=9), seed=SEEDS)
@settings(max_examples=40, deadline=None)
def test_as_many_digits_are_inked_as_the_text_has(text: str, seed: int) -> None:
    ink = write(plain(text), careful(seed), 40, np.random.default_rng(seed), cell=3.0)
    assert runs(ink) == len(text)
    assert "".join(character for character, _ in ink.written) == text
    for left, right in pairwise(box for _, box in ink.written):
        assert left.x < right.x


@given(seed=SEEDS)
@settings(max_examples=40, deadline=None)
def test_what_is_written_has_the_digits_of_the_label_in_their_order(seed: int) -> None:
    rng = np.random.default_rng(seed)
    line = draw_amount(rng)
    ink = write(line, draw_hand(None, rng), 30, rng)
    written = "".join(c for c, _ in ink.written if c.isdigit())
    hundred = line.traits & {"over 100", "fraction"}
    assert written == line.text.replace(".", "") + ("100" if hundred else "") + (
        "100" if "trail xx/100" in line.traits else ""
    )
    rows, columns = ink.cover.shape
    for _, box in ink.written:
        assert -1 <= box.x <= box.x + box.w <= columns + 1
        assert -1 <= box.y <= box.y + box.h <= rows + 1


@given(seed=SEEDS)
def test_texts_are_of_the_alphabet_and_a_point_parts_two_digits(seed: int) -> None:
    line = draw_line(np.random.default_rng(seed))
    assert re.fullmatch(r"\d+(\.\d\d)?", line.text)
    assert set(line.text) <= set(ALPHABET)
    assert len(line.text) <= LONGEST
    assert ("cheque" in line.traits) == line.boxed
    if line.boxed:
        return
    minor = {"point", "raised", "underlined", "over 100", "fraction", "dash"}
    assert ("." in line.text) == bool(line.traits & minor)


@given(seed=SEEDS)
def test_groups_are_of_three_or_of_two_before_the_last_three(seed: int) -> None:
    line = draw_amount(np.random.default_rng(seed))
    separators = [t[-1] for t in line.traits if t.startswith("group ")]
    if not separators:
        return
    major = ""
    for token in line.tokens:
        if token.reads.startswith(".") or token.underlined:
            break
        major += token.character if token.reads or token.character == separators[0] else ""
    digits = line.text.split(".")[0]
    groups = [g for g in re.findall(r"\d+", major) if g][: major.count(separators[0]) + 1]
    whole = "".join(groups)
    assert whole.startswith(digits)
    inner = groups[1:-1]
    assert all(len(group) == (2 if "indian" in line.traits else 3) for group in inner)


def test_words_read_as_nothing() -> None:
    for seed in range(50):
        assert draw_words(np.random.default_rng(seed)).text == ""


def test_strips_are_images_of_a_bounded_size(synthesizer: StripSynthesizer) -> None:
    rng = np.random.default_rng(1)
    for _ in range(60):
        strip = synthesizer(rng)
        assert strip.grey.dtype == np.uint8
        rows, columns = strip.grey.shape
        assert 12 <= rows <= 6 * HEIGHTS[1]
        assert 12 <= columns <= 2500
        assert re.fullmatch(r"(\d+(\.\d\d)?)?", strip.text)
        if not strip.text:
            nothing = {"empty", "words", "filling", "signature", "smudge", "print"}
            assert strip.traits & nothing


def test_every_way_of_writing_occurs() -> None:
    rng = np.random.default_rng(2)
    seen = set().union(*(draw_line(rng).traits for _ in range(3000)))
    assert {f"sign {s}" for s in ("₹", "$", "£", "€", "Rs")} <= seen
    assert {f"group {s}" for s in ".,' "} <= seen
    assert {"point", "raised", "underlined", "over 100", "fraction", "dash"} <= seen
    assert {f"trail {s}" for s in ("/-", "=", "-", "only", ".-")} <= seen
    assert {"comb", "plain", "count", "amount", "cheque", "lead", "indian", "western"} <= seen


def test_every_backdrop_and_treatment_occurs(synthesizer: StripSynthesizer) -> None:
    rng = np.random.default_rng(3)
    seen: set[str] = set()
    expected = {
        *("plain paper", "sheet", "ripples", "security text", "stamp"),
        *("box", "base line", "cells", "caption", "printed sign"),
        *("ink above", "ink below", "print above", "print below", "print beside"),
        *(
            "good scan",
            "turned",
            "shadow",
            "low contrast",
            "enlarged",
            "blur",
            "noise",
            "bitonal",
            "jpeg",
        ),
        *("empty", "words", "filling", "signature", "smudge", "print"),
        *("hand pen", "hand mnist", "overlapping", "tight", "spaced", "joined", "touching"),
        "alone",
    }
    for _ in range(400):
        seen |= synthesizer(rng).traits
        shapes = sum(trait[0].isdigit() for trait in seen)  # allographs of digits
        if expected <= seen and shapes > 70:
            return
    raise AssertionError((sorted(expected - seen), shapes))


def test_every_allograph_is_drawn_and_stands_on_the_line() -> None:
    rng = np.random.default_rng(4)
    for digit in "0123456789":
        expected, names = {shape.name for shape in allographs_of(digit)}, set[str]()
        for seed in range(2000):
            names.add(PenHand(seed).draw(digit, rng).allograph)
            if seed > 100 and names >= expected:
                break
        assert names == expected
    for character in CHARACTERS:
        highest = -0.6 if character == "1" else -0.3  # a 1 may be nearly twice as high as the rest
        for shape in allographs_of(character):
            assert highest <= shape.points[:, 1].min() <= shape.points[:, 1].max() <= 1.4


def test_a_reader_that_never_saw_pen_strokes_knows_most_of_them() -> None:
    """The weights learned American digits: European ones, and nines like a P, are news to them."""
    rng = np.random.default_rng(8)
    digits = "0123456789" * 40
    glyphs = []
    for seed, digit in enumerate(digits):
        ink = write(plain(digit), careful(seed), 60, rng)
        glyphs.append(normalise_glyph(ink.cover))
    read = Model.bundled().probabilities(np.stack(glyphs)).argmax(axis=1)
    right = [int(seen) == int(digit) for seen, digit in zip(read, digits, strict=True)]
    assert np.mean(right) > 0.8


def test_a_hand_keeps_its_shapes() -> None:
    rng = np.random.default_rng(5)
    usual = [PenHand(9).draw("7", rng).allograph for _ in range(40)]
    assert max(usual.count(name) for name in usual) > 25


def test_a_strip_has_the_digits_of_one_writer(mnist: DigitSet) -> None:
    assert mnist.writers is not None
    owners = {image.tobytes(): writer for image, writer in zip(*_pairs(mnist), strict=True)}
    archive, rng = Archive([mnist]), np.random.default_rng(6)
    for _ in range(10):
        hand = archive.hand(rng)
        assert len({owners[hand.pick(digit, rng).tobytes()] for digit in (0, 1, 2, 3, 7)}) == 1


def _pairs(digits: DigitSet) -> tuple[list[np.ndarray], list[int]]:
    assert digits.writers is not None
    return list(digits.images), digits.writers.tolist()


@pytest.mark.parametrize("name", [o.name for o in ORIGINS.values() if not o.may_train])
def test_sets_that_only_test_are_refused(name: str, mnist: DigitSet) -> None:
    with pytest.raises(ConfigError, match="tests only"):
        StripSynthesizer([mnist, DigitSet(name, mnist.images, mnist.labels)])


def test_a_digit_is_gone_over_with_a_finer_pen(mnist: DigitSet) -> None:
    fine = [ink for image in mnist.images[:60] if (ink := go_over(image, 1.0)) is not None]
    wide = [ink for image in mnist.images[:60] if (ink := go_over(image, 2.5)) is not None]
    assert len(fine) == len(wide) > 50
    assert sum(map(np.count_nonzero, fine)) < 0.7 * sum(map(np.count_nonzero, wide))
    assert go_over(np.full((28, 28), 255, np.uint8), 1.0) is None


def test_a_contact_sheet_shows_every_second_entry_cut_to_its_box(tmp_path: Path) -> None:
    for i in range(4):
        cv2.imwrite(str(tmp_path / f"{i}.png"), np.full((40, 90), 10 * i, np.uint8))
    entry = '{"file": "%d.png", "text": "%d", "boxes": {"amount": [10, 5, 50, 20]}}'
    listed = ", ".join(entry % (i, i) for i in range(4))
    (tmp_path / "labels.json").write_text(f"[{listed}]")
    strips = contact_sheet.real_strips(tmp_path, 9, seed=1)
    assert sorted(caption for _, caption in strips) == ["0", "2"]
    assert {grey.shape for grey, _ in strips} == {(20, 50)}
    assert contact_sheet.lay_out(strips, 2).ndim == 2


@pytest.mark.parametrize("strips", [80, pytest.param(1000, marks=pytest.mark.slow)])
def test_whatever_a_strip_holds_it_can_be_cleaned(strips: int) -> None:
    # Combs that the edge of the strip cuts off, among others.
    synthesizer, rng = StripSynthesizer(seed=11), np.random.default_rng(12)
    for _ in range(strips):
        strip = synthesizer(rng)
        clean = clean_strip(strip.grey, cells=len(strip.text) or None)
        assert clean.grey.shape == strip.grey.shape
