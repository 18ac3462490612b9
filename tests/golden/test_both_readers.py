"""Strips read by both readers: what they achieve together and neither achieves alone."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.grammar.base import Grammar
from pipeline.grammar.parse import parse_grammar
from pipeline.read import read_strip
from pipeline.readers.base import BOTH
from pipeline.readers.loaded import Readers, load_readers
from pipeline.types import FieldReading, Image, Page
from training.datasets import load_mnist
from training.synthesis.digit_strips import compose_strip

FIVE = parse_grammar("digits(5)")
ANY = parse_grammar("digits(1,12)")


@pytest.fixture(scope="module")
def readers() -> Readers:
    return load_readers()


@pytest.fixture(scope="module")
def digits(digits_dir: Path) -> dict[str, list[Image]]:
    """Digits of MNIST's test writers, not selected."""
    mnist = load_mnist(digits_dir, "test")
    return {str(k): list(mnist.images[:3000][mnist.labels[:3000] == k]) for k in range(10)}


def compose(
    text: str, digits: dict[str, list[Image]], rng: np.random.Generator, **options: object
) -> Image:
    drawn = [digits[k][rng.integers(len(digits[k]))] for k in text]
    return compose_strip(drawn, 56, rng, **options)  # type: ignore[arg-type]


def read(grey: Image, readers: Readers, grammar: Grammar = ANY) -> FieldReading:
    (field,) = read_strip(Page(grey), grammar, readers).fields
    return field


def test_plain_strings(digits: dict[str, list[Image]], readers: Readers) -> None:
    rng = np.random.default_rng(1)
    texts = ["".join(rng.choice(list("0123456789"), 5)) for _ in range(40)]
    found = [read(compose(text, digits, rng), readers, FIVE) for text in texts]
    right = [reading.value == text for reading, text in zip(found, texts, strict=True)]
    assert sum(right) >= 36
    assert {reading.reader for reading in found} == {BOTH}
    wrong = [r for r, good in zip(found, right, strict=True) if not good and r.confidence > 0.99]
    assert len(wrong) <= 1  # both readers take one 8 of these writers for a 9


def test_a_decimal_point_is_read_or_the_value_is_not_sure(
    digits: dict[str, list[Image]], readers: Readers
) -> None:
    rng = np.random.default_rng(3)
    grammar = parse_grammar("amount(USD)")
    for _ in range(10):
        text = str(rng.choice(list("123456789"))) + "".join(rng.choice(list("0123456789"), 4))
        major = compose(text[:3], digits, rng)
        minor = compose(text[3:], digits, rng)
        space = np.full((major.shape[0], 14), int(np.median(major)), np.uint8)
        cv2.circle(space, (7, int(0.78 * major.shape[0])), 3, 40, -1)
        reading = read(np.hstack([major, space, minor]), readers, grammar)
        assert reading.value == f"{text[:3]}.{text[3:]}" or reading.confidence <= 0.5


@pytest.mark.parametrize("sigma", [3, 12, 30])
def test_noise_is_no_sure_number(sigma: float, readers: Readers) -> None:
    rng = np.random.default_rng(int(sigma))
    for _ in range(4):
        grey = np.clip(rng.normal(190, sigma, (64, 320)), 0, 255).astype(np.uint8)
        reading = read(grey, readers)
        assert not reading.value or reading.confidence < 0.3


def test_what_cannot_be_legal_is_never_sure(
    digits: dict[str, list[Image]], readers: Readers
) -> None:
    grey = compose("46", digits, np.random.default_rng(10))
    reading = read(grey, readers, parse_grammar("digits(8)"))
    assert reading.value is None or reading.confidence < 0.05
    assert reading.raw == "46"
