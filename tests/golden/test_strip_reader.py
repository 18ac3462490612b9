"""The strip reader's views of a strip: one where it is sure, four where it is not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.grammar.parse import parse_grammar
from pipeline.read import read_strip
from pipeline.readers import strip as strip_reader
from pipeline.readers.loaded import load_readers
from pipeline.readers.normalise import ROWS, stretch_strip
from pipeline.readers.runtime import Model
from pipeline.readers.strip import MAX_DOUBT, read_images
from pipeline.types import Image, Page
from tests.samples import DATA
from training.datasets import load_mnist
from training.synthesis.digit_strips import compose_strip
from training.synthesis.strips import StripSynthesizer

ANY = parse_grammar("digits(1,16)")


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 32), st.floats(0.5, 2.0), st.integers(0, 2**16))
def test_a_stretched_strip_is_one_that_the_network_takes(
    steps: int, times: float, seed: int
) -> None:
    strip = np.random.default_rng(seed).integers(0, 256, (ROWS, 16 * steps)).astype(np.uint8)
    wide = stretch_strip(strip, times)
    assert wide.shape[0] == ROWS
    assert wide.shape[1] % 16 == 0
    assert 32 <= wide.shape[1] <= 512
    assert wide.shape[1] >= min(times * strip.shape[1], 512) - 1


def test_once_as_wide_is_the_same_strip() -> None:
    strip = np.random.default_rng(1).integers(0, 256, (ROWS, 96)).astype(np.uint8)
    np.testing.assert_array_equal(stretch_strip(strip, 1.0), strip)


@pytest.fixture(scope="module")
def strips() -> list[Image]:
    synthesizer = StripSynthesizer([load_mnist(DATA, "train")], seed=3)
    rng = np.random.default_rng(3)
    return [synthesizer(rng).grey for _ in range(24)]


def test_a_doubtful_strip_is_read_in_four_views_and_a_sure_one_in_one(
    strips: list[Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Model.bundled("strip")
    seen: list[int] = []
    run = strip_reader.run_strips

    def counted(images: list[Image], model: Model) -> list[np.ndarray]:
        seen.append(len(images))
        return run(images, model)

    monkeypatch.setattr(strip_reader, "run_strips", counted)
    monkeypatch.setattr(strip_reader, "MAX_DOUBT", 1.0)
    once = read_images(strips, [ANY] * len(strips), model)
    monkeypatch.setattr(strip_reader, "MAX_DOUBT", MAX_DOUBT)
    seen.clear()
    results = read_images(strips, [ANY] * len(strips), model)
    doubtful = [first.doubt > MAX_DOUBT for first in once]
    assert 0 < sum(doubtful) < len(strips)
    assert seen == [len(strips), *[sum(doubtful)] * 3]
    for first, found, doubted in zip(once, results, doubtful, strict=True):
        assert found.raw == first.raw
        assert doubted or replace(found, trace=first.trace) == first
        assert sum(item.probability for item in found.legal) + found.empty <= 1 + 1e-6
        probabilities = [item.probability for item in found.legal]
        assert probabilities == sorted(probabilities, reverse=True)


@pytest.mark.parametrize("seed", range(6))
def test_what_was_read_before_changes_nothing(seed: int) -> None:
    """Batches of all sizes and widths in turn give what each gives to a fresh interpreter."""
    rng = np.random.default_rng(seed)
    model = Model.bundled("strip")
    for _ in range(12):
        shape = (int(rng.integers(1, 9)), ROWS, int(rng.choice(strip_reader.WIDTHS)), 1)
        batch = rng.integers(0, 256, shape).astype(np.uint8) * (rng.random(shape) < 0.2)
        found = model.run(batch)
        np.testing.assert_allclose(found, Model.bundled("strip").run(batch), atol=1e-4)


def test_empty_paper_is_nothing() -> None:
    (blank,) = read_images([np.full((40, 160), 230, np.uint8)], [ANY], Model.bundled("strip"))
    assert blank.empty > max([0.5, *(item.probability for item in blank.legal)])


def test_a_digit_by_itself_is_not_taken_for_the_side_of_a_box(digits_dir: Path) -> None:
    digits = load_mnist(digits_dir, "test")
    ones = digits.images[digits.labels == 1][:100]
    rng = np.random.default_rng(4)
    strips = [compose_strip([one], int(rng.choice((24, 40, 64))), rng, noise=4) for one in ones]
    readers = load_readers()
    fields = [read_strip(Page(strip), ANY, readers).fields[0] for strip in strips]
    assert sum(field.value == "1" for field in fields) >= 0.85 * len(ones)
    assert max([field.confidence for field in fields if field.value == ""], default=0.0) < 0.9
